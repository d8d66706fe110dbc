"""Kills: workers that are killed on purpose, and whose requests fail with them.

What a killed worker took along is evidence, not a guess from times: before it is killed it is stopped, and then the kernel tells
which connections it has. A client may notice the end of its own much later, when it has sent another piece or two.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tests.processes import state_and_parent, wait_until
from tests.soak.site import worker_of
from tests.soak.sockets import Ends, connections_of
from tests.soak.tally import Failure, Report


@dataclass(frozen=True)
class Kill:
    """A worker that was killed, when, and the connections that it had then: accepted by it, not closed by it."""

    pid: int
    at_s: float
    had: frozenset[Ends]


def kill(pid: int) -> Kill:
    """Kill a process between two of its steps. One that has ended by itself has no connections."""
    had: frozenset[Ends] = frozenset()
    try:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: state_and_parent(pid)[0] in ("T", "Z", "X", ""), f"process {pid} stands still")
            had = connections_of(pid)
        at_s = time.monotonic()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return Kill(pid, at_s, had)


def due_to(kills: Iterable[Kill], failure: Failure) -> bool:
    """Return whether a connection died under a request because a worker was killed that had it."""
    if failure.what not in ("reset", "end", "stale"):
        return False
    ends = failure.server_port, failure.client_port
    return any(ends in each.had and failure.connected_s <= each.at_s <= failure.at_s for each in kills)


def unexplained(report: Report, kills: Sequence[Kill], ports: Sequence[int]) -> list[Failure]:
    """Return the failures that no kill explains, with the workers that the backends at `ports` know to have brought them."""
    strays = [failure for failure in report.failures if not due_to(kills, failure)]
    return [replace(failure, worker=failure.worker or worker_of(ports, failure.ident)) for failure in strays]
