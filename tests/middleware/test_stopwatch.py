"""The clock of a middleware by itself."""

from __future__ import annotations

import gevent
import pytest

from greenproxy.middleware.stopwatch import AGAIN_S, Overrun, Stopwatch

FOREVER_S = 30.0


def test_it_fires_as_a_timeout_where_its_greenlet_waits() -> None:
    watch = Stopwatch(0.01)
    watch.run(FOREVER_S)
    with pytest.raises(gevent.Timeout, match="time is over"):
        gevent.sleep(FOREVER_S)
    watch.pause()
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


def test_other_greenlets_are_left_alone() -> None:
    other = gevent.spawn(gevent.sleep, 0.03)
    watch = Stopwatch(0.01)
    watch.run(FOREVER_S)
    with pytest.raises(Overrun):
        other.join()
    watch.pause()
    other.join()
    assert other.successful()


def test_limit_of_one_run_can_be_shorter() -> None:
    watch = Stopwatch(FOREVER_S)
    watch.run(0.01)
    with pytest.raises(Overrun):
        gevent.sleep(FOREVER_S)
    watch.pause()
    assert 0 < watch.left_s < FOREVER_S


def test_limit_that_has_passed_fires_at_the_next_wait() -> None:
    watch = Stopwatch(FOREVER_S)
    watch.run(-1.0)
    with pytest.raises(Overrun):
        gevent.sleep(FOREVER_S)
    watch.pause()


def test_without_a_limit_it_never_fires() -> None:
    watch = Stopwatch(0.0)
    watch.run(float("inf"))
    gevent.sleep(0.01)
    watch.pause()
    assert not watch.has_fired


def test_pauses_do_not_count() -> None:
    watch = Stopwatch(0.03)
    for _ in range(3):
        watch.run(FOREVER_S)
        watch.pause()
        gevent.sleep(0.02)
    assert not watch.has_fired
    assert watch.left_s > 0
