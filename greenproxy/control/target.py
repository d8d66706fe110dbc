"""Target: the process of a running greenproxy, found by its pid file, and what can be done to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from greenproxy.control.refusal import CannotDo

_ENDED = ("Z", "X")
#: One of these stands in the command line of every master, of ours and of gunicorn's.
_MARKS = ("greenproxy", "gunicorn")


class NoPidFile(CannotDo):
    """There is no file of that name."""


class Target:
    """One process, and not another one that got its id later."""

    def __init__(self, pid: int, found_by: str) -> None:
        """Take a process. Raises CannotDo if there is none, or if it is no greenproxy; `found_by` is for the message."""
        self.pid = pid
        self._birth = _birth(pid)
        if not self._birth or pid == os.getpid():
            raise CannotDo(f"process {pid} of {found_by} is gone: it ended without cleaning up")
        words = _command_line(pid)
        if words and not any(mark in word for word in words for mark in _MARKS):
            raise CannotDo(f"process {pid} of {found_by} is no greenproxy but {' '.join(words)[:80]!r}: nothing is done to it")

    @property
    def has_gone(self) -> bool:
        """Whether it has ended."""
        return _birth(self.pid) != self._birth

    def send(self, signum: signal.Signals) -> None:
        """Send a signal. Raises CannotDo."""
        try:
            os.kill(self.pid, signum)
        except PermissionError:
            raise CannotDo(f"process {self.pid} is another user's: no permission to send it {signum.name}") from None
        except ProcessLookupError:
            raise CannotDo(f"process {self.pid} has gone meanwhile") from None


def read_pid_file(path: str) -> Target:
    """Return the process that a pid file names. Raises CannotDo; NoPidFile if there is no such file."""
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise NoPidFile(f"it does not run: there is no pid-file {path}") from None
    except OSError as error:
        raise CannotDo(f"pid-file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not text.isdigit() or not 0 < int(text[:20]) < 2**31:
        raise CannotDo(f"pid-file {path} holds no process id")
    return Target(int(text), f"pid-file {path}")


def _birth(pid: int) -> str:
    """Return when a process was born, in the kernel's count; "" if it is gone, or has ended and waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in _ENDED else fields[19]


def _command_line(pid: int) -> list[str]:
    """Return a process's arguments; none where they may not be read."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
