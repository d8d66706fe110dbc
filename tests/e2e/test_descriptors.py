"""Out of descriptors: who is idle makes room, those who are connected are served, and all is well when there are some again.

The limit is set in a worker that runs, so that what `worker-connections` was lowered to at its start does not help.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from tests.client import Answer, RawClient, get
from tests.conftest import MakeBackend, StartProxy
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
Join = Callable[..., RawClient]
PAUSE_S = 1.0  # the longest between two tries to accept


def start(
    proxy: StartProxy, shop: ScriptedBackend, other: ScriptedBackend | None = None, interval: str = "0", process: str = ""
) -> RunningProxy:
    return proxy(INI.format(shop=shop.url, other=(other or shop).url, interval=interval, process=process))


def taken(running: RunningProxy) -> set[int]:
    """Return the descriptors that the worker has, which are numbers."""
    (pid,) = running.workers()
    return {int(each) for each in os.listdir(f"/proc/{pid}/fd")}


@contextmanager
def limited_to(running: RunningProxy, limit: int) -> Iterator[None]:
    """A block in which the worker gets no descriptor of that number or above; those that it has are its own."""
    (pid,) = running.workers()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def room_for(running: RunningProxy, spare: int) -> AbstractContextManager[None]:
    """Return a block in which the worker can open `spare` more descriptors than it has now."""
    held = taken(running)
    free = (number for number in itertools.count() if number not in held)
    return limited_to(running, next(itertools.islice(free, spare, None)))


def no_room(running: RunningProxy) -> AbstractContextManager[None]:
    """Return a block in which the worker can open nothing, whatever it closes."""
    return limited_to(running, 3)


def no_room_but_what_is_idle(running: RunningProxy, join: Join) -> AbstractContextManager[None]:
    """Return a block in which the worker has to close something to open another, and every number that it has will do."""
    while max(taken(running)) >= len(taken(running)):  # more clients, until no lower number is free
        _join_and_wait(running, join)
    return room_for(running, 0)


def _join_and_wait(running: RunningProxy, join: Join) -> None:
    before = connections(running)
    join(running)
    wait_until(lambda: connections(running) > before, "it is accepted")


def errors(running: RunningProxy) -> list[str]:
    """Return the lines of the error log that are warnings or worse."""
    return [line.split("] ", 1)[1] for line in running.log().splitlines() if "] error: " in line or "] warning: " in line]


def ask_admin(running: RunningProxy, target: str) -> Any:
    """Return what the admin listener says; its descriptor for us is closed then."""
    with RawClient(str(running.folder / "admin.sock")) as client:
        told = client.ask(get(target, "Connection: close", host="localhost")).json()
        assert client.is_closed()
        return told


def state_of(running: RunningProxy) -> str:
    """Return what is said of the backend of the shop."""
    return str(ask_admin(running, "/api/status")["upstreams"][0]["backends"][0]["state"])


def connections(running: RunningProxy) -> int:
    """Return how many clients the worker has."""
    return int(ask_admin(running, "/api/resources")["clients"]["open"])


@pytest.fixture
def crowd() -> Iterator[Join]:
    """Return a function that connects one more client, which stays."""
    with ExitStack() as stack:
        yield lambda running: stack.enter_context(RawClient(running.address()))


# ------------------------------------------------------------------ accepting


@pytest.mark.parametrize("spare", [3, 20, 100])
def test_idle_clients_make_room_for_new_ones(proxy: StartProxy, scripted: MakeBackend, crowd: Join, spare: int) -> None:
    running = start(proxy, scripted())
    with room_for(running, spare):
        begun_s = time.monotonic()
        statuses = {crowd(running).ask(get()).status for _ in range(3 * spare + 30)}
        took_s = time.monotonic() - begun_s
    assert (statuses, took_s < 5) == ({200}, True), f"{3 * spare + 30} clients where {spare} fit: {took_s:.1f} s"


def test_clients_that_never_say_a_word_make_room(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    running = start(proxy, scripted())
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


def test_idle_clients_make_room_for_a_backend(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    running = start(proxy, scripted())
    idle, client = crowd(running), crowd(running)
    with no_room_but_what_is_idle(running, crowd):
        assert client.ask(get()).status == 200
        assert idle.is_closed()


def test_idle_sockets_to_a_backend_make_room_for_another(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    running = start(proxy, scripted(), scripted(answer_other))
    client = crowd(running)
    client.ask(get("/shop"))  # the socket for it has the lowest number that was free
    with room_for(running, 0):
        assert client.ask(get("/other/")).body == b"other"


def answer_other(conn: Connection) -> None:
    """A keep-alive backend that says who it is."""
    while True:
        conn.request()
        conn.send(answer(b"other"))


def ask_without_room(running: RunningProxy, crowd: Join) -> Answer:
    """Ask while nothing can be opened and nobody is idle."""
    client = crowd(running)
    wait_until(lambda: connections(running) == 1, "it is accepted")
    with no_room(running):
        return client.ask(get())


def test_without_room_for_a_backend_it_is_503(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    told = ask_without_room(start(proxy, scripted()), crowd)
    assert (told.status, told.get("retry-after"), "no-backend" in (told.get("proxy-status") or "")) == (503, "1", True)


def test_our_own_lack_takes_no_backend_out(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    running = start(proxy, scripted())  # with max-fails = 1
    ask_without_room(running, crowd)
    assert crowd(running).ask(get()).status == 200


def test_health_checks_that_have_no_descriptor_say_nothing(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted()
    running = start(proxy, backend, interval="100ms")
    wait_until(lambda: state_of(running) == "up", "it is up")
    with no_room(running):
        seen = backend.accepted
        running.wait_for_log("cannot connect to backends for now")
    wait_until(lambda: backend.accepted > seen + 2, "checks go on")
    assert [line for line in errors(running) if "is down" in line] == []


# ------------------------------------------------------------------ all else


def test_the_admin_listener_answers_at_the_cost_of_idle_clients(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    running = start(proxy, scripted())
    idle = crowd(running)
    with no_room_but_what_is_idle(running, crowd):
        assert state_of(running)
        assert idle.is_closed()


def test_metrics_are_sent_on(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    statsd = Statsd()
    try:
        running = start(proxy, scripted(), process=f"statsd = 127.0.0.1:{statsd.port}")
        client = crowd(running)
        client.ask(get())
        with no_room(running):
            wait_until(lambda: statsd.total("greenproxy.requests") == 1, "the first request")
            client.ask(get())
            wait_until(lambda: statsd.total("greenproxy.requests") == 2, "the second one")
    finally:
        statsd.sock.close()


def test_the_access_log_goes_on_when_it_cannot_be_opened_again(proxy: StartProxy, scripted: MakeBackend, crowd: Join) -> None:
    running = start(proxy, scripted())
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
    running.wait_for_log("there are descriptors again")
    assert [line.split(":")[0] for line in errors(running)] == ["error", "warning"], errors(running)
