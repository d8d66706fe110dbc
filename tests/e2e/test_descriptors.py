"""Out of descriptors: who is idle makes room, those who are connected are served, and all is well when there are some again.

The limit is set in a worker that runs, so that what `worker-connections` was lowered to at its start does not help.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.client import Answer, RawClient, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.crowd import visit
from tests.e2e.scarce import Join, accepted, errors, no_room, no_room_but_what_is_idle, room_for, state_of
from tests.e2e.test_seen import Statsd
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, echo, expect_request, hang, send

INI = """
[greenproxy]
{process}
admin = unix:admin.sock
[listener:web]
bind = 127.0.0.1:0
upstream = shop
[upstream:shop]
backends = {shop}
health-interval = {interval}
health-fall = 1
max-fails = 1
[upstream:other]
backends = {other}
health-interval = 0
max-fails = 1
[route:other]
path = /other/
upstream = other
"""
PAUSE_S = 1.0  # the longest between two tries to accept


class Place:
    """What most tests share: a proxy with two upstreams, and what it sends to statsd."""

    def __init__(self, running: RunningProxy, shop: ScriptedBackend, other: ScriptedBackend, statsd: Statsd) -> None:
        self.running = running
        self.shop = shop
        self.other = other
        self.statsd = statsd

    def begin_again(self) -> None:
        """Let no socket to a backend be left."""
        self.shop.begin_again()
        self.other.begin_again(answer_other)


def answer_other(conn: Connection) -> None:
    """A keep-alive backend that says who it is."""
    while True:
        conn.request()
        conn.send(answer(b"other"))


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One proxy for those who do not look at the error log, which tells a shortage once."""
    statsd = Statsd()
    with ExitStack() as stack:
        stack.callback(statsd.sock.close)
        shop, other = ScriptedBackend().start(), ScriptedBackend().start()
        stack.callback(shop.stop)
        stack.callback(other.stop)
        ini = INI.format(shop=shop.url, other=other.url, interval="0", process=f"statsd = 127.0.0.1:{statsd.port}")
        running = stack.enter_context(RunningProxy(tmp_path_factory.mktemp("descriptors"), ini))
        yield Place(running, shop, other, statsd)


@pytest.fixture
def place(shared_place: Place) -> Iterator[Place]:
    """The shared place, with backends that have met nobody yet."""
    shared_place.begin_again()
    yield shared_place
    shared_place.begin_again()


@pytest.fixture
def running(place: Place) -> RunningProxy:
    """The proxy of the shared place."""
    return place.running


def start(proxy: StartProxy, shop: ScriptedBackend, interval: str = "0") -> RunningProxy:
    """Return a proxy whose error log is looked at."""
    return proxy(INI.format(shop=shop.url, other=shop.url, interval=interval, process=""))


@pytest.fixture
def crowd() -> Iterator[Join]:
    """Return a function that connects one more client, which stays."""
    with ExitStack() as stack:
        yield lambda running: stack.enter_context(RawClient(running.address()))


# ------------------------------------------------------------------ accepting


@pytest.mark.parametrize("limit", [64, 200])
def test_with_few_descriptors_from_the_start_everybody_is_served(tmp_path: Path, scripted: MakeBackend, limit: int) -> None:
    """`worker-connections` is lowered to what fits; others wait in the kernel's queue."""
    running = RunningProxy(tmp_path, INI.format(shop=scripted().url, other=scripted().url, interval="0", process=""))
    running.command = ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *running.command]
    with running:
        crowd = visit(running.address(), clients=300, requests=1, lines="Connection: close\r\n")
        assert (crowd.failures, dict(crowd.statuses), len(errors(running))) == ([], {200: 300}, 2), errors(running)


@pytest.mark.parametrize("spare", [3, 100])
def test_idle_clients_make_room_for_new_ones(running: RunningProxy, crowd: Join, spare: int) -> None:
    with room_for(running, spare):
        begun_s = time.monotonic()
        statuses = {crowd(running).ask(get()).status for _ in range(3 * spare + 30)}
        took_s = time.monotonic() - begun_s
    assert (statuses, took_s < 5) == ({200}, True), f"{3 * spare + 30} clients where {spare} fit: {took_s:.1f} s"


def test_clients_that_never_say_a_word_make_room(running: RunningProxy, crowd: Join) -> None:
    with room_for(running, 10):
        for _ in range(30):
            crowd(running)
        assert crowd(running).ask(get()).status == 200


