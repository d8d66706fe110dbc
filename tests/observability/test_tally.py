"""Cumulative counters and rates, from metrics."""

from __future__ import annotations

import pytest

from greenproxy.errors import RETRY_REASONS
from greenproxy.observability.metrics import Metrics
from greenproxy.observability.tally import RATE_OVER_S, Tally
from tests.observability.exchanges import exchange, proxied, request


def one_second(tally: Tally, now_s: float, requests: int = 0) -> None:
    metrics = Metrics()
    for _ in range(requests):
        metrics.finished(proxied())
    tally.add(metrics.drain(), now_s)


def test_everything_is_counted_under_its_name() -> None:
    metrics = Metrics()
    metrics.finished(proxied(retried=["connect-refused"]))
    metrics.finished(proxied(status=502, reason="backend-closed"))
    metrics.finished(exchange(request(), status=499, reason="client-gone"))
    tally = Tally(0.0, ["shop"])
    tally.add(metrics.drain(), 1.0)
    tally.add(metrics.drain(), 2.0)
    assert {name: value for name, value in tally.values().items() if not name.endswith("_per_s")} == {
        "requests": 3,
        "errors": 2,
        "responses.1xx": 0,
        "responses.2xx": 1,
        "responses.3xx": 0,
        "responses.4xx": 0,
        "responses.5xx": 1,
        "upstream/shop/requests": 2,
        "upstream/shop/failures": 2,
        "upstream/shop/retries": 1,
        **{f"upstream/shop/retries/{reason}": int(reason == "connect-refused") for reason in RETRY_REASONS},
    }


def test_counters_only_grow() -> None:
    tally = Tally(0.0, ["shop"])
    for second in range(1, 4):
        one_second(tally, float(second), requests=5)
        assert tally.values()["requests"] == 5 * second


def test_rates_are_means_of_the_last_ten_seconds() -> None:
    tally = Tally(0.0, ["shop"])
    one_second(tally, 1.0, requests=100)
    assert tally.values()["requests_per_s"] == 100
    for second in range(2, 11):
        one_second(tally, float(second))
    assert tally.values()["requests_per_s"] == tally.values()["upstream/shop/requests_per_s"] == 100 / RATE_OVER_S
    one_second(tally, 11.0)
    assert tally.values()["requests_per_s"] == tally.values()["upstream/shop/requests_per_s"] == 0


def test_rates_are_right_when_seconds_are_late() -> None:
    tally = Tally(0.0, ["shop"])
    one_second(tally, 4.0, requests=8)
    assert tally.values()["requests_per_s"] == pytest.approx(2)


def test_without_time_there_is_no_rate() -> None:
    assert Tally(0.0, ["shop"]).values()["requests_per_s"] == 0
