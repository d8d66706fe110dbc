"""The time of day as text."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest

from greenproxy.observability import clock
from tests.fakes import HandClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    hand = HandClock(784111777.25)
    monkeypatch.setattr(clock, "time", hand)
    return hand


@pytest.mark.usefixtures("now")
def test_date_field_is_the_example_of_the_rfc() -> None:
    assert clock.http_date() == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_date_goes_on_with_the_seconds(now: HandClock) -> None:
    clock.http_date()
    for _ in range(100):
        now.turn(86_399.5)
        assert parsedate_to_datetime(clock.http_date().decode()).timestamp() == int(now.now_s)


def test_text_of_a_second_is_made_once(now: HandClock) -> None:
    first = clock.http_date()
    now.turn(0.7)
    assert clock.http_date() is first
    now.turn(0.1)
    assert clock.http_date() is not first


@pytest.fixture
def since_boot(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    hand = HandClock(5000.125)
    monkeypatch.setattr(clock, "monotonic", hand)
    monkeypatch.setattr(clock, "_cache", clock._Cache())
    return hand


@pytest.mark.usefixtures("now", "since_boot")
def test_common_log_time_has_the_zone() -> None:
    text = clock.clf_time(5000.125)
    assert re.fullmatch(r"\d\d/Nov/1994:\d\d:49:37 [+-]\d{4}", text)
    assert datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp() == 784111777


@pytest.mark.usefixtures("now", "since_boot")
def test_json_time_is_rfc_3339_with_milliseconds() -> None:
    assert clock.iso_time(5000.125) == "1994-11-06T08:49:37.250Z"
    assert clock.iso_time(5000.625) == "1994-11-06T08:49:37.750Z"
    assert clock.iso_time(5000.875) == "1994-11-06T08:49:38.000Z"


def test_lines_of_one_second_ask_no_clock(monkeypatch: pytest.MonkeyPatch, now: HandClock, since_boot: HandClock) -> None:
    asked: list[HandClock] = []

    def ask(hand: HandClock) -> float:
        asked.append(hand)
        return hand()

    monkeypatch.setattr(clock, "time", lambda: ask(now))
    monkeypatch.setattr(clock, "monotonic", lambda: ask(since_boot))
    for thousandth in range(1000):
        clock.clf_time(4999.875 + thousandth / 1000)
        clock.iso_time(4999.875 + thousandth / 1000)
    assert asked == [now, since_boot]


def test_a_step_of_the_time_of_day_is_heeded_with_the_next_second(now: HandClock, since_boot: HandClock) -> None:
    clock.iso_time(5000.125)
    now.now_s += 3600 + 1
    since_boot.turn(1)
    assert clock.iso_time(5001.125) == "1994-11-06T09:49:38.250Z"
