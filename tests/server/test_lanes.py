"""Lanes: from which queues of an address a worker accepts."""

from __future__ import annotations

import pytest

from greenproxy.server.lanes import Lanes


class Queue:
    """A listener that knows whether it accepts."""

    def __init__(self) -> None:
        self.is_shared = False
        self.is_watched = False

    def watch(self, wanted: bool) -> None:
        self.is_watched = wanted


@pytest.mark.parametrize(
    ("mine", "others", "watched", "shared"),
    [
        (0, [1, 2], [0], [1, 2]),
        (2, [0, 1], [2], [0, 1]),
        (0, [1], [0, 2], [1, 2]),
        (0, [], [0, 1, 2], [1, 2]),
        (0, [0, 1, 2], [0], [1, 2]),  # an old worker of a reload still has the lane
        (3, [0, 1, 2], [0, 1, 2], [0, 1, 2]),
        (None, [], [0, 1, 2], [0, 1, 2]),
        (0, [1, 2, 3], [0], [0, 1, 2]),
        (0, [1, 2, -1], [0], [0, 1, 2]),
    ],
    ids=[
        "its own",
        "the last",
        "and that of nobody",
        "all when alone",
        "two on one",
        "all without one",
        "turned off",
        "shared with one more",
        "shared with one without",
    ],
)
def test_a_worker_accepts_from(mine: int | None, others: list[int], watched: list[int], shared: list[int]) -> None:
    queues = [Queue() for _ in range(3)]
    Lanes(queues, mine).look(others)
    assert [lane for lane, queue in enumerate(queues) if queue.is_watched] == watched
    assert [lane for lane, queue in enumerate(queues) if queue.is_shared] == shared


def test_what_has_its_worker_again_is_left_to_it() -> None:
    queues = [Queue(), Queue()]
    lanes = Lanes(queues, 0)
    lanes.look([])
    lanes.look([1])
    assert not queues[1].is_watched
