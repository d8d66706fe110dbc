"""Recycler: greenlets that serve one task after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event
from gevent.hub import getcurrent

from greenproxy.net import recycler as module
from greenproxy.net.recycler import Recycler
from tests.hub import settle, until


@contextmanager
def hub_errors() -> Iterator[list[BaseException]]:
    """Collect what the hub is told of, instead of printing it."""
    hub = get_hub()
    told: list[BaseException] = []
    hub.handle_error = lambda _context, _kind, error, _trace: told.append(error)
    try:
        yield told
    finally:
        del hub.handle_error


def greenlets_of(recycler: Recycler, count: int, *, at_once: bool = False) -> list[Any]:
    """Run `count` tasks, one after the other or all at once; return the greenlet that each ran in."""
    ran: list[Any] = []
    gate = Event()

    def task() -> None:
        ran.append(getcurrent())
        if at_once:
            gate.wait()

    for _ in range(count):
        recycler.spawn(task)
        settle()
    gate.set()
    settle()
    return ran


def test_the_next_task_runs_in_the_greenlet_of_the_last() -> None:
    assert len(set(greenlets_of(Recycler(), 3))) == 1


def test_tasks_that_wait_do_not_keep_others_from_running() -> None:
    assert len(set(greenlets_of(Recycler(), 3, at_once=True))) == 3


def test_greenlets_that_are_free_again_are_used_again() -> None:
    recycler = Recycler()
    first = greenlets_of(recycler, 3, at_once=True)
    assert set(greenlets_of(recycler, 3, at_once=True)) == set(first)


def test_no_more_greenlets_are_kept_than_allowed() -> None:
    recycler = Recycler(keep=1, most=1)
    ran = greenlets_of(recycler, 3, at_once=True)
    assert sum(not each.dead for each in ran) == 1


def test_behind_a_burst_more_are_kept_for_the_next_one_and_end_when_none_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRIM_EVERY_S", 0.01)
    recycler = Recycler(keep=2, most=20)
    first = greenlets_of(recycler, 15, at_once=True)
    assert set(greenlets_of(recycler, 15, at_once=True)) == set(first)
    until(lambda: recycler.idle == 2)
    assert sum(not each.dead for each in first) == 2
    assert recycler._trim_timer is None


def test_a_retired_greenlet_ends_with_its_task() -> None:
    recycler = Recycler()
    ran: list[Any] = []

    def task() -> None:
        ran.append(getcurrent())
        recycler.retire()

    for _ in range(2):
        recycler.spawn(task)
        settle()
    assert [each.dead for each in ran] == [True, True]


def test_the_greenlet_behind_a_retired_one_is_not_retired() -> None:
    recycler = Recycler()
    recycler.spawn(recycler.retire)
    settle()
    assert len(set(greenlets_of(recycler, 2))) == 1


def test_retiring_outside_of_a_task_is_harmless() -> None:
    Recycler.retire()
    gevent.spawn(Recycler.retire).get()


@pytest.mark.parametrize("error", [ValueError, gevent.Timeout, gevent.GreenletExit])
def test_an_exception_goes_to_the_hub(error: type[BaseException]) -> None:
    recycler = Recycler()

    def fail() -> None:
        raise error

    with hub_errors() as told:
        recycler.spawn(fail)
        settle()
    assert [type(each) for each in told] == [error]


def test_a_greenlet_whose_task_failed_serves_the_next() -> None:
    recycler = Recycler()
    ran: list[Any] = []

    def fail() -> None:
        ran.append(getcurrent())
        raise ValueError

    with hub_errors():
        recycler.spawn(fail)
        settle()
    assert greenlets_of(recycler, 1) == ran


def test_a_task_killed_while_it_waits_tells_the_hub() -> None:
    recycler = Recycler()
    ran: list[Any] = []

    def wait() -> None:
        ran.append(getcurrent())
        Event().wait()

    with hub_errors() as told:
        recycler.spawn(wait)
        settle()
        get_hub().loop.run_callback(ran[0].throw)
        settle()
    assert [type(each).__name__ for each in told] == ["GreenletExit"]


def test_run_returns_when_the_task_first_waits() -> None:
    recycler = Recycler()
    gate = Event()
    steps: list[str] = []

    def task() -> None:
        steps.append("begun")
        gate.wait()
        steps.append("ended")

    def in_hub() -> None:
        recycler.run(task)
        steps.append("returned")
        gate.set()

    get_hub().loop.run_callback(in_hub)
    settle()
    assert steps == ["begun", "returned", "ended"]
