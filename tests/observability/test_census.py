"""The census of a process: what comes is counted, what goes is not."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event

from greenproxy.net.recycler import Recycler
from greenproxy.observability.census import census
from tests.hub import settle


def held() -> dict[str, Any]:
    return {"clients": 3}


def count(kind: str, what: str) -> int:
    """Return one number of the census of this process."""
    return int(census(held)[kind].get(what, 0))


def _wait_for(end: Event) -> None:
    end.wait()


@contextmanager
def greenlet_of_gevent() -> Iterator[None]:
    end = Event()
    waiting = gevent.spawn(_wait_for, end)
    settle()
    yield
    end.set()
    waiting.join()


@contextmanager
def raw_greenlet() -> Iterator[None]:
    end = Event()
    recycler = Recycler(keep=0, most=0)
    recycler.spawn(lambda: _wait_for(end))
    settle()
    yield
    end.set()
    settle()


@contextmanager
def timer() -> Iterator[None]:
    watcher = get_hub().loop.timer(60)
    watcher.start(lambda: None)
    yield
    watcher.stop()
    watcher.close()


@contextmanager
def watched_socket() -> Iterator[None]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        watcher = get_hub().loop.io(sock.fileno(), 1)
        watcher.start(lambda: None)
        yield
        watcher.stop()
        watcher.close()


@contextmanager
def pipe() -> Iterator[None]:
    ends = os.pipe()
    yield
    for each in ends:
        os.close(each)


@pytest.mark.parametrize(
    ("thing", "kind", "what", "how_many"),
    [
        (greenlet_of_gevent, "greenlets", "_wait_for", 1),
        (raw_greenlet, "greenlets", "_Runner", 1),
        (timer, "watchers", "timer", 1),
        (watched_socket, "watchers", "io", 1),
        (watched_socket, "descriptors", "socket", 1),
        (pipe, "descriptors", "pipe", 2),
    ],
)
def test_a_thing_counts_from_its_beginning_to_its_end(thing: Callable[[], Any], kind: str, what: str, how_many: int) -> None:
    gevent.sleep(0)
    before = count(kind, what)
    with ExitStack() as stack:
        stack.enter_context(thing())
        while_there = count(kind, what)
    assert (while_there - before, count(kind, what) - before) == (how_many, 0)


def test_what_the_rooms_hold_stands_beside_it() -> None:
    assert (census(held)["clients"], census(held)["pid"]) == (3, os.getpid())


def test_a_watcher_that_is_off_does_not_count() -> None:
    before = count("watchers", "timer")
    watcher = get_hub().loop.timer(60)
    assert count("watchers", "timer") == before
    watcher.close()


def test_without_a_descriptor_to_list_them_with_all_of_them_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: object) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("greenproxy.observability.census.os.listdir", refuse)
    assert census(held)["descriptors"] == {"all": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
