"""The state of a greenproxy as people read it: `greenproxy status`. A pure function of the document of /api/status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
_UNITS_S = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def table(document: Document) -> str:
    """Return the document as lines of text, aligned in columns, without a newline at the end."""
    blocks = [_head(document), _workers(document), _listeners(document)]
    blocks += [_upstream(upstream) for upstream in document["upstreams"]]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _head(document: Document) -> list[str]:
    reload = document["reload"]
    words = [
        f"greenproxy {document['version']}, process {document['pid']}",
        f"up {duration(document['uptime'])}",
        f"generation {document['generation']}",
    ]
    if reload["state"] != "none":
        words.append(f"reload {reload['number']} {reload['state']}")
    return [", ".join(words), *(f"  {line}" for line in str(reload.get("message") or "").splitlines())]


def _workers(document: Document) -> list[str]:
    workers = document["workers"]
    rows: list[Sequence[object]] = [
        (
            each["pid"],
            each["state"],
            each["generation"],
            duration(each["uptime"]),
            number(each["connections"]),
            number(each["requests"]),
        )
        for each in workers
    ]
    total = [sum(each[key] or 0 for each in workers) for key in ("connections", "requests")]
    if len(workers) > 1:
        rows.append(("all", "", "", "", *map(number, total)))
    return columns(("worker", "state", "generation", "up", "connections", "requests"), rows, left=2)


def _listeners(document: Document) -> list[str]:
    rows = [(each["name"], ", ".join(each["bind"]), each.get("upstream") or "") for each in document["listeners"]]
    return columns(("listener", "bind", "upstream"), rows, left=3)


def _upstream(upstream: Document) -> list[str]:
    told = ", ".join(f"{number(upstream[key])} {key}" for key in ("queued", "requests", "failures", "retries"))
    rows = [
        (
            _named(backend),
            backend["state"],
            *(number(backend[key]) for key in ("active", "idle", "requests", "failures")),
        )
        for backend in upstream["backends"]
    ]
    head = f"upstream {upstream['name']}: {told}, {rate(upstream['requests_per_s'])}/s"
    return [head, *columns(("  backend", "state", "active", "idle", "requests", "failures"), rows, left=2)]


def _named(backend: Document) -> str:
    name, address = backend["name"], backend["address"]
    return f"  {address}" if name == address else f"  {name} ({address})"


# ------------------------------------------------------------------ cells


def columns(head: Sequence[str], rows: Iterable[Sequence[object]], *, left: int) -> list[str]:
    """Return rows under a head, in columns: the first `left` begin at the left, the others are numbers and end at the right."""
    lines = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def number(value: float | None) -> str:
    """Return a count, `-` for one that nobody knows."""
    return "-" if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return so many a second, with one decimal while it is small."""
    return "-" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `3d 4h`, `12s`."""
    if seconds is None:
        return "-"
    left = int(seconds)
    parts: list[str] = []
    for size, unit in _UNITS_S:
        if left >= size or parts:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2]) or "0s"
