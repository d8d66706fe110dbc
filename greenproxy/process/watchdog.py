"""Watchdog: tells which code keeps a worker's hub from turning, while it does.

The hub stamps the time by a timer. A native thread looks at the stamp: when that grows old, it logs the stack of the main
thread. Code that never gives up the interpreter (a regular expression that backtracks, a long call into C) keeps this
thread from running too; then faulthandler, which needs no interpreter, writes the stacks to the log as plain text.

The thread shares nothing with the hub: it uses no lock that gevent has patched (logging's handlers have such locks), but
writes to a descriptor of its own, which follows the log file when that is opened again.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import sys
import sysconfig
import traceback
from copy import copy
from pathlib import Path
from time import monotonic, time
from types import FrameType
from typing import Any

from gevent import get_hub
from gevent.monkey import get_original

#: At a worker-timeout of 3 s or more; everything comes sooner when that is shorter.
_STAMP_EVERY_S = 0.5
_LOOK_EVERY_S = 0.25
_BLOCKED_AFTER_S = 1.25  # since the last stamp, so 0.75 s or more
_PLAIN_TEXT_AFTER_S = 1.9
_FULL_PACE_S = 3.0
_STANDARD_ERROR = 2
#: How long the last words may wait for a log that takes none.
_LAST_WORDS_MS = 1000

_GREENPROXY = str(Path(__file__).parent.parent) + os.sep
_LIBRARIES = [sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_NOT_THE_USERS = (_GREENPROXY, *_LIBRARIES, "<")


class Watchdog:
    """Watches the hub of this thread from `start` to `stop`.

    Logs an error once for each time that the hub stands still for a second, and a warning when it turns again. With `ppid`
    gone nobody ends a worker that hangs: then it ends itself after `timeout_s` (0 is never).
    """

    def __init__(self, log: logging.Logger, timeout_s: float, ppid: int) -> None:
        self._log = log
        self._timeout_s = timeout_s
        self._ppid = ppid
        self._pace = min(1.0, timeout_s / _FULL_PACE_S) if timeout_s else 1.0
        self._descriptor = -1
        self._is_reported = False
        self._turned_after_s = 0.0

    def start(self) -> None:
        """Begin to watch the hub of the calling thread, which is that of the worker's greenlets."""
        self._watched = get_original("_thread", "get_ident")()
        self._end = get_original("_thread", "allocate_lock")()
        self._end.acquire()
        # Made here, because a record asks its thread for a name, and that has a lock.
        self._record = self._log.makeRecord(self._log.name, logging.ERROR, __file__, 0, "", (), None)
        self._descriptor = os.dup(self._log_descriptor())
        os.set_inheritable(self._descriptor, False)
        self._pid = os.getpid()
        # A child that user code forks would wait at its end for the thread of faulthandler, which is not there.
        os.register_at_fork(before=faulthandler.cancel_dump_traceback_later)
        self._stamp_s = monotonic()
        self._timer: Any = get_hub().loop.timer(_STAMP_EVERY_S * self._pace, _STAMP_EVERY_S * self._pace, ref=False)
        self._timer.start(self._stamp)
        self._arm()
        get_original("_thread", "start_new_thread")(self._watch, ())

    def stop(self) -> None:
        """Stop watching. Does nothing before `start`."""
        if self._descriptor < 0:
            return
        faulthandler.cancel_dump_traceback_later()
        self._timer.stop()
        self._timer.close()
        self._end.release()  # the thread closes the descriptor, since it may be writing

    # -------------------------------------------------------------- in the hub

    def _stamp(self) -> None:
        if os.getpid() != self._pid:  # user code has forked, and nobody watches here
            self._timer.stop()
            return
        now_s = monotonic()
        gap_s, self._stamp_s = now_s - self._stamp_s, now_s
        if self._is_reported or gap_s >= _PLAIN_TEXT_AFTER_S * self._pace:
            self._turned_after_s = gap_s
        self._arm()

    def _arm(self) -> None:
        """Let faulthandler write unless this is called again in time: about 40 us, most of it for its thread."""
        try:
            os.dup2(self._log_descriptor(), self._descriptor, inheritable=False)
        except OSError:
            pass  # closed by somebody: the log as it was is better than none
        faulthandler.dump_traceback_later(_PLAIN_TEXT_AFTER_S * self._pace, file=self._descriptor)

    def _log_descriptor(self) -> int:
        """Return where the log goes: its first handler that has a descriptor, else standard error."""
        for handler in _handlers(self._log):
            try:
                descriptor: int = handler.stream.fileno()  # type: ignore[attr-defined]  # only some have a stream
            except (AttributeError, OSError, ValueError):
                continue
            return descriptor
        return _STANDARD_ERROR

    # -------------------------------------------------------------- in the thread

    def _watch(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread, and wake its hub
        every_s = _LOOK_EVERY_S * self._pace
        looked_s = monotonic()
        while not self._end.acquire(timeout=every_s):
            now_s = monotonic()
            # Whoever comes late to look was kept from running himself, perhaps with the whole process, and cannot judge yet.
            is_late, looked_s = now_s - looked_s > 2 * every_s, now_s
            self._look(now_s, is_late)
        os.close(self._descriptor)

    def _look(self, now_s: float, is_late: bool) -> None:
        blocked_s = now_s - self._stamp_s
        if self._turned_after_s:
            self._write(logging.WARNING, f"worker {os.getpid()} turns again after {self._turned_after_s:.1f} s")
            self._turned_after_s, self._is_reported = 0.0, False
        elif is_late:
            return
        elif blocked_s >= _BLOCKED_AFTER_S * self._pace and not self._is_reported:
            self._is_reported = True
            faulthandler.cancel_dump_traceback_later()  # the next stamp arms it again
            self._report(blocked_s)
        if 0 < self._timeout_s <= blocked_s and os.getppid() != self._ppid:
            self._end_it(blocked_s)

    def _report(self, blocked_s: float) -> None:
        frame = sys._current_frames().get(self._watched)
        if frame is None:
            return
        code = (_users_frame(frame) or frame).f_code
        line = (_users_frame(frame) or frame).f_lineno
        place = f"{code.co_name} ({code.co_filename}:{line})"
        about = f"worker {os.getpid()} is blocked since {blocked_s:.1f} s by {place}{_for_whom(frame)}:"
        self._write(logging.ERROR, about, "Stack (most recent call last):\n" + "".join(traceback.format_stack(frame)).rstrip())

    def _end_it(self, blocked_s: float) -> None:
        poll = get_original("select", "poll")()
        poll.register(self._descriptor, select.POLLOUT)
        if poll.poll(_LAST_WORDS_MS):
            who = f"worker {os.getpid()}, blocked since {blocked_s:.1f} s,"
            self._write(logging.CRITICAL, f"the master is gone, and {who} ends itself")
        os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, level: int, message: str, stack: str | None = None) -> None:
        """Write a record to the log, in its format, without any lock."""
        if level < self._log.getEffectiveLevel():
            return
        record = copy(self._record)
        record.levelno, record.levelname = level, logging.getLevelName(level)
        record.msg, record.stack_info = message, stack
        record.created = time()
        record.msecs = record.created % 1 * 1000
        handler = next((each for each in _handlers(self._log) if hasattr(each, "stream")), None)
        try:
            line = handler.format(record) if handler is not None else message
            os.write(self._descriptor, (line + "\n").encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # a full disk: a log that cannot be written must not disturb what it is about


def _handlers(log: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that a record of this logger reaches, the logger's own first."""
    found: list[logging.Handler] = []
    logger: logging.Logger | None = log
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def _users_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame of code that is neither ours nor a library's."""
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return frame


def _for_whom(frame: FrameType | None) -> str:
    """Return which request it is about, as far as it can be seen: the handlers and middleware on the stack have it."""
    while frame is not None:
        if "request" in frame.f_code.co_varnames:
            request = frame.f_locals.get("request")
            method, target = getattr(request, "method", None), getattr(request, "target", None)
            if isinstance(method, str) and isinstance(target, str):
                return f" for {method} {target}"
        frame = frame.f_back
    return ""
