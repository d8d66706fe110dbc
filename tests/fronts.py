"""LoneFront: one http listener of the server room in this process, without a listening socket and without other rooms.

with LoneFront(handler, idle_timeout_s=0.1) as front:  # and with tls=: clients have shaken hands
    client = front.connect()
    assert client.ask(get("/")).status == 200
    assert front.endings[0].reason == ""
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent import get_hub
from gevent.ssl import SSLContext

from greenproxy.config.settings import ListenerSettings
from greenproxy.errors import ProxyError
from greenproxy.exchange import Exchange
from greenproxy.messages import Handler, Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.observability.error_pages import error_response
from greenproxy.observability.metrics import Metrics
from greenproxy.server.front import Front, Services
from greenproxy.server.serve import Funnel
from greenproxy.server.tls_front import TlsFront
from tests.fakes import memory_logger
from tests.hub import HubClient, connected, until
from tests.tls_client import HubTlsSocket, client_context


@dataclass(frozen=True)
class Ending:
    """How an exchange ended, as the metrics saw it."""

    status: int
    reason: str
    bytes_in: int
    bytes_out: int
    first_line: bytes
    request: Request | None


class LoneFront:
    """`endings` are the exchanges that were counted, `logged` is how many reached the access log, `log` the error log."""

    def __init__(self, handler: Handler, tls: SSLContext | None = None, **settings: Any) -> None:
        self.endings: list[Ending] = []
        self.metrics = Metrics()
        self.logged = 0
        self.accepted = self.closed = 0
        logger, self.log = memory_logger()
        self.recycler = Recycler()
        services = Services(self.recycler, Funnel(self._count, self._write, logger), self._page, self._closed)
        listener = ListenerSettings(**{"name": "web", **settings})
        self._is_secure = tls is not None
        if tls is None:
            self.front = Front(listener, handler, services)
        else:
            self.front = TlsFront(listener, handler, services, tls, self.metrics.shaken, logger)
        self._clients: list[HubClient] = []
        self._sweep: Any = None

    def _count(self, exchange: Exchange) -> None:
        self.metrics.finished(exchange)
        self.endings.append(
            Ending(exchange.status, exchange.reason, exchange.bytes_in, exchange.bytes_out, exchange.first_line, exchange.request)
        )

    def _write(self, exchange: Exchange) -> None:
        assert exchange.ended_s >= exchange.started_s
        self.logged += 1

    @staticmethod
    def _page(error: ProxyError, request: Request | None) -> Response:
        accept = (request.headers.get("accept") or "") if request is not None else ""
        return error_response(error, accept, "greenproxy")

    def _closed(self) -> None:
        self.closed += 1

    # -------------------------------------------------------------- clients

    def connect(self, *, buffers: int = 0) -> HubClient:
        """Return a client whose connection was just accepted."""
        raw, peer = connected(buffers=buffers)
        client = HubClient(peer)
        self._clients.append(client)
        self.accepted += 1
        self.front.accept(raw, peer.getsockname())
        if self._is_secure:
            client.sock = HubTlsSocket(peer, client_context())
        return client

    @property
    def reasons(self) -> list[str]:
        """How the exchanges ended, oldest first."""
        return [each.reason for each in self.endings]

    @property
    def connections(self) -> int:
        return self.front.connections

    def ended(self, count: int = 1) -> list[Ending]:
        """Wait until that many exchanges have ended; return them."""
        until(lambda: len(self.endings) >= count)
        return self.endings

    def keep_sweeping(self) -> None:
        """Sweep as often as the front wants it."""
        interval_s = self.front.sweep_interval_s
        self._sweep = get_hub().loop.timer(interval_s, interval_s)
        self._sweep.start(self.front.sweep)

    # -------------------------------------------------------------- the end

    def stop(self) -> None:
        """Cut everything and wait until it is gone."""
        for client in self._clients:
            client.leave()
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep.close()
        self.front.cut_all()
        until(lambda: not self.front.connections)
        assert self.closed == self.accepted, "a connection was closed more or less than once"

    def __enter__(self) -> LoneFront:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def recycled_greenlets() -> int:
    """Return how many greenlets recyclers have made in this test and not ended, whether they wait or are idle."""
    return sum(type(each).__name__ == "_Runner" and not each.dead for each in gc.get_objects())


def answering(*responses: Response) -> Handler:
    """A handler that gives these responses in turn, the last one for ever."""
    left = list(responses)

    def handler(_request: Request) -> Response:
        return left.pop(0) if len(left) > 1 else left[0]

    return handler


MakeFront = Callable[..., LoneFront]
