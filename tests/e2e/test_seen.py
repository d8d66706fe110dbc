"""Section 8: what statsd and the access log get to see."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.client import RawClient, ask, get, post
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.processes import wait_until
from tests.scripts import answer, expect_request, hang, send

INI = """
[greenproxy]
{process}
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = {backend} name=blue-1.a
health-interval = 0
"""
KEYS = {
    "time", "client", "method", "target", "protocol", "host", "status", "bytes_in", "bytes_out", "referer", "user_agent",
    "request_time", "upstream", "backend", "upstream_time", "retries", "request_id", "reason", "worker",
}  # fmt: skip


class Statsd:
    """A UDP socket that gathers statsd lines."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.lines: list[str] = []

    def read(self) -> list[str]:
        try:
            while True:
                self.lines += self.sock.recv(65536).decode().splitlines()
        except BlockingIOError:
            return self.lines

    def total(self, name: str) -> float:
        """Return the sum of a counter."""
        values = re.findall(rf"^{re.escape(name)}:([\d.]+)\|c", "\n".join(self.read()), re.M)
        return sum(float(value) for value in values)

    def gauge(self, name: str) -> float | None:
        """Return the latest value of a gauge."""
        values = re.findall(rf"^{re.escape(name)}:([\d.]+)\|g", "\n".join(self.read()), re.M)
        return float(values[-1]) if values else None


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    """A statsd server that only listens."""
    server = Statsd()
    yield server
    server.sock.close()


def test_statsd_counts_what_happened(proxy: StartProxy, scripted: MakeBackend, statsd: Statsd) -> None:
    running = proxy(INI.format(process=f"statsd = 127.0.0.1:{statsd.port}\nstatsd-prefix = edge", backend=scripted().url))
    for _ in range(5):
        ask(running.address(), get())
    ask(running.address(), get("/", "Host: two"))
    wait_until(lambda: statsd.total("edge.requests") >= 6, "six requests are counted")

    assert statsd.total("edge.requests") == 6
    assert (statsd.total("edge.responses.2xx"), statsd.total("edge.responses.4xx")) == (5, 1)
    assert statsd.total("edge.errors.bad-request") == 1
    assert statsd.total("edge.upstream.shop.requests") == 5
    assert re.search(r"^edge\.request_time:[\d.]+\|ms", "\n".join(statsd.lines), re.M)
    assert re.search(r"^edge\.upstream\.shop\.response_time:[\d.]+\|ms", "\n".join(statsd.lines), re.M)


def test_statsd_gauges_tell_connections_and_backends(proxy: StartProxy, scripted: MakeBackend, statsd: Statsd) -> None:
    backend = scripted([expect_request, hang, send(answer())])
    running = proxy(INI.format(process=f"statsd = 127.0.0.1:{statsd.port}", backend=backend.url))
    with RawClient(running.address()) as busy, RawClient(running.address()):
        busy.send(get())
        wait_until(lambda: statsd.gauge("greenproxy.upstream.shop.blue-1_a.active") == 1, "the backend is active")
        wait_until(lambda: statsd.gauge("greenproxy.connections.active") == 1, "one client is active")
        wait_until(lambda: statsd.gauge("greenproxy.connections.idle") == 1, "one client is idle")
        assert statsd.gauge("greenproxy.upstream.shop.blue-1_a.up") == 1
        assert statsd.gauge("greenproxy.upstream.shop.queued") == 0
        backend.release()
        busy.answer()
    wait_until(lambda: statsd.gauge("greenproxy.connections.active") == 0, "nobody is active")


def test_statsd_gauges_are_summed_over_workers(proxy: StartProxy, scripted: MakeBackend, statsd: Statsd) -> None:
    running = proxy(INI.format(process=f"workers = 2\nstatsd = 127.0.0.1:{statsd.port}", backend=scripted().url))
    clients = [RawClient(running.address()) for _ in range(12)]
    try:
        wait_until(lambda: statsd.gauge("greenproxy.connections.idle") == 12, "all are seen, wherever they are")
    finally:
        for client in clients:
            client.sock.close()


