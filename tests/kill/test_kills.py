"""Whoever is struck at any wait of an exchange: slot, counters, greenlets, watchers, timers and descriptors come back.

The waits are counted, not chosen: each scenario is played again and again, and struck at its first wait, its second, and so on,
until it has no further one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from greenlet import GreenletExit

from greenproxy.errors import ClientGone, Stopped
from greenproxy.net.resolver import Resolver
from tests.client import Answer
from tests.fakes import memory_logger
from tests.kill.scenarios import SCENARIOS
from tests.kill.stage import Scenario, Stage
from tests.net.test_recycler import hub_errors

MOST_WAITS = 60
Strike = Callable[[Stage, Any], None]


def thrown(error: Callable[[], BaseException]) -> Strike:
    """Raise an error in the greenlet that waits."""
    return lambda _stage, victim: victim.throw(error())


def client_resets(stage: Stage, _victim: Any) -> None:
    assert stage.client is not None
    stage.client.reset()


def client_leaves(stage: Stage, _victim: Any) -> None:
    assert stage.client is not None
    stage.client.leave()


def backend_resets(stage: Stage, _victim: Any) -> None:
    stage.reset_backends()


KILLS: dict[str, type[BaseException]] = {
    "killed": GreenletExit, "the client is gone": ClientGone, "stopped": Stopped, "a timeout": gevent.Timeout,
}  # fmt: skip
ACTS: dict[str, Strike] = {"client resets": client_resets, "client leaves": client_leaves, "backend resets": backend_resets}
STRIKES: dict[str, Strike] = {**{name: thrown(error) for name, error in KILLS.items()}, **ACTS}


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The house of the scenario. The hub hears of nothing but the errors that were thrown into its greenlets."""
    scenario: Scenario = request.getfixturevalue("scenario")
    with ExitStack() as stages, hub_errors() as errors:
        log, _ = memory_logger()
        resolver = Resolver(0.0, log)
        stages.callback(resolver.stop)
        built = Stage(scenario, resolver, tmp_path)
        stages.callback(built.stop)
        yield built
    if not scenario.has_own_greenlets:
        assert [error for error in errors if not isinstance(error, tuple(KILLS.values()))] == []


every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)


def told(answers: list[Answer]) -> list[tuple[int, bytes]]:
    return [(answer.status, answer.body) for answer in answers]


@every_scenario
def test_unharmed_it_gets_its_answers(stage: Stage, scenario: Scenario) -> None:
    assert told(stage.play()[1]) == list(scenario.expected)


@pytest.mark.parametrize("strike", STRIKES)
@every_scenario
def test_wherever_it_is_struck_everything_comes_back(stage: Stage, scenario: Scenario, strike: str) -> None:
    stage.play()
    blamed, missed = stage.edge.failures, 0
    stage.left_behind()
    for number in range(1, MOST_WAITS + 1):
        before = stage.edge.failures
        waits, answers = stage.play(number, STRIKES[strike])
        assert (stage.left_behind(), stage.uncounted) == ({}, {}), str(waits)
        passed_off = [each for each in told(answers) if each not in scenario.expected and each[0] < 400]
        assert passed_off == [], str(waits)  # what was broken off shows as a Cut
        if strike != "backend resets":
            assert stage.edge.failures - before <= blamed, str(waits)
        if len(waits) < number:
            assert missed <= 2, "waits that end in the turn in which they begin"
            return
        missed += not waits.has_struck
    raise AssertionError(f"{scenario.name} has more than {MOST_WAITS} waits")
