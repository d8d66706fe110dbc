"""The error log: one logger for the whole program, and conditions that are told once.

Text from outside can stand in a message, so control characters in it are escaped: nobody forges a line. Only tracebacks
have several lines.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from io import FileIO
from typing import TextIO

_LOGGER = "greenproxy"
#: Without a wait: a named pipe that nobody reads is an error, and one whose reader is slow loses lines.
_HOW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class LineFormatter(logging.Formatter):
    """`2026-01-02 03:04:05,678 [pid] level: message`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(process)d] %(levelname)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without a traceback."""
        record.message = _control.sub(_escape, record.message)
        record.levelname = record.levelname.lower()
        return super().formatMessage(record)


class ErrorLog(logging.Handler):
    """The handler behind the logger: a file, or standard error for `-`. `reopen` follows a file that was moved away.

    Files are written without a buffer: on a full disk a line is lost, and nothing fails later in its place. A file that is
    made here belongs to `owner` (user and group id): a master that is root makes it, and its workers open it again.
    """

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        super().__init__()
        self._path = "" if path == "-" else path
        self._owner = owner
        self._file = self._open()
        self.setFormatter(LineFormatter())

    def _open(self) -> FileIO | None:
        if not self._path:
            return None
        if self._owner is not None and os.geteuid() == 0:
            try:  # one that was there is not given away: in a folder of others it may be a link to anything
                fresh = os.open(self._path, _HOW | os.O_EXCL, 0o644)
            except FileExistsError:
                pass
            else:
                os.fchown(fresh, *self._owner)
                return FileIO(fresh, "a")
        return FileIO(os.open(self._path, _HOW, 0o666), "a")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. A log that cannot be written must not disturb what it is about."""
        try:
            line = self.format(record) + "\n"
            if self._file is not None:
                self._file.write(line.encode("utf-8", "backslashreplace"))
            else:
                sys.stderr.write(line)
                sys.stderr.flush()
        except (OSError, ValueError):  # a full disk; a closed standard error
            pass
        except Exception:
            self.handleError(record)  # a message that does not fit its arguments: a bug of whoever logs

    @property
    def stream(self) -> FileIO | TextIO:
        """What it writes to, under the name that the handlers of the standard library give it."""
        return self._file or sys.stderr

    def reopen(self) -> None:
        """Open the file anew (SIGUSR1). If that fails the old one is kept and told."""
        try:
            fresh = self._open()
        except OSError as error:
            logging.getLogger(_LOGGER).error("cannot reopen the error log %s: %s", self._path, error)
            return
        old, self._file = self._file, fresh
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the file. Standard error stays open."""
        if self._file is not None:
            self._file.close()
        super().close()


def set_up(path: str, level: str, owner: tuple[int, int] | None = None) -> ErrorLog:
    """Let the logger `greenproxy` write to `path` (`-`: standard error) from `level` on, instead of wherever it wrote before.

    A file that root makes is given to `owner` (user and group id). Raises OSError if the file cannot be opened; nothing has
    changed then.
    """
    handler = ErrorLog(path, owner)
    logger = logging.getLogger(_LOGGER)
    for old in [each for each in logger.handlers if isinstance(each, ErrorLog)]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    return handler


class Condition:
    """Something that lasts: told when it begins and when it ends, however often it is noticed in between."""

    __slots__ = ("_log", "is_on")

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self.is_on = False

    def begin(self, message: str) -> None:
        """Note that it is so; the first time, log `message` as an error."""
        if not self.is_on:
            self.is_on = True
            self._log.error(message)

    def end(self, message: str) -> None:
        """Note that it is no longer so; if it was, log `message`."""
        if self.is_on:
            self.is_on = False
            self._log.info(message)
