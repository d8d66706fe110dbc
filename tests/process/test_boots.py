from __future__ import annotations

from copy import copy

import pytest

from greenproxy.process.boots import Boots, Departure


class Clock:
    """Seconds that are turned by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def master(clock: Clock) -> Boots:
    boots = Boots(clock)
    boots.begin_round()
    return boots


def worker(master: Boots) -> Boots:
    """Return what a worker has of it: a copy, on the same memory."""
    return copy(master)


def test_worker_that_is_told_to_end_without_a_reload_ends(master: Boots) -> None:
    assert worker(master).departure(30) is Departure.NOW


def test_worker_waits_for_one_of_the_new_ones(master: Boots) -> None:
    old = worker(master)
    old.served()
    master.begin_round()
    assert old.departure(30) is Departure.LATER
    worker(master).served()
    assert old.departure(30) is Departure.NOW


def test_worker_does_not_wait_for_ever(master: Boots, clock: Clock) -> None:
    old = worker(master)
    master.begin_round()
    assert old.departure(30) is Departure.LATER
    clock.now_s += 30
    assert old.departure(30) is Departure.NOW


def test_worker_goes_on_when_the_new_ones_cannot(master: Boots, clock: Clock) -> None:
    old = worker(master)
    master.begin_round()
    worker(master).gave_up(is_retry=False)
    assert [old.departure(30), old.departure(30)] == [Departure.NEVER, Departure.ECHO]
    clock.now_s += 4  # on a machine that is very busy
    assert old.departure(30) is Departure.ECHO
    clock.now_s += 2
    assert old.departure(30) is Departure.NOW


def test_tries_of_later_workers_are_no_echo(master: Boots, clock: Clock) -> None:
    old = worker(master)
    master.begin_round()
    worker(master).gave_up(is_retry=False)
    assert old.departure(30) is Departure.NEVER
    clock.now_s += 6
    worker(master).gave_up(is_retry=True)
    assert old.departure(30) is Departure.NOW


def test_worker_that_went_on_waits_again_in_the_next_round(master: Boots) -> None:
    old = worker(master)
    master.begin_round()
    worker(master).gave_up(is_retry=False)
    assert old.departure(30) is Departure.NEVER
    master.begin_round()
    assert old.departure(30) is Departure.LATER


def test_master_sees_failures_of_this_round_only(master: Boots) -> None:
    new = worker(master)
    new.failed()
    new.gave_up(is_retry=False)
    assert (master.have_failed, master.are_hopeless, master.has_anybody_served) == (True, True, False)
    master.begin_round()
    assert (master.have_failed, master.are_hopeless) == (False, False)
