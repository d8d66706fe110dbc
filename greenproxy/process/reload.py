"""Reload: from one configuration to the next, so that whatever goes wrong on the way costs nothing but lines in the log.

    idle -> reading -> trying -> idle

While the file is read, and while the workers of the new configuration boot, those of the old one serve as if nothing had
happened. They are let go only when every new one serves. A file that is wrong, or an address that cannot be had, is
*refused*; new workers that cannot boot, or do not within worker-timeout, are *undone*. A reload that is asked for while one
is under way follows it. No method waits: `step` is called on every turn of the master's loop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Generic, Protocol, TypeVar

from greenproxy.config.settings import ProcessSettings, Settings
from greenproxy.process.reading import Unreadable

T = TypeVar("T")
#: A short worker-timeout is meant for workers that serve. To start, on a busy machine, takes any of them seconds.
_SHORTEST_START_S = 5.0
#: A worker that hangs is ended when its time is over, and says where it hangs; only then the reload is undone.
_LAST_WORDS_S = 2.0
#: New workers that are killed from outside before they serve are started again; after so many it is no accident.
_MOST_KILLED = 3


def start_limit_s(process: ProcessSettings) -> float:
    """Return how long a worker may take to begin to serve: worker-timeout, but at least 5 s; infinite without a limit."""
    return max(process.worker_timeout_s, _SHORTEST_START_S) if process.worker_timeout_s else math.inf


class Reader(Protocol):
    """Reads the configuration meanwhile; `process.reading.Reading` is one."""

    def poll(self) -> Settings | None:
        """Return the settings as soon as they are there. Raises Unreadable."""

    def cancel(self) -> None:
        """Read no more."""


class Master(Protocol[T]):
    """What a reload needs done. T is a configuration and all that belongs to it, as the master has it."""

    def read(self) -> Reader:
        """Begin to read the configuration."""

    def move_in(self, settings: Settings) -> T:
        """Get what the new workers need, beside the old. Raises an exception, whose text has a line for each mistake."""

    def all_serve(self, new: T) -> bool:
        """Return whether all workers of a configuration serve."""

    def settle(self, new: T) -> None:
        """Let the new workers be the workers, and the old ones go."""

    def move_out(self, new: T) -> None:
        """Undo what `move_in` did, and let the new workers go."""

    def tell(self, state: str, message: str) -> None:
        """Publish how it stands (running, done, refused, undone), and why."""


class Reload(Generic[T]):
    """One reload at a time. `trial` is the configuration whose workers boot, None outside that phase."""

    def __init__(self, master: Master[T], log: logging.Logger, clock: Callable[[], float] = monotonic) -> None:
        self._master = master
        self._log = log
        self._clock = clock
        self._reading: Reader | None = None
        self._is_asked_again = False
        self._until_s = math.inf
        self._killed = 0
        self._is_again = False
        self._refused_for = ""  # the last time
        self.trial: T | None = None

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self._reading is not None or self.trial is not None

    def ask(self, *, is_again: bool = False) -> None:
        """Begin a reload, or remember that another one is to follow.

        `is_again`: it is the last one, tried once more. If it is refused for the same reason, the log does not say so again.
        """
        if self.is_running:
            self._is_asked_again = True
            self._log.info("one more reload will follow the one that is under way")
        else:
            self._begin(is_again=is_again)

    def refuse(self, why: str, *, is_again: bool = False) -> None:
        """Refuse a reload of which is known without reading that it cannot be, as one that was read."""
        if not (is_again and why == self._refused_for):
            self._log.error("%s", why)
            self._refused_for = why
            self._master.tell("running", "")
            self._end("refused", why)

    def _begin(self, *, is_again: bool = False) -> None:
        self._is_asked_again, self._is_again = False, is_again
        self._master.tell("running", "")
        try:
            self._reading = self._master.read()
        except OSError as error:  # no process, no descriptor
            self._refuse(f"the configuration cannot be read now: {error}")

    def step(self) -> None:
        """Go on as far as that is possible without waiting. Raises nothing."""
        try:
            if self._reading is not None:
                self._look_at_reading(self._reading)
            elif self.trial is not None:
                self._look_at_workers(self.trial)
        except Exception:
            self._log.exception("the reload failed; please report this")
            self._abandon("it failed")

    def _look_at_reading(self, reading: Reader) -> None:
        try:
            settings = reading.poll()
        except Unreadable as error:
            self._reading = None
            self._refuse(str(error))
            return
        if settings is None:
            return
        self._reading = None
        try:
            new = self._master.move_in(settings)
        except Exception as error:  # addresses, the pid file, the log file, what gunicorn thinks of a value
            self._refuse(str(error) or type(error).__name__)
            return
        self._killed = 0
        self._until_s = self._clock() + start_limit_s(settings.process) + _LAST_WORDS_S
        self.trial = new

    def _look_at_workers(self, new: T) -> None:
        if self._master.all_serve(new):
            self.trial = None
            self._master.settle(new)
            self._refused_for = ""
            self._end("done", "")
        elif self._clock() > self._until_s:
            self._abandon("the new workers do not serve within worker-timeout")

    def worker_ended(self, how: str, *, was_killed: bool) -> None:
        """Note that a worker of the trial ended before it served; `how` says how.

        One that was killed from outside is nobody's mistake, and is started again.
        """
        self._killed += was_killed
        if not was_killed or self._killed > _MOST_KILLED:
            self._abandon(how)

    def cancel(self) -> None:
        """Give up, because the master stops. The workers are its business then."""
        self._is_asked_again = False
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self.trial is not None:
            new, self.trial = self.trial, None
            self._move_out(new)

    # -------------------------------------------------------------- the ends

    def _refuse(self, why: str) -> None:
        if not (self._is_again and why == self._refused_for):
            for line in why.splitlines():
                self._log.error("%s", line)
            self._log.error("reload refused: the previous configuration stays")
        self._refused_for = why
        self._end("refused", why)

    def _abandon(self, why: str) -> None:
        new, self.trial = self.trial, None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if new is not None:
            self._move_out(new)
        self._log.error("reload undone, the previous workers go on: %s", why)
        self._end("undone", why)

    def _move_out(self, new: T) -> None:
        try:
            self._master.move_out(new)
        except Exception:  # it gives back what it can; the workers of before need none of the rest
            self._log.exception("not everything of the reload could be undone; please report this")

    def _end(self, state: str, message: str) -> None:
        self._master.tell(state, message)
        if self._is_asked_again:
            self._begin()
