"""Measuring: the cells of one scenario take turns, round by round, on one ground."""

from __future__ import annotations

import math
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from bench.figures import Round
from bench.ground import TARGETS, Counted, Ground
from bench.holder import CONTEXT, ask
from bench.loads import Address, Held
from bench.processes import Cores, Trouble, free_port
from bench.reading import Load, Unreadable
from bench.scenarios import FIGURES, MEMORY, Cell, Scenario
from bench.targets import Launch, Place, launch
from bench.usage import processor_s, settled_memory_bytes

_SETTLE_S = 8.0
_WARM_S = 0.5  # four times as long where many backends are to be dialled
_WRONGS = (Trouble, Unreadable, OSError, HTTPException, subprocess.SubprocessError)
Say = Callable[[str], None]


def _free_address() -> Address:
    return Address(free_port(), free_port())


@dataclass
class Running:
    """A proxy that runs for a cell, and what its rounds have measured."""

    cell: Cell
    child: subprocess.Popen[bytes] | None = None
    address: Address = field(default_factory=_free_address)
    held: Held | None = None
    rounds: list[Round] = field(default_factory=list)
    tls: dict[str, Any] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Return whether a round has failed; then nothing more is asked of it."""
        return any("failed" in each for each in self.rounds)


def measure(scenario: Scenario, rounds: int, seconds: float, say: Say, end_s: float = math.inf, least: int = 1) -> dict[str, Any]:
    """Run a scenario and return what goes into the JSON. What a single proxy cannot do is in it as a failure.

    At the instant `end_s` no further round begins; `least` there are always, if so many are wanted.
    """
    with Ground(Cores.choose(), scenario.most_backends) as ground, ExitStack() as resources:
        sink = resources.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sink.bind(("127.0.0.1", 0))  # takes what statsd is sent; the kernel drops what does not fit
        if scenario.kind == MEMORY:
            cells = [_idle_memory(ground, cell, sink.getsockname()[1], seconds) for cell in scenario.cells]
        else:
            cells = [_started(ground, cell, sink.getsockname()[1]) for cell in scenario.cells]
            for running in cells:
                _ready(ground, running, seconds)
            for running in cells:
                _hold(ground, resources, running)
            for number in range(min(rounds, scenario.most_rounds)):
                if number >= least and time.monotonic() > end_s:
                    break
                say(f"{scenario.name}: round {number + 1}")
                for running in cells:
                    if not running.has_failed:
                        running.rounds.append(_round(ground, running, seconds))
            _check_held(cells)
    return {
        "about": scenario.about,
        "kind": scenario.kind,
        "figure": FIGURES[scenario.kind],
        "seconds": scenario.round_s(seconds),
        "cells": {running.cell.label: _data(running) for running in cells},
    }


def _data(running: Running) -> dict[str, Any]:
    data: dict[str, Any] = {"proxy": running.cell.variant.proxy, "base": running.cell.base}
    if running.cell.at:
        data["at"] = running.cell.at
    if running.tls:
        data["tls"] = running.tls
    return {**data, "rounds": running.rounds}


@contextmanager
def _failures_of(running: Running) -> Iterator[None]:
    """Turn what goes wrong with one proxy into a failure of its cell: the others go on."""
    try:
        yield
    except _WRONGS as error:
        running.rounds.append(_failed(error))


def _failed(error: Exception) -> Round:
    return {"failed": " ".join(str(error).split())[:300] or type(error).__name__}


def _started(ground: Ground, cell: Cell, statsd: int) -> Running:
    running = Running(cell)
    name = cell.label.replace(" ", "-")
    with _failures_of(running):
        needs_tls = cell.is_secure or cell.load.is_secure
        place = Place(ground, name, running.address.plain, running.address.secure, statsd, needs_tls)
        found: Launch = launch(cell.variant, place)
        second = ground.cores.second if cell.variant.workers > 1 else None
        running.child = ground.children.start(name, found.command, ground.cores.proxy, found.environ, second)
    return running


def _ready(ground: Ground, running: Running, seconds: float) -> None:
    """Wait until the proxy listens, see that it works as it should, and warm it up."""
    if running.child is None:
        return
    cell, name = running.cell, running.cell.label.replace(" ", "-")
    with _failures_of(running):
        ground.children.wait_until_listening(name, running.child, running.address.plain)
        try:
            _check_greeting(running)
            if cell.is_secure or cell.load.is_secure:
                running.tls = spoken(running.address.secure)
        except _WRONGS as error:
            raise Trouble(f"it does not serve ({error}); it said: {ground.children.last_words(name)}") from error
        cell.load.run(ground, running.address, min(seconds, _WARM_S * (4 if cell.variant.backends > 10 else 1)))


def _hold(ground: Ground, resources: ExitStack, running: Running) -> None:
    """Open what is to be idle while the rounds run."""
    if running.cell.held and running.child is not None and not running.has_failed:
        with _failures_of(running):
            running.held = resources.enter_context(Held(ground, running.address, running.cell.held, running.cell.is_secure))


def _check_greeting(running: Running) -> None:
    try:
        with urllib.request.urlopen(running.address.url(TARGETS[0], is_secure=False), timeout=10) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        raise Trouble(f"it answers {error.code} where the origin says 200") from error
    if not body.startswith(b"hello from the origin"):
        raise Trouble(f"it does not pass on what the origin says, but {body[:60]!r}")


def spoken(port: int) -> dict[str, Any]:
    """Return which TLS a proxy speaks with a client like ours, and whether that client may resume its session."""
    session: ssl.SSLSession | None = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            CONTEXT.wrap_socket(plain, server_hostname="localhost", session=session) as sock,
        ):
            ask(sock)  # tickets come in front of the answer
            version, resumes, session = sock.version(), sock.session_reused, sock.session
    return {"version": version, "resumes": bool(resumes)}


def _round(ground: Ground, running: Running, seconds: float) -> Round:
    """Put the load on one proxy and return the figures of this round."""
    assert running.child is not None
    try:
        before, used_s = ground.counted(), processor_s(running.child.pid)
        load = running.cell.load.run(ground, running.address, seconds)
        used_s = processor_s(running.child.pid) - used_s
        failure = load.failure or not_proxied(load, before, ground.counted(), running.cell)
    except _WRONGS as error:
        return _failed(error)
    if running.child.poll() is not None:
        failure = f"it ended with status {running.child.returncode}"
    if failure:
        return {"failed": failure}
    return {"cpu_us": used_s / load.requests * 1e6, "per_s": load.requests / load.seconds, **load.figures}


def not_proxied(load: Load, before: Counted, after: Counted, cell: Cell) -> str:
    """Return what is wrong when the origin's counts do not go with those of the load, "" when they do.

    Connections are kept: some come with every round, some with every check of a backend, but not one with every request.
    """
    requests, connections = after.requests - before.requests, after.connections - before.connections
    if requests < 0.99 * load.requests:
        return f"the origin saw only {requests} of {load.requests} requests"
    few = 100 + 4 * cell.load.connections + (2 + load.seconds) * cell.variant.backends
    if connections > few + 0.02 * load.requests:
        return f"{connections} connections to the origin for {load.requests} requests"
    return ""


def _check_held(cells: list[Running]) -> None:
    for running in cells:
        if running.held is not None and not running.has_failed:
            with _failures_of(running):
                running.held.check()


def _idle_memory(ground: Ground, cell: Cell, statsd: int, seconds: float) -> Running:
    """Measure what the cell's held connections cost; each cell by itself, in a fresh process that has served before."""
    running = _started(ground, cell, statsd)
    _ready(ground, running, seconds)
    if running.child is None:
        return running
    with _failures_of(running):
        if not running.has_failed:
            before = settled_memory_bytes(running.child.pid, _SETTLE_S)
            with Held(ground, running.address, cell.held, cell.is_secure) as held:
                after = settled_memory_bytes(running.child.pid, _SETTLE_S)
                held.check()
            running.rounds.append({"bytes": (after - before) / cell.held, "total_bytes": float(after)})
    ground.children.stop(running.child)
    return running
