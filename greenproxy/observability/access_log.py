"""The access log: one line per exchange, collected and written in batches by a thread, so that nobody waits for a disk or a pipe.

Formatting is in `access_format.py`. A batch is written when 512 KiB have come together and every half second. What
cannot be written (a full disk, a pipe nobody reads) is kept up to a limit and then dropped: requests come first.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator

import gevent
from gevent.event import Event
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from greenproxy.exchange import Exchange
from greenproxy.observability.access_format import combined_line, json_line
from greenproxy.observability.error_log import Condition

_BATCH_BYTES = 512 * 1024  # with 64 KiB handing the interpreter over to the thread and back cost more than the lines
_FLUSH_EVERY_S = 0.5
_MAX_WAITING_BYTES = 8 * 1024 * 1024
_CLOSE_WITHIN_S = 2.0
_ATOMIC_BYTES = 4096  # PIPE_BUF: what one write to a pipe shared by several workers keeps together
_FORMATS: dict[str, Callable[[Exchange], bytes]] = {"combined": combined_line, "json": json_line}

_select = get_original("select", "select")  # in our thread, where gevent's would need a hub of its own


class AccessLog:
    """Writes lines in `form` (combined or json) to the file `path`, or to standard output for `-`.

    Raises OSError if the file cannot be opened. `start` it in the process that serves.
    """

    def __init__(self, path: str, form: str, log: logging.Logger) -> None:
        self._path = "" if path == "-" else path
        self._format = _FORMATS[form]
        self._trouble = Condition(log)
        self._overflow = Condition(log)
        self._lines: list[bytes] = []
        self._size = 0
        self._wake = Event()
        self._writer: gevent.Greenlet[[], None] | None = None
        self._is_closing = False
        self._is_reopening = False
        self._fd = self._open()

    def _open(self) -> int:
        if not self._path:
            return 1
        # O_NONBLOCK is for a named pipe: opening one that nobody reads must be an error, not a wait.
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)

    def start(self) -> None:
        """Begin to write what comes, in a greenlet and a thread of its own."""
        self._writer = gevent.spawn(self._run)

    def write(self, exchange: Exchange) -> None:
        """Add the line of a finished exchange. Never waits; lines that nobody takes are dropped in the end."""
        line = self._format(exchange)
        if self._size >= _BATCH_BYTES and self._is_too_much():
            return
        self._lines.append(line)
        self._size += len(line)

    def _is_too_much(self) -> bool:
        """A batch has come together: have it written. Returns whether so many wait for that already that no more are taken."""
        self._wake.set()
        if self._size < _MAX_WAITING_BYTES:
            return False
        self._overflow.begin(f"the access log {self._name} takes no lines: they are lost")
        return True

    def reopen(self) -> None:
        """Write to the file that has the path now (SIGUSR1), as soon as the lines before are written."""
        self._is_reopening = bool(self._path)
        self._wake.set()

    def close(self) -> None:
        """Write what is left, waiting a moment at most, and close the file."""
        self._is_closing = True
        if self._writer is None:
            self._told(_put(self._fd, self._take()))
        else:
            self._wake.set()
            self._writer.join(_CLOSE_WITHIN_S)
            if not self._writer.ready():  # its thread hangs in a write, on a descriptor that must stay its own
                self._trouble.begin(f"the access log {self._name} takes no lines: the last ones are lost")
                self._writer.kill(block=False)
                return
        if self._path:
            os.close(self._fd)

    @property
    def _name(self) -> str:
        return self._path or "on standard output"

    def _run(self) -> None:
        pool = ThreadPool(1)
        while not self._is_closing or self._lines:
            if not self._is_closing:
                self._wake.wait(_FLUSH_EVERY_S)
            self._wake.clear()
            if self._lines:
                self._told(pool.apply(_put, (self._fd, self._take())))
            if self._is_reopening:
                self._is_reopening = False
                self._follow()
        pool.kill()

    def _take(self) -> list[bytes]:
        lines, self._lines, self._size = self._lines, [], 0
        return lines

    def _told(self, error: OSError | None) -> None:
        """Take note of how writing a batch went."""
        if error is not None:
            self._trouble.begin(f"the access log {self._name} cannot be written, lines are lost: {error}")
        else:
            self._trouble.end(f"the access log {self._name} can be written again")
        if self._size < _MAX_WAITING_BYTES // 2:
            self._overflow.end(f"the access log {self._name} takes lines again")

    def _follow(self) -> None:
        try:
            fresh = self._open()
        except OSError as error:
            self._trouble.begin(f"the access log {self._name} cannot be reopened, the old file is kept: {error}")
            return
        os.close(self._fd)
        self._fd = fresh


def _put(fd: int, lines: list[bytes]) -> OSError | None:
    """Write lines and return what went wrong. Waits for the disk or the reader: in the thread, except at the very end."""
    try:
        for piece in _pieces(fd, lines):
            _write_all(fd, piece)
    except OSError as error:
        return error
    return None


def _pieces(fd: int, lines: list[bytes]) -> Iterator[bytes]:
    """Yield the lines joined: all of them for a file, for a pipe as many as one write keeps together."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        yield b"".join(lines)
        return
    piece = b""
    for line in lines:
        if len(piece) + len(line) > _ATOMIC_BYTES and piece:
            yield piece
            piece = b""
        piece += line
    yield piece


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # a named pipe, or somebody we share standard output with made it non-blocking
            _select([], [fd], [], 1.0)
