"""House: a listener, a reverse proxy and an upstream without sockets: one client is served, everything is seen.

The rooms are the real ones, from `server.http1` to `upstream.pool`; only the streams are `fed.FedStream`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import cache
from ipaddress import ip_network
from typing import cast

from fuzz.case import require
from fuzz.fed import Errands, FedStream
from greenproxy.config.settings import Address, BackendSettings, ListenerSettings, RelaySettings, UpstreamSettings
from greenproxy.errors import ProxyError
from greenproxy.exchange import Exchange
from greenproxy.messages import Request, Response
from greenproxy.net.dial import SockAddr
from greenproxy.net.resolver import Resolver
from greenproxy.net.stream import Stream
from greenproxy.observability.error_pages import error_response
from greenproxy.proxy.reverse import ReverseProxy
from greenproxy.server.front import Front, Services
from greenproxy.server.http1 import Connection
from greenproxy.server.serve import Funnel
from greenproxy.upstream.group import Upstream

PEER = ("192.0.2.1", 4711)
_ADDRESS = SockAddr(socket.AF_INET, ("127.0.0.1", 1))
_BUGS = ("internal", "app-error", "middleware-error")

#: Returns the stream of a new connection to the backend; told how many there were before.
Dial = Callable[[int], FedStream]


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage() + str(record.exc_info and record.exc_info[1]))


class House:
    """`backends` are the streams that were opened to the backend, `reasons` how the exchanges ended: of the last client.

    `is_trusted`: what the client says of earlier hops is believed. `touches`: a middleware looks at the fields.
    """

    def __init__(self, *, is_trusted: bool, touches: bool) -> None:
        self.errands = Errands()
        self.backends: list[FedStream] = []
        self.reasons: list[str] = []
        self._dial: Dial | None = None
        self._complaints = _Complaints()
        log = logging.Logger("fuzz", logging.ERROR)
        log.addHandler(self._complaints)
        backend = BackendSettings(address=Address(host="127.0.0.1", port=1))
        settings = UpstreamSettings(name="shop", backends=(backend,), health_interval_s=0, max_fails=0)
        self._upstream = Upstream(settings, cast(Resolver, None), None, log, dial=self._connect)
        self._backend = self._upstream.backends[0]
        self._backend.moved((_ADDRESS,), "")
        self._proxy = ReverseProxy(self._upstream, RelaySettings(), self.errands, via=True, replaces_host=False)
        services = Services(self.errands, Funnel(self._count, None, log), _page, lambda: None)
        networks = (ip_network("192.0.2.0/24"),) if is_trusted else ()
        self._front = Front(
            ListenerSettings(name="web", trusted_proxies=networks), self._touched if touches else self._proxy, services
        )

    def serve(self, client: FedStream, dial: Dial) -> None:
        """Serve one client until it has said everything. Raises Disagreement when something is left, or went wrong inside."""
        self.backends, self.reasons, self._dial = [], [], dial
        self._complaints.records.clear()
        connection = Connection(self._front, cast(Stream, client), PEER)
        while client.parked is not None and client.has_more:
            self._wake(client)
        if client.parked is not None and not client.was_shut:
            connection.give_up_waiting()
            self.errands.do()
        for stream in self.backends:
            if stream.parked is not None and stream.has_more:
                self._wake(stream)
        self._nothing_is_left(client)
        connection.close()
        self._backend.pool.drop_idle()

    def _wake(self, stream: FedStream) -> None:
        woken, stream.parked = stream.parked, None
        assert woken is not None
        woken()
        self.errands.do()

    def _nothing_is_left(self, client: FedStream) -> None:
        require(not self._complaints.records, "something went wrong inside", self._complaints.records)
        require(not set(_BUGS) & set(self.reasons), "a mistake of ours", self.reasons)
        require(self._backend.in_flight == 0, "a slot was not given back", self._backend.in_flight)
        open_streams = sum(not stream.is_closed for stream in self.backends)
        require(self._backend.pool.idle == open_streams, "a connection that nobody has is open", open_streams)
        waiting = [*self._front.idle, *self._front.reading]
        require(not waiting or not client.is_closed, "a closed connection waits still", waiting)

    def _touched(self, request: Request) -> Response:
        """As a middleware does that looks at the fields: both heads are then put together again from what it may have changed."""
        request.headers["X-Touched"] = "yes"
        response = self._proxy(request)
        response.headers["X-Touched"] = "yes"
        return response

    def _connect(self, _address: object, _limit: object) -> Stream:
        assert self._dial is not None
        stream = self._dial(len(self.backends))
        self.backends.append(stream)
        return cast(Stream, stream)

    def _count(self, exchange: Exchange) -> None:
        self.reasons.append(exchange.reason)


def _page(error: ProxyError, request: Request | None) -> Response:
    accept = (request.headers.get("accept") or "") if request is not None else ""
    return error_response(error, accept, "greenproxy")


#: Houses remember nothing of their clients, so one serves all inputs.
house = cache(House)
