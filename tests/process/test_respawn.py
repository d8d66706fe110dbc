from __future__ import annotations

import pytest

from greenproxy.process.respawn import FIRST_PAUSE_S, LONGEST_PAUSE_AFTER_SERVING_S, LONGEST_PAUSE_S, YOUNG_S, Respawn
from tests.fakes import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_nothing_waits_before_anybody_died(clock: HandClock) -> None:
    assert Respawn(clock).remaining_s() == 0


def test_death_after_a_long_life_is_replaced_at_once(clock: HandClock) -> None:
    respawn = Respawn(clock)
    assert respawn.died(YOUNG_S, has_served=True) == 0
    assert respawn.remaining_s() == 0


def test_pause_doubles_while_they_cannot_boot_up_to_a_limit(clock: HandClock) -> None:
    respawn = Respawn(clock)
    pauses = []
    for _ in range(9):
        pauses.append(respawn.died(0.0, has_served=False))
        clock.turn(pauses[-1])
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_PAUSE_S, LONGEST_PAUSE_S])


def test_pause_passes(clock: HandClock) -> None:
    respawn = Respawn(clock)
    respawn.died(0.0, has_served=False)
    clock.turn(FIRST_PAUSE_S / 4)
    assert respawn.remaining_s() == pytest.approx(FIRST_PAUSE_S * 3 / 4)
    clock.turn(FIRST_PAUSE_S)
    assert respawn.remaining_s() == 0


def test_all_workers_of_one_bad_start_lengthen_the_pause_once(clock: HandClock) -> None:
    respawn = Respawn(clock)
    assert [respawn.died(0.0, has_served=False) for _ in range(4)] == pytest.approx([FIRST_PAUSE_S] * 4)


def test_long_life_ends_the_doubling(clock: HandClock) -> None:
    respawn = Respawn(clock)
    for _ in range(5):
        clock.turn(respawn.died(0.0, has_served=False))
    clock.turn(YOUNG_S)
    assert respawn.died(YOUNG_S, has_served=True) == 0
    assert respawn.died(0.0, has_served=False) == FIRST_PAUSE_S


def test_workers_that_served_are_missed_more(clock: HandClock) -> None:
    respawn = Respawn(clock)
    pauses = []
    for _ in range(6):
        pauses.append(respawn.died(0.0, has_served=True))
        clock.turn(pauses[-1])
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, LONGEST_PAUSE_AFTER_SERVING_S, LONGEST_PAUSE_AFTER_SERVING_S])


def test_a_worker_that_is_killed_every_second_is_replaced_at_once(clock: HandClock) -> None:
    respawn = Respawn(clock)
    assert [respawn.died(1.0, has_served=True) for _ in range(60)] == [0.0] * 60
