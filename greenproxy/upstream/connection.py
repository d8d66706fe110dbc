"""Connection: one socket to a backend, from the dial to the close, over as many requests as it serves."""

from __future__ import annotations

from collections.abc import Callable

from greenproxy.net.dial import SockAddr
from greenproxy.net.stream import Stream


class Connection:
    """A stream to a backend and what its pool must know of it. Instants are seconds of the pool's clock.

    `uses` counts the leases; `parked_in` is the turn of the event loop in which it last became idle.
    """

    __slots__ = ("born_s", "idle_since_s", "on_readable", "parked_in", "peer", "stream", "uses")

    def __init__(self, stream: Stream, peer: SockAddr, born_s: float) -> None:
        self.stream = stream
        self.peer = peer
        self.born_s = born_s
        self.idle_since_s = born_s
        self.parked_in = -1
        self.uses = 0
        self.on_readable: Callable[[], None] = stream.close  # while idle; its pool puts its own here

    def is_quiet(self) -> bool:
        """Return whether nothing arrived that nobody asked for, neither bytes nor an end. One system call, never waits."""
        try:
            return self.stream.recv_now(1) is None
        except OSError:
            return False
