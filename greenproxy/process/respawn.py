"""Respawn: when the next worker may be started after others have died."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

#: A worker that dies within this many seconds of its start makes the next start wait.
YOUNG_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0


class Respawn:
    """Nothing to wait for while workers live; a pause that doubles from 0.1 s to 10 s while they die young."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._next_at_s = 0.0

    def died(self, lived_s: float) -> float:
        """Note that a worker died after `lived_s` seconds; return the seconds until the next one may start.

        Several that die in the same pause (all workers of one bad start) lengthen it once.
        """
        waiting_s = self.remaining_s()
        if waiting_s:
            return waiting_s
        is_young = lived_s < YOUNG_S
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or FIRST_PAUSE_S) if is_young else 0.0
        self._next_at_s = self._clock() + self._pause_s
        return self._pause_s

    def remaining_s(self) -> float:
        """Return the seconds until the next worker may start, 0 if it may start now."""
        return max(0.0, self._next_at_s - self._clock())
