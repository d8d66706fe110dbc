"""SideDoors: the admin listener's doors. Its clients are few, and neither counted nor logged among those of the house."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from time import monotonic

import gevent

from greenproxy.config.settings import ListenerSettings
from greenproxy.errors import ProxyError
from greenproxy.exchange import Exchange
from greenproxy.messages import Handler, Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.server.doors import Doors
from greenproxy.server.front import Front, Services
from greenproxy.server.serve import Funnel
from greenproxy.server.shortage import Shortage

MAX_CONNECTIONS = 64
_LINGER_S = 0.1
_TIME_S = 1.0


class SideDoors:
    """Owns them, with a ceiling of their own. Answers come at once, so that closing takes a moment only."""

    def __init__(
        self,
        recycler: Recycler,
        error_page: Callable[[ProxyError, Request | None], Response],
        log: logging.Logger,
        shortage: Shortage | None = None,
    ) -> None:
        self._doors = Doors(MAX_CONNECTIONS, log, "connections to admin", shortage)
        self._services = Services(recycler, Funnel(_unseen, None, log), error_page, self._doors.connection_closed)
        self._closing: gevent.Greenlet[[_Shortly], None] | None = None
        self._doubt: gevent.Greenlet[[], None] | None = None

    def open(self, listener: ListenerSettings, handler: Handler, sockets: Sequence[socket.socket]) -> None:
        """Begin to accept connections on listening sockets, which become ours."""
        self._doors.open(Front(listener, handler, self._services), sockets, max_accept=1)

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._doors.connections

    def leave(self) -> None:
        """Accept no more; what is on its way is answered, in a moment. Does not wait. More than once does no harm."""
        if self._closing is None:
            self._closing = gevent.spawn(self._doors.drain, _Shortly())

    def leave_if(self, others_serve: Callable[[], bool], in_s: float) -> None:
        """Leave `in_s` seconds from now, unless there is nobody else then. Does not wait."""
        self._doubt = gevent.spawn_later(in_s, lambda: self.leave() if others_serve() else None)

    def close(self) -> None:
        """Leave, and wait until that is over."""
        if self._doubt is not None:
            self._doubt.kill(block=False)
        self.leave()
        if self._closing is not None:
            self._closing.join()


class _Shortly:
    """How such doors are left: soon, and without a word about it. See `doors.Leave`."""

    limit = ""
    linger_s = _LINGER_S

    def __init__(self) -> None:
        self._until_s = monotonic() + _TIME_S

    def remaining_s(self) -> float:
        return _TIME_S

    def is_fast(self) -> bool:
        return monotonic() > self._until_s

    def beat(self) -> None:
        """The house gives its heartbeat elsewhere; this is shorter than any."""


def _unseen(_exchange: Exchange) -> None:
    """Count nothing."""
