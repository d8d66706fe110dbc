"""Health: whether one backend may be asked, from what checks and traffic have shown. No I/O; the clock comes from outside.

Two judges, and a backend is out if either says so:
- active: `health-fall` checks in a row that fail take it out, `health-rise` that pass bring it back;
- passive: `max-fails` consecutive failures of traffic take it out for `fail-timeout`. It then *rests*, and is *ripe* when
  that time is over: one request at a time tries it, a success clears the mark, a failure lets it rest again. So do
  `health-rise` checks that passed since the mark was made.
A backend whose name has no address, or that is draining, is out too. What nobody has judged yet is unknown, which counts as up.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from greenproxy.config.settings import UpstreamSettings
from greenproxy.observability.verdicts import Verdict


class State(enum.StrEnum):
    """What the status page says."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    DRAINING = "draining"


class Health:
    """The health of one backend.

    `changed(reason)` is called when `is_available` has changed, and with "" when only `is_resting` has.
    """

    __slots__ = (
        "_active", "_changed", "_clock", "_fails", "_has_address", "_misses", "_out_until_s", "_passes", "_settings",
        "has_trial", "is_available", "is_clean", "is_draining", "is_resting", "tried_at_s",
    )  # fmt: skip

    def __init__(self, settings: UpstreamSettings, clock: Callable[[], float], changed: Callable[[str], None]) -> None:
        self._settings = settings
        self._clock = clock
        self._changed = changed
        self._active = State.UNKNOWN
        self._passes = self._misses = 0  # checks in a row
        self._fails = 0  # failures of traffic in a row
        self._out_until_s: float | None = None  # the passive mark
        self._has_address = True
        self.is_draining = False
        self.is_available = True
        self.is_resting = False  # only the passive mark speaks against it
        self.is_clean = False  # a success of traffic would change nothing
        self.has_trial = False  # a request is trying it
        self.tried_at_s = float("-inf")

    @property
    def state(self) -> State:
        """Return what the status page says."""
        if self.is_draining:
            return State.DRAINING
        return self._active if self.is_available else State.DOWN

    @property
    def can_be_tried(self) -> bool:
        """Return whether a request could reach it at all, when nothing better is left, and none is trying it now."""
        return self._has_address and not self.is_draining and not self.has_trial

    def is_ripe(self, now: float) -> bool:
        """Return whether it has rested for long enough to be tried by one request."""
        return self.is_resting and not self.has_trial and self._out_until_s is not None and self._out_until_s <= now

    # ------------------------------------------------------------------ what other workers know

    @property
    def verdict(self) -> Verdict:
        """Return what checks and traffic have shown, for other workers to inherit."""
        return Verdict(self._active.value, self._out_until_s or 0.0)

    def inherit(self, verdict: Verdict) -> None:
        """Begin with what another worker knew, before anything has been shown here. `changed` is not called.

        What nothing here could ever clear is left out: a verdict of checks where there are none, a mark where traffic
        makes none. A mark ends when it would have ended there, or earlier where fail-timeout is shorter.
        """
        has_checks = bool(self._settings.health_interval_s)
        if verdict.state == State.UP or (verdict.state == State.DOWN and has_checks):
            self._active = State(verdict.state)
        if verdict.rests_until_s and self._settings.max_fails:
            self._out_until_s = min(verdict.rests_until_s, self._clock() + self._settings.fail_timeout_s)
            self._fails = self._settings.max_fails
        self._judge()

    # ------------------------------------------------------------------ what checks show

    def check_passed(self) -> None:
        """Note a check that succeeded."""
        self._misses = 0
        self._passes += 1
        if self._active is State.UNKNOWN:
            self._active = State.UP
        if self._passes >= self._settings.health_rise:
            self._active = State.UP
            self._clear_mark()
            self._settle(f"{self._passes} checks in a row passed")

    def check_failed(self, reason: str) -> None:
        """Note a check that failed, and why."""
        self._passes = 0
        self._misses += 1
        if self._misses >= self._settings.health_fall:
            self._active = State.DOWN
            self._settle(f"{self._misses} checks in a row failed, the last one with {reason}")

    # ------------------------------------------------------------------ what traffic shows

    def succeeded(self, is_trial: bool) -> None:
        """Note a request that the backend answered.

        While it is out only the trial counts: other answers belong to requests of before, and say nothing of now.
        """
        if self._out_until_s is None or is_trial:
            self._fails = 0
            if self._active is State.UNKNOWN:
                self._active = State.UP
            self._clear_mark()
            self._settle("a trial request succeeded")

    def failed(self, reason: str, is_trial: bool) -> None:
        """Note a failure that is the backend's fault. Those of requests from before it was out change nothing."""
        self.is_clean = False
        self._fails += 1
        if self._settings.max_fails and (self._out_until_s is None or is_trial) and self._fails >= self._settings.max_fails:
            self._out_until_s = self._clock() + self._settings.fail_timeout_s
            self._passes = 0  # only checks from now on may clear the mark
            self._settle(f"{self._fails} requests in a row failed, the last one with {reason}")

    def begin_trial(self) -> None:
        """Lend it to one request although it is out."""
        self.has_trial = True
        self.tried_at_s = self._clock()

    def end_trial(self) -> None:
        """Let the next request try it, if this one did not settle the matter."""
        self.has_trial = False

    def _clear_mark(self) -> None:
        self._fails = 0
        self._out_until_s = None

    # ------------------------------------------------------------------ what others say

    def address_known(self) -> None:
        """Note that its name has addresses."""
        self._has_address = True
        self._settle("its name has an address now")

    def address_missing(self, reason: str) -> None:
        """Note that its name has no address, and why."""
        self._has_address = False
        self._settle(reason)

    def drain(self, is_draining: bool) -> None:
        """Send it no new requests, or do so again."""
        self.is_draining = is_draining
        self._settle("it is draining" if is_draining else "it is ready again")

    def _judge(self) -> None:
        is_reachable = self._has_address and not self.is_draining and self._active is not State.DOWN
        self.is_available = is_reachable and self._out_until_s is None
        self.is_resting = is_reachable and self._out_until_s is not None
        self.is_clean = self._fails == 0 and self._out_until_s is None and self._active is not State.UNKNOWN

    def _settle(self, reason: str) -> None:
        before = (self.is_available, self.is_resting)
        self._judge()
        if (self.is_available, self.is_resting) != before:
            self._changed(reason if self.is_available != before[0] else "")
