"""Recycler: raw greenlets that serve one task after the other.

A new greenlet per request costs seven times what a recycled one does (each maps and unmaps its own frame stack), and
a blocked one costs 9 KB, so tasks are short: an exchange, not a connection's life.

What a task leaves behind in its greenlet (a `gevent.Timeout` that was not closed, context variables) would hit the next
one: a task that ran code of others says so with `retire()`, and its greenlet ends with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.hub import getcurrent
from greenlet import greenlet

Task = Callable[[], None]
_TRIM_EVERY_S = 0.25


class _Runner(greenlet):
    is_retired = False


class Recycler:
    """Runs tasks; keeps `keep` greenlets for reuse, behind a burst more of them, which end one after the other."""

    def __init__(self, keep: int = 256, most: int = 2048) -> None:
        self._hub: Any = get_hub()
        self._idle: list[_Runner] = []
        self._keep = keep
        self._most = most
        self._trim_timer: Any = None  # there while there are more than `keep`

    def run(self, task: Task) -> None:
        """Run `task` until it first waits. Must be called from a hub callback; exceptions go to the hub's error handler."""
        if self._idle:
            self._idle.pop().switch(task)
        else:
            _Runner(self._loop, self._hub).switch(task)

    @property
    def idle(self) -> int:
        """How many greenlets wait for a task."""
        return len(self._idle)

    def spawn(self, task: Task) -> None:
        """Run `task` soon. May be called from anywhere."""
        self._hub.loop.run_callback(self.run, task)

    @staticmethod
    def retire() -> None:
        """Let the calling task's greenlet end with it."""
        me = getcurrent()
        if isinstance(me, _Runner):
            me.is_retired = True

    @staticmethod
    def is_retired() -> bool:
        """Return whether the calling task's greenlet ends with it."""
        return bool(getattr(getcurrent(), "is_retired", False))

    def _loop(self, task: Task | None) -> None:
        me: Any = getcurrent()
        idle, hub = self._idle, self._hub
        while task is not None:
            try:
                task()
            except BaseException:  # a raw greenlet has nobody above it but the hub, which must not end
                hub.handle_error(me, *sys.exc_info())
            if me.is_retired or (len(idle) >= self._keep and not self._may_stay()):
                return
            idle.append(me)
            task = hub.switch()

    def _may_stay(self) -> bool:
        """One more than usual is free: where hundreds of requests are served at once, it will be wanted again in a moment."""
        if self._trim_timer is None:
            self._trim_timer = self._hub.loop.timer(_TRIM_EVERY_S, _TRIM_EVERY_S, ref=False)
            self._trim_timer.start(self._trim)
        return len(self._idle) < self._most

    def _trim(self) -> None:
        """End half of those that are more than usual. In the hub."""
        idle = self._idle
        for _ in range((len(idle) - self._keep + 1) // 2):
            idle.pop().switch(None)
        if len(idle) <= self._keep:
            timer, self._trim_timer = self._trim_timer, None
            timer.stop()
            timer.close()
