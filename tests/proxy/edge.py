"""Edge: a reverse proxy on a real upstream in this process, and what became of its leases."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent

from greenproxy.config.settings import Address, BackendSettings, RelaySettings
from greenproxy.messages import Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.net.resolver import Resolver
from greenproxy.proxy.reverse import ReverseProxy
from tests.hub import until
from tests.proxy.requests import head, request
from tests.scripted import ScriptedBackend
from tests.upstream.fakes import real_upstream


def settings_of(backend: ScriptedBackend) -> BackendSettings:
    """Return a ScriptedBackend as the configuration names it."""
    if backend.path:
        return BackendSettings(address=Address(path=backend.path), name=backend.name)
    return BackendSettings(address=Address(host=backend.host, port=backend.port), name=backend.name)


class Edge:
    """`proxy` is the handler under test. Keywords of RelaySettings and of UpstreamSettings may be mixed."""

    def __init__(
        self, resolver: Resolver, log: logging.Logger, *backends: ScriptedBackend, replaces_host: bool = False, **changes: Any
    ) -> None:
        names = RelaySettings.__dataclass_fields__
        self.relay = RelaySettings(**{key: changes.pop(key) for key in list(changes) if key in names})
        self.recycler = Recycler()
        self.upstream = real_upstream(resolver, log, *map(settings_of, backends), **changes)
        self.proxy = ReverseProxy(self.upstream, self.relay, self.recycler, via=False, replaces_host=replaces_host)

    def ask(self, it: Request | None = None) -> tuple[Response, bytes]:
        """Send a request (default: a GET); return the response and its whole body. The body is closed."""
        response = self.proxy(it or request(head()))
        try:
            return response, b"".join(response.pieces())
        finally:
            close = getattr(response.body, "close", None)
            if close is not None:
                close()

    def spawn(self, it: Request | None = None) -> gevent.Greenlet[..., tuple[Response, bytes]]:
        """Ask in a greenlet of its own."""
        return gevent.spawn(self.ask, it)

    @property
    def in_flight(self) -> int:
        return sum(backend.in_flight for backend in self.upstream.backends)

    @property
    def idle(self) -> int:
        """Connections that lie in the pools."""
        return sum(backend.pool.idle for backend in self.upstream.backends)

    @property
    def failures(self) -> int:
        """Failures that were put down to backends."""
        return sum(backend.failures for backend in self.upstream.backends)

    def until_idle(self) -> None:
        """Wait until every lease is back."""
        until(lambda: self.in_flight == 0)

    def stop(self) -> None:
        """Stop; fails if a lease is out still, or a slot lost."""
        try:
            self.until_idle()
            assert self.upstream.queued == 0, "a request waits still"
        finally:
            self.upstream.stop()


MakeEdge = Callable[..., Edge]
