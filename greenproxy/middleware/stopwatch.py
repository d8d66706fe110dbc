"""Stopwatch: a time limit that can be stopped in between and that cannot be swallowed.

A plain `gevent.Timeout` fires once; user code with a wide `except` would be rid of it. This one fires until it is
closed. What it raises is a `gevent.Timeout`, so `except Exception` in user code lets it through.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent import Timeout, get_hub, getcurrent

AGAIN_S = 0.1  # clean-up that waits longer than this after the limit is interrupted too
_EARLY_S = 0.001  # so much before its time a timer may ring
_FOREVER = float("inf")


class Overrun(Timeout):
    """Raised in code whose time is over."""

    def __str__(self) -> str:
        return "the middleware's time is over"


class Stopwatch:
    """Counts down `seconds` (0: no limit) for the greenlet that makes it, while it runs.

    Whoever makes it calls `end()` at the end, whatever happens. `has_fired` stays true once it fired.
    """

    __slots__ = ("_due_s", "_greenlet", "_is_running", "_rings_s", "_since_s", "_timer", "has_fired", "left_s")

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds or _FOREVER
        self.has_fired = False
        self._greenlet: Any = getcurrent()
        self._is_running = False
        self._since_s = self._due_s = 0.0
        #: It goes on while this pauses, and looks again when it rings too early: nearly always all is over before that.
        self._timer: Any = None
        self._rings_s = 0.0

    def run(self, at_most_s: float) -> None:
        """Let time pass from now on. It fires after what is left of it, or after `at_most_s` if that is less."""
        self._is_running = True
        self._since_s = now_s = monotonic()
        self._due_s = now_s + min(self.left_s, at_most_s)
        if self._due_s == _FOREVER:
            return
        if self._timer is None or self._due_s < self._rings_s or self.has_fired:
            self._ring_at(self._due_s)

    def pause(self) -> None:
        """Let no time pass, and do not fire, until the next `run`."""
        self._is_running = False
        self.left_s -= monotonic() - self._since_s

    def end(self) -> None:
        """Do not fire any more."""
        if self._is_running:
            self.pause()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _ring_at(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._rings_s = due_s
        self._timer = get_hub().loop.timer(max(due_s - monotonic(), 0.0), AGAIN_S, priority=-1)
        self._timer.start(self._ring, update=True)  # without update libev counts from the start of the loop's turn

    def _ring(self) -> None:
        """In the hub: the time is over, unless it stood still in between."""
        if not self._is_running:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        elif not self.has_fired and monotonic() < self._due_s - _EARLY_S:
            self._ring_at(self._due_s)
        else:
            self.has_fired = True
            self._greenlet.throw(Overrun())
