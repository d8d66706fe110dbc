"""Front: what the connections of one http listener share: its settings, its handler, who waits, and who waited too long."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic
from typing import Any, Protocol

from gevent import get_hub

from greenproxy.config.settings import ListenerSettings
from greenproxy.deadline import Patience
from greenproxy.errors import BodyTimeout, ProxyError, SendTimeout
from greenproxy.messages import ClientAddress, Handler, Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.net.stream import CLIENTS_FIRST, Stream
from greenproxy.protocol.http1 import HeadLimits, RequestHead
from greenproxy.server.http1 import Connection
from greenproxy.server.serve import Funnel

LINGER_S = 5.0  # how long a closed client may go on sending before it is cut
_FOREVER = float("inf")


@dataclass(frozen=True)
class Services:
    """What all listeners of a worker share. `error_page` makes the answer that tells of an error."""

    recycler: Recycler
    funnel: Funnel
    error_page: Callable[[ProxyError, Request | None], Response]
    connection_closed: Callable[[], None]


class Waiting(Protocol):
    """A connection, as far as its front is concerned; those that shake hands first are of another kind before."""

    since_s: float
    served: int

    def give_up_waiting(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Front:
    """One http listener's connections. The dicts keep the order of arrival, so sweeps look at the oldest first."""

    scheme = "http"

    def __init__(self, settings: ListenerSettings, handler: Handler, services: Services) -> None:
        self.settings = settings
        self.name = settings.name
        self.keepalive_requests = settings.keepalive_requests
        self.handler = handler
        self.recycler = services.recycler
        self.funnel = services.funnel
        self.error_page = services.error_page
        self.loop: Any = get_hub().loop
        self.limits = HeadLimits(settings.max_header_size_bytes, settings.max_headers, settings.max_uri_bytes)
        self.body_patience = Patience(settings.body_timeout_s, BodyTimeout)
        self.send_patience = Patience(settings.send_timeout_s, SendTimeout)
        self.idle: dict[Waiting, None] = {}  # between requests, or before the first
        self.reading: dict[Waiting, None] = {}  # in the middle of a head
        self.lingering: dict[Waiting, None] = {}  # closed for us, not yet for the client
        self.recent: dict[int, tuple[bytes, RequestHead]] = {}  # by length, the head that came last and what it says
        self.requests = 0
        self.is_draining = False
        self._connection_closed = services.connection_closed
        self._open: set[Waiting] = set()
        self.trusts_anybody = settings.trust_unix or bool(settings.trusted_proxies)
        self._trusts: dict[str, bool] = {}

    def accept(self, sock: _socket.socket, address: Any) -> None:
        """Take over an accepted connection. In the hub."""
        self._open.add(Connection(self, Stream(sock, CLIENTS_FIRST), address))

    def forget(self, connection: Waiting) -> None:
        """A connection is closed. Idempotent."""
        self.idle.pop(connection, None)
        self.reading.pop(connection, None)
        self.lingering.pop(connection, None)
        if connection in self._open:
            self._open.discard(connection)
            self._connection_closed()

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._open)

    def is_trusted(self, peer: ClientAddress) -> bool:
        """Return whether what this peer says about its client is believed (trusted-proxies)."""
        if peer.ip == "unix:":
            return self.settings.trust_unix
        networks = self.settings.trusted_proxies
        if not networks:
            return False
        known = self._trusts.get(peer.ip)
        if known is None:
            ip = ip_address(peer.ip.partition("%")[0])
            ip = getattr(ip, "ipv4_mapped", None) or ip
            if len(self._trusts) > 10000:
                self._trusts.clear()
            known = self._trusts[peer.ip] = any(ip in network for network in networks)
        return known

    # -------------------------------------------------------------- waiting too long

    @property
    def sweep_interval_s(self) -> float:
        """How often `sweep` must be called for its timeouts to be kept well enough."""
        shortest = min(self.settings.idle_timeout_s or _FOREVER, self.settings.header_timeout_s or _FOREVER, LINGER_S)
        return min(1.0, max(0.02, shortest / 8))

    def sweep(self) -> None:
        """End the waits that took too long. In the hub or in a greenlet of its own; does not wait."""
        now = monotonic()
        self._end_waits(self.idle, now - (self.settings.idle_timeout_s or _FOREVER))
        self._end_waits(self.reading, now - (self.settings.header_timeout_s or _FOREVER))
        for connection in self._older(self.lingering, now - LINGER_S):
            connection.close()
        if not self._open:
            self.recent.clear()  # what they said is tens of megabytes at worst

    def _end_waits(self, waiting: dict[Waiting, None], before_s: float) -> None:
        for connection in self._older(waiting, before_s):
            connection.give_up_waiting()

    @staticmethod
    def _older(waiting: dict[Waiting, None], before_s: float) -> list[Waiting]:
        found = []
        for connection in waiting:
            if connection.since_s > before_s:
                break
            found.append(connection)
        return found

    def close_idle(self, *, for_s: float, also_new: bool) -> None:
        """Close connections that have waited `for_s` seconds for their next request; with `also_new` for their first one too."""
        for connection in self._older(self.idle, monotonic() - for_s):
            if also_new or connection.served:
                connection.give_up_waiting()

    def cut_all(self) -> None:
        """Cut whatever is still going on."""
        for connection in list(self._open):
            connection.stop()
