"""Stopwatch: a time limit that can be stopped in between and that cannot be swallowed.

A plain `gevent.Timeout` fires once; user code with a wide `except` would be rid of it. This one fires until it is
closed. What it raises is a `gevent.Timeout`, so `except Exception` in user code lets it through.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent import Timeout, get_hub, getcurrent

AGAIN_S = 0.1  # clean-up that waits longer than this after the limit is interrupted too
_FOREVER = float("inf")


class Overrun(Timeout):
    """Raised in code whose time is over."""

    def __str__(self) -> str:
        return "the middleware's time is over"


class Stopwatch:
    """Counts down `seconds` (0: no limit) for the greenlet that makes it, while it runs.

    Whoever makes it calls `pause()` at the end, whatever happens. `has_fired` stays true once it fired.
    """

    __slots__ = ("_greenlet", "_since_s", "_timer", "has_fired", "left_s")

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds or _FOREVER
        self.has_fired = False
        self._greenlet: Any = getcurrent()
        self._timer: Any = None
        self._since_s = 0.0

    def run(self, at_most_s: float) -> None:
        """Let time pass from now on. It fires after what is left of it, or after `at_most_s` if that is less."""
        self._since_s = monotonic()
        seconds = min(self.left_s, at_most_s)
        if seconds == _FOREVER:
            return
        self._timer = get_hub().loop.timer(max(seconds, 0.0), AGAIN_S, priority=-1)
        self._timer.start(self._fire, update=True)  # without update libev counts from the start of the loop's turn

    def pause(self) -> None:
        """Let no time pass, and do not fire, until the next `run`."""
        self.left_s -= monotonic() - self._since_s
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _fire(self) -> None:
        self.has_fired = True
        self._greenlet.throw(Overrun())
