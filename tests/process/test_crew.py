"""Who of the workers is whose, and who could go."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import pytest

from greenproxy.process.crew import Crew

BEFORE, NOW, TRIAL = "before", "now", "trial"


@dataclass
class Worker:
    """What a crew wants to know."""

    app: str
    age: int
    has_served: bool = True
    is_leaving: bool = False


class Workers(dict[int, Worker]):
    """Workers by process ids that mean nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._ages = count(1)

    def come(self, app: str, *, has_served: bool = True, is_leaving: bool = False) -> int:
        """Let a worker live; return its age."""
        age = next(self._ages)
        self[1000 - age] = Worker(app, age, has_served, is_leaving)
        return age


@pytest.fixture
def workers() -> Workers:
    return Workers()


def test_workers_of_a_configuration_are_told_oldest_first(workers: Workers) -> None:
    mine = [workers.come(NOW), workers.come(NOW)]
    workers.come(BEFORE)
    assert [worker.age for worker in Crew(workers).of(NOW)] == mine


def test_who_leaves_is_there_no_more(workers: Workers) -> None:
    workers.come(NOW, is_leaving=True)
    assert Crew(workers).of(NOW) == []


def test_all_have_served_when_as_many_as_are_wanted_have(workers: Workers) -> None:
    workers.come(NOW)
    workers.come(NOW, has_served=False)
    assert [Crew(workers).have_served(NOW, wanted) for wanted in (1, 2)] == [True, False]


def test_nobody_is_spare_while_some_are_missing(workers: Workers) -> None:
    workers.come(NOW)
    assert Crew(workers).spare(NOW, 2) == []


def test_first_goes_who_has_not_served_then_the_oldest(workers: Workers) -> None:
    oldest, _, fresh = workers.come(NOW), workers.come(NOW), workers.come(NOW, has_served=False)
    assert [worker.age for worker in Crew(workers).spare(NOW, 1)] == [fresh, oldest]


def test_those_of_before_are_the_others_until_they_have_ended(workers: Workers) -> None:
    for app in (NOW, TRIAL):
        workers.come(app)
    before = workers.come(BEFORE, is_leaving=True)
    assert [worker.age for worker in Crew(workers).others_than(NOW, TRIAL)] == [before]
