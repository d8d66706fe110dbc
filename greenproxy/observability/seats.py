"""Seats: how many clients each worker has at this moment, in memory that all workers of a master share.

The board tells of seconds; this is read and written with every client that comes or goes, so that workers that accept from the
same sockets can share the clients evenly. A seat has one writer, its worker; the master clears those of the dead. Nobody waits
for anybody: a worker that is stuck stamps no more, and does not count after a moment.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from time import monotonic

_BYTES = 8
_CHANGED, _FIRST = range(2)  # changes whenever somebody comes or goes, so that others look around
_CLIENTS, _STAMP, _LANE, _WIDTH = range(4)
_EMPTY, _NO_LANE = -1.0, -1.0
#: Workers stamp at least once a second.
STALE_S = 2.5


class Seats:
    """Made by the master before its first fork, and kept over reloads."""

    def __init__(self, count: int = 512) -> None:
        self._count = count
        self._memory = mmap.mmap(-1, (_FIRST + count * _WIDTH) * _BYTES)
        self.numbers = memoryview(self._memory).cast("d")  # zeros: nobody has ever stamped

    def close(self) -> None:
        """Unmap it, in this process."""
        self.numbers.release()
        self._memory.close()

    def take(self, index: int, lane: int | None = None, stale_s: float = STALE_S) -> Seat:
        """Return the seat `index` for the calling worker, whose lane is the queue that it alone accepts from, if there is one."""
        at = _FIRST + index * _WIDTH
        self.numbers[at + _CLIENTS] = 0
        self.numbers[at + _LANE] = _NO_LANE if lane is None else lane
        seat = Seat(self, at, stale_s)
        seat.stamp()
        self._has_changed()
        return seat

    def clear(self, index: int) -> None:
        """Note that nobody sits there any more: its worker leaves or is dead."""
        at = _FIRST + index * _WIDTH
        self.numbers[at + _CLIENTS] = _EMPTY
        self.numbers[at + _STAMP] = 0
        self._has_changed()

    def fresh(self, stale_s: float) -> Iterator[int]:
        """Yield where the seats begin whose workers have stamped lately."""
        oldest_s = monotonic() - stale_s
        stamps = self.numbers[_FIRST + _STAMP :: _WIDTH].tolist()
        return (_FIRST + index * _WIDTH for index, stamp_s in enumerate(stamps) if stamp_s > oldest_s)

    def _has_changed(self) -> None:
        self.numbers[_CHANGED] = monotonic()


class Seat:
    """One worker's place. `clients` are those of its listeners, without the admin's."""

    def __init__(self, seats: Seats, at: int, stale_s: float) -> None:
        self._seats = seats
        self._numbers = seats.numbers
        self._at = at
        self._stale_s = stale_s
        self._seen = -1.0
        self._others: list[int] = []

    def write(self, clients: int) -> None:
        """Publish how many clients this worker has."""
        self._numbers[self._at] = clients

    def withdraw(self) -> None:
        """Publish that this worker accepts nobody for now, so that others do not leave clients to it. `write` ends that."""
        self._numbers[self._at] = _EMPTY

    def leave(self) -> None:
        """Publish that this worker will accept nobody any more."""
        self._seats.clear((self._at - _FIRST) // _WIDTH)

    def stamp(self) -> None:
        """Show that this worker turns, and look who else does. To be called at least once a second."""
        self._numbers[self._at + _STAMP] = monotonic()
        self._look_around()

    def _look_around(self) -> None:
        self._seen = self._numbers[_CHANGED]
        self._others = [at for at in self._seats.fresh(self._stale_s) if at != self._at]

    def others(self) -> tuple[float, int]:
        """Return how many clients the other workers that accept have together, and how many workers they are."""
        numbers = self._numbers
        if numbers[_CHANGED] != self._seen:
            self._look_around()
        clients, workers = 0.0, 0
        for at in self._others:
            theirs = numbers[at]
            if theirs >= 0:
                clients += theirs
                workers += 1
        return clients, workers

    def lanes_of_others(self) -> list[int]:
        """Return the lanes of the others that accept, -1 for each that has none."""
        numbers = self._numbers
        if numbers[_CHANGED] != self._seen:
            self._look_around()
        return [int(numbers[at + _LANE]) for at in self._others if numbers[at] >= 0]
