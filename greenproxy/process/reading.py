"""Reading: the configuration is read again, for a reload, in a child process of the master.

A master lives for months. What a file that is read a thousand times leaves behind (memory, file systems that hang, a bug) is
left in a child, and while the child reads the master goes on watching its workers and listening to its signals.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from greenproxy.config.errors import ConfigErrors
from greenproxy.config.settings import Settings

#: User code has 10 s in its trial, and what reads files is quick: longer than this, something hangs.
TIME_LIMIT_S = 60.0
_CHUNK_BYTES = 65536


class Unreadable(Exception):
    """The configuration cannot be used. `str()` has a line for each mistake."""


class Reading:
    """One child process that calls `load` and sends back what it returned. Begins at once; `poll` until there is a result.

    `close` is called in the child, to close what it must not keep open (listening sockets).
    """

    def __init__(self, load: Callable[[], Settings], close: Callable[[], None], time_limit_s: float = TIME_LIMIT_S) -> None:
        self._until_s = monotonic() + time_limit_s
        self._time_limit_s = time_limit_s
        self._said = bytearray()
        self._ours, theirs = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self._ours)
            os.close(theirs)
            raise
        if not self.pid:
            os.close(self._ours)
            close()
            _answer(load, theirs)
        os.close(theirs)
        os.set_blocking(self._ours, False)

    def poll(self) -> Settings | None:
        """Return the settings as soon as they are there, None before. Never waits. Raises Unreadable; call it no more then."""
        if not self._has_ended():
            if monotonic() < self._until_s:
                return None
            self.cancel()
            raise Unreadable(f"reading the configuration took longer than {self._time_limit_s:g} s")
        os.close(self._ours)
        try:
            result: Settings | str = pickle.loads(self._said)
        except (EOFError, pickle.UnpicklingError):
            raise Unreadable("the process that read the configuration was killed") from None
        if isinstance(result, str):
            raise Unreadable(result)
        return result

    def _has_ended(self) -> bool:
        while True:
            try:
                chunk = os.read(self._ours, _CHUNK_BYTES)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._said += chunk

    def cancel(self) -> None:
        """End the child. Whoever reaps the master's children reaps it too."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self._ours)


def _answer(load: Callable[[], Settings], pipe: int) -> NoReturn:
    """In the child: load, write the result, and leave without any of what the master does at its end."""
    try:
        # A wait for grandchildren, the trials of user code, wants the signals as a plain program has them.
        for signum in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGHUP}:
            with contextlib.suppress(OSError):
                signal.signal(signum, signal.SIG_DFL)
        try:
            result: Settings | str = load()
        except ConfigErrors as errors:
            result = str(errors)
        except BaseException as error:  # a bug, or out of memory: in any case no reason for the master to end
            result = f"{type(error).__name__}: {error}"
        with open(pipe, "wb") as file:
            pickle.dump(result, file)
    finally:
        os._exit(0)
