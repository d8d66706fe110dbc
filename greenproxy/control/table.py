"""The state of a greenproxy as people read it: `greenproxy status`. A pure function of the document of /api/status
and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]
_UNITS_S = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def table(document: Document, now: datetime) -> str:
    """Return the document as lines of text, aligned in columns, without a newline at the end. `now` has a time zone."""
    blocks = [_head(document), _totals(document), _workers(document), _listeners(document), _tls(document, now)]
    blocks += [_upstream(upstream) for upstream in document["upstreams"]]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _head(document: Document) -> list[str]:
    reload, is_stopping = document["reload"], document["state"] == "stopping"
    words = [
        f"greenproxy {document['version']}, process {document['pid']}",
        f"up {duration(document['uptime'])}" + (" and stopping" if is_stopping else ""),
        f"generation {document['generation']}",
    ]
    if reload["state"] != "none":
        words.append(f"reload {reload['number']} {reload['state']}")
    return [", ".join(words), *(f"  {line}" for line in str(reload["message"]).splitlines())]


def _totals(document: Document) -> list[str]:
    rates, connections = document["rates"], document["connections"]
    responses = ", ".join(f"{kind} {number(count)}" for kind, count in document["responses"].items() if count)
    rows = [
        ("requests", number(document["requests"]), f"{rate(rates['requests_per_s'])}/s", responses),
        ("errors", number(document["errors"]), f"{rate(rates['errors_per_s'])}/s", ""),
        ("connections", number(sum(connections.values())), "", f"{connections['active']} active, {connections['idle']} idle"),
    ]
    return columns(rows, "<>><")


def _workers(document: Document) -> list[str]:
    rows = [("worker", "state", "generation", "up", "connections", "requests")]
    rows += [
        (
            str(each["pid"]),
            each["state"],
            str(each["generation"]),
            duration(each["uptime"]),
            number(each["connections"]),
            number(each["requests"]),
        )
        for each in sorted(document["workers"], key=_rank)
    ]
    return columns(rows, "<<>>>>")


def _rank(worker: Document) -> tuple[bool, int]:
    """Return what workers are sorted by: who serves comes first."""
    return worker["state"] != "serving", worker["pid"]


def _listeners(document: Document) -> list[str]:
    rows = [("listener", "bind", "connections", "requests")]
    rows += [
        (each["name"], ", ".join(each["bind"]), number(each["connections"]), number(each["requests"]))
        for each in document["listeners"]
    ]
    return columns(rows, "<<>>")


def _tls(document: Document, now: datetime) -> list[str]:
    """Return a line for each certificate in force; the numbers are of its listener, and stand in its first line."""
    rows = [("tls", "handshakes", "resumed", "failures", "certificate", "expires")]
    for listener in document["listeners"]:
        if "tls" in listener:
            counts = tuple(number(listener["tls"][key]) for key in ("handshakes", "resumed", "failures"))
            first: tuple[str, ...] = (listener["name"], *counts)
            for certificate in listener["certificates"]:
                rows.append((*first, certificate["file"], _expires(certificate["not_after"], now)))
                first = ("", "", "", "")
    return columns(rows, "<>>><<") if len(rows) > 1 else []


def _expires(not_after: str, now: datetime) -> str:
    """Return the day, and say so when it is over: a date in the past is easily taken for one to come."""
    day = not_after.partition("T")[0]
    return f"expired {day}" if now > datetime.fromisoformat(not_after) else day


def _upstream(upstream: Document) -> list[str]:
    told = ", ".join(f"{number(upstream[key])} {key}" for key in ("requests", "failures", "retries", "queued"))
    rows = [("  backend", "state", "active", "idle", "requests", "failures")]
    rows += [
        (_named(backend), backend["state"], *(number(backend[key]) for key in ("active", "idle", "requests", "failures")))
        for backend in upstream["backends"]
    ]
    head = f"upstream {upstream['name']}: {rate(upstream['rates']['requests_per_s'])}/s, {told}"
    return [head, *columns(rows, "<<>>>>")]


def _named(backend: Document) -> str:
    name, address = backend["name"], backend["address"]
    return f"  {address}" if name == address else f"  {name} ({address})"


# ------------------------------------------------------------------ cells


def columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return rows in columns, two spaces apart. `sides` has a sign for each: `<` begins at the left, `>` ends at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows]


def number(value: float) -> str:
    """Return a count."""
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """Return so many a second, with one decimal while it is small."""
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: `3d 4h`, `12s`."""
    left = int(seconds)
    parts: list[str] = []
    for size, unit in _UNITS_S:
        if left >= size or parts:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2]) or "0s"
