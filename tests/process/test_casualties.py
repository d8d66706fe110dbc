"""What is said of workers that died, and how long their places stay empty."""

from __future__ import annotations

import pytest

from greenproxy.process.casualties import Casualties
from greenproxy.process.respawn import FIRST_PAUSE_S
from tests.fakes import HandClock, memory_logger

CRASHED, GAVE_UP = 11, 3 << 8  # as os.waitpid says it


class Scene:
    """Casualties, their clock and their log."""

    def __init__(self) -> None:
        self.clock = HandClock()
        logger, self.log = memory_logger()
        self.casualties = Casualties(logger, self.clock)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_who_served_for_long_is_replaced_at_once(scene: Scene) -> None:
    scene.casualties.died(7, CRASHED, 60.0, has_served=True, is_replaced=True)
    assert scene.log == ["worker 7 was killed by SIGSEGV; another one starts"]
    assert scene.casualties.pause_s == 0


def test_who_could_not_start_leaves_a_place_empty_for_a_while(scene: Scene) -> None:
    scene.casualties.died(7, GAVE_UP, 0.1, has_served=False, is_replaced=True)
    assert scene.log == ["worker 7 ended with status 3; another one starts in 0.1 s"]
    assert scene.casualties.pause_s == pytest.approx(FIRST_PAUSE_S)


def test_who_is_not_replaced_makes_nobody_wait(scene: Scene) -> None:
    scene.casualties.died(7, CRASHED, 0.1, has_served=False, is_replaced=False)
    assert (scene.log, scene.casualties.pause_s) == (["worker 7 was killed by SIGSEGV"], 0)


def test_one_is_missing_from_a_start_that_failed_until_all_are_well(scene: Scene) -> None:
    scene.casualties.died(7, GAVE_UP, 0.1, has_served=False, is_replaced=True)
    was_missing = scene.casualties.is_one_missing
    scene.casualties.recovered("2 workers")
    assert (was_missing, scene.casualties.is_one_missing) == (True, False)
    assert scene.log[-1] == "workers can start again: 2 workers"


def test_a_new_configuration_need_not_wait_for_deaths_of_the_last_one(scene: Scene) -> None:
    scene.casualties.died(7, GAVE_UP, 0.1, has_served=False, is_replaced=True)
    scene.casualties.begin_anew()
    assert scene.casualties.pause_s == 0


def test_without_room_for_a_process_there_is_a_pause_until_one_could_be_forked(scene: Scene) -> None:
    scene.casualties.failed_to_fork(BlockingIOError(11, "Resource temporarily unavailable"))
    pause_s = scene.casualties.fork_pause_s
    scene.casualties.forked()
    assert (pause_s, scene.casualties.fork_pause_s) == (pytest.approx(FIRST_PAUSE_S), 0)
    assert scene.log == ["a worker cannot be started: [Errno 11] Resource temporarily unavailable; the next try is in 0.1 s"]
