"""What a worker that begins is told of the backends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from greenproxy.observability import board as board_module
from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.rows import State
from greenproxy.observability.verdicts import KEEP_S, STATES, Verdict, read_verdicts
from tests.fakes import HandClock

STEM = "upstream/shop/http://blue:80"
NAMES = (f"{STEM}/verdict", f"{STEM}/rests_until")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(board_module, "monotonic", clock)
    return clock


@pytest.fixture
def board(clock: HandClock) -> Iterator[Board]:  # noqa: ARG001 - its stamps are turned by hand
    made = Board(slots=8, columns=8)
    yield made
    made.close()


@pytest.fixture
def layout(board: Board) -> Layout:
    return board.layout((), (), NAMES)


Say: TypeAlias = Callable[..., None]


@pytest.fixture
def say(board: Board, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Return a function that lets workers 1, 2, ... think each of these states, resting until `ends_s`."""

    def say(*states: str, ends_s: float = 0.0, first: int = 1, layout: Layout = layout, doing: State = State.SERVING) -> None:
        for pid, state in enumerate(states, first):
            monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
            board.claim(0, layout).write({NAMES[0]: STATES.index(state), NAMES[1]: ends_s}, doing)

    return say


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        (["up"], "up"),
        (["down"], "down"),
        (["up", "up", "down"], "up"),
        (["up", "down"], "down"),
        (["down", "unknown", "unknown"], "down"),
        (["up", "unknown"], "up"),
    ],
)
def test_the_majority_of_those_who_know_is_believed(
    board: Board, layout: Layout, say: Say, said: list[str], believed: str
) -> None:
    say(*said)
    assert read_verdicts(board, layout) == {STEM: Verdict(believed, 0.0)}


def test_of_what_nobody_knows_nothing_is_told(board: Board, layout: Layout, say: Say) -> None:
    assert read_verdicts(board, layout) == {}
    say("unknown", "unknown")
    assert read_verdicts(board, layout) == {}


def test_a_mark_is_believed_until_its_end_if_half_have_it(board: Board, layout: Layout, say: Say) -> None:
    say("unknown", ends_s=1200.0)
    say("up", first=2)
    assert read_verdicts(board, layout) == {STEM: Verdict("up", 1200.0)}
    say("up", first=3)
    assert read_verdicts(board, layout) == {STEM: Verdict("up", 0.0)}


def test_the_buried_are_believed_for_a_while_when_nobody_else_knows(
    board: Board, layout: Layout, say: Say, clock: HandClock
) -> None:
    say("down")
    board.bury(1)
    say("unknown", first=2)
    clock.turn(KEEP_S - 0.1)
    assert read_verdicts(board, layout) == {STEM: Verdict("down", 0.0)}
    clock.turn(0.1)
    assert read_verdicts(board, layout) == {}


def test_the_living_know_better_than_the_buried(board: Board, layout: Layout, say: Say) -> None:
    say("down")
    board.bury(1)
    say("up", first=2)
    assert read_verdicts(board, layout) == {STEM: Verdict("up", 0.0)}


def test_the_dead_that_nobody_has_buried_yet_are_believed_as_long(
    board: Board, layout: Layout, say: Say, clock: HandClock
) -> None:
    say("down")
    clock.turn(KEEP_S - 0.1)
    assert read_verdicts(board, layout) == {STEM: Verdict("down", 0.0)}
    clock.turn(0.1)
    assert read_verdicts(board, layout) == {}


def test_verdicts_go_over_to_the_next_configuration_and_not_to_a_new_address(board: Board, say: Say) -> None:
    say("down")
    moved = "upstream/shop/http://blue:81"
    fresh = board.layout((), (), (*NAMES, f"{moved}/verdict", f"{moved}/rests_until"))
    assert read_verdicts(board, fresh) == {STEM: Verdict("down", 0.0)}


def test_a_backend_that_comes_back_after_a_configuration_without_it_begins_anew(board: Board, say: Say) -> None:
    say("down")
    board.bury(1)
    without = board.layout(("other",))
    say("unknown", layout=without)
    board.layout(("other",))
    again = board.layout((), (), NAMES)
    assert read_verdicts(board, again) == {}


def test_workers_that_drain_are_asked_only_when_those_that_serve_know_nothing(board: Board, layout: Layout, say: Say) -> None:
    say("down", "down", ends_s=900.0, doing=State.DRAINING)
    say("unknown", first=3)
    assert read_verdicts(board, layout) == {STEM: Verdict("down", 900.0)}
    say("up", first=4)
    assert read_verdicts(board, layout) == {STEM: Verdict("up", 0.0)}
