"""Stream: one connected, non-blocking raw socket and its watchers. The data path's only way to touch a peer.

Rules that hold here:
- One greenlet at a time receives from a stream and one sends to it; they may be two.
- The read watcher is persistent: it stays started while nothing arrives (level-triggered epoll is then silent), so that a
  close by the peer is noticed during a wait for somebody else, and so that most exchanges need no epoll_ctl.
- A watcher is stopped and closed before its descriptor is, always; descriptor numbers are reused at once.
- OSErrors come out as they are: whoever knows the side (client or backend) translates them.
"""

from __future__ import annotations

import _socket
import socket
import struct
import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Any

from gevent import get_hub
from gevent.hub import getcurrent  # the C function that gevent itself uses

from greenproxy.deadline import NEVER, Limit

#: The priority of clients. Whoever takes a connection to a backend in the turn in which another exchange gave it back must look
#: whether it is still quiet (a receive that fails, at every sixth request); when requests come before answers, nobody has to.
CLIENTS_FIRST = 1

_READ, _WRITE = 1, 2
_LATE = object()  # what a timer switches into a waiting greenlet
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_FOREVER = float("inf")
_CLOSED = "the connection was closed on this side"


class Stream:
    """A connected socket. Takes ownership of `sock`, which becomes non-blocking.

    Of what happens in one turn of the loop, streams with a higher `priority` (-2 to 2) hear first.

    Waits take a `limit` (a Deadline for a whole stage or a Patience for silence) and raise `limit.late()`.
    """

    __slots__ = (
        "_error", "_error_for", "_hub", "_is_armed", "_loop", "_on_readable", "_reader", "_sock", "_timer", "_timer_s",
        "_watcher", "_write_watcher", "_writer", "is_closed",
    )  # fmt: skip

    def __init__(self, sock: _socket.socket, priority: int = 0) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._hub: Any = get_hub()
        self._loop = self._hub.loop
        self._watcher: Any = self._loop.io(sock.fileno(), _READ, True, priority)
        self._is_armed = False
        self._reader: Any = None  # the greenlet that waits for bytes
        self._writer: Any = None  # the greenlet that waits for room
        self._write_watcher: Any = None  # there only while it waits
        self._on_readable: Callable[[], None] | None = None
        self._timer: Any = None  # kept from one wait to the next, where they may take the same time: half the cost of a new one
        self._timer_s = 0.0
        self._error: BaseException | None = None  # raised in the next wait ...
        self._error_for: Any = None  # ... of this greenlet, None: of any
        self.is_closed = False  # close() or reset() was called

    # -------------------------------------------------------------- receiving

    def recv(self, max_bytes: int, limit: Limit = NEVER) -> bytes:
        """Return what is there, at most `max_bytes`; wait for the first byte if nothing is. b"" is the end of the stream."""
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:
            return self.recv_after_wait(max_bytes, limit)

    def recv_after_wait(self, max_bytes: int, limit: Limit = NEVER) -> bytes:
        """As `recv`, for when nothing can have arrived yet: waits first and so saves a call that would fail."""
        self._wait_readable(limit)
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:  # somebody else's event, or a wake-up without bytes
            return self.recv_after_wait(max_bytes, limit)

    def recv_into(self, buffer: memoryview, limit: Limit = NEVER) -> int:
        """Fill `buffer` with what is there and return how much; wait if nothing is. 0 is the end of the stream."""
        while True:
            try:
                return self._sock.recv_into(buffer)
            except BlockingIOError:
                self._wait_readable(limit)

    def wait_readable(self, limit: Limit) -> None:
        """Wait until something may have arrived, or the end; at least until others had their turn."""
        self._wait_readable(limit)

    def recv_now(self, max_bytes: int) -> bytes | None:
        """Return what is there without waiting: bytes, b"" at the end of the stream, None when nothing has arrived."""
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:
            return None

    def peek(self) -> bytes | None:
        """Return a byte of what is there and leave it: b"" at the end of the stream, None when nothing has arrived.

        Does not wait. Raises OSError, once, when the peer broke the connection.
        """
        try:
            return self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def has_arrived(self) -> bool:
        """Return whether a byte is there to be read. Does not wait."""
        try:
            return bool(self.peek())
        except OSError:
            return False

    def peek_is_eof(self) -> bool:
        """Return whether the peer has closed its side, or broken the connection, and nothing is left to read."""
        try:
            return self.peek() == b""
        except OSError:
            return True

    # -------------------------------------------------------------- sending

    def send(self, data: bytes | memoryview, limit: Limit = NEVER) -> None:
        """Send all of `data`; wait while the peer does not read, each time at most `limit`."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            self._send_rest(memoryview(data)[sent:], limit)

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what fits without waiting and return how much that was."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def unsent_bytes(self) -> int:
        """Return how much of what was sent the peer's side has not taken yet (tcp(7), SIOCOUTQ). Does not wait."""
        if self._watcher is None:
            return 0
        try:
            return int.from_bytes(ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)
        except OSError:
            return 0  # not a socket that tells

    def wait_writable(self, limit: Limit) -> None:
        """Wait until there may be room for more."""
        self._write_watcher = self._loop.io(self._sock.fileno(), _WRITE)
        try:
            self._wait_writable(limit)
        finally:
            self._drop_write_watcher()

    def wait_writable_or(self, source: Stream, limit: Limit) -> None:
        """Wait until there may be room here for more, or bytes (or the end) at `source`, whichever comes first."""
        if source._error is not None:
            source._raise_error()
        if not source._is_armed:
            source._watcher.start(source._readable)
            source._is_armed = True
        source._reader = getcurrent()
        try:
            self.wait_writable(limit)
        finally:
            source._reader = None

    def _send_rest(self, rest: memoryview, limit: Limit) -> None:
        self._write_watcher = self._loop.io(self._sock.fileno(), _WRITE)
        try:
            while rest:
                self._wait_writable(limit)
                try:
                    rest = rest[self._sock.send(rest) :]
                except BlockingIOError:
                    continue
        finally:
            self._drop_write_watcher()

    def _drop_write_watcher(self) -> None:
        watcher, self._write_watcher = self._write_watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()

    @property
    def is_sending(self) -> bool:
        """Whether a greenlet waits for the peer to read."""
        return self._writer is not None

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more comes; a connection that is gone already is no error."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return

    # -------------------------------------------------------------- waiting

    def _wait_readable(self, limit: Limit) -> None:
        if self._error is not None:
            self._raise_error()
        if not self._is_armed:
            self._watcher.start(self._readable)
            self._is_armed = True
        self._reader = getcurrent()
        try:
            self._switch(limit)
        finally:
            self._reader = None

    def _wait_writable(self, limit: Limit) -> None:
        if self._error is not None:
            self._raise_error()
        watcher = self._write_watcher
        self._writer = me = getcurrent()
        watcher.start(me.switch)
        try:
            self._switch(limit)
        finally:
            self._writer = None
            watcher.stop()  # harmless when close() came first

    def _switch(self, limit: Limit) -> None:
        """Let the hub run until a watcher, the limit or `interrupt` comes back to this greenlet."""
        seconds = limit.remaining_s()
        if seconds == _FOREVER:
            self._hub.switch()
            return
        if seconds <= 0:
            raise limit.late()
        timer = self._timer
        if timer is None or seconds != self._timer_s or timer.active:
            timer = self._new_timer(seconds)
        # again, not start: one that was stopped would go on with what was left of its time. update: libev counts from the time
        # its loop last woke, which may be long ago.
        timer.again(getcurrent().switch, _LATE, update=True)
        try:
            if self._hub.switch() is _LATE:
                raise limit.late()
        finally:
            timer.stop()  # harmless when close() came first

    def _new_timer(self, seconds: float) -> Any:
        timer = self._loop.timer(seconds, seconds)
        if self._timer is None or not self._timer.active:  # else somebody waits with it: one may receive while one sends
            self._drop_timer()
            self._timer, self._timer_s = timer, seconds
        return timer

    def _drop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _readable(self) -> None:
        """The read watcher's callback, in the hub."""
        if self._reader is not None:
            self._reader.switch()
            return
        callback, self._on_readable = self._on_readable, None
        if callback is not None:
            callback()
            if self._on_readable is not None or self._reader is not None or self._watcher is None:
                return  # it is wanted again, and stays on: what came has been read
        # Nobody wants it now: a level-triggered watcher that stayed on would spin.
        self._watcher.stop()
        self._is_armed = False

    def interrupt(self, error: BaseException) -> None:
        """Raise `error` in whoever waits in this stream (in the reader, if two do), or when nobody does, in the next wait.

        Whoever was served in this very moment gets it in its next wait, and nobody else does. May be called from anywhere.
        """
        self._error = error
        self._error_for = self._reader if self._reader is not None else self._writer
        if self._error_for is not None:
            self._loop.run_callback(self._throw)

    def wake(self) -> None:
        """Let a greenlet that waits for bytes ask its limit again. May be called from anywhere."""
        if self._reader is not None:
            self._loop.run_callback(self._wake_reader, self._reader)

    def _wake_reader(self, waiting: Any) -> None:
        if waiting is self._reader:
            waiting.switch()

    def _throw(self) -> None:
        waiting = self._error_for
        if self._error is not None and waiting is not None and (waiting is self._reader or waiting is self._writer):
            error, self._error, self._error_for = self._error, None, None
            waiting.throw(error)

    def _abort(self, waiting: Any) -> None:
        """Tell a greenlet that waited when this stream was closed."""
        if waiting is self._reader or waiting is self._writer:
            waiting.throw(ConnectionAbortedError(_CLOSED))

    def _raise_error(self) -> None:
        """Raise what `close` or `interrupt` left for the greenlet that wants to wait."""
        if self._watcher is None:
            raise ConnectionAbortedError(_CLOSED)
        if self._error is not None and (self._error_for is None or self._error_for is getcurrent()):
            error, self._error, self._error_for = self._error, None, None
            raise error

    # -------------------------------------------------------------- parking

    def park(self, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` once, in the hub, when bytes or the end of the stream arrive while nobody waits for them."""
        self._on_readable = on_readable
        if not self._is_armed:
            self._watcher.start(self._readable)
            self._is_armed = True

    def unpark(self) -> bool:
        """Forget the callback. The watcher stays on: the next wait then costs no epoll_ctl.

        Returns whether it would have been called in this turn of the loop, which has seen something and told others first.
        """
        self._on_readable = None
        watcher = self._watcher
        return watcher is not None and watcher.pending

    @property
    def is_watching(self) -> bool:
        """Whether the watcher is on: then nothing has arrived that nobody took."""
        return self._is_armed

    # -------------------------------------------------------------- the end

    def close(self) -> None:
        """Close the socket; greenlets that wait in it get ConnectionAbortedError. Idempotent, never waits."""
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        self.is_closed = True
        watcher.stop()
        watcher.close()
        self._drop_write_watcher()
        self._drop_timer()
        self._on_readable = None
        self._is_armed = True  # so that `park` starts no watcher
        self._sock.close()
        self._error = self._error or ConnectionAbortedError(_CLOSED)  # so that no wait begins
        for waiting in (self._reader, self._writer):
            if waiting is not None:
                self._loop.run_callback(self._abort, waiting)

    def break_off(self) -> None:
        """Note that what was sent is not the whole. Here that shows by itself: it is too short, or `reset` follows."""

    def end_with_next_send(self) -> None:
        """Note that what is sent next is the last, and the whole. Here nothing has to be said of that."""

    def reset(self) -> None:
        """Close so that the peer sees a reset instead of an orderly end: what it has is not the whole."""
        if self._watcher is not None:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # gone already
        self.close()

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self._sock.fileno()
