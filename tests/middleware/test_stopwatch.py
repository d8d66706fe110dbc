"""The clock of a middleware by itself."""

from __future__ import annotations

from time import monotonic

import gevent
import pytest

from greenproxy.middleware.stopwatch import AGAIN_S, Overrun, Stopwatch
from tests.hub import watchers

FOREVER_S = 30.0


def test_it_fires_as_a_timeout_where_its_greenlet_waits() -> None:
    watch = Stopwatch(0.01)
    watch.run(FOREVER_S)
    with pytest.raises(gevent.Timeout, match="time is over"):
        gevent.sleep(FOREVER_S)
    watch.end()
    assert watch.has_fired
    assert watch.left_s <= 0


def test_it_fires_again_until_it_is_paused() -> None:
    watch = Stopwatch(0.01)
    watch.run(FOREVER_S)
    for _ in range(2):
        with pytest.raises(Overrun):
            gevent.sleep(FOREVER_S)
    watch.pause()
    gevent.sleep(AGAIN_S * 1.5)
    watch.end()


def test_other_greenlets_are_left_alone() -> None:
    other = gevent.spawn(gevent.sleep, 0.03)
    watch = Stopwatch(0.01)
    watch.run(FOREVER_S)
    with pytest.raises(Overrun):
        other.join()
    watch.end()
    other.join()
    assert other.successful()


def test_limit_of_one_run_can_be_shorter() -> None:
    watch = Stopwatch(FOREVER_S)
    watch.run(0.01)
    with pytest.raises(Overrun):
        gevent.sleep(FOREVER_S)
    watch.end()
    assert 0 < watch.left_s < FOREVER_S


def test_limit_that_has_passed_fires_at_the_next_wait() -> None:
    watch = Stopwatch(FOREVER_S)
    watch.run(-1.0)
    with pytest.raises(Overrun):
        gevent.sleep(FOREVER_S)
    watch.end()


def test_without_a_limit_it_never_fires() -> None:
    watch = Stopwatch(0.0)
    watch.run(float("inf"))
    gevent.sleep(0.01)
    watch.end()
    assert not watch.has_fired


def test_pauses_do_not_count() -> None:
    watch = Stopwatch(0.03)
    for _ in range(3):
        watch.run(FOREVER_S)
        watch.pause()
        gevent.sleep(0.02)
    assert not watch.has_fired
    assert watch.left_s > 0
    watch.end()


@pytest.mark.parametrize("pause_s", [0.01, 0.06], ids=["shorter", "longer"])
def test_what_was_left_before_a_pause_is_left_behind_it(pause_s: float) -> None:
    watch = Stopwatch(0.04)
    watch.run(FOREVER_S)
    watch.pause()
    gevent.sleep(pause_s)
    begun_s = monotonic()
    watch.run(FOREVER_S)
    with pytest.raises(Overrun):
        gevent.sleep(FOREVER_S)
    assert monotonic() - begun_s > 0.03
    watch.end()


def test_a_limit_that_comes_in_a_pause_and_is_shorter_counts() -> None:
    watch = Stopwatch(FOREVER_S)
    watch.run(FOREVER_S)
    watch.pause()
    watch.run(0.01)
    with pytest.raises(Overrun):
        gevent.sleep(FOREVER_S)
    watch.end()


def test_behind_its_end_it_keeps_no_timer() -> None:
    before = watchers()
    watch = Stopwatch(FOREVER_S)
    watch.run(FOREVER_S)
    watch.end()
    assert watchers() == before
