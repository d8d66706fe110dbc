"""What the soak makes of a series: level, drifting, or jumped, however noisy the machine."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from tests.soak.drift import Bound, Row, Series, judge, quantile, slope, windows
from tests.soak.watch import DESCRIPTORS, GREENLETS, MEMORY, MIB, Cost, cost_row, row_of, settling, time_rows

KIB = 1024
MINUTES_S = 540.0  # what is judged of ten minutes


def series(value: Callable[[float, random.Random], float], span_s: float = MINUTES_S, step_s: float = 1.0) -> Series:
    """Return samples of `value`, which gets the moment and dice."""
    dice = random.Random(4)
    return [(at * step_s, value(at * step_s, dice)) for at in range(int(span_s / step_s))]


def memory(value: Callable[[float, random.Random], float], span_s: float = MINUTES_S) -> Row:
    """Judge a series of a worker's memory."""
    return row_of("worker 1 memory", series(value, span_s))


def test_memory_that_is_noisy_and_level_is_level() -> None:
    assert memory(lambda _at, dice: 30 * MIB + dice.gauss(0, 3 * MIB)).verdict == "level"


def test_sawtooth_is_level() -> None:
    assert memory(lambda at, _dice: 30 * MIB + 20 * MIB * (at % 90) / 90).verdict == "level"


def test_memory_that_settles_is_level() -> None:
    assert memory(lambda at, dice: 30 * MIB + 8 * MIB * (1 - math.exp(-at / 80)) + dice.gauss(0, MIB / 4)).verdict == "level"


def test_memory_that_falls_is_level() -> None:
    assert memory(lambda at, dice: 60 * MIB - at * 50 * KIB + dice.gauss(0, MIB)).verdict == "level"


def test_kibibyte_per_request_is_a_drift() -> None:
    row = memory(lambda at, dice: 30 * MIB + at * 60 * KIB + dice.gauss(0, 2 * MIB))
    assert row.verdict == "drifts"
    assert row.grown == pytest.approx(60 * KIB * MINUTES_S / MIB, rel=0.2)


def test_leak_that_ten_minutes_cannot_show_is_a_drift_in_a_day() -> None:
    def leaks(at: float, dice: random.Random) -> float:
        return 30 * MIB + at * 100 + dice.gauss(0, MIB / 2)

    assert memory(leaks).verdict == "level"
    assert row_of("worker 1 memory", series(leaks, 86_400.0, 43.0)).verdict == "drifts"


def test_leak_that_begins_late_is_a_drift() -> None:
    assert memory(lambda at, dice: 30 * MIB + max(0.0, at - 250) * 200 * KIB + dice.gauss(0, MIB)).verdict == "drifts"


def test_memory_that_doubles_at_once_and_stays_has_jumped() -> None:
    assert memory(lambda at, _dice: (30 if at < 400 else 70) * MIB).verdict == "jumped"


def test_short_time_is_not_judged_by_what_a_worker_takes_at_first() -> None:
    assert memory(lambda at, _dice: 25 * MIB + at * MIB, 8.0).verdict == "level"
    assert settling(MEMORY, 8.0).allowed(0) > 5 * settling(MEMORY, 600.0).allowed(0)


def test_descriptor_per_aborted_request_is_a_drift() -> None:
    row = row_of("worker 1 descriptors", series(lambda at, dice: 16 + int(at / 20) + dice.randrange(20)))
    assert row.verdict == "drifts"
    assert judge("", windows(series(lambda _at, dice: 16 + dice.randrange(20)), 0.25), DESCRIPTORS).verdict == "level"


def test_greenlet_per_upgrade_is_a_drift() -> None:
    assert judge("", windows(series(lambda at, dice: 3 + int(at / 10) + dice.randrange(3)), 0.25), GREENLETS).is_wrong


def test_few_windows_are_not_judged() -> None:
    row = judge("", [(0.0, 1.0), (1.0, 100.0)], Bound(0, 0))
    assert (row.verdict, row.is_wrong, row.was_judged) == ("too short", False, False)
    assert not judge("", [], Bound(0, 0)).was_judged


