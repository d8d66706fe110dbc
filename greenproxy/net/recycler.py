"""Recycler: raw greenlets that serve one task after the other.

A new greenlet per request costs seven times what a recycled one does (each maps and unmaps its own frame stack), and
a blocked one costs 9 KB, so tasks are short: an exchange, not a connection's life.

What a task leaves behind in its greenlet (a `gevent.Timeout` that was not closed, greenlet-locals) would hit the next one. So
a task that runs code of others says so with `expose()`, and its greenlet serves another one only if nobody has kept it:
whatever could reach it, a timer, a link, a local or a list somewhere, holds a reference, and references can be counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

from gevent import get_hub
from gevent.hub import getcurrent
from greenlet import greenlet

Task = Callable[[], None]
_TRIM_EVERY_S = 0.25


class _Runner(greenlet):
    __slots__ = ("is_exposed",)

    is_exposed: bool  # code of others has run in it since it was looked at


def _nothing() -> None:
    """The task of a greenlet that shows how many references one has that nobody has kept."""


class Recycler:
    """Runs tasks; keeps `keep` greenlets for reuse, behind a burst more of them, which end one after the other."""

    def __init__(self, keep: int = 256, most: int = 2048) -> None:
        self._hub: Any = get_hub()
        self._idle: list[_Runner] = []
        self._keep = keep
        self._most = most
        self._trim_timer: Any = None  # there while there are more than `keep`
        self._own_references = 0  # of one that is free; 0: not counted yet

    def run(self, task: Task) -> None:
        """Run `task` until it first waits. Must be called from a hub callback; exceptions go to the hub's error handler."""
        idle = self._idle
        while idle:
            runner = idle.pop()
            if not runner.is_exposed or self._is_forgotten(runner):
                runner.switch(task)
                return
            runner.switch(None)  # it ends
        self._new().switch(task)

    def _new(self) -> _Runner:
        runner = _Runner(self._loop, self._hub)
        runner.is_exposed = False
        runner.switch()  # to where it is given tasks: what it is begun with, it would keep
        return runner

    def _is_forgotten(self, runner: _Runner) -> bool:
        """Return whether nobody can reach a free greenlet in which code of others ran; then it is as good as new."""
        if not self._own_references:
            self._count_own()
        if getrefcount(runner) > self._own_references or getweakrefcount(runner) or runner.__dict__:
            return False
        runner.gr_context = None  # nobody else can have that either
        runner.is_exposed = False
        return True

    def _count_own(self) -> None:
        self._new().switch(_nothing)
        spare = self._idle.pop()
        self._own_references = self._references(spare)
        spare.switch(None)

    @staticmethod
    def _references(runner: _Runner) -> int:
        return getrefcount(runner)  # those of this call too, of which `_is_forgotten` has as many

    @property
    def idle(self) -> int:
        """How many greenlets wait for a task."""
        return len(self._idle)

    def spawn(self, task: Task) -> None:
        """Run `task` soon. May be called from anywhere."""
        self._hub.loop.run_callback(self.run, task)

    @staticmethod
    def expose() -> None:
        """Note that code of others runs in the calling task: behind that, its greenlet is looked at before it serves another."""
        me = getcurrent()
        if isinstance(me, _Runner):
            me.is_exposed = True

    @staticmethod
    def is_exposed() -> bool:
        """Return whether code of others has run in the calling task."""
        return bool(getattr(getcurrent(), "is_exposed", False))

    def _loop(self) -> None:
        me: Any = getcurrent()
        idle, hub = self._idle, self._hub
        task: Task | None = hub.switch()
        while task is not None:
            try:
                task()
            except BaseException:  # a raw greenlet has nobody above it but the hub, which must not end
                hub.handle_error(me, *sys.exc_info())
            if len(idle) >= self._keep and not self._may_stay():
                return
            idle.append(me)
            task = None  # and what it holds
            try:
                task = hub.switch()
            except BaseException:  # something was left here that strikes now; it strikes nobody
                idle.remove(me)
                hub.handle_error(me, *sys.exc_info())

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
