"""Metrics as they arrive at a statsd server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import gevent
import pytest
from gevent import socket

from greenproxy.config.settings import Address
from greenproxy.observability import statsd as module
from greenproxy.observability.board import Board
from greenproxy.observability.metrics import Metrics
from greenproxy.observability.statsd import Statsd
from tests.fakes import memory_logger
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


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_EVERY_S", 0.005)


Gauges: TypeAlias = Callable[[], dict[str, float]]


def sender(address: Address | None, metrics: Metrics, gauges: Gauges = GAUGES.copy, board: Board | None = None) -> Statsd:
    return Statsd(address, "gp", metrics, gauges, board, 0, LOG)


def sent_once(server: Server, metrics: Metrics, gauges: Gauges = GAUGES.copy) -> list[str]:
    """Return the lines of one flush."""
    statsd = sender(server.address, metrics, gauges)
    statsd.start()
    statsd.stop()
    return server.receive()


def test_names_and_forms_are_the_contract(server: Server) -> None:
    metrics = Metrics()
    metrics.finished(proxied(retries=1))
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
    assert "gp.upstream.shop.blue.up:0.667|g" in sent_once(server, Metrics(), lambda: {"upstream.shop.blue.up": 2 / 3})


def test_one_worker_speaks_for_all(server: Server) -> None:
    board = Board(4, 8)
    first = sender(server.address, Metrics(), board=board)
    first.start()
    first.flush(server.address, 1.0)
    other = board.claim(1, tuple(GAUGES))
    other.write([10, 20, 30, 0])
    server.receive()
    first.flush(server.address, 1.0)
    assert server.receive() == [
        "gp.connections.active:13|g",
        "gp.connections.idle:22|g",
        "gp.upstream.shop.queued:30|g",
        "gp.upstream.shop.blue.up:0.5|g",
    ]
    first.stop()
    board.close()


@pytest.mark.usefixtures("fast")
def test_it_flushes_by_itself_until_it_is_stopped(server: Server) -> None:
    metrics = Metrics()
    statsd = sender(server.address, metrics)
    statsd.start()
    for _ in range(3):
        metrics.finished(exchange(request()))
        while "gp.requests:1|c" not in server.receive():
            pass
    statsd.stop()


def test_last_counts_are_sent_when_it_stops(server: Server) -> None:
    metrics = Metrics()
    statsd = sender(server.address, metrics)
    statsd.start()
    metrics.finished(exchange(request()))
    statsd.stop()
    assert "gp.requests:1|c" in server.receive()


def test_without_an_address_nothing_happens() -> None:
    metrics = Metrics()
    metrics.finished(exchange(request()))
    statsd = sender(None, metrics)
    statsd.start()
    statsd.stop()
    assert metrics.drain().requests == 1  # nobody took what was counted


@pytest.mark.usefixtures("fast")
def test_server_that_is_not_there_is_one_line_and_one_when_it_is(messages: list[str]) -> None:
    server = Server()
    address = server.address
    server.sock.close()
    metrics = Metrics()
    statsd = sender(address, metrics)
    statsd.start()
    with gevent.Timeout(PATIENCE_S):
        while not messages:
            gevent.sleep(0.001)
        gevent.sleep(0.05)
        assert messages == [f"statsd: metrics cannot be sent to {address}: [Errno 111] Connection refused"]
        server = Server(address.port)
        while len(messages) < 2:
            gevent.sleep(0.001)
    metrics.finished(exchange(request()))
    statsd.stop()
    assert messages[1:] == [f"statsd: metrics are sent to {address} again"]
    assert "gp.requests:1|c" in server.receive()
    server.sock.close()


@pytest.mark.usefixtures("fast")
def test_host_that_is_not_found_is_one_line_and_counts_are_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    monkeypatch.setattr(module, "_NEXT_LOOKUP_S", 0.01)
    real, tries = socket.getaddrinfo, []

    def getaddrinfo(host: str, *rest: int) -> object:
        tries.append(host)
        if len(tries) < 4:
            raise socket.gaierror(-2, "Name or service not known")
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    metrics = Metrics()
    metrics.finished(exchange(request()))
    statsd = sender(Address(host="metrics.invalid", port=server.address.port), metrics)
    statsd.start()
    assert "gp.requests:1|c" in server.receive()
    statsd.stop()
    assert len(tries) == 4
    assert messages[0].startswith("statsd: metrics cannot be sent to metrics.invalid:")
    assert messages[0].endswith(": [Errno -2] Name or service not known")
    assert len(messages) <= 2


def test_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    monkeypatch.setattr(module, "_LAST_LOOKUP_S", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: gevent.sleep(30))
    statsd = sender(Address(host="metrics.invalid", port=1), Metrics())
    statsd.start()
    statsd.stop()
    assert messages == ["statsd: metrics cannot be sent to metrics.invalid:1: metrics.invalid was not found within 0.01s"]


def test_gauge_that_raises_costs_a_flush_and_no_more(server: Server, messages: list[str]) -> None:
    broken = [False]

    def gauges() -> dict[str, float]:
        if broken[0]:
            raise KeyError("bug")
        return {"connections.active": 1}

    statsd = sender(server.address, Metrics(), gauges)
    statsd.start()
    broken[0] = True
    statsd.flush(server.address, 1.0)
    broken[0] = False
    statsd.stop()
    assert messages == ["statsd: a flush failed; please report this"]
    assert server.receive() == ["gp.connections.active:1|g"]


def test_board_without_room_costs_the_gauges_only(server: Server, messages: list[str]) -> None:
    board = Board(1, 1)
    metrics = Metrics()
    metrics.finished(exchange(request()))
    statsd = sender(server.address, metrics, board=board)
    statsd.start()
    statsd.stop()
    board.close()
    assert messages == ["statsd: no gauges are sent: 4 names do not fit on a board for 1"]
    assert "gp.requests:1|c" in server.receive()
