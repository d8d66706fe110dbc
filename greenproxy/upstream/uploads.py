"""Uploads: how many requests whose body is still to come may hold sockets of an upstream, in one worker.

A request that is all here needs its backend for as long as that takes to answer; one whose body is still to come, for as long
as its client likes. So a part of the slots is kept for the former: however many slow uploads there are, the others find room.
An upload beyond that is read into memory first, as far as a bounded buffer goes; most end there and count as all here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gevent.event import Event

from greenproxy.deadline import Deadline
from greenproxy.errors import QueueFull

KEPT_FREE = 8  # one slot in as many


class Uploads:
    """Counts places. `slots()` is how many sockets the upstream may have now; at most `queue_size` uploads wait for a place.

    `wanted` is called when one begins to wait.
    """

    def __init__(self, slots: Callable[[], int], queue_size: int, wanted: Callable[[], None]) -> None:
        self._slots = slots
        self._wanted = wanted
        self._queue_size = queue_size
        self._waiters: OrderedDict[Event, None] = OrderedDict()
        self.under_way = 0

    def __len__(self) -> int:
        """How many wait for a place."""
        return len(self._waiters)

    @property
    def is_full(self) -> bool:
        """Whether the next upload has to wait."""
        return bool(self._waiters) or self.under_way >= self._most()

    def _most(self) -> int:
        slots = self._slots()
        return max(1, slots - slots // KEPT_FREE)

    def enter(self) -> Place:
        """Take a place, whether there is one or not."""
        self.under_way += 1
        return Place(self)

    def wait(self, limit: Deadline) -> Place:
        """Take a place as soon as there is one, first come, first served. Raises QueueFull or `limit.late()`."""
        if not self.is_full:
            return self.enter()
        if len(self._waiters) >= self._queue_size:
            raise QueueFull()
        seconds = limit.remaining_s()
        turn = Event()
        self._waiters[turn] = None
        self._wanted()
        try:
            if seconds > 0:
                turn.wait(None if seconds == float("inf") else seconds)
        except BaseException:  # killed, or a timeout of somebody else's: its turn may have come already
            if turn.is_set():
                self.leave()
            raise
        finally:
            self._waiters.pop(turn, None)
        if not turn.is_set():
            raise limit.late()
        return Place(self)

    def leave(self) -> None:
        """Give a place back. Never waits."""
        self.under_way -= 1
        self.serve()

    def serve(self) -> None:
        """Give places to those who have waited longest, as far as there are any: slots come and go. Never waits."""
        while self._waiters and self.under_way < self._most():
            turn, _ = self._waiters.popitem(last=False)
            self.under_way += 1  # from here on it is its place, although its greenlet does not know it yet
            turn.set()


class Place:
    """The place of one request's upload, for all its tries. `leave` is idempotent."""

    __slots__ = ("_is_settled", "_under_way", "_uploads")

    def __init__(self, uploads: Uploads) -> None:
        self._uploads: Uploads | None = uploads
        self._under_way = 0  # the last try, and those before it that have yet to notice
        self._is_settled = False

    def began(self) -> None:
        """A try begins to send the body."""
        self._under_way += 1

    def ended(self, is_whole: bool) -> None:
        """A try sends no more of it: all of it is sent, or another try will, or nobody."""
        self._under_way -= 1
        if is_whole or (self._is_settled and not self._under_way):
            self.leave()

    def settle(self) -> None:
        """There will be no other try."""
        self._is_settled = True
        if not self._under_way:
            self.leave()

    def leave(self) -> None:
        """Give it back: the body has all come, or will not."""
        uploads, self._uploads = self._uploads, None
        if uploads is not None:
            uploads.leave()
