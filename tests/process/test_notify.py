"""What a service manager hears: real datagrams on a real Unix socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenproxy.process.notify import Notifier


class Manager:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.settimeout(5)
        self.environ = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        """Return the lines of the next datagram."""
        return self.socket.recv(4096).decode().split("\n")

    def hears_nothing_more(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        return False


class Clock:
    """Turned by hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    listening = Manager(str(tmp_path / "notify"))
    with listening.socket:
        yield listening


def test_ready_names_the_process(manager: Manager) -> None:
    Notifier(manager.environ).ready("2 workers")
    assert manager.heard() == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=2 workers"]


def test_reload_begins_with_the_time_that_notify_reload_needs(manager: Manager) -> None:
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier(manager.environ).reloading("reads it")
    begins, at, status = manager.heard()
    assert (begins, status) == ("RELOADING=1", "STATUS=reads it")
    assert before_us <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_stop_status_and_a_new_main_process_are_told(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    notifier.stopping("waits for requests")
    notifier.status("3 workers")
    notifier.main_is(4711)
    assert [manager.heard() for _ in range(3)] == [
        ["STOPPING=1", "STATUS=waits for requests"],
        ["STATUS=3 workers"],
        ["MAINPID=4711"],
    ]


def test_status_is_one_line_and_sets_nothing_else(manager: Manager) -> None:
    Notifier(manager.environ).status("bad: x\nMAINPID=1")
    assert manager.heard() == ["STATUS=bad: x MAINPID=1"]


def test_abstract_address_is_understood() -> None:
    address = f"@greenproxy-test-{os.getpid()}"
    listening = Manager(address)
    with listening.socket:
        Notifier(listening.environ).ready("x")
        assert listening.heard()[0] == "READY=1"


def test_without_a_manager_nothing_is_said(manager: Manager) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
        notifier = Notifier(environ)
        notifier.ready("x")
        assert not notifier.is_on
    assert manager.hears_nothing_more()


def test_manager_that_is_gone_or_does_not_read_costs_nothing(tmp_path: Path, manager: Manager) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")
    Notifier({"NOTIFY_SOCKET": "/" + "x" * 200}).ready("too long for an address")
    notifier = Notifier(manager.environ)
    begun_s = time.monotonic()
    for _ in range(10_000):  # far more than the queue of a datagram socket takes
        notifier.status("x")
    assert time.monotonic() - begun_s < 5


def test_ping_is_sent_every_half_of_the_time_that_is_allowed(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier(manager.environ | {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, clock)
    assert notifier.ping_every_s == 5
    sent = []
    for now_s in (1000.0, 1004.9, 1005.0, 1006.0, 1011.0):
        clock.now_s = now_s
        notifier.ping()
        sent.append(not manager.hears_nothing_more())
    assert sent == [True, False, True, False, True]


@pytest.mark.parametrize(
    "asked", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}]
)
def test_nobody_is_pinged_who_did_not_ask(manager: Manager, asked: dict[str, str]) -> None:
    notifier = Notifier(manager.environ | asked)
    notifier.ping()
    assert notifier.ping_every_s == 0
    assert manager.hears_nothing_more()


def test_child_that_was_forked_says_nothing(manager: Manager) -> None:
    notifier = Notifier(manager.environ)
    child = os.fork()
    if not child:
        notifier.stopping("a worker")
        os._exit(0)
    os.waitpid(child, 0)
    assert manager.hears_nothing_more()
