"""What is counted for which exchange."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.errors import REASONS
from greenproxy.observability.metrics import MAX_SAMPLES, Metrics, Samples, metric_word, spread
from tests.observability.exchanges import exchange, proxied, request


def test_every_exchange_counts_once_with_its_status_and_its_time() -> None:
    metrics = Metrics()
    for status in (200, 204, 404, 502, 101):
        metrics.finished(exchange(request(), status=status, took_s=0.25))
    snapshot = metrics.drain()
    assert snapshot.requests == 5
    assert list(snapshot.responses[1:6]) == [1, 2, 0, 1, 1]
    assert snapshot.request_time.kept == [pytest.approx(0.25)] * 5


def test_client_that_left_counts_as_an_error_but_not_as_a_response() -> None:
    metrics = Metrics()
    metrics.finished(exchange(request(), status=499, reason="client-gone"))
    snapshot = metrics.drain()
    assert (snapshot.requests, sum(snapshot.responses), snapshot.errors) == (1, 0, {"client-gone": 1})


def test_bytes_that_became_no_request_count_too() -> None:
    metrics = Metrics()
    metrics.finished(exchange(None, status=400, reason="bad-request"))
    snapshot = metrics.drain()
    assert (snapshot.responses[4], snapshot.errors, snapshot.upstreams) == (1, {"bad-request": 1}, {})


@pytest.mark.parametrize("status", [0, 600, 999])
def test_odd_statuses_disturb_nothing(status: int) -> None:
    metrics = Metrics()
    metrics.finished(exchange(request(), status=status))
    assert sum(metrics.drain().responses[1:6]) == 0


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_can_be_counted(reason: str) -> None:
    metrics = Metrics()
    metrics.finished(proxied(reason=reason))
    assert metrics.drain().errors == {reason: 1}


def test_upstream_counts_its_requests_retries_and_failed_tries() -> None:
    metrics = Metrics()
    metrics.finished(proxied())
    metrics.finished(proxied(retried=["backend-reset", "503"]))  # two tries failed, the third did not
    metrics.finished(proxied(retried=["503"], status=502, reason="connect-refused"))  # both failed
    metrics.finished(proxied(status=503, reason="queue-full", time_s=-1.0))  # no backend was asked
    metrics.finished(proxied("blog"))
    snapshot = metrics.drain()
    shop = snapshot.upstreams["shop"]
    assert (shop.requests, shop.retries, shop.failures) == (4, 3, 4)
    assert shop.retry_reasons == {"backend-reset": 1, "503": 2}
    assert len(shop.response_time.kept) == 3
    assert snapshot.upstreams["blog"].requests == 1


def test_what_was_drained_is_not_counted_again() -> None:
    metrics = Metrics()
    metrics.finished(proxied(reason="backend-reset"))
    metrics.drain()
    snapshot = metrics.drain()
    assert (snapshot.requests, snapshot.errors, snapshot.upstreams, snapshot.request_time.seen) == (0, {}, {}, 0)


def samples_of(count: int) -> Samples:
    """Return what is kept of the durations 1, 2, 3 and so on."""
    metrics = Metrics()
    for n in range(count):
        metrics.finished(exchange(request(), status=200, took_s=n + 1.0))
    kept = metrics.drain().request_time
    return Samples([round(each) for each in kept.kept], kept.seen)


def test_few_samples_are_all_kept() -> None:
    samples = samples_of(MAX_SAMPLES)
    assert (samples.kept, samples.rate) == (list(range(1, MAX_SAMPLES + 1)), 1.0)


@pytest.mark.parametrize("count", [MAX_SAMPLES + 1, 199, 200, 201, 1600, 1601, 2345])
def test_many_samples_are_a_part_of_known_size_and_spread_evenly(count: int) -> None:
    samples = samples_of(count)
    assert MAX_SAMPLES / 2 <= len(set(samples.kept)) == len(samples.kept) <= MAX_SAMPLES
    assert samples.rate == pytest.approx(len(samples.kept) / count)
    gaps = {after - before for before, after in pairwise(samples.kept)}
    assert len(gaps) == 1
    assert count - samples.kept[-1] <= max(gaps)


def test_a_rare_ending_has_no_more_than_its_share_of_the_samples() -> None:
    """Ten errors that took long must not look like a tenth of ten thousand requests."""
    metrics = Metrics()
    for _ in range(10_000):
        metrics.finished(proxied(status=200, time_s=0.01))
    for status in range(500, 510):
        metrics.finished(proxied(status=status, time_s=9.0))
    upstream = metrics.drain().upstreams["shop"].response_time
    assert len(upstream.kept) >= MAX_SAMPLES / 2
    assert sum(each > 1 for each in upstream.kept) <= 1


def test_durations_of_all_endings_are_kept_while_there_are_few() -> None:
    metrics = Metrics()
    for status in (200, 200, 404, 502):
        metrics.finished(proxied(status=status, time_s=status / 100))
    upstream = metrics.drain().upstreams["shop"].response_time
    assert (sorted(upstream.kept), upstream.rate) == ([2.0, 2.0, 4.04, 5.02], 1.0)


@given(st.lists(st.tuples(st.integers(1, MAX_SAMPLES), st.floats(1, 1000)), max_size=20))
def test_parts_are_spread_by_their_shares(sizes: list[tuple[int, float]]) -> None:
    parts = [([float(n)] * kept, kept * every) for n, (kept, every) in enumerate(sizes)]
    seen = sum(count for _, count in parts)
    samples = spread(parts)
    assert samples.seen == pytest.approx(seen)
    assert len(samples.kept) <= MAX_SAMPLES
    for n, (_, count) in enumerate(parts):
        assert samples.kept.count(n) == pytest.approx(len(samples.kept) * count / seen, abs=1.01)


@pytest.mark.parametrize(
    ("text", "word"),
    [("blue", "blue"), ("10.0.0.11:8000", "10_0_0_11_8000"), ("unix:/run/a b.sock", "unix__run_a_b_sock"), ("é-_", "_-_")],
)
def test_names_become_words_of_a_metric(text: str, word: str) -> None:
    assert metric_word(text) == word
