"""Holds: leases whose backend waits only because their client is slow, and who of them makes room when others need it.

A client that sends its body, or reads its answer, a byte now and then keeps a socket of the pool for as long as it likes:
no silence is ever long enough for a timeout. While nobody else wants the socket, that is nobody's business. When requests
wait for a slot, the slowest of these clients are cut, as many as wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from gevent import get_hub
from gevent.hub import getcurrent

from greenproxy.errors import ProxyError
from greenproxy.upstream.backend import Backend

PATIENCE_S = 0.5  # as long may a client keep its backend waiting while others need it ...
RATE_BYTES_PER_S = 1000  # ... and a second more for as many bytes that it moved


def _nothing() -> int:
    return 0


class Hold:
    """One direction of one exchange: what it owes is the time for which its client kept the backend waiting.

    Bytes that move pay it off, at RATE_BYTES_PER_S, never in advance: who trickles owes more and more.
    """

    __slots__ = (
        "_error", "_holds", "_is_excused", "_left", "_left_before", "_owed_s", "_since_s", "_waiter", "backend", "is_upload",
    )  # fmt: skip

    def __init__(self, holds: Holds, backend: Backend, *, is_upload: bool = False) -> None:
        self._holds = holds
        self.backend = backend
        self.is_upload = is_upload
        self._owed_s = 0.0
        self._since_s = 0.0
        self._waiter: Any = None
        self._error: type[ProxyError] = ProxyError
        self._left: Callable[[], int] = _nothing
        self._left_before = 0
        self._is_excused = False

    def excuse(self) -> None:
        """The client waits for the backend: until `blame` its time does not count."""
        self._is_excused = True

    def blame(self) -> None:
        """It is the client's turn from now on."""
        self._is_excused = False
        self._since_s = self._holds.clock()

    @contextmanager
    def waiting(self, error: type[ProxyError], left: Callable[[], int] = _nothing) -> Iterator[None]:
        """A block in which this greenlet waits for its client: `error` may be raised in it.

        `left` tells how many bytes the kernel still has for a client that reads: as they get fewer, it does read.
        """
        self._error, self._left, self._left_before = error, left, left()
        self._since_s = self._holds.clock()
        self._waiter = getcurrent()
        self._holds.waiting[self] = None
        try:
            yield
        finally:
            self.owed_s()
            self._left = _nothing
            self._left_before = 0
            self._waiter = None
            self._holds.waiting.pop(self, None)

    def moved(self, count: int) -> None:
        """Note bytes that came from the client, or that it made room for."""
        self._owed_s = max(0.0, self._owed_s - count / RATE_BYTES_PER_S)

    def owed_s(self) -> float:
        """Return the seconds for which the client kept its backend waiting, less what it paid off."""
        if self._waiter is not None and not self._is_excused:
            # Settled up to now each time, so that what the kernel takes in one go is no credit for the rest of a long wait.
            now_s, left = self._holds.clock(), self._left()
            paid_s = (self._left_before - left) / RATE_BYTES_PER_S
            self._owed_s = max(0.0, self._owed_s + now_s - self._since_s - paid_s)
            self._since_s, self._left_before = now_s, left
        return self._owed_s

    def cut(self) -> None:
        """Raise the error in whoever waits. Does not wait itself."""
        self._holds.waiting.pop(self, None)
        get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        if self._waiter is None:
            return
        if self.owed_s() >= PATIENCE_S:
            self._waiter.throw(self._error())
        else:  # it moved just now, or this is another wait already
            self._holds.waiting[self] = None


class Holds:
    """All of one upstream's. `waiting` are those whose greenlets wait for their clients now."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.waiting: dict[Hold, None] = {}

    def relieve(self, most: int, is_wanted: Callable[[Hold], bool]) -> int:
        """Cut the slowest clients that hold what is wanted, at most `most`; return how many that were."""
        if not most:
            return 0
        late = [(owed_s, hold) for hold in self.waiting if (owed_s := hold.owed_s()) >= PATIENCE_S and is_wanted(hold)]
        late.sort(key=lambda each: -each[0])
        for _, hold in late[:most]:
            hold.cut()
        return min(most, len(late))
