"""Respawn: when the next worker may be started after others have died."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

#: A worker that served, and dies within this many seconds of its start, makes the next start wait.
YOUNG_S = 1.0
FIRST_PAUSE_S = 0.1
#: Workers that cannot boot will hardly be able to in a moment. One that served may be lucky next time, and clients wait.
LONGEST_PAUSE_S, LONGEST_PAUSE_AFTER_SERVING_S = 10.0, 1.0


class Respawn:
    """Nothing to wait for while workers live, or live for a while; a pause that doubles while they cannot boot or die at once."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._next_at_s = 0.0

    def died(self, lived_s: float, *, has_served: bool) -> float:
        """Note that a worker died after `lived_s` seconds; return the seconds until the next one may start.

        Several that die in the same pause (all workers of one bad start) lengthen it once.
        """
        waiting_s = self.remaining_s()
        if waiting_s:
            return waiting_s
        longest_s = LONGEST_PAUSE_AFTER_SERVING_S if has_served else LONGEST_PAUSE_S
        has_failed = not has_served or lived_s < YOUNG_S
        self._pause_s = min(longest_s, self._pause_s * 2 or FIRST_PAUSE_S) if has_failed else 0.0
        self._next_at_s = self._clock() + self._pause_s
        return self._pause_s

    def remaining_s(self) -> float:
        """Return the seconds until the next worker may start, 0 if it may start now."""
        return max(0.0, self._next_at_s - self._clock())
