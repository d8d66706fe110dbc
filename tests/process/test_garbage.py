"""When the collector looks: rarely, and still at all that user code leaves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import pytest

from greenproxy.process.garbage import Garbage


class Knot:
    """Something that only the collector can end."""

    def __init__(self) -> None:
        self.me = self


class Bench:
    """A collector with a clock, what it has looked at, and what is left of the knots."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.garbage = Garbage(lambda: self.now_s)
        self.rounds: list[int] = []
        self.knots: WeakSet[Knot] = WeakSet()
        self.kept: list[object] = []

    def told(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self.rounds.append(info["generation"])

    def tie(self, count: int) -> None:
        for _ in range(count):
            self.knots.add(Knot())

    def keep(self, count: int) -> None:
        self.kept += [[] for _ in range(count)]

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.now_s += 1
            self.garbage.look()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A collector that has begun."""
    before, it = gc.get_threshold(), Bench()
    it.garbage.begin()
    gc.callbacks.append(it.told)
    try:
        yield it
    finally:
        gc.callbacks.remove(it.told)
        gc.set_threshold(*before)
        gc.unfreeze()


def test_a_burst_of_several_hundred_requests_is_no_reason_to_look(bench: Bench) -> None:
    bench.keep(8_000)
    assert bench.rounds == []


def test_what_is_new_is_looked_at_once_a_second(bench: Bench) -> None:
    bench.keep(1_000)
    bench.garbage.look()
    bench.seconds(1)
    assert bench.rounds == [0]


def test_nothing_is_looked_at_while_nothing_is_new(bench: Bench) -> None:
    bench.seconds(100)
    assert bench.rounds == []


def test_knots_of_user_code_are_gone_after_a_second(bench: Bench) -> None:
    bench.tie(2_000)
    bench.seconds(1)
    assert len(bench.knots) == 0


def test_many_knots_within_a_second_are_not_waited_for(bench: Bench) -> None:
    bench.tie(50_000)
    assert len(bench.knots) < 10_000


def test_knots_that_were_in_use_when_it_looked_are_found_when_enough_has_come_together(bench: Bench) -> None:
    for _ in range(40):
        used = [Knot() for _ in range(1_000)]
        bench.knots.update(used)
        bench.seconds(1)
        del used
    bench.keep(1_000)
    bench.seconds(60)
    assert len(bench.knots) < 20_000


def test_everything_is_not_looked_at_again_while_it_does_not_grow(bench: Bench) -> None:
    bench.keep(20_000)
    for _ in range(100):
        passing = [[0] for _ in range(1_000)]
        bench.seconds(1)
        del passing
    assert bench.rounds.count(2) <= 1
