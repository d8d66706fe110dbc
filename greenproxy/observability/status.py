"""Status: what the board tells of all workers, or of one, as the document of `/api/status`.

It is made in whatever worker is asked, from its own configuration: what only workers of another one have is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from time import time
from types import MappingProxyType
from typing import Any

from greenproxy import __version__
from greenproxy.certificates import Facts
from greenproxy.config.settings import ListenerSettings, RouteSettings, Settings, UpstreamSettings
from greenproxy.errors import RETRY_REASONS
from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.names import (
    HANDSHAKES,
    RATES,
    RESPONSES,
    UPSTREAM_COUNTERS,
    of_backend,
    of_listener,
    of_retries,
    of_upstream,
    stems,
)
from greenproxy.observability.rows import Row, State, add_up
from greenproxy.observability.verdicts import STATES

_SILENT = "silent"  # the state of a worker that should write and does not: its hub is blocked, or it is dying


def snapshot(
    board: Board,
    layout: Layout,
    settings: Settings,
    pid: int | None = None,
    certificates: Mapping[str, Sequence[tuple[str, Facts]]] = MappingProxyType({}),
) -> dict[str, Any] | None:
    """Return the state of all workers together, of one with its `pid`, or None when there is no such worker.

    Counters of all workers have those of workers that are gone in them; gauges and rates are of this moment. Times are in
    seconds. `certificates` are those of each listener: the file, and what it says. Never waits; everything can be
    written as JSON.
    """
    rows = [row for row in board.rows(layout) if row.state is not State.GONE]
    if pid is None:
        numbers = board.totals(layout)
    else:
        rows = [row for row in rows if row.pid == pid]
        if not rows:
            return None
        numbers = add_up(layout, rows, ())
    note = board.told()
    return {
        "version": __version__,
        "pid": note.pid,
        "state": "stopping" if note.is_stopping else "serving",
        "uptime": _since(note.started_at),
        "generation": note.generation or layout.generation,  # a master that is not ours tells nothing
        "reload": {"number": note.reload_number, "state": note.reload_state, "message": note.reload_message},
        "workers": [_worker(row) for row in rows],
        "connections": {what: _count(numbers, f"connections.{what}") for what in ("active", "idle")},
        "requests": _count(numbers, "requests"),
        "errors": _count(numbers, "errors"),
        "responses": {name.removeprefix("responses."): _count(numbers, name) for name in RESPONSES},
        "rates": {name: _rate(numbers, name) for name in RATES},
        "listeners": [_listener(each, numbers, certificates.get(each.name, ())) for each in settings.listeners],
        "routes": [_route(each) for each in settings.routes],
        "upstreams": [_upstream(each, numbers, rows) for each in settings.upstreams],
    }


def _worker(row: Row) -> dict[str, Any]:
    connections = _count(row.values, "connections.active") + _count(row.values, "connections.idle")
    return {
        "pid": row.pid,
        "state": row.state.name.lower() if row.is_living else _SILENT,
        "connections": connections,
        "requests": _count(row.values, "requests"),
        "uptime": _since(row.started_at),
        "generation": row.generation,
    }


def _listener(
    listener: ListenerSettings, numbers: Mapping[str, float], certificates: Sequence[tuple[str, Facts]]
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": listener.name,
        "protocol": listener.protocol,
        "bind": [str(address) for address in listener.bind],
        "connections": _count(numbers, of_listener(listener.name, "connections")),
        "requests": _count(numbers, of_listener(listener.name, "requests")),
    }
    if listener.tls_certificate:
        told["tls"] = {what: _count(numbers, of_listener(listener.name, f"tls/{what}")) for what in HANDSHAKES}
        told["certificates"] = [
            {"file": file, "names": list(facts.names), "not_after": facts.not_after.isoformat()} for file, facts in certificates
        ]
    return told


def _route(route: RouteSettings) -> dict[str, Any]:
    """Return a route with the conditions that it has, and the one thing that it does."""
    marks = {"prefix": "", "exact": "= ", "regex": "~ "}
    told: dict[str, Any] = {
        "name": route.name,
        "listener": list(route.listener),
        "host": list(route.host),
        "path": [marks[path.kind] + path.text for path in route.path],
        "method": list(route.method),
        "header": [f"{name}: {value}" for name, value in route.header],
        "upstream": route.upstream,
        "redirect": route.redirect,
        "status": route.status,
    }
    return {key: value for key, value in told.items() if value}


def _upstream(upstream: UpstreamSettings, numbers: Mapping[str, float], rows: Sequence[Row]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": upstream.name}
    told |= {what: _count(numbers, of_upstream(upstream.name, what)) for what in ("queued", *UPSTREAM_COUNTERS)}
    reasons = {reason: _count(numbers, of_retries(upstream.name, reason)) for reason in RETRY_REASONS}
    told["retry_reasons"] = {reason: count for reason, count in reasons.items() if count}
    told["rates"] = {"requests_per_s": _rate(numbers, of_upstream(upstream.name, "requests_per_s"))}
    told["backends"] = [
        {
            "name": backend.label,
            "address": str(backend.address),
            "state": agreed_state([row.values[name] for row in rows if row.is_living and name in row.values]),
            **{what: _count(numbers, of_backend(stem, what)) for what in ("active", "idle", "requests", "failures")},
        }
        for backend, stem in zip(upstream.backends, stems(upstream), strict=True)
        for name in (of_backend(stem, "state"),)
    ]
    return told


def agreed_state(told: Sequence[float]) -> str:
    """Return the state of a backend from what each living worker says of it, as numbers.

    Draining if all say so, down if at least half do, up if any does, else unknown.
    """
    states = [STATES[int(each)] for each in told]
    if states and all(state == "draining" for state in states):
        return "draining"
    if states and states.count("down") >= ceil(len(states) / 2):
        return "down"
    return "up" if "up" in states else "unknown"


def _count(numbers: Mapping[str, float], name: str) -> int:
    return int(numbers.get(name, 0))


def _rate(numbers: Mapping[str, float], name: str) -> float:
    return round(numbers.get(name, 0.0), 1)


def _since(instant: float) -> float:
    return round(max(0.0, time() - instant), 1)  # somebody may have put the clock back