def test_nothing_of_statsd_is_sent_per_request(proxy: StartProxy, scripted: MakeBackend, statsd: Statsd) -> None:
    running = proxy(INI.format(process=f"statsd = 127.0.0.1:{statsd.port}", backend=scripted().url))
    with RawClient(running.address()) as client:
        for _ in range(300):
            client.ask(get())
    wait_until(lambda: statsd.total("greenproxy.requests") == 300, "all are counted")

    assert len([line for line in statsd.lines if line.startswith("greenproxy.requests:")]) < 30
    timers = [line for line in statsd.lines if line.startswith("greenproxy.request_time:")]
    assert len(timers) <= 300
    assert all(re.fullmatch(r"greenproxy\.request_time:[\d.]+\|ms(\|@[\d.]+)?", line) for line in timers)


def test_a_json_line_has_every_key(house: House) -> None:
    with house.client() as client:
        client.ask(post("/logged-in-json?q=1", b"hello", "Referer: http://r/", "User-Agent: tests/1"))
    entry = house.proxy.entry("logged-in-json")

    assert set(entry) == KEYS
    assert (entry["method"], entry["target"], entry["status"]) == ("POST", "/logged-in-json?q=1", 200)
    assert entry["protocol"] == "HTTP/1.1"
    assert (entry["host"], entry["client"]) == ("shop.example.com", "127.0.0.1")
    assert (entry["referer"], entry["user_agent"]) == ("http://r/", "tests/1")
    assert (entry["upstream"], entry["backend"], entry["retries"]) == ("plain", "blue", 0)
    assert entry["bytes_in"] == 5
    assert entry["bytes_out"] > 100
    assert 0 < entry["upstream_time"] <= entry["request_time"] < 5
    assert not entry["reason"]


COMBINED = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /combined HTTP/1\.1" 200 (\d+) "http://r/" "tests/1" '
    r"\d+\.\d{3} shop blue-1\.a \d+\.\d{3} -"
)


def test_a_combined_line_ends_with_our_own_columns(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(INI.format(process="access-log-format = combined", backend=scripted().url))
    told = ask(running.address(), get("/combined", "Referer: http://r/", "User-Agent: tests/1"))
    (line,) = wait_until(running.access_log, "a line")
    matched = COMBINED.fullmatch(line.rstrip("\n"))

    assert matched, line
    assert int(matched[1]) == len(told.body)


def test_a_combined_line_of_a_failure_has_dashes_and_the_reason(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(INI.format(process="access-log-format = combined", backend=scripted().url))
    ask(running.address(), get("/wrong", "Host: two"))
    (line,) = wait_until(running.access_log, "a line")

    assert re.search(r'" 400 \d+ "-" "-" \d+\.\d{3} - - - bad-request$', line.rstrip("\n")), line


@pytest.mark.parametrize("style", ["combined", "json"])
def test_nobody_can_forge_a_line(proxy: StartProxy, scripted: MakeBackend, style: str) -> None:
    running = proxy(INI.format(process=f"access-log-format = {style}", backend=scripted().url))
    ask(running.address(), get('/"quoted"', 'User-Agent: x" 200 \t\x9b\x85y', "Referer: \\"))
    (line,) = wait_until(running.access_log, "a line")

    assert line.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", line)


def test_every_exchange_of_a_connection_has_one_line(house: House) -> None:
    with house.client() as client:
        client.send(get("/one-line-each") * 7)
        for _ in range(7):
            client.answer()
    wait_until(lambda: len(house.proxy.entries("one-line-each")) >= 7, "all lines")

    assert len(house.proxy.entries("one-line-each")) == 7


def test_the_access_log_goes_to_standard_output(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(INI.format(process="access-log = -", backend=scripted().url))
    ask(running.address(), get("/to-stdout"))

    wait_until(lambda: "/to-stdout" in running.output(), "the line")


def test_an_access_log_that_is_off_is_off(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(INI.format(process="access-log = off", backend=scripted().url))
    ask(running.address(), get("/nowhere"))
    running.stop()

    assert "/nowhere" not in running.output() + running.log()


def test_the_last_lines_are_written_at_the_stop(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(INI.format(process="", backend=scripted().url))
    ask(running.address(), get("/last-words"))
    running.stop()

    assert len(running.entries("/last-words")) == 1


def test_usr1_reopens_the_log_that_was_moved_away(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(INI.format(process="", backend=scripted().url))
    ask(running.address(), get("/before"))
    running.entry("/before")
    log = running.folder / "access.log"
    log.rename(running.folder / "access.log.1")
    running.send(signal.SIGUSR1)
    wait_until(log.exists, "a new file")
    ask(running.address(), get("/after"))

    assert running.entry("/after")["status"] == 200
