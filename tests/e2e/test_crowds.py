"""Many at once: a bounded pool, unique answers, a backend killed under load, a stop under load."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.client import RawClient, ask, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.crowd import Crowd, visit, visit_while
from tests.processes import Process, is_running, wait_until
from tests.scripts import Connection, answer, expect_request, hang, send

NAMED = Path(__file__).with_name("named_backend.py")
INI = """
[greenproxy]
worker-connections = 5000
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends =
    {backends}
{more}
"""


class Named(Process):
    """One `named_backend.py`."""

    def __init__(self, folder: Path, name: str, delay_s: float = 0.0) -> None:
        super().__init__([sys.executable, str(NAMED), name, str(delay_s)], folder)
        self.name = name

    @property
    def port(self) -> int:
        return int(wait_until(lambda: self.output().strip(), f"{self.name} says its port"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port} name={self.name}"


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Callable[..., Named]]:
    """Return a function that starts a named backend."""
    with ExitStack() as stack:

        def start(name: str, delay_s: float = 0.0) -> Named:
            folder = tmp_path / name
            folder.mkdir()
            process = Named(folder, name, delay_s)
            stack.enter_context(process)
            return process

        yield start


StartNamed = Callable[..., Named]


def ini(*backends: str, more: str = "health-interval = 0") -> str:
    return INI.format(backends="\n    ".join(backends), more=more)


def echo_target(conn: Connection) -> None:
    """A keep-alive server as small as can be: the body is the target."""
    while True:
        head = conn.take_until(b"\r\n\r\n")
        conn.send(answer(head.split(b" ", 2)[1]))


def hold_the_first(conn: Connection) -> None:
    """The same, but the first answer waits until the backend is released."""
    head = conn.take_until(b"\r\n\r\n")
    conn.wait_until_released()
    conn.send(answer(head.split(b" ", 2)[1]))
    echo_target(conn)


@pytest.mark.timeout(120)
def test_2000_requests_at_once_share_ten_connections_and_nobody_is_forgotten(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted(echo_target)
    running = proxy(ini(backend.url, more="health-interval = 0\npool-size = 10\npool-queue = 2000\npool-queue-timeout = 30s"))
    crowd = visit(running.address(), clients=2000, requests=1)

    assert (crowd.failures, dict(crowd.statuses)) == ([], {200: 2000})
    assert backend.peak <= 10


def test_what_does_not_fit_into_pool_and_queue_is_refused_at_once(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted(hold_the_first)
    running = proxy(ini(backend.url, more="health-interval = 0\npool-size = 5\npool-queue = 20\npool-queue-timeout = 20s"))

    async def crowded() -> Crowd:
        crowd = Crowd()
        visitors = asyncio.create_task(crowd.visit(running.address(), 100, 1))
        while crowd.statuses[503] < 75:  # pool and queue hold 25; nobody was released yet
            await asyncio.sleep(0.01)
        assert crowd.statuses[200] == 0
        backend.release()
        await visitors
        return crowd

    crowd = asyncio.run(crowded())

    assert (crowd.failures, dict(crowd.statuses), backend.peak) == ([], {503: 75, 200: 25}, 5)


def test_500_clients_get_their_own_answers(proxy: StartProxy, named: StartNamed) -> None:
    running = proxy(ini(named("blue").url, named("green").url, more="pool-queue = 1000\npool-queue-timeout = 20s"))
    crowd = visit(running.address(), clients=500, requests=6)

    assert (crowd.failures, dict(crowd.statuses)) == ([], {200: 3000})
    assert abs(crowd.backends["blue"] - crowd.backends["green"]) < 600


def test_a_backend_that_is_killed_costs_200_clients_nothing(proxy: StartProxy, named: StartNamed) -> None:
    blue, green = named("blue"), named("green")
    running = proxy(ini(blue.url, green.url, more="pool-queue = 1000\npool-queue-timeout = 20s\nhealth-interval = 200ms"))

    def kill_one(crowd: Crowd) -> None:
        wait_until(lambda: crowd.backends["green"] > 400 or crowd.failures, "both are used")
        green.send(signal.SIGKILL)
        green.wait()
        seen = crowd.statuses[200]
        wait_until(lambda: crowd.statuses[200] > seen + 1500 or crowd.failures, "the other one goes on")

    crowd = visit_while(running.address(), 200, kill_one)

    assert (crowd.failures, set(crowd.statuses)) == ([], {200})


def test_term_lets_what_is_in_flight_finish(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_request, hang, send(answer(b"finished"))])
    running = proxy(ini(backend.url))
    address = running.address()
    with RawClient(address) as busy:
        busy.send(get("/slow"))
        backend.wait_for(lambda: backend.requests)
        running.send(signal.SIGTERM)
        running.wait_until_refused(address)
        backend.release()
        told = busy.answer()
        assert busy.is_closed()

    assert (told.body, told.says_close) == (b"finished", True)
    assert running.wait() == 0


def test_idle_keep_alive_connections_are_closed_on_stop(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(ini(scripted().url))
    with RawClient(running.address()) as client:
        client.ask(get())
        running.send(signal.SIGTERM)
        assert client.is_closed()

    assert running.wait() == 0


def test_a_request_that_arrives_during_a_stop_is_served_and_told_to_close(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_request, hang, send(answer(b"slow"))], [expect_request, send(answer(b"quick"))])
    running = proxy(ini(backend.url))
    address = running.address()
    with RawClient(address) as slow, RawClient(address) as second:
        slow.send(get("/slow"))
        backend.wait_for(lambda: backend.requests)
        second.send(get("/quick")[:-2])  # all but its end: it has begun, so it is not idle
        second.wait_until_read()
        running.send(signal.SIGTERM)
        running.wait_until_refused(address)
        second.send(b"\r\n")
        told = second.answer()
        backend.release()
        assert slow.answer().body == b"slow"

    assert (told.body, told.says_close) == (b"quick", True)
    assert running.wait() == 0


def test_term_under_load_breaks_no_answer(proxy: StartProxy, named: StartNamed) -> None:
    running = proxy(ini(named("blue", 0.02).url, more="pool-queue = 1000\npool-queue-timeout = 20s"))

    def stop(crowd: Crowd) -> None:
        wait_until(lambda: crowd.statuses[200] > 300 or crowd.failures, "the load has begun")
        running.send(signal.SIGTERM)
        assert running.wait() == 0

    crowd = visit_while(running.address(), 50, stop)

    assert set(crowd.statuses) == {200}
    assert crowd.failures == []


@pytest.mark.replaces_workers("one is killed")
def test_a_worker_that_is_killed_is_replaced(proxy: StartProxy, scripted: MakeBackend) -> None:
    running = proxy(ini(scripted().url))
    (worker,) = running.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_running(worker) and running.workers(), "another worker")

    assert ask(running.address(), get()).status == 200