def hold_slow_ones(conn: Connection) -> None:
    """A keep-alive backend that lets /slow wait until it is released."""
    while True:
        request = conn.request()
        if request.target == "/slow":
            conn.wait_until_released()
        conn.send(answer(request.target.encode()))


def test_busy_clients_are_served_and_who_waits_is_next(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    backend = scripted(hold_slow_ones)
    running = start(proxy, backend)
    with room_for(running, 20):
        busy = [crowd(running) for _ in range(10)]
        for client in busy:
            client.send(get("/slow"))
        backend.wait_for(lambda: len(backend.requests) == 10)  # each with a socket to the backend: 20
        late = crowd(running)
        late.send(get("/late"))
        running.wait_for_log("cannot accept connections for now")
        backend.release()
        assert [client.answer().body for client in busy] == [b"/slow"] * 10
        begun_s = time.monotonic()
        assert (late.answer().body, time.monotonic() - begun_s < PAUSE_S + 1) == (b"/late", True)


# ------------------------------------------------------------------ dialling


def test_idle_clients_make_room_for_a_backend(running: RunningProxy, crowd: Join) -> None:
    idle, client = accepted(running, crowd), accepted(running, crowd)
    with no_room_but_what_is_idle(running, crowd):
        assert client.ask(get()).status == 200
        assert idle.is_closed()


def test_idle_sockets_to_a_backend_make_room_for_another(running: RunningProxy, crowd: Join) -> None:
    client = crowd(running)
    client.ask(get("/shop"))  # the socket for it has the lowest number that was free
    with room_for(running, 0):
        assert client.ask(get("/other/")).body == b"other"


def ask_without_room(running: RunningProxy, crowd: Join) -> Answer:
    """Ask while nothing can be opened and nobody is idle."""
    client = accepted(running, crowd)
    with no_room(running):
        return client.ask(get())


def test_without_room_for_a_backend_it_is_503(running: RunningProxy, crowd: Join) -> None:
    told = ask_without_room(running, crowd)
    assert (told.status, told.get("retry-after"), "no-backend" in (told.get("proxy-status") or "")) == (503, "1", True)


def test_our_own_lack_takes_no_backend_out(running: RunningProxy, crowd: Join) -> None:
    ask_without_room(running, crowd)  # with max-fails = 1
    assert crowd(running).ask(get()).status == 200


def test_health_checks_that_have_no_descriptor_say_nothing(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted()
    running = start(proxy, backend, interval="100ms")
    backend.wait_for(lambda: backend.accepted)
    with no_room(running):
        seen = backend.accepted
        running.wait_for_log("cannot connect to backends for now")
    wait_until(lambda: backend.accepted > seen + 2, "checks go on")
    assert [line for line in errors(running) if "is down" in line] == []


# ------------------------------------------------------------------ all else


def test_the_admin_listener_answers_at_the_cost_of_idle_clients(running: RunningProxy, crowd: Join) -> None:
    idle = accepted(running, crowd)
    with no_room_but_what_is_idle(running, crowd):
        assert state_of(running)
        assert idle.is_closed()


def test_metrics_are_sent_on(place: Place, crowd: Join) -> None:
    client = crowd(place.running)
    client.ask(get())
    name = "greenproxy.responses.2xx"
    with no_room(place.running):
        wait_until(lambda: place.statsd.total(name), "the first request")
        before = place.statsd.total(name)
        client.ask(get())
        wait_until(lambda: place.statsd.total(name) > before, "the second one")


def test_the_access_log_goes_on_when_it_cannot_be_opened_again(running: RunningProxy, crowd: Join) -> None:
    client = crowd(running)
    client.ask(get("/before"))
    with no_room(running):
        running.send(signal.SIGUSR1)
        running.wait_for_log("cannot be reopened, the old file is kept")
        client.ask(get("/after"))
        wait_until(lambda: running.entries("/after"), "the line")


def test_a_shortage_is_one_line_when_it_begins_and_one_when_it_is_over(
    proxy: StartProxy, scripted: MakeBackend, crowd: Join
) -> None:
    backend = scripted([expect_request, hang, send(answer())], echo)
    running = start(proxy, backend, interval="200ms")
    busy = crowd(running)
    busy.send(get("/"))
    backend.wait_for(lambda: backend.requests)
    with room_for(running, 2):
        for _ in range(8):
            crowd(running).send(get())
        running.wait_for_log("for now")
        backend.release()
        assert busy.answer().status == 200
    running.wait_for_log("info: there are descriptors again")
    assert [line.split(":")[0] for line in errors(running)] == ["error"], errors(running)
    assert running.log().count("there are descriptors again") == 1