def test_quarter_of_bad_windows_does_not_turn_the_line() -> None:
    points = [(float(at), 10.0 if at % 4 else 1000.0) for at in range(24)]
    assert slope(points) == pytest.approx(0.0, abs=2.0)
    assert judge("", points, Bound(0.1, 1.0)).verdict == "level"


def test_windows_are_quantiles_of_equal_times() -> None:
    points = [(float(at), float(at % 10)) for at in range(100)]
    assert [value for _, value in windows(points, 0.5, most=10)] == [5.0] * 10
    assert len(windows(points[:30], most=10, fewest_in_one=15)) == 2
    assert quantile([], 0.5) == 0.0


# ------------------------------------------------------------------ times and processor time


def costs(
    per_request_s: Callable[[float], float], yardstick_s: Callable[[float], float], span_s: float = MINUTES_S
) -> list[Cost]:
    """Return samples of workers that answer 100 requests per second."""
    found, used_s = [], 0.0
    for at in range(int(span_s)):
        used_s += 100 * per_request_s(at)
        found.append(Cost(float(at), used_s, 100 * at, yardstick_s(at)))
    return found


def test_processor_time_that_grows_is_a_drift() -> None:
    row = cost_row(costs(lambda at: 0.0005 * (1 + at / MINUTES_S), lambda _at: 0.003))
    assert row.verdict == "drifts"
    assert row.start == pytest.approx(580, rel=0.1)


def test_processor_time_on_a_machine_that_becomes_slower_is_level() -> None:
    assert cost_row(costs(lambda at: 0.0005 * (1 + at / MINUTES_S), lambda at: 0.003 * (1 + at / MINUTES_S))).verdict == "level"


def test_processor_time_that_grows_by_more_than_the_yardstick_on_a_machine_that_becomes_slower_is_level() -> None:
    row = cost_row(costs(lambda at: 0.0005 * (1 + at / MINUTES_S), lambda at: 0.003 * (1 + 0.4 * at / MINUTES_S)))
    assert row.grown > 0.3 * row.start
    assert row.verdict == "level"


def test_processor_time_that_swings_in_a_short_run_is_level() -> None:
    seen_us = (
        920,
        880,
        990,
        665,
        930,
        970,
        1380,
    )  # a window each, on a machine with six times as much to do as it has processors
    row = cost_row(costs(lambda at: seen_us[min(6, int(at / 5))] * 1e-6, lambda _at: 0.003, 36.0))
    assert row.was_judged
    assert row.verdict == "level"


def test_processor_time_that_trebles_in_a_short_run_is_a_drift() -> None:
    assert cost_row(costs(lambda at: 0.0005 * (1 + 2 * at / 48), lambda _at: 0.003, 48.0)).verdict == "drifts"


def times(through_s: Callable[[float], float], past_s: Callable[[float], float]) -> list[Row]:
    """Judge what a probe has measured that asks ten times per second."""
    dice = random.Random(4)
    moments = [at / 10 for at in range(int(MINUTES_S) * 10)]
    return time_rows([(at, through_s(at) * dice.uniform(0.5, 3), past_s(at) * dice.uniform(0.5, 3)) for at in moments])


def verdicts(rows: list[Row]) -> list[str]:
    return [row.verdict for row in rows]


def test_latency_that_grows_is_a_drift_at_the_median_and_among_the_slowest() -> None:
    rows = times(lambda at: 0.002 + at / MINUTES_S * 0.4, lambda _at: 0.001)
    assert verdicts(rows) == ["drifts", "to compare", "drifts", "to compare"]


def test_latency_on_a_machine_that_becomes_busy_is_level() -> None:
    rows = times(lambda at: 0.040 * (1 + 5 * at / MINUTES_S), lambda at: 0.002 * (1 + 5 * at / MINUTES_S))
    assert verdicts(rows) == ["level", "to compare", "level", "to compare"]


def test_latency_on_a_machine_that_becomes_idle_is_level() -> None:
    rows = times(lambda at: 0.040 * (1 - 0.5 * at / MINUTES_S), lambda at: 0.002 * (1 - 0.9 * at / MINUTES_S))
    assert verdicts(rows) == ["level", "to compare", "level", "to compare"]
