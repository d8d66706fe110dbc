"""Seats: what workers know of each other's clients at every moment. One process plays all of them."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest

from greenproxy.observability import seats as room
from greenproxy.observability.board import Board
from greenproxy.observability.seats import Seats


@pytest.fixture
def seats() -> Iterator[Seats]:
    """Memory for some workers."""
    found = Seats(8)
    yield found
    found.close()


def test_each_knows_what_the_others_have(seats: Seats) -> None:
    mine, *others = (seats.take(index) for index in range(3))
    for seat, clients in zip(others, (3, 4), strict=True):
        seat.write(clients)
    mine.write(100)
    assert mine.others() == (7, 2)


def test_who_comes_later_is_seen_at_once(seats: Seats) -> None:
    mine = seats.take(0)
    assert mine.others() == (0, 0)
    seats.take(5).write(2)
    assert mine.others() == (2, 1)


def test_who_accepts_nobody_for_now_does_not_count(seats: Seats) -> None:
    mine, other = seats.take(0), seats.take(1)
    other.write(10)
    other.withdraw()
    assert mine.others() == (0, 0)
    other.write(9)
    assert mine.others() == (9, 1)


def test_who_leaves_does_not_count(seats: Seats) -> None:
    mine, other = seats.take(0), seats.take(1)
    other.write(10)
    other.leave()
    assert mine.others() == (0, 0)


def test_who_is_stuck_does_not_count_after_a_moment(seats: Seats, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, _stuck = seats.take(0), seats.take(1)
    now_s = monotonic()
    monkeypatch.setattr(room, "monotonic", lambda: now_s + room.STALE_S + 1)
    mine.stamp()
    assert mine.others() == (0, 0)


def test_who_was_stuck_counts_again(seats: Seats, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = seats.take(0), seats.take(1)
    now_s = monotonic()
    monkeypatch.setattr(room, "monotonic", lambda: now_s + room.STALE_S + 1)
    mine.stamp()
    other.stamp()
    mine.stamp()
    assert mine.others() == (0, 1)


def test_lanes_are_told_with_none_for_who_has_none(seats: Seats) -> None:
    mine = seats.take(0, 0)
    seats.take(1, 1)
    seats.take(2)
    assert mine.lanes_of_others() == [1, -1]


def test_the_master_clears_the_seats_of_the_dead() -> None:
    board = Board(slots=4, columns=4)
    slot = board.claim(0, board.layout(["x"]))
    mine = board.seats.take(1)
    board.seats.take(slot.index)
    board.bury(int(board._head(slot.index, 0)))
    assert mine.others() == (0, 0)
    board.close()
