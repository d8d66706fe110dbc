"""Recycler: greenlets that serve one task after the other."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event
from gevent.hub import getcurrent
from gevent.local import local

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


# ------------------------------------------------------------------ what code of others leaves behind

_context: ContextVar[str] = ContextVar("context", default="clean")
_local = local()


class House:
    """Runs tasks of others, and tells what the next one meets of what they left behind; `made` are new greenlets."""

    def __init__(self) -> None:
        self.recycler = Recycler()
        self.kept: list[Any] = []
        self.met: list[object] = []
        self.made = 0
        for _ in range(2):  # it counts references once
            self.run(lambda: None)
        new = self.recycler._new

        def counted() -> Any:
            self.made += 1
            return new()

        self.recycler._new = counted  # type: ignore[method-assign]

    def run(self, code: Callable[[], object]) -> None:
        """Run code of others as a task."""

        def task() -> None:
            self.recycler.expose()
            code()

        self.recycler.spawn(task)
        settle()

    def look(self) -> None:
        """Note what there is of the things that the tests leave behind."""
        self.met = [_context.get(), getattr(_local, "user", "clean"), getattr(getcurrent(), "user", "clean")]


def leave_timeout() -> None:
    gevent.Timeout.start_new(0.02)


def leave_context() -> None:
    _context.set("dirty")


def leave_local() -> None:
    _local.user = "dirty"


def leave_attribute() -> None:
    getcurrent().user = "dirty"  # type: ignore[attr-defined]  # a greenlet takes any


LEFT = [leave_timeout, leave_context, leave_local, leave_attribute]


@pytest.mark.parametrize("leave", LEFT)
def test_the_next_task_does_not_meet_what_the_last_one_left(leave: Callable[[], None]) -> None:
    it = House()
    it.run(leave)

    def stay() -> None:
        gevent.sleep(0.05)
        it.look()

    with hub_errors():  # the timeout strikes nobody
        it.run(stay)
        until(lambda: it.met)
    assert it.met == ["clean"] * 3


@pytest.mark.parametrize("leave", [leave_timeout, leave_local, leave_attribute])
def test_a_greenlet_that_somebody_can_reach_serves_no_other_task(leave: Callable[[], None]) -> None:
    it = House()
    with hub_errors():
        it.run(leave)
        it.run(lambda: None)
    assert it.made == 1


def test_a_greenlet_that_is_kept_somewhere_ends() -> None:
    it = House()
    it.run(lambda: it.kept.append(getcurrent()))
    it.run(lambda: None)
    assert (it.kept[0].dead, it.made) == (True, 1)


@pytest.mark.parametrize("code", [lambda: None, leave_context, lambda: gevent.sleep(0)], ids=["nothing", "context", "waits"])
def test_a_greenlet_that_nobody_can_reach_serves_the_next_task(code: Callable[[], None]) -> None:
    it = House()
    for _ in range(3):
        it.run(code)
    assert it.made == 0


def test_what_strikes_a_free_greenlet_is_told_and_strikes_no_task() -> None:
    it = House()
    it.run(lambda: it.kept.append(getcurrent()))
    with hub_errors() as told:
        get_hub().loop.run_callback(it.kept[0].throw, ValueError)
        settle()
    it.run(it.look)
    assert ([type(each) for each in told], it.kept[0].dead, it.recycler.idle) == ([ValueError], True, 1)


def test_a_free_greenlet_keeps_nothing_of_its_last_task() -> None:
    recycler = Recycler()

    class Work:
        def __call__(self) -> None:
            """Do nothing."""

    work = Work()
    seen = weakref.ref(work)
    recycler.spawn(work)
    settle()
    del work
    assert seen() is None


def test_exposing_outside_of_a_task_is_harmless() -> None:
    Recycler.expose()
    gevent.spawn(Recycler.expose).get()
    assert not Recycler.is_exposed()


# ------------------------------------------------------------------ tasks that fail


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
