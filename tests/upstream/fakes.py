"""What the tests of this room stand on: streams in memory, dials that do as told, names that resolve on cue, a small upstream."""

from __future__ import annotations

import logging
import random
import socket
from collections import deque
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any, cast

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from greenproxy.config.settings import Address, BackendSettings, RelaySettings, UpstreamSettings
from greenproxy.deadline import NEVER, Deadline, Limit
from greenproxy.errors import ProxyError
from greenproxy.net.dial import SockAddr
from greenproxy.net.resolver import Changed
from greenproxy.net.stream import Stream
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.group import Upstream
from greenproxy.upstream.lease import Lease
from tests.fakes import HandClock, memory_logger
from tests.hub import settle, until


class MemoryStream:
    """A Stream without a socket: what the pool needs of it."""

    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        self.is_closed = False
        self.parked: Callable[[], None] | None = None
        self.arrived = False
        self.is_pending = False  # the loop has seen that it arrived, and not told anybody
        self._on_close = on_close

    def park(self, on_readable: Callable[[], None]) -> None:
        assert not self.is_closed
        self.parked = on_readable

    def unpark(self) -> bool:
        self.parked = None
        return self.is_pending

    def recv_now(self, max_bytes: int) -> bytes | None:
        return b"x"[:max_bytes] if self.arrived else None

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.parked = None
            self._on_close()

    def hang_up(self) -> None:
        """Be the backend that closes: the hub would call whoever parked it."""
        self.arrived = True
        callback, self.parked = self.parked, None
        if callback is not None:
            callback()


class Dialler:
    """Stands in for `dial`: counts sockets per address; fails, hangs or yields on cue."""

    def __init__(self) -> None:
        self.open: dict[SockAddr, int] = {}
        self.peak: dict[SockAddr, int] = {}
        self.dialled: list[SockAddr] = []
        self.streams: list[MemoryStream] = []
        self.errors: dict[SockAddr, type[ProxyError]] = {}  # for an address, until it is taken out
        self.errors_once: dict[SockAddr, type[ProxyError]] = {}  # only for the next dial
        self.yields: Callable[[], int] = lambda: 0  # how often a dial lets others run
        self.gate: Event | None = None  # dials wait for it

    def __call__(self, target: SockAddr, limit: Limit) -> Stream:
        self.dialled.append(target)
        self._count(target, 1)  # from here on there is a socket
        try:
            self._wait(limit)
            if target in self.errors_once:
                raise self.errors_once.pop(target)()
            if target in self.errors:
                raise self.errors[target]()
        except BaseException:
            self._count(target, -1)
            raise
        stream = MemoryStream(lambda: self._count(target, -1))
        self.streams.append(stream)
        return cast(Stream, stream)

    def _wait(self, limit: Limit) -> None:
        for _ in range(self.yields()):
            gevent.sleep(0)
        if self.gate is not None:
            seconds = limit.remaining_s()
            if not self.gate.wait(None if seconds == float("inf") else max(0.0, seconds)):
                raise limit.late()

    def _count(self, target: SockAddr, change: int) -> None:
        self.open[target] = self.open.get(target, 0) + change
        self.peak[target] = max(self.peak.get(target, 0), self.open[target])


class KnownNames:
    """Stands in for the resolver: every address is known at once, except hosts in `unknown`."""

    def __init__(self, *unknown: str) -> None:
        self.unknown = set(unknown)
        self.watches: dict[str, Changed] = {}

    def watch(self, address: Address, changed: Changed) -> KnownNames:
        self.watches[address.host] = changed
        if address.host in self.unknown:
            changed((), f"{address.host} does not resolve: no such name")
        else:
            changed((addr(address),), "")
        return self

    def cancel(self) -> None:
        """Nothing is watched in earnest."""

    def wait_for_first_answers(self) -> None:
        """Everything is answered at once."""


def addr(address: Address) -> SockAddr:
    """Return the socket address that `KnownNames` and `House` use for an address."""
    return SockAddr(socket.AF_INET, (address.host, address.port))


def backend(name: str, weight: int = 1, is_backup: bool = False) -> BackendSettings:
    """Return a backend on an address that belongs to nobody."""
    return BackendSettings(address=Address(host=f"{name}.test", port=80), name=name, weight=weight, is_backup=is_backup)


def upstream_settings(*backends: BackendSettings, **changes: Any) -> UpstreamSettings:
    """Return settings without active checks unless they are asked for."""
    return UpstreamSettings(**{"name": "shop", "backends": backends or (backend("a"),), "health_interval_s": 0.0, **changes})


class House:
    """A started upstream on fakes, with its clock (turned by hand unless `ticks`), its dial and its log."""

    def __init__(
        self,
        *backends: BackendSettings,
        names: KnownNames | None = None,
        seed: int = 1,
        ticks: bool = False,
        is_started: bool = True,
        **changes: Any,
    ) -> None:
        self.clock = HandClock()
        self.dial = Dialler()
        self.names = names or KnownNames()
        self.logger, self.log = memory_logger()
        self.relay = RelaySettings()
        self.settings = upstream_settings(*backends, **changes)
        self.upstream = Upstream(
            self.settings,
            cast(Any, self.names),
            None,
            self.logger,
            monotonic if ticks else self.clock,
            random.Random(seed),
            self.dial,
        )
        if is_started:
            self.upstream.start()

    def __getitem__(self, name: str) -> Backend:
        return next(each for each in self.upstream.backends if each.label == name)

    def lease(self, tried: Collection[Backend] = (), fresh: bool = False, limit: Deadline = NEVER) -> Lease:
        """Lease with the house's relay settings."""
        return self.upstream.lease(self.relay, limit, tried, fresh)

    def spawn(self, **options: Any) -> gevent.Greenlet[..., Lease]:
        """Lease in a greenlet of its own, which has run until it waits when this returns."""
        greenlet = gevent.spawn(self.lease, **options)
        settle()
        return greenlet

    @property
    def queued(self) -> int:
        return self.upstream.queued

    def fail(self, name: str, times: int, error: ProxyError) -> None:
        """Let traffic see a backend fail, `times` in a row."""
        for _ in range(times):
            self[name].note_failure(error, is_trial=False)

    def stop(self) -> None:
        self.upstream.stop()


class Harbour:
    """A loopback server in the hub: keeps the connections it accepts, and what they sent."""

    def __init__(self) -> None:
        self.accepted: list[Any] = []
        self.received: deque[bytes] = deque()
        self.answers: deque[bytes] = deque()
        self.open = self.peak = 0
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port: int = self._server.server_port or 0

    def _serve(self, sock: Any, _: Any) -> None:
        self.accepted.append(sock)
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            while data := sock.recv(65536):
                self.received.append(data)
                if self.answers:
                    sock.sendall(self.answers.popleft())
        except OSError:
            pass  # the test closed one side or the other
        finally:
            self.open -= 1
            sock.close()

    def hang_up(self) -> None:
        """Close every connection."""
        for sock in self.accepted:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # gone already

    def stop(self) -> None:
        self.hang_up()
        self._server.stop()
        until(lambda: self.open == 0)

    @property
    def settings(self) -> BackendSettings:
        return BackendSettings(address=Address(host="127.0.0.1", port=self.port))


def real_upstream(resolver: Any, log: logging.Logger, *backends: BackendSettings, **changes: Any) -> Upstream:
    """Return a started upstream with real sockets."""
    upstream = Upstream(upstream_settings(*backends, **changes), resolver, None, log)
    upstream.start()
    return upstream
