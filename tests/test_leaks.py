"""The count of what tests leave behind: it must see what is there, and only that."""

from __future__ import annotations

import socket
import subprocess
import threading

import gevent
import pytest

from tests import leaks
from tests.leaks import Census


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.05)


def test_nothing_new_is_nothing_left() -> None:
    census = Census()
    gevent.spawn(gevent.sleep, 0).join()

    assert census.left_behind() == {}


def test_a_greenlet_that_waits_is_seen() -> None:
    census = Census()
    waiting = gevent.spawn(gevent.sleep, 60)
    gevent.sleep(0)
    left = census.left_behind()
    waiting.kill()

    assert left == {"greenlets": {waiting}}


def test_an_open_socket_is_seen() -> None:
    census = Census()
    with socket.socket():
        left = census.left_behind()

    assert list(left) == ["sockets"]


def test_a_thread_that_goes_on_is_seen() -> None:
    census = Census()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, args=(10,))
    thread.start()
    left = census.left_behind()
    end.set()
    thread.join()

    assert left == {"threads": {thread}}


def test_a_child_process_is_seen() -> None:
    census = Census()
    with subprocess.Popen(["sleep", "60"]) as child:
        left = census.left_behind()
        child.kill()

    assert left == {"child processes": {child.pid}}
