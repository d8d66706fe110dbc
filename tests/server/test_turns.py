"""Turns: the registration of a listening socket that wakes one worker, as the kernel tells of it."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent import get_hub

from greenproxy.server import turns as room
from greenproxy.server.turns import Turns
from tests.hub import poll, until


class Waiting:
    """A listening socket that the hub watches; `woken` counts the clients that it was woken for."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.loop: Any = get_hub().loop
        self.turns = Turns(self.loop, self.server.fileno())
        self.woken = 0
        self.watch()

    def watch(self) -> None:
        """Let the loop register it, as at the start."""
        self.watcher = self.loop.io(self.server.fileno(), 1)
        self.watcher.start(self._accept)
        poll()

    def unwatch(self) -> None:
        self.watcher.stop()
        self.watcher.close()

    def _accept(self) -> None:
        try:
            self.server.accept()[0].close()
        except BlockingIOError:
            return
        self.woken += 1

    def connect(self) -> None:
        """Let a client come, and wait until it is accepted."""
        before = self.woken
        with socket.create_connection(self.server.getsockname()):
            until(lambda: self.woken > before)

    @property
    def events(self) -> int | None:
        """What the kernel has of it in the loop's epoll; None when it is not there."""
        told = Path(f"/proc/self/fdinfo/{self.loop.fileno()}").read_text()
        found = re.search(rf"^tfd:\s*{self.server.fileno()} events:\s*([0-9a-f]+)", told, re.M)
        return int(found[1], 16) if found else None

    @property
    def is_exclusive(self) -> bool:
        return bool((self.events or 0) & select.EPOLLEXCLUSIVE)

    def close(self) -> None:
        """As a listener does it: nobody is woken any more, then the descriptor is free for others."""
        self.unwatch()
        self.turns.leave()
        self.server.close()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    """One that is watched, as libev does it."""
    it = Waiting()
    yield it
    it.close()


def test_libev_wakes_all(waiting: Waiting) -> None:
    assert not waiting.is_exclusive


def test_it_becomes_exclusive(waiting: Waiting) -> None:
    waiting.turns.begin()
    assert waiting.is_exclusive
    assert waiting.turns.is_on


def test_clients_are_accepted_then(waiting: Waiting) -> None:
    waiting.turns.begin()
    for _ in range(3):
        waiting.connect()


def test_it_stays_so_at_the_end_of_the_line(waiting: Waiting) -> None:
    waiting.turns.begin()
    assert waiting.turns.step_out()
    assert waiting.turns.step_in()
    assert waiting.is_exclusive
    waiting.connect()


def test_a_client_that_waits_while_it_is_passed_on_is_seen(waiting: Waiting) -> None:
    waiting.turns.begin()
    with socket.create_connection(waiting.server.getsockname()):
        waiting.turns.step_out()
        waiting.turns.step_in()
        until(lambda: waiting.woken)


def test_outside_nobody_is_woken(waiting: Waiting) -> None:
    waiting.turns.begin()
    waiting.turns.step_out()
    with socket.create_connection(waiting.server.getsockname()):
        poll()
        assert not waiting.woken
        waiting.turns.step_in()
        until(lambda: waiting.woken)


def test_what_libev_has_registered_anew_is_known_to_be_lost(waiting: Waiting) -> None:
    waiting.turns.begin()
    waiting.unwatch()
    waiting.turns._control(2)  # as when libev makes a new epoll: with other marks, and without the flag
    waiting.watch()
    assert not waiting.turns.step_out()
    assert not waiting.turns.is_on


def test_after_that_it_can_be_registered_and_made_exclusive_again(waiting: Waiting) -> None:
    waiting.turns.begin()
    waiting.unwatch()
    waiting.turns._control(2)
    waiting.watch()
    assert_it_becomes_exclusive(waiting)


def assert_it_becomes_exclusive(waiting: Waiting) -> None:
    """Let it find out that the place is lost, and register it again: then it is exclusive, and hears of clients."""
    waiting.turns.step_out()
    waiting.unwatch()
    waiting.watch()
    waiting.turns.begin()
    assert waiting.is_exclusive
    waiting.connect()


def test_who_leaves_is_not_woken_in_the_place_of_another(waiting: Waiting) -> None:
    waiting.turns.begin()
    waiting.unwatch()
    waiting.turns.leave()
    poll()
    assert waiting.events is None


def test_what_is_not_registered_yet_is_left_alone(waiting: Waiting) -> None:
    waiting.unwatch()
    waiting.turns.leave()
    waiting.turns.begin()
    assert not waiting.turns.is_on


def test_another_event_loop_goes_on_as_it_is(waiting: Waiting) -> None:
    class Loop:
        backend = "poll"

    turns = Turns(Loop(), waiting.server.fileno())
    turns.begin()
    assert not turns.is_on


def test_when_the_loop_makes_its_epoll_anew_the_place_is_known_to_be_lost(waiting: Waiting) -> None:
    waiting.turns.begin()
    waiting.loop.reinit()  # as after a fork
    poll()
    assert not waiting.turns.step_out()


def test_in_a_new_epoll_it_becomes_exclusive_again(waiting: Waiting) -> None:
    waiting.turns.begin()
    waiting.loop.reinit()
    poll()
    assert_it_becomes_exclusive(waiting)


def test_without_proc_all_are_woken(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(room, "open", refuse, raising=False)
    waiting.turns.begin()
    assert not waiting.turns.is_on
    waiting.connect()


@pytest.fixture
def refused(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """One that asks a kernel that does not know the flag."""
    control = room._epoll_ctl

    def without_the_flag(epoll: int, what: int, descriptor: int, event: Any) -> int:
        is_exclusive = event is not None and event._obj.events & select.EPOLLEXCLUSIVE
        return -1 if is_exclusive else int(control(epoll, what, descriptor, event))

    monkeypatch.setattr(room, "_epoll_ctl", without_the_flag)
    waiting.turns.begin()
    return waiting


def test_where_the_kernel_refuses_clients_are_accepted_as_before(refused: Waiting) -> None:
    assert not refused.turns.is_on
    refused.connect()


def test_what_was_refused_is_not_tried_again(refused: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    refused.turns.begin()
    assert not refused.is_exclusive


def test_another_socket_with_its_descriptor_is_not_touched(waiting: Waiting) -> None:
    waiting.turns.begin()
    descriptor = waiting.server.fileno()
    waiting.close()
    another = Waiting()
    waiting.server, waiting.watcher = another.server, another.watcher  # what the fixture closes
    assert another.server.fileno() == descriptor
    assert not waiting.turns.is_on
    assert another.events is not None
    assert not another.is_exclusive


def test_each_of_many_is_exclusive(waiting: Waiting) -> None:
    many = [waiting, *(Waiting() for _ in range(20))]
    for each in many:
        each.turns.begin()
    assert all(each.is_exclusive for each in many)
    for each in many[1:]:
        each.close()
