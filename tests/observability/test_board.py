"""The board that workers share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from greenproxy.observability import board as board_module
from greenproxy.observability.board import STALE_S, Board
from tests.fakes import HandClock

NAMES = ("connections.active", "upstream.shop.blue.up")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(board_module, "monotonic", clock)
    return clock


@pytest.fixture
def board() -> Iterator[Board]:
    shared = Board(slots=4, capacity=8)
    yield shared
    shared.close()


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda pid: monkeypatch.setattr(os, "getpid", lambda: pid)


def test_gauges_are_summed_over_workers_and_opinions_averaged(board: Board, as_worker: Callable[[int], None]) -> None:
    slots = []
    for pid, values in ((1, (3, 1)), (2, (4, 0))):
        as_worker(pid)
        slots.append(board.claim(pid, NAMES))
        slots[-1].write(values)
    assert slots[0].totals() == slots[1].totals() == {"connections.active": 7, "upstream.shop.blue.up": 0.5}


def test_living_worker_with_the_lowest_slot_speaks(board: Board, clock: HandClock, as_worker: Callable[[int], None]) -> None:
    as_worker(1)
    high = board.claim(2, NAMES)
    high.write((1, 1))
    as_worker(2)
    low = board.claim(1, NAMES)
    assert (low.speaks, high.speaks) == (False, True)  # the other has not written yet
    low.write((1, 1))
    assert (low.speaks, high.speaks) == (True, False)
    clock.turn(STALE_S)
    high.write((5, 1))
    assert (low.speaks, high.speaks) == (False, True)
    assert high.totals()["connections.active"] == 5


def test_worker_that_leaves_counts_no_more(board: Board) -> None:
    slot = board.claim(0, NAMES)
    slot.write((3, 1))
    slot.release()
    assert not slot.speaks
    assert slot.totals() == {}


def test_slot_of_a_living_worker_is_not_given_away(board: Board, as_worker: Callable[[int], None]) -> None:
    as_worker(1)
    first = board.claim(3, NAMES)
    first.write((1, 1))
    as_worker(2)
    second = board.claim(3, NAMES)
    second.write((2, 1))
    assert first.totals()["connections.active"] == 3


def test_slot_of_a_dead_worker_is_free_again(board: Board, clock: HandClock, as_worker: Callable[[int], None]) -> None:
    for pid in range(1, 5):
        as_worker(pid)
        board.claim(0, NAMES).write((1, 1))
    as_worker(5)
    with pytest.raises(ValueError, match="all 4 slots"):
        board.claim(0, NAMES)
    clock.turn(STALE_S)
    slot = board.claim(0, NAMES)
    slot.write((9, 1))
    assert slot.totals()["connections.active"] == 9


def test_workers_of_the_old_layout_fall_silent(board: Board, as_worker: Callable[[int], None]) -> None:
    as_worker(1)
    old = board.claim(0, NAMES)
    old.write((3, 1))
    as_worker(2)
    new = board.claim(1, ("connections.active",))
    new.write((4,))
    assert (old.speaks, new.speaks) == (False, True)
    assert new.totals() == {"connections.active": 4}


def test_more_names_than_the_board_holds_are_refused(board: Board) -> None:
    with pytest.raises(ValueError, match="9 names do not fit on a board for 8"):
        board.claim(0, [str(n) for n in range(9)])


def test_board_is_shared_with_children() -> None:
    shared = Board()
    child = os.fork()
    if not child:
        shared.claim(0, NAMES).write((41, 1))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    mine = shared.claim(1, NAMES)
    mine.write((1, 0))
    assert mine.totals() == {"connections.active": 42, "upstream.shop.blue.up": 0.5}
    shared.close()


def test_values_are_aligned_so_that_none_is_torn() -> None:
    numbers = Board(slots=1, capacity=1)._numbers
    assert (numbers.itemsize, numbers.format, numbers.contiguous) == (8, "d", True)
