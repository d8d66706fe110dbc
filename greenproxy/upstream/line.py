"""Line: the requests that wait for a slot of an upstream, oldest first.

A slot is handed over in two steps, because a woken greenlet runs later: first the waiter is taken out of the line and owns
the slot (`Waiter.grant`), then it is woken. If it is killed or timed out in between, `Line.wait` passes the slot on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import NamedTuple

from gevent.event import Event

from greenproxy.deadline import Deadline
from greenproxy.errors import ProxyError
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.connection import Connection


class Grant(NamedTuple):
    """A slot of a backend, with an idle connection or the right to open one."""

    backend: Backend
    connection: Connection | None
    is_trial: bool


class Waiter:
    """One request in the line; what it was given or told when it left it."""

    __slots__ = ("error", "fresh", "grant", "tried", "woken")

    def __init__(self, tried: Collection[Backend], fresh: bool) -> None:
        self.tried = tried
        self.fresh = fresh
        self.grant: Grant | None = None
        self.error: ProxyError | None = None
        self.woken = Event()


class Line:
    """First come, first served. `len()` is how many wait."""

    def __init__(self, take_back: Callable[[Grant], None]) -> None:
        #: Look here whether anybody waits, for every request: a `__len__` of ours is a call and 0.1 us.
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._take_back = take_back

    def __len__(self) -> int:
        return len(self.waiters)

    def waiting(self) -> list[Waiter]:
        """Return those who wait, oldest first."""
        return list(self.waiters)

    def first(self, may: Callable[[Waiter], bool]) -> Waiter | None:
        """Return the oldest waiter that `may` accepts."""
        return next((waiter for waiter in self.waiters if may(waiter)), None)

    def hand(self, waiter: Waiter, grant: Grant) -> None:
        """Take a waiter out of the line; it owns the slot from now on. Never waits."""
        del self.waiters[waiter]
        waiter.grant = grant
        waiter.woken.set()

    def refuse(self, waiter: Waiter, error: ProxyError) -> None:
        """Take a waiter out of the line; `error` is raised in it. Never waits."""
        del self.waiters[waiter]
        waiter.error = error
        waiter.woken.set()

    def wait(self, waiter: Waiter, limit: Deadline) -> Grant:
        """Stand in the line and return the slot that was handed over.

        Raises what `refuse` was given, or `limit.late()`. Whatever else ends the wait, no slot is lost.
        """
        seconds = limit.remaining_s()
        if seconds <= 0:
            raise limit.late()
        self.waiters[waiter] = None
        try:
            waiter.woken.wait(None if seconds == float("inf") else seconds)
        except BaseException:  # killed, or a timeout of somebody else's: it may own a slot already
            if waiter.grant is not None:
                self._take_back(waiter.grant)
            raise
        finally:
            self.waiters.pop(waiter, None)
        if waiter.error is not None:
            raise waiter.error
        if waiter.grant is None:
            raise limit.late()
        return waiter.grant
