"""Boots: how the start of workers goes, in memory that gunicorn's master and all its workers share.

On HUP gunicorn's master tells the old workers to end before it knows that the new ones can begin. Here they see for
themselves: every HUP is a round, and who is told to end in a later round than its own waits until somebody of that serves.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from enum import Enum
from time import monotonic

_BYTES = 8
_ROUND, _SERVED, _FAILED, _HOPELESS, _GAVE_UP_AT, _OTHER_MASTER = range(6)
#: So long after the new ones gave up, gunicorn's master may still count them, and tell old ones once more to end: it looks once
#: a second, and both are late on a machine with ten times too much to do. What is meant it says again until it is done.
_ECHO_S = 5.0


class Departure(Enum):
    """What a worker does that was told to end."""

    NOW = "it ends"
    LATER = "it asks again, soon"
    NEVER = "it goes on, and forgets that it was told"
    ECHO = "the same, because it was told once more of what it has forgotten"


class Boots:
    """The last rounds in which this and that happened, and when workers gave up. Made by the master; `mine` is one's own."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._numbers = memoryview(mmap.mmap(-1, 6 * _BYTES)).cast("q")
        self._clock = clock
        self._asked_at_s = 0.0
        self._has_stayed = False
        self.mine = 0

    # -------------------------------------------------------------- the master

    def begin_round(self) -> None:
        """Begin the next round: workers that are forked from now on belong to it."""
        self.mine += 1
        self._numbers[_ROUND] = self.mine

    @property
    def have_failed(self) -> bool:
        """Whether a worker of this round could not serve what it was made for."""
        return self._numbers[_FAILED] == self.mine

    @property
    def are_hopeless(self) -> bool:
        """Whether a worker of this round could not serve anything."""
        return self._numbers[_HOPELESS] == self.mine

    @property
    def other_master(self) -> int:
        """The process id of the master before this one, or after it (USR2), 0 if there never was one."""
        return int(self._numbers[_OTHER_MASTER])

    @other_master.setter
    def other_master(self, pid: int) -> None:
        self._numbers[_OTHER_MASTER] = pid

    # -------------------------------------------------------------- workers

    @property
    def is_past(self) -> bool:
        """Whether there is a later round than one's own."""
        return int(self._numbers[_ROUND]) > self.mine

    def served(self) -> None:
        """Note that this worker serves."""
        self._numbers[_SERVED] = max(self._numbers[_SERVED], self.mine)

    def failed(self) -> None:
        """Note that this worker cannot serve what it was made for."""
        self._numbers[_FAILED] = max(self._numbers[_FAILED], self.mine)

    def gave_up(self, *, is_retry: bool) -> None:
        """Note that this worker cannot serve anything; `is_retry` if another one of its round had tried before its time."""
        if not is_retry:
            self._numbers[_GAVE_UP_AT] = int(self._clock() * 1000)
        self._numbers[_HOPELESS] = max(self._numbers[_HOPELESS], self.mine)

    @property
    def has_anybody_served(self) -> bool:
        """Whether a worker ever served."""
        return self._numbers[_SERVED] > 0

    def departure(self, patience_s: float) -> Departure:
        """Return what a worker does that was told to end; it waits no longer than `patience_s` for those of a later round."""
        current = self._numbers[_ROUND]
        if self._has_stayed and current == self.mine and self._clock() < self._numbers[_GAVE_UP_AT] / 1000 + _ECHO_S:
            return Departure.ECHO
        if current == self.mine or self._numbers[_SERVED] > self.mine:
            return Departure.NOW
        if self._numbers[_HOPELESS] > self.mine:
            self.mine = current  # whoever tells it later means it
            self._asked_at_s = 0.0
            self._has_stayed = True
            return Departure.NEVER
        self._asked_at_s = self._asked_at_s or self._clock()
        return Departure.NOW if self._clock() - self._asked_at_s >= patience_s else Departure.LATER
