"""Health: what checks and traffic make of a backend. Time is turned by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.upstream.health import Health
from tests.fakes import HandClock
from tests.upstream.fakes import upstream_settings


class Patient:
    """A health with its clock and what it reported."""

    def __init__(self, **changes: Any) -> None:
        self.clock = HandClock()
        self.reports: list[str] = []
        self.health = Health(upstream_settings(**changes), self.clock, self.reports.append)

    @property
    def state(self) -> str:
        return self.health.state.value

    def pass_checks(self, count: int) -> None:
        for _ in range(count):
            self.health.check_passed()

    def fail_checks(self, count: int) -> None:
        for _ in range(count):
            self.health.check_failed("connect-refused")

    def fail_requests(self, count: int) -> None:
        for _ in range(count):
            self.health.failed("backend-reset", is_trial=False)


@pytest.fixture
def patient() -> Patient:
    return Patient()


def test_nothing_known_counts_as_up(patient: Patient) -> None:
    assert patient.state == "unknown"
    assert patient.health.is_available


def test_the_first_sign_of_life_makes_it_up(patient: Patient) -> None:
    other = Patient()
    patient.health.check_passed()
    other.health.succeeded(is_trial=False)
    assert patient.state == other.state == "up"
    assert patient.reports == other.reports == []


def test_checks_that_fail_take_it_out_at_health_fall(patient: Patient) -> None:
    patient.fail_checks(2)
    assert patient.health.is_available
    patient.fail_checks(1)
    assert patient.state == "down"
    assert patient.reports == ["3 checks in a row failed, the last one with connect-refused"]


def test_a_check_that_passes_breaks_the_row(patient: Patient) -> None:
    patient.fail_checks(2)
    patient.pass_checks(1)
    patient.fail_checks(2)
    assert patient.health.is_available


def test_checks_that_pass_bring_it_back_at_health_rise(patient: Patient) -> None:
    patient.fail_checks(3)
    patient.pass_checks(1)
    assert patient.state == "down"
    patient.pass_checks(1)
    assert patient.state == "up"
    assert patient.reports[1:] == ["2 checks in a row passed"]


def test_a_standing_condition_is_reported_once(patient: Patient) -> None:
    patient.fail_checks(30)
    patient.fail_requests(30)
    assert len(patient.reports) == 1


def test_failures_of_traffic_take_it_out_at_max_fails(patient: Patient) -> None:
    patient.fail_requests(2)
    assert patient.health.is_available
    patient.fail_requests(1)
    assert patient.state == "down"
    assert patient.health.is_resting
    assert patient.reports == ["3 requests in a row failed, the last one with backend-reset"]


def test_only_consecutive_failures_count(patient: Patient) -> None:
    patient.fail_requests(2)
    patient.health.succeeded(is_trial=False)
    patient.fail_requests(2)
    assert patient.health.is_available


def test_max_fails_zero_never_takes_it_out() -> None:
    patient = Patient(max_fails=0)
    patient.fail_requests(100)
    assert patient.health.is_available


def test_it_is_ripe_for_one_trial_when_fail_timeout_is_over(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.clock.turn(9.9)
    assert not patient.health.is_ripe(patient.clock())
    patient.clock.turn(0.1)
    assert patient.health.is_ripe(patient.clock())
    patient.health.begin_trial()
    assert not patient.health.is_ripe(patient.clock())


def test_a_trial_that_succeeds_clears_the_mark(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.clock.turn(10.0)
    patient.health.begin_trial()
    patient.health.end_trial()
    patient.health.succeeded(is_trial=True)
    assert patient.health.is_available
    assert patient.health.is_clean
    assert patient.reports[1:] == ["a trial request succeeded"]


def test_a_trial_that_fails_lets_it_rest_again(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.clock.turn(10.0)
    patient.health.begin_trial()
    patient.health.end_trial()
    patient.health.failed("backend-reset", is_trial=True)
    assert not patient.health.is_ripe(patient.clock())
    patient.clock.turn(10.0)
    assert patient.health.is_ripe(patient.clock())
    assert len(patient.reports) == 1


def test_a_trial_that_shows_nothing_lets_the_next_one_try(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.clock.turn(10.0)
    patient.health.begin_trial()
    patient.health.end_trial()
    assert patient.health.is_ripe(patient.clock())


def test_late_results_of_older_requests_neither_clear_nor_prolong_the_mark(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.clock.turn(9.0)
    patient.fail_requests(5)
    patient.health.succeeded(is_trial=False)
    assert patient.health.is_resting
    patient.clock.turn(1.0)
    assert patient.health.is_ripe(patient.clock())


def test_checks_clear_the_mark_of_traffic_when_enough_passed_since(patient: Patient) -> None:
    patient.pass_checks(50)  # of before: they say nothing of now
    patient.fail_requests(3)
    patient.pass_checks(1)
    assert patient.state == "down"
    patient.pass_checks(1)
    assert patient.state == "up"


def test_it_is_out_while_either_says_so(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.fail_checks(3)
    assert not patient.health.is_resting
    patient.clock.turn(10.0)
    assert not patient.health.is_ripe(patient.clock())
    patient.health.succeeded(is_trial=True)  # a last resort that worked
    assert patient.state == "down"
    patient.pass_checks(2)
    assert patient.state == "up"


def test_a_name_without_an_address_is_down(patient: Patient) -> None:
    patient.health.address_missing("no such name")
    assert patient.state == "down"
    assert not patient.health.can_be_tried
    patient.health.address_known()
    assert patient.health.is_available
    assert patient.reports == ["no such name", "its name has an address now"]


def test_draining_is_out_but_has_its_own_state(patient: Patient) -> None:
    patient.health.drain(True)
    assert patient.state == "draining"
    assert not patient.health.is_available
    patient.health.drain(False)
    assert patient.health.is_available


# ------------------------------------------------------------------ what one worker leaves to the next


def heir_of(patient: Patient, **changes: Any) -> Patient:
    """Return the health of the same backend in a worker that begins now."""
    heir = Patient(**changes)
    heir.clock = patient.clock
    heir.health = Health(upstream_settings(**changes), heir.clock, heir.reports.append)
    heir.health.inherit(patient.health.verdict)
    return heir


def test_what_nobody_has_judged_is_inherited_as_unknown(patient: Patient) -> None:
    assert heir_of(patient).state == "unknown"


def test_a_backend_that_was_up_is_up_in_silence(patient: Patient) -> None:
    patient.pass_checks(1)
    heir = heir_of(patient)
    assert (heir.state, heir.reports) == ("up", [])
    assert heir.health.is_clean


def test_a_backend_that_checks_took_out_stays_out_until_checks_bring_it_back(patient: Patient) -> None:
    patient.fail_checks(3)
    heir = heir_of(patient, health_interval_s=10.0)
    assert (heir.state, heir.reports) == ("down", [])
    heir.fail_checks(3)
    assert heir.reports == []
    heir.pass_checks(2)
    assert heir.reports == ["2 checks in a row passed"]


def test_a_mark_of_traffic_keeps_its_end(patient: Patient) -> None:
    patient.fail_requests(3)
    patient.clock.turn(4.0)
    heir = heir_of(patient)
    assert (heir.state, heir.health.is_resting, heir.reports) == ("down", True, [])
    patient.clock.turn(5.9)
    assert not heir.health.is_ripe(heir.clock())
    patient.clock.turn(0.1)
    assert heir.health.is_ripe(heir.clock())


def test_a_trial_that_fails_renews_a_mark_that_was_inherited(patient: Patient) -> None:
    patient.fail_requests(3)
    heir = heir_of(patient)
    patient.clock.turn(10.0)
    heir.health.begin_trial()
    heir.health.end_trial()
    heir.health.failed("backend-reset", is_trial=True)
    assert heir.health.is_resting
    assert not heir.health.is_ripe(heir.clock())
    assert heir.reports == []


def test_a_mark_ends_earlier_where_fail_timeout_is_shorter_now(patient: Patient) -> None:
    patient.fail_requests(3)
    heir = heir_of(patient, fail_timeout_s=2.0)
    patient.clock.turn(2.0)
    assert heir.health.is_ripe(heir.clock())


def test_what_nothing_could_ever_clear_is_not_inherited(patient: Patient) -> None:
    patient.fail_checks(3)
    assert heir_of(patient, health_interval_s=0.0).state == "unknown"
    other = Patient()
    other.fail_requests(3)
    assert heir_of(other, max_fails=0).state == "unknown"


EVENTS = st.sampled_from(["pass", "miss", "ok", "fail", "trial ok", "trial fail", "drain", "ready", "lost", "found", "time"])


@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_changes_are_reported_exactly_when_availability_changes(events: list[str]) -> None:
    patient = Patient()
    health = patient.health
    act: dict[str, Callable[[], object]] = {
        "pass": health.check_passed,
        "miss": lambda: health.check_failed("x"),
        "ok": lambda: health.succeeded(is_trial=False),
        "fail": lambda: health.failed("x", is_trial=False),
        "trial ok": lambda: health.succeeded(is_trial=True),
        "trial fail": lambda: health.failed("x", is_trial=True),
        "drain": lambda: health.drain(True),
        "ready": lambda: health.drain(False),
        "lost": lambda: health.address_missing("x"),
        "found": health.address_known,
        "time": lambda: patient.clock.turn(5.0),
    }
    for event in events:
        before = health.is_available
        said = len([report for report in patient.reports if report])
        act[event]()
        flips = len([report for report in patient.reports if report]) - said
        assert flips == (health.is_available != before)
        assert not (health.is_available and health.is_resting)
        assert health.is_available == (patient.state in ("up", "unknown"))
        assert not health.is_clean or not health.is_resting
