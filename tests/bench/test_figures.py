"""Rounds become medians, and ratios within each round."""

from __future__ import annotations

import pytest

from bench.figures import quantile, summaries, summarize, times
from tests.bench.data import cell, costs, scenario


def test_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    found = summarize("cpu_us", "greenproxy", costs(20, 90, 30), costs(10, 30, 30))
    assert found.ratio == 2.0  # 2, 3 and 1; that of the medians would be 1


def test_spread_is_the_middle_half_of_the_rounds() -> None:
    found = summarize("cpu_us", "greenproxy", costs(10, 20, 30, 40, 50), costs(10, 10, 10, 10, 10))
    assert (found.low, found.high) == (2.0, 4.0)


def test_one_failed_round_fails_the_cell() -> None:
    found = summarize("cpu_us", "caddy", [*costs(10, 10), {"failed": "3 errors of read"}], costs(10, 10, 10))
    assert (found.failure, found.figures, found.ratio) == ("3 errors of read (round 3 of 3)", {}, None)


def test_cell_without_a_base_has_no_ratio() -> None:
    assert summarize("cpu_us", "greenproxy", costs(10), []).ratio is None


def test_base_that_failed_gives_no_ratio() -> None:
    both = scenario("cost", "cpu_us", nginx=cell("nginx", {"failed": "no"}), greenproxy=cell("greenproxy", *costs(10)))
    assert summaries(both)[1].ratio is None


@pytest.mark.parametrize(("part", "value"), [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (1.0, 4.0)])
def test_quantile_lies_between_values_in_proportion(part: float, value: float) -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], part) == value


@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 5])
def test_bracket_holds_measured_ratios(rounds: int) -> None:
    measured = [2.11, 1.5, 1.9, 1.6, 2.5][:rounds]
    found = summarize("cpu_us", "greenproxy", costs(*measured), costs(*[1.0] * rounds))
    assert found.low is not None
    assert found.high is not None
    assert any(found.low <= each <= found.high for each in measured)


def test_bracket_of_few_rounds_holds_them_all() -> None:
    found = summarize("cpu_us", "greenproxy", costs(50, 10, 30), costs(10, 10, 10))
    assert (found.low, found.high) == (1.0, 5.0)


def test_multiple_of_any_peer_is_the_median_of_the_ratios_within_rounds() -> None:
    both = scenario(
        "cost", "cpu_us", haproxy=cell("haproxy", *costs(10, 30, 30)), greenproxy=cell("greenproxy", *costs(20, 90, 30))
    )
    assert times(both, "greenproxy", "haproxy", "cpu_us") == 2.0


def test_multiple_of_a_peer_that_failed_is_none() -> None:
    both = scenario(
        "cost", "cpu_us", caddy=cell("caddy", *costs(9), {"failed": "no"}), greenproxy=cell("greenproxy", *costs(9, 9))
    )
    assert times(both, "greenproxy", "caddy", "cpu_us") is None
