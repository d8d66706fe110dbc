"""How long something may take."""

from __future__ import annotations

import gevent
import pytest

from greenproxy import deadline as module
from greenproxy.deadline import NEVER, Deadline, Patience
from greenproxy.errors import ReadTimeout, RequestTimeout, ResponseTimeout


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def test_no_seconds_are_no_limit() -> None:
    assert Deadline.after(0, RequestTimeout) is NEVER


def test_the_earlier_of_two_deadlines_counts_with_its_own_error(clock: list[float]) -> None:
    whole = Deadline.after(10, RequestTimeout)
    assert type(whole.within(5, ResponseTimeout).late()) is ResponseTimeout
    assert whole.within(20, ResponseTimeout) is whole
    assert whole.within(0, ResponseTimeout) is whole
    clock[0] += 8
    assert whole.within(5, ResponseTimeout) is whole


def test_a_deadline_is_checked_against_the_clock(clock: list[float]) -> None:
    deadline = Deadline.after(1, ResponseTimeout)
    deadline.check()
    clock[0] += 1
    with pytest.raises(ResponseTimeout):
        deadline.check()


def test_patience_begins_anew_with_every_wait(clock: list[float]) -> None:
    patience = Patience(5, ReadTimeout)
    clock[0] += 100
    assert patience.remaining_s() == 5
    assert type(patience.late()) is ReadTimeout


def test_patience_ends_with_the_whole_and_says_so(clock: list[float]) -> None:
    patience = Patience(5, ReadTimeout, Deadline.after(8, RequestTimeout))
    assert (patience.remaining_s(), type(patience.late())) == (5, ReadTimeout)
    clock[0] += 6
    assert patience.remaining_s() == 2
    clock[0] += 2
    assert type(patience.late()) is RequestTimeout


def test_no_patience_is_no_limit() -> None:
    assert Patience(0, ReadTimeout).remaining_s() == float("inf")


def test_a_block_that_waits_too_long_is_ended() -> None:
    with pytest.raises(ResponseTimeout), Deadline.after(0.01, ResponseTimeout).enforced():
        gevent.sleep(30)


def test_another_timeout_inside_is_not_taken_for_ours() -> None:
    with pytest.raises(gevent.Timeout), Deadline.after(30, ResponseTimeout).enforced(), gevent.Timeout(0.01):
        gevent.sleep(30)


def test_without_a_limit_no_timer_is_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Timeout, "start_new", lambda *_: pytest.fail("a timer was started"))
    with NEVER.enforced():
        gevent.sleep(0)
