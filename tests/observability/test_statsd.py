"""Metrics as they arrive at a statsd server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import gevent
import pytest
from gevent import socket

from greenproxy.config.settings import Address
from greenproxy.observability import statsd as module
from greenproxy.observability.metrics import Metrics
from greenproxy.observability.statsd import Statsd
from tests.fakes import memory_logger
from tests.hub import until
from tests.observability.exchanges import exchange, proxied, request

PATIENCE_S = 5.0
LOG, MESSAGES = memory_logger()
GAUGES: dict[str, float] = {"connections.active": 3, "connections.idle": 2, "upstream.shop.queued": 0, "upstream.shop.blue.up": 1}


@pytest.fixture(autouse=True)
def messages() -> list[str]:
    MESSAGES.clear()
    return MESSAGES


class Server:
    """A statsd server that keeps what it is sent."""

    def __init__(self, port: int = 0) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.address = Address(host="127.0.0.1", port=self.sock.getsockname()[1])
        self.datagrams: list[bytes] = []

    def receive(self) -> list[str]:
        """Return the lines that have come, at least one datagram of them."""
        with gevent.Timeout(PATIENCE_S):
            self.datagrams = [self.sock.recv(65535)]
        self.sock.settimeout(0.0)
        try:
            while True:
                self.datagrams.append(self.sock.recv(65535))
        except BlockingIOError:
            self.sock.settimeout(None)
        return b"\n".join(self.datagrams).decode().split("\n")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.sock.close()


def sender(address: Address, tags: tuple[str, ...] = ()) -> Statsd:
    return Statsd(address, "gp", tags, LOG)


def connected(address: Address, tags: tuple[str, ...] = ()) -> Statsd:
    """Return a sender that knows its host."""
    statsd = sender(address, tags)
    statsd.start()
    until(lambda: statsd._client.is_connected())
    return statsd


def sent_once(server: Server, metrics: Metrics, gauges: Mapping[str, float] = GAUGES, tags: tuple[str, ...] = ()) -> list[str]:
    """Return the lines of one second."""
    statsd = connected(server.address, tags)
    statsd.send(metrics.drain(), gauges)
    statsd.close()
    return server.receive()


def counted(count: int = 1) -> Metrics:
    metrics = Metrics()
    for _ in range(count):
        metrics.finished(exchange(request()))
    return metrics


def test_names_and_forms_are_the_contract(server: Server) -> None:
    metrics = Metrics()
    metrics.finished(proxied(retried=["connect-refused"]))
    metrics.finished(proxied(status=502, reason="backend-closed", time_s=0.25))
    metrics.finished(exchange(request(), status=499, reason="client-gone"))
    assert sorted(sent_once(server, metrics)) == sorted(
        [
            "gp.requests:3|c",
            "gp.responses.2xx:1|c",
            "gp.responses.5xx:1|c",
            "gp.errors.backend-closed:1|c",
            "gp.errors.client-gone:1|c",
            "gp.request_time:12.000|ms",
            "gp.request_time:12.000|ms",
            "gp.request_time:12.000|ms",
            "gp.upstream.shop.requests:2|c",
            "gp.upstream.shop.failures:2|c",
            "gp.upstream.shop.retries:1|c",
            "gp.upstream.shop.retries.connect-refused:1|c",
            "gp.upstream.shop.response_time:4.000|ms",
            "gp.upstream.shop.response_time:250.000|ms",
            "gp.connections.active:3|g",
            "gp.connections.idle:2|g",
            "gp.upstream.shop.queued:0|g",
            "gp.upstream.shop.blue.up:1|g",
        ]
    )


def test_without_traffic_only_gauges_are_sent(server: Server) -> None:
    assert all(line.endswith("|g") for line in sent_once(server, Metrics()))


def test_many_requests_are_one_counter_and_a_hundred_samples_with_their_rate(server: Server) -> None:
    metrics = Metrics()
    for _ in range(400):
        metrics.finished(exchange(request()))
    lines = sent_once(server, metrics)
    assert "gp.requests:400|c" in lines
    assert lines.count("gp.request_time:12.000|ms|@0.25") == 100


def test_datagrams_are_few_and_fit_a_frame(server: Server) -> None:
    metrics = Metrics()
    for _ in range(400):
        metrics.finished(proxied())
    sent_once(server, metrics)
    assert 4 <= len(server.datagrams) <= 8
    assert all(len(datagram) <= 1400 for datagram in server.datagrams)


def test_names_with_odd_characters_are_made_words(server: Server) -> None:
    metrics = Metrics()
    metrics.finished(proxied("shop:1|c"))
    assert "gp.upstream.shop_1_c.requests:1|c" in sent_once(server, metrics)


def test_share_of_workers_is_a_fraction(server: Server) -> None:
    assert "gp.upstream.shop.blue.up:0.667|g" in sent_once(server, Metrics(), {"upstream.shop.blue.up": 2 / 3})


def test_tags_stand_behind_every_metric(server: Server) -> None:
    metrics = counted(400)
    metrics.finished(proxied(status=502, reason="backend-closed"))
    lines = sent_once(server, metrics, tags=("env:prod", "canary"))
    assert all(line.endswith("|#env:prod,canary") for line in lines)
    assert "gp.requests:401|c|#env:prod,canary" in lines
    assert "gp.connections.active:3|g|#env:prod,canary" in lines
    assert any(re.fullmatch(r"gp\.request_time:12\.000\|ms\|@0\.\d+\|#env:prod,canary", line) for line in lines)


def test_last_counts_are_sent_when_it_closes_before_the_host_is_known(server: Server) -> None:
    statsd = sender(server.address)
    statsd.send(counted(2).drain(), {})
    statsd.close()
    assert "gp.requests:2|c" in server.receive()


def test_server_that_is_not_there_is_one_line_and_one_when_it_is(messages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOKUP_S", 0.0)
    server = Server()
    address = server.address
    server.sock.close()
    statsd = connected(address)

    def sends() -> bool:
        statsd.send(counted().drain(), {})
        return len(messages) > 0

    until(sends)
    for _ in range(20):
        sends()
        gevent.sleep(0)
    assert messages == [f"statsd: metrics cannot be sent to {address}: [Errno 111] Connection refused"]
    server = Server(address.port)
    until(lambda: sends() and len(messages) == 2)
    assert messages[1:] == [f"statsd: metrics are sent to {address} again"]
    statsd.close()
    assert "gp.requests:1|c" in server.receive()
    server.sock.close()


def test_host_that_is_not_found_is_one_line_and_counts_are_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOKUP_S", 0.0)
    real, tries = socket.getaddrinfo, []

    def getaddrinfo(host: str, *rest: int) -> object:
        tries.append(host)
        if len(tries) < 4:
            raise socket.gaierror(-2, "Name or service not known")
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    statsd = sender(Address(host="metrics.invalid", port=server.address.port))
    seconds = 0
    while not statsd._client.is_connected():
        statsd.send(counted().drain(), GAUGES)
        seconds += 1
        gevent.sleep(0)
    statsd.send(Metrics().drain(), {})
    assert server.receive() == [f"gp.requests:{seconds}|c", f"gp.responses.2xx:{seconds}|c"]
    statsd.close()
    assert len(tries) == 4
    assert messages[0].startswith("statsd: metrics cannot be sent to metrics.invalid:")
    assert messages[0].endswith(": [Errno -2] Name or service not known")
    assert len(messages) <= 2


def test_resolver_that_hangs_holds_nobody_up_and_is_given_up(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    monkeypatch.setattr(module, "_LAST_LOOKUP_S", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: gevent.sleep(30))
    statsd = sender(Address(host="metrics.invalid", port=1))
    statsd.start()
    with gevent.Timeout(1.0):
        statsd.send(counted().drain(), GAUGES)
        statsd.close()
    assert messages == ["statsd: metrics cannot be sent to metrics.invalid:1: metrics.invalid was not found within 0.01s"]
