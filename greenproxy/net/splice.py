"""Splice: the bytes of a large body go from one plain socket to another inside the kernel, through a pipe (splice(2)).

One pipe serves all connections of a worker. Bytes are in it only between two calls that nothing can come between: what the
receiving socket does not take at once is read out into memory, where the bytes of slow clients wait anyway (`net.ahead`).
So nobody waits while something is in it, and no kill, timeout or reset leaves the bytes of one exchange to the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any

from greenproxy.net.stream import Stream

#: Of less a copy costs a tenth less: it takes more bytes in a call, since others come meanwhile. Of 10 MiB it costs a tenth more.
LEAST_BYTES = 1024 * 1024
_SIZE_BYTES = 1024 * 1024
#: A smaller pipe loses: the kernel counts in pages, of which every packet takes one, full or not.
_LEAST_SIZE_BYTES = 256 * 1024
_SET_SIZE: int = getattr(fcntl, "F_SETPIPE_SZ", 1031)  # Python knows it from 3.10 on, where the C library does
_splice: Any = getattr(os, "splice", None)  # on Linux
_FLAGS = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)
#: What the kernel says of sockets that it cannot splice, or where it was told not to.
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})


class Unable(Exception):
    """There is no pipe to be had, or these sockets cannot be spliced: copy instead."""


class Pipe:
    """A pipe between sockets. It is opened when it is needed, and anew when something was left in it."""

    def __init__(self) -> None:
        self._out = self._in = -1
        self._held = 0

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        return 0 if self._in < 0 else 2

    def fill(self, source: Stream, most_bytes: int) -> int | None:
        """Take what has arrived at `source`, at most `most_bytes`: how many, 0 at its end, None when nothing has arrived.

        Does not wait, and `drain` must follow without a wait. Raises Unable, or OSError from the source.
        """
        if self._held or self._in < 0:
            self._open()
        try:
            self._held = _splice(source.fileno(), self._in, most_bytes, flags=_FLAGS)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _CANNOT:
                raise Unable from error
            raise
        return self._held

    def drain(self, sink: Stream) -> bytes:
        """Send what was taken; return what `sink` has no room for now. Does not wait. Raises OSError from the sink."""
        try:
            while self._held:
                self._held -= _splice(self._out, sink.fileno(), self._held, flags=_FLAGS)
        except OSError as error:
            if error.errno == errno.EAGAIN or error.errno in _CANNOT:
                return self._read_out()
            raise
        return b""

    def _read_out(self) -> bytes:
        parts = []
        while self._held:
            parts.append(os.read(self._out, self._held))
            self._held -= len(parts[-1])
        return b"".join(parts)

    def _open(self) -> None:
        self.close()
        if _splice is None:
            raise Unable
        try:
            self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:  # no descriptor is left
            raise Unable from error
        if not self._grow():
            self.close()
            raise Unable

    def _grow(self) -> bool:
        """Make it as large as this user may (/proc/sys/fs/pipe-user-pages-soft). Returns whether that is enough."""
        for size in (_SIZE_BYTES, _LEAST_SIZE_BYTES):
            try:
                fcntl.fcntl(self._in, _SET_SIZE, size)
            except OSError:
                continue
            return True
        return False

    def close(self) -> None:
        """Close it, with what is inside. The next who needs it opens it again."""
        for descriptor in (self._out, self._in):
            if descriptor >= 0:
                os.close(descriptor)
        self._out = self._in = -1
        self._held = 0


PIPE = Pipe()
os.register_at_fork(after_in_child=PIPE.close)  # two processes would get each other's bytes
