"""The ledger sees what leaks: middleware that keeps things on purpose, and clients and backends that stay."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import RawClient, ask, get
from tests.ledger import ALLOWANCE
from tests.processes import wait_until
from tests.running import RUNNING, RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import answer, expect_request, hang, send

LEAKY = '''
"""Middleware that keeps things until it is asked for /free."""

import os
import socket

import gevent
import gevent.event

KEPT = []


def keep_a_greenlet():
    return gevent.spawn(gevent.event.Event().wait).kill


def keep_a_task():
    end = gevent.event.Event()
    hub = gevent.get_hub()
    runner = type(gevent.getcurrent())(end.wait, hub)
    hub.loop.run_callback(runner.switch)
    return end.set


def keep_a_socket():
    return socket.socket().close


def keep_a_pipe():
    ends = os.pipe()
    return lambda: [os.close(each) for each in ends]


def keep_a_file():
    return open(__file__).close


def keep_a_timer():
    timer = gevent.get_hub().loop.timer(60)
    timer.start(lambda: None)
    return timer.close


def keep_a_watcher():
    sock = socket.create_server(("127.0.0.1", 0))
    watcher = gevent.get_hub().loop.io(sock.fileno(), 1)
    watcher.start(lambda: None)

    def free():
        watcher.stop()
        watcher.close()
        sock.close()

    return free


def keep(request, call_next):
    what = request.path.rpartition("/")[2]
    if what == "free":
        while KEPT:
            KEPT.pop()()
    elif what in globals():
        KEPT.append(globals()[what]())
    return call_next(request)
'''
INI = """
[greenproxy]
access-log = off
[listener:web]
bind = 127.0.0.1:0
middleware = leaky
[middleware:leaky]
type = leaky:keep
[upstream:shop]
backends = {backend} name=blue
health-interval = 0
pool-size = 1
"""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, ScriptedBackend]]:
    with ScriptedBackend() as backend:
        folder = tmp_path_factory.mktemp("leaky")
        with RunningProxy(folder, INI.format(backend=backend.url), files={"leaky.py": LEAKY}) as proxy:
            yield proxy, backend


@pytest.fixture
def backend(standing: tuple[RunningProxy, ScriptedBackend]) -> ScriptedBackend:
    standing[1].begin_again()
    return standing[1]


@pytest.fixture
def leaky(standing: tuple[RunningProxy, ScriptedBackend], backend: ScriptedBackend) -> Iterator[RunningProxy]:
    """The proxy, which keeps nothing any more when the test has ended."""
    yield standing[0]
    backend.begin_again()
    ask(standing[0].address(), get("/free"))
    backend.begin_again()


def left_behind(proxy: RunningProxy) -> dict[str, int]:
    """Return what the ledger of a proxy finds without patience."""
    return proxy.ledger.left_behind(within_s=0)


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("a_greenlet", "greenlets: Event.wait"),
        ("a_task", "greenlets that serve"),
        ("a_socket", "descriptors: socket"),
        ("a_pipe", "descriptors: pipe"),
        ("a_file", "descriptors: file"),
        ("a_timer", "watchers: timer"),
        ("a_watcher", "watchers: active"),
    ],
)
def test_what_a_middleware_keeps_is_seen(leaky: RunningProxy, what: str, seen: str) -> None:
    assert ask(leaky.address(), get(f"/keep_{what}")).status == 200
    assert seen in left_behind(leaky)


def test_what_a_middleware_has_given_back_is_not(leaky: RunningProxy) -> None:
    ask(leaky.address(), get("/keep_a_socket"))
    ask(leaky.address(), get("/free"))
    assert leaky.ledger.left_behind() == {}


def test_a_request_in_flight_is_seen_with_its_slot(leaky: RunningProxy, backend: ScriptedBackend) -> None:
    backend.begin_again([expect_request, hang, send(answer())])
    with RawClient(leaky.address()) as client:
        client.send(get())
        wait_until(lambda: backend.requests, "the backend has it")
        left = left_behind(leaky)
        seen = ("clients that are open", "clients that are serving", "greenlets that serve", "slots of shop.blue")
        assert [left.get(what) for what in seen] == [1, 1, 1, 1]


def test_a_request_in_line_is_seen(leaky: RunningProxy, backend: ScriptedBackend) -> None:
    backend.begin_again([expect_request, hang, send(answer())])
    with RawClient(leaky.address()) as first, RawClient(leaky.address()) as second:
        first.send(get())
        wait_until(lambda: backend.requests, "the backend has it")
        second.send(get())
        wait_until(lambda: left_behind(leaky).get("requests in the line of shop") == 1, "the second waits in line")


@pytest.mark.parametrize(("sent", "how"), [(b"", "idle"), (b"GET / HT", "reading")])
def test_a_client_that_stays_is_seen(leaky: RunningProxy, sent: bytes, how: str) -> None:
    with RawClient(leaky.address()) as client:
        client.send(sent)
        wait_until(lambda: left_behind(leaky).get(f"clients that are {how}") == 1, "it is seen")


def test_a_worker_that_nobody_announced_is_seen(tmp_path: Path, backend: ScriptedBackend) -> None:
    with RunningProxy(tmp_path, INI.format(backend=backend.url), files={"leaky.py": LEAKY}) as proxy:
        (old,) = proxy.workers()
        proxy.send(signal.SIGHUP)
        wait_until(lambda: old not in proxy.workers(), "a reload has replaced it")
        assert "workers that nobody announced" in str(left_behind(proxy))
        ALLOWANCE.reason = "that is what this test is about"


def test_a_test_that_leaves_something_behind_fails(leaky: RunningProxy) -> None:
    assert leaky in RUNNING  # so that the fixture of every test asks it
    with RawClient(leaky.address()), pytest.raises(AssertionError, match=r"the workers hold more than before: .*open"):
        leaky.has_everything_back(within_s=0.2)
