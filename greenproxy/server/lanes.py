"""Lanes: which of the queues of an address this worker accepts from (`reuse-port`).

Each worker has one of its own. From one that is nobody's, because its worker is dead, stuck, full or told to end, all others
accept, so nobody waits there for long, and no queue must ever be closed. A worker without a lane of its own (TTIN) accepts from
all of them; then all are shared.

An address with one queue is shared by all, as ever.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import Protocol

#: How often workers look, and after how long without a sign of life a lane is nobody's.
LOOK_EVERY_S, STALE_S = 0.1, 0.5


class Queue(Protocol):
    """A listener, as far as this is concerned; `is_shared` says whether others accept from it too."""

    is_shared: bool

    def watch(self, wanted: bool) -> None: ...


class Lanes:
    """The queues of one address, in the order of the lanes; `mine` is this worker's, None or too high when it has none."""

    def __init__(self, queues: Sequence[Queue], mine: int | None) -> None:
        self._queues = queues
        self._mine = mine if mine is not None and mine < len(queues) else -1

    def look(self, others: Iterable[int]) -> None:
        """Accept from what is mine, or nobody's. `others` are the lanes of the other workers that accept."""
        others = list(others)
        count = len(self._queues)
        has_homeless = any(not 0 <= lane < count for lane in others)
        for lane, queue in enumerate(self._queues):
            is_mine = lane == self._mine
            queue.is_shared = has_homeless or not is_mine
            queue.watch(is_mine or self._mine < 0 or lane not in others)


def by_address(sockets: Iterable[socket.socket]) -> list[list[socket.socket]]:
    """Return the sockets by the address that they are bound to, in their order."""
    found: dict[object, list[socket.socket]] = {}
    for sock in sockets:
        found.setdefault(sock.getsockname(), []).append(sock)
    return list(found.values())
