"""Listener: accepts clients, raw and in the hub, and survives running out of descriptors."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import _socket
import gevent.socket
from gevent.server import StreamServer

#: Errors of accept() that are about the one connection, which is gone (accept(2)).
_CONNECTION_ERRORS = frozenset(
    {errno.ECONNABORTED, errno.EINTR, errno.ENETDOWN, errno.EPROTO, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM}
)
Accept = Callable[[_socket.socket, Any], None]


class Listener(StreamServer):  # type: ignore[misc]
    """Hands each accepted socket to `accept(sock, address)`, in the hub.

    `shed` is called when the process is out of descriptors; accepting pauses, each time twice as long (up to 1 s), and
    one line is logged until it works again.
    """

    min_delay = 0.01
    max_delay = 1.0

    def __init__(self, sock: socket.socket, accept: Accept, shed: Callable[[], None], log: logging.Logger, *, max_accept: int) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it: one call less each
        listening = gevent.socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._raw: Any = listening._sock
        self._kind = (listening.family, listening.type, listening.proto)
        self._shed = shed
        self._log = log
        self._is_short = False
        self.max_accept = max_accept
        super().__init__(listening, handle=accept, spawn=None)

    def do_read(self) -> tuple[_socket.socket, Any] | None:
        """Accept one connection; None when there is none."""
        try:
            fd, address = self._raw._accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _CONNECTION_ERRORS:
                return None
            self._pause(error)
            return None
        if self._is_short:
            self._is_short = False
            self.delay = self.min_delay
            self._log.warning("accepting connections again")
        family, kind, proto = self._kind
        return _socket.socket(family, kind, proto, fileno=fd), address

    def _pause(self, error: OSError) -> None:
        if not self._is_short:
            self._is_short = True
            self._log.error("cannot accept connections for now: %s", error)
        self._shed()
        self.stop_accepting()
        self._start_accepting_timer = self.loop.timer(self.delay)
        self._start_accepting_timer.start(self._start_accepting_if_started)
        self.delay = min(self.max_delay, self.delay * 2)

    def do_close(self, sock: _socket.socket, address: Any) -> None:
        """What was not taken over is closed."""
        sock.close()
