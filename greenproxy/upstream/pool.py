"""Pool: the sockets to one backend, in one worker.

A `gevent.queue` of slots bounds it: who takes a slot may use one socket, an idle one or one that it opens, until the slot
is put back. So sockets in use and idle sockets together never exceed the size. The queue is only ever used without
waiting; who must wait stands in the upstream's line, where a freed slot is handed over in order.

Idle sockets are taken last-in first-out, so that a quiet time lets the rest age away. Each is parked: a close by the
backend, or bytes that nobody asked for, drop it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial

from gevent import get_hub
from gevent.queue import SimpleQueue

from greenproxy.net.dial import SockAddr
from greenproxy.upstream.connection import Connection


class Pool:
    """At most `size` sockets. A timeout or age of 0 means no limit; both in seconds of `clock`."""

    __slots__ = (
        "_clock", "_idle", "_idle_timeout_s", "_is_closed", "_loop", "_max_age_s", "_moved_at_s", "_peers", "size", "slots",
    )  # fmt: skip

    def __init__(self, size: int, idle_timeout_s: float, max_age_s: float, clock: Callable[[], float]) -> None:
        self.size = size
        #: One item per slot that nobody holds; an item carries nothing.
        self.slots: SimpleQueue[None] = SimpleQueue(size, [None] * size)
        self._idle: dict[Connection, None] = {}  # in the order of becoming idle
        self._idle_timeout_s = idle_timeout_s or float("inf")
        self._max_age_s = max_age_s or float("inf")
        self._clock = clock
        self._loop = get_hub().loop
        self._is_closed = False
        self._moved_at_s = float("-inf")  # when the backend's addresses last changed ...
        self._peers: Container[SockAddr] = ()  # ... and to what

    @property
    def lent(self) -> int:
        """Return how many slots are taken."""
        return self.size - self.slots.qsize()

    @property
    def idle(self) -> int:
        """Return how many sockets are idle."""
        return len(self._idle)

    def take(self, fresh: bool = False) -> Connection | None:
        """Take a slot: return an idle connection, or None for the right to open one. `fresh`: never an idle one.

        Raises `queue.Empty` when every slot is taken. Never waits.
        """
        self.slots.get(False)  # as get_nowait() and put_nowait() do, without a call in between
        idle = self._idle
        if fresh:
            self._make_room()
            return None
        while idle:
            connection = idle.popitem()[0]
            stream = connection.stream
            # Within the turn of the loop in which it was parked nobody has looked at the socket; and of what the loop has seen
            # in this turn it may have told others first. What nobody asked for would be the answer to the next request.
            if (not stream.unpark() and connection.parked_in != self._loop.iteration) or connection.is_quiet():
                return connection
            stream.close()
        return None

    def _make_room(self) -> None:
        """The right to open a socket was taken although idle ones are there: the oldest one may be one too many."""
        while len(self._idle) > self.slots.qsize():
            self._drop(next(iter(self._idle)))

    def put(self, connection: Connection | None) -> None:
        """Put a slot back, with the connection that was used if it may be used again. Never waits."""
        if connection is not None:
            now = self._clock()
            if self._is_usable(connection, now):
                connection.idle_since_s = now
                connection.parked_in = self._loop.iteration
                self._idle[connection] = None
                connection.stream.park(connection.on_readable)
            else:
                connection.stream.close()
        self.slots.put(None, False)

    def adopt(self, connection: Connection) -> None:
        """Make a new connection, opened under a slot of this pool, one of its own."""
        connection.on_readable = partial(self._drop, connection)

    def may_pass_on(self, connection: Connection) -> bool:
        """Return whether a connection may go straight from one request to the next, without having been idle."""
        return self._is_usable(connection, self._clock()) and connection.is_quiet()

    def _is_usable(self, connection: Connection, now: float) -> bool:
        born_s = connection.born_s
        if self._is_closed or connection.stream.is_closed or born_s + self._max_age_s <= now:
            return False
        return born_s > self._moved_at_s or connection.peer in self._peers

    def _drop(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        connection.stream.close()

    def sweep(self) -> None:
        """Close the sockets that have been idle, or have lived, for too long. Never waits."""
        now = self._clock()
        idle_before, born_before = now - self._idle_timeout_s, now - self._max_age_s
        for connection in list(self._idle):
            if connection.idle_since_s <= idle_before or connection.born_s <= born_before:
                self._drop(connection)

    def move(self, peers: Container[SockAddr]) -> None:
        """Keep only sockets to these addresses: others are closed now, or when they come back. Never waits."""
        self._moved_at_s = self._clock()
        self._peers = peers
        for connection in list(self._idle):
            if connection.peer not in peers:
                self._drop(connection)

    def shed(self) -> int:
        """Close the sockets that have been idle longest, an eighth of them, and return how many they are. Never waits."""
        oldest = list(self._idle)[: max(1, len(self._idle) // 8)]
        for connection in oldest:
            self._drop(connection)
        return len(oldest)

    def drop_idle(self) -> None:
        """Close every idle socket. Never waits."""
        for connection in list(self._idle):
            self._drop(connection)

    def close(self) -> None:
        """Close the idle sockets now, and those in use when they come back. Never waits."""
        self._is_closed = True
        self.drop_idle()
