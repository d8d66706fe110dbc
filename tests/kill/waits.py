"""Waits: every switch to the hub of the greenlets that serve, seen from outside, and a strike at one of them.

A wait is where a greenlet lets the hub run until something wakes it. They are numbered from 1 in the order in which they
begin. At the chosen one something is done, in the hub, before the loop looks at its sockets again.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import greenlet
from gevent import get_hub

import greenproxy

PACKAGE = str(Path(greenproxy.__file__).parent) + "/"
Place = tuple[str, int]  # file, as net/stream.py, and line

#: A recycled greenlet that has nothing to do waits for its next task, not for an exchange.
_IDLE = ("net/recycler.py", "_loop")


class Waits:
    """`with Waits(bystanders, at, strike) as waits:` calls `strike(greenlet)` in the hub when the wait number `at` has begun.

    `bystanders()` are the greenlets of the test itself; whoever is busy when the block is entered is left alone as well.
    `stacks` has, for each wait, who waited where, innermost first.
    """

    def __init__(
        self, bystanders: Callable[[], set[object]], at: int = 0, strike: Callable[[Any], None] = lambda _: None
    ) -> None:
        self._bystanders = bystanders
        self._at = at
        self._strike = strike
        self._hub: Any = get_hub()
        self._main = greenlet.getcurrent()
        self._since: dict[Any, int] = {}  # who waits, and since which wait
        self._others: set[Any] = set()
        self.stacks: list[list[Place]] = []
        self.has_struck = False

    def __enter__(self) -> Waits:
        everything = gc.get_objects()  # by type: a weak proxy may stand for what is gone
        raw = [each for each in everything if issubclass(type(each), greenlet.greenlet) and not each.dead]
        self._others = {each for each in raw if each.gr_frame is not None and not is_idle(each.gr_frame)}
        self._before: Any = greenlet.gettrace()
        greenlet.settrace(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        greenlet.settrace(self._before)

    def __len__(self) -> int:
        return len(self.stacks)

    def __str__(self) -> str:
        """Where the chosen wait is."""
        if not 0 < self._at <= len(self.stacks):
            return f"wait {self._at} of {len(self.stacks)}"
        return f"wait {self._at}: " + " < ".join(f"{file}:{line}" for file, line in self.stacks[self._at - 1])

    def _seen(self, _event: str, switch: tuple[Any, Any]) -> None:
        origin, target = switch
        self._since.pop(target, None)
        if (
            target is not self._hub
            or origin is self._main
            or origin.dead
            or origin in self._others
            or origin in self._bystanders()
        ):
            return
        if is_idle(origin.gr_frame):
            return
        self.stacks.append(places(origin.gr_frame))
        self._since[origin] = number = len(self.stacks)
        if number == self._at:
            self._hub.loop.run_callback(self._strike_at, origin, number)

    def _strike_at(self, victim: Any, number: int) -> None:
        if self._since.get(victim) == number:  # else it has been woken in the same turn, before anybody could do anything
            self.has_struck = True
            self._strike(victim)


def is_idle(frame: FrameType | None) -> bool:
    """Return whether a recycled greenlet waits for a task."""
    if frame is None or not frame.f_code.co_filename.startswith(PACKAGE):
        return False
    return (frame.f_code.co_filename.removeprefix(PACKAGE), frame.f_code.co_name) == _IDLE


def places(frame: FrameType | None) -> list[Place]:
    """Return the lines of greenproxy in a stack, innermost first."""
    found = []
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            found.append((file.removeprefix(PACKAGE), frame.f_lineno))
        frame = frame.f_back
    return found
