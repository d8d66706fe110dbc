"""Casualties: workers that died, or could not be started at all; what the log says of them, and when the next one may start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from greenproxy.process.endings import how_it_ended
from greenproxy.process.respawn import Respawn


class Casualties:
    """Keeps two pauses: one for places of workers that died, one while there is no room for any process more."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._clock = clock
        self._deaths = Respawn(clock)
        self._failed_forks = Respawn(clock)
        #: Some worker could not start, and `recovered` was not told since
        self.is_one_missing = False

    def begin_anew(self) -> None:
        """Forget who died: there is a new configuration."""
        self._deaths = Respawn(self._clock)

    def died(self, pid: int, status: int, lived_s: float, *, has_served: bool, is_replaced: bool) -> None:
        """Say that a worker died, and when it is replaced, if it is. `status` is that of `os.waitpid`."""
        next_is = ""
        if is_replaced:
            self.is_one_missing = self.is_one_missing or not has_served
            pause_s = self._deaths.died(lived_s, has_served=has_served)
            next_is = f"; another one starts in {pause_s:.1f} s" if pause_s else "; another one starts"
        self._log.error("worker %d %s%s", pid, how_it_ended(status), next_is)

    def failed_to_fork(self, error: OSError) -> None:
        """Say that there is no process, no memory or no descriptor for one more worker."""
        pause_s = self._failed_forks.died(0.0, has_served=False)
        self._log.error("a worker cannot be started: %s; the next try is in %.1f s", error, pause_s)

    def forked(self) -> None:
        """Note that there was room for one."""
        self._failed_forks = Respawn(self._clock)

    def recovered(self, workers: str) -> None:
        """Say that nobody is missing any more; `workers` is how many there are."""
        self.is_one_missing = False
        self._log.info("workers can start again: %s", workers)

    @property
    def pause_s(self) -> float:
        """Seconds until a dead worker may be replaced, 0 if it may be now."""
        return self._deaths.remaining_s()

    @property
    def fork_pause_s(self) -> float:
        """Seconds until a process may be forked for any worker, 0 if it may be now."""
        return self._failed_forks.remaining_s()
