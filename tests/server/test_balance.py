"""Balance: when a worker lets others take the next clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greenproxy.observability.seats import Seat, Seats
from greenproxy.server import balance as room
from greenproxy.server.balance import Balance


class Spy:
    """A listener that notes what it is told."""

    is_shared = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def pass_on(self) -> None:
        self.told.append("pass on")

    def rest(self, for_s: float) -> None:
        self.told.append("rest" if 0.001 <= for_s <= 0.01 else f"rest {for_s}")


class Worker:
    """One of two workers; `accept` lets it take one more client, and returns what its listener was told."""

    def __init__(self, seats: Seats) -> None:
        self.other: Seat = seats.take(1)
        self.listener = Spy()
        self.balance = Balance(seats.take(0))

    def accept(self, clients: int) -> list[str]:
        self.listener.told.clear()
        self.balance.accepted(self.listener, clients)
        return self.listener.told


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker beside one without clients."""
    seats = Seats(4)
    yield Worker(seats)
    seats.close()


def test_with_as_many_as_the_other_it_stays_where_it_is(worker: Worker) -> None:
    worker.other.write(5)
    assert worker.accept(5) == []


def test_with_more_it_goes_to_the_end_of_the_line(worker: Worker) -> None:
    worker.other.write(5)
    assert worker.accept(7) == ["pass on"]


def test_with_many_more_it_accepts_nobody_for_a_moment(worker: Worker) -> None:
    worker.other.write(5)
    assert worker.accept(100) == ["rest"]


def test_a_thousand_clients_of_two_workers_may_differ_by_no_more_than_a_fifth_of_the_mean(worker: Worker) -> None:
    mine = 500
    told: list[str] = []
    while told != ["rest"]:
        mine += 1
        worker.other.write(1000 - mine)
        told = worker.accept(mine)
    assert (mine - (1000 - mine)) / 500 < 0.2


def test_it_does_not_wait_for_one_who_takes_nobody(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(room, "monotonic", lambda: now_s)
    worker.accept(100)
    now_s += 0.1
    assert worker.accept(101) == ["pass on"]


def test_it_waits_again_when_the_other_takes_some(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(room, "monotonic", lambda: now_s)
    worker.accept(100)
    now_s += 0.1
    worker.other.write(1)
    assert worker.accept(101) == ["rest"]


def test_alone_it_waits_for_nobody(worker: Worker) -> None:
    worker.other.leave()
    assert worker.accept(100) == []


def test_clients_that_only_it_can_take_are_not_left_to_others(worker: Worker) -> None:
    worker.listener.is_shared = False
    assert worker.accept(100) == []


def test_a_lot_more_than_the_others_is_a_surplus(worker: Worker) -> None:
    assert worker.balance.surplus(1000, True) == 125


def test_a_little_more_is_none(worker: Worker) -> None:
    worker.other.write(480)
    assert worker.balance.surplus(520, True) == 0


def test_where_the_kernel_casts_dice_more_is_no_surprise(worker: Worker) -> None:
    worker.other.write(450)
    assert (worker.balance.surplus(550, True), worker.balance.surplus(550, False)) == (50, 0)


def test_alone_nobody_has_a_surplus(worker: Worker) -> None:
    worker.other.leave()
    assert worker.balance.surplus(1000, True) == 0


def test_the_first_in_the_line_changes_without_a_difference_too(worker: Worker) -> None:
    told = [worker.accept(1)[:] for _ in range(16)]
    assert told.count(["pass on"]) == 2


def test_clients_that_stay_are_shared_also_behind_many_that_left_as_they_came(worker: Worker) -> None:
    for _ in range(64):
        worker.accept(1)
    worker.other.write(0)
    assert worker.accept(2) == ["pass on"]
