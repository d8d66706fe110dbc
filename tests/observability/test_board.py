"""The board that workers share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from greenproxy.observability import board as board_module
from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.rows import STALE_S, State
from tests.fakes import HandClock

GAUGES = ("connections.active", "upstream/shop/blue/up")
COUNTERS = ("requests",)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(board_module, "monotonic", clock)
    return clock


@pytest.fixture
def board() -> Iterator[Board]:
    shared = Board(slots=4, columns=8)
    yield shared
    shared.close()


@pytest.fixture
def layout(board: Board) -> Layout:
    return board.layout(GAUGES, COUNTERS)


AsWorker: TypeAlias = Callable[[int], None]


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> AsWorker:
    return lambda pid: monkeypatch.setattr(os, "getpid", lambda: pid)


def values(active: float = 0, up: float = 1, requests: float = 0) -> dict[str, float]:
    return dict(zip((*GAUGES, *COUNTERS), (active, up, requests), strict=True))


def test_numbers_are_summed_over_workers_and_opinions_averaged(board: Board, layout: Layout, as_worker: AsWorker) -> None:
    for pid, told in ((1, values(3, 1, 10)), (2, values(4, 0, 5))):
        as_worker(pid)
        board.claim(pid, layout).write(told)
    assert board.totals(layout) == values(7, 0.5, 15)


def test_a_row_tells_who_it_is(board: Board, layout: Layout, clock: HandClock, as_worker: AsWorker) -> None:
    as_worker(7)
    slot = board.claim(2, layout)
    assert [(row.pid, row.state, row.values) for row in board.rows(layout)] == [(7, State.STARTING, {})]
    slot.write(values(3), State.DRAINING)
    clock.turn(1.5)
    [row] = board.rows(layout)
    assert (row.slot, row.pid, row.state, row.generation, row.silent_s) == (2, 7, State.DRAINING, 1, 1.5)
    assert row.values == values(3)


def test_lowest_serving_slot_of_the_newest_generation_speaks(
    board: Board, layout: Layout, clock: HandClock, as_worker: AsWorker
) -> None:
    as_worker(1)
    low = board.claim(0, layout)
    low.write(values())
    as_worker(2)
    newer = board.layout(GAUGES, COUNTERS)
    high, middle = board.claim(3, newer), None
    assert (low.speaks, high.speaks) == (True, False)  # the new one only starts
    high.write(values())
    as_worker(3)
    middle = board.claim(2, newer)
    middle.write(values())
    assert (low.speaks, middle.speaks, high.speaks) == (False, True, False)
    clock.turn(STALE_S)
    high.write(values())
    assert (low.speaks, middle.speaks, high.speaks) == (False, False, True)


def test_gauges_of_a_silent_worker_do_not_count_its_counters_do(board: Board, layout: Layout, clock: HandClock) -> None:
    board.claim(0, layout).write(values(3, 1, 10))
    clock.turn(STALE_S)
    assert board.totals(layout) == {"requests": 10}


def test_worker_that_leaves_leaves_its_counters(board: Board, layout: Layout) -> None:
    slot = board.claim(0, layout)
    slot.write(values(3, 1, 10))
    slot.release(values(2, 1, 12))
    assert not slot.speaks
    assert board.totals(layout) == {"requests": 12}


def test_what_was_counted_outlives_the_worker_and_its_slot(board: Board, layout: Layout, as_worker: AsWorker) -> None:
    for pid in (1, 2, 3):
        as_worker(pid)
        board.claim(0, layout).write(values(3, 1, 10))
        board.bury(pid)
        assert board.totals(layout) == {"requests": 10 * pid}
        assert board.rows(layout) == []


def test_burying_a_stranger_changes_nothing(board: Board, layout: Layout) -> None:
    board.claim(0, layout).write(values(3, 1, 10))
    board.bury(-5)
    assert board.totals(layout) == values(3, 1, 10)


def test_slot_of_another_worker_is_not_given_away(board: Board, layout: Layout, as_worker: AsWorker) -> None:
    for pid in (1, 2, 3, 4):
        as_worker(pid)
        board.claim(3, layout).write(values(pid))
    assert board.totals(layout)["connections.active"] == 10
    as_worker(5)
    with pytest.raises(ValueError, match="all 4 slots"):
        board.claim(0, layout)
    board.bury(2)
    board.claim(0, layout).write(values(0))
    assert board.totals(layout)["connections.active"] == 8


def test_counters_go_on_and_gauges_are_summed_over_configurations(board: Board, layout: Layout, as_worker: AsWorker) -> None:
    as_worker(1)
    old = board.claim(0, layout)
    old.write(values(3, 1, 10))
    fresh = board.layout(("connections.active", "upstream/shop/green/up"), COUNTERS)
    as_worker(2)
    board.claim(1, fresh).write({"connections.active": 4, "upstream/shop/green/up": 0, "requests": 1})
    assert board.totals(fresh) == {"connections.active": 7, "upstream/shop/green/up": 0, "requests": 11}
    assert board.totals(layout) == values(7, 1, 11)  # as the old one sees it


def test_a_column_that_was_given_away_is_absent_for_those_who_knew_it_before(
    board: Board, layout: Layout, as_worker: AsWorker
) -> None:
    as_worker(1)
    board.claim(0, layout).write(values(3, 0, 10))
    board.layout((), ("requests",))
    board.bury(1)
    last = board.layout(("new",), ("requests", "other"))
    assert {last.columns["new"], last.columns["other"]} == {layout.columns[name] for name in GAUGES}
    assert board.totals(last) == {"requests": 10, "other": 0}
    as_worker(2)
    board.claim(0, last).write({"new": 5, "requests": 1, "other": 1})
    assert board.totals(layout) == {"requests": 11}


def test_columns_of_workers_that_live_are_not_given_away(board: Board, layout: Layout, as_worker: AsWorker) -> None:
    as_worker(1)
    board.claim(0, layout).write(values(3, 0, 10))
    last = None
    for number in range(5):
        last = board.layout((f"gauge {number}",))
    assert last is not None
    assert not set(last.columns.values()) & set(layout.columns.values())
    assert board.totals(layout) == values(3, 0, 10)


def test_names_that_do_not_fit_are_left_out_and_harm_nobody(board: Board) -> None:
    names = [f"gauge {n}" for n in range(9)]
    layout = board.layout(names, COUNTERS)
    assert layout.left_out == 2
    board.claim(0, layout).write(dict.fromkeys((*names, *COUNTERS), 1.0))
    assert board.totals(layout) == dict.fromkeys(names[:8], 1.0)


def test_children_write_and_their_counters_stay() -> None:
    shared = Board()
    layout = shared.layout(GAUGES, COUNTERS)
    children = []
    for index in range(3):
        child = os.fork()
        if not child:
            shared.claim(index, layout).write(values(2, 1, 10 + index))
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
        shared.bury(child)
    mine = shared.claim(0, layout)
    mine.write(values(1, 0, 1))
    assert shared.totals(layout) == values(1, 0, 34)
    shared.close()


def test_totals_never_go_backwards_while_workers_come_and_go() -> None:
    shared = Board()
    layout = shared.layout(GAUGES, COUNTERS)
    ready, told = os.pipe()
    reader = os.fork()
    if not reader:  # watches until the master says that it stops; its exit status tells what it saw
        seen, is_first = 0.0, True
        while not shared.is_stopping:
            now = shared.totals(layout)["requests"]
            if now < seen:
                os._exit(1)
            seen = now
            if is_first:
                os.write(told, b".")
                is_first = False
        os._exit(0 if seen >= 30 else 2)
    os.read(ready, 1)
    for _ in range(30):
        child = os.fork()
        if not child:
            slot = shared.claim(0, layout)
            for count in range(20):
                slot.write(values(1, 1, count))
            os._exit(0)
        os.waitpid(child, 0)
        shared.bury(child)
    shared.is_stopping = True
    assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0
    assert shared.totals(layout) == {"requests": 30 * 19}
    os.close(ready)
    os.close(told)
    shared.close()


def test_values_are_aligned_so_that_none_is_torn() -> None:
    board = Board(slots=1, columns=1)
    numbers = board._numbers
    assert (numbers.itemsize, numbers.format, numbers.contiguous) == (8, "d", True)
    board.close()


def test_the_memory_that_is_not_used_is_not_taken() -> None:
    def shared_kib() -> int:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssShmem"))

    before = shared_kib()
    board = Board()
    layout = board.layout(GAUGES, COUNTERS)
    board.claim(0, layout).write(values())
    board.totals(layout)
    assert shared_kib() - before < 256
    board.close()


def test_master_tells_and_workers_read() -> None:
    shared = Board(slots=1, columns=1)
    assert (shared.told().pid, shared.told().generation, shared.told().reload_state) == (os.getpid(), 0, "none")
    child = os.fork()
    if not child:
        while not shared.is_stopping:
            pass
        os._exit(0 if shared.told().reload_message == "line 3: no such kéy" else 1)
    shared.tell(reload_number=2, reload_state="refused", reload_message="line 3: no such kéy")
    shared.is_stopping = True
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    shared.tell(generation=3, reload_state="done", reload_message="")
    told = shared.told()
    assert (told.generation, told.is_stopping, told.reload_number, told.reload_state) == (3, True, 2, "done")
    assert told.reload_message == ""
    shared.close()


def test_a_long_message_is_cut_between_characters() -> None:
    board = Board(slots=1, columns=1)
    board.tell(reload_message="x" + "é" * 3000)
    assert board.told().reload_message == "x" + "é" * 1999
    board.close()


def test_totals_of_many_are_the_same_however_they_are_added(board: Board, layout: Layout, as_worker: AsWorker) -> None:
    as_worker(1)
    board.claim(0, layout).write(values(3, 1, 10))  # nothing is absent here
    as_worker(2)
    board.claim(1, layout).write({"connections.active": 4, "requests": 1})  # and something there
    as_worker(3)
    board.claim(2, layout)
    assert board.totals(layout) == values(7, 1, 11)


def test_numbers_that_are_not_told_again_stay_as_they_were(board: Board, layout: Layout) -> None:
    slot = board.claim(0, layout)
    slot.write(values(3, 1, 10))
    slot.write({"connections.active": 5})
    assert board.totals(layout) == values(5, 1, 10)


def test_totals_can_be_had_of_some_names_only(board: Board, layout: Layout) -> None:
    board.claim(0, layout).write(values(3, 1, 10))
    assert board.totals(layout, ["connections.active", "no such name"]) == {"connections.active": 3}
