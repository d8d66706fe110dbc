"""Reload: one at a time, each step without a wait, and whatever goes wrong ends in the state of before."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from greenproxy.config.settings import ProcessSettings, Settings
from greenproxy.process.reading import Unreadable
from greenproxy.process.reload import Reload, start_limit_s
from tests.fakes import HandClock, memory_logger

NEW = Settings(process=ProcessSettings(worker_timeout_s=6.0))


class Reading:
    """A reading that has a result when the test says so."""

    def __init__(self) -> None:
        self.result: Settings | Exception | None = None
        self.is_cancelled = False

    def poll(self) -> Settings | None:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def cancel(self) -> None:
        self.is_cancelled = True


class Master:
    """Notes what a reload wants done. A tenant is its settings."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.done: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.mistake: Exception | None = None
        self.serves = False

    def read(self) -> Reading:
        self.readings.append(Reading())
        return self.readings[-1]

    def move_in(self, settings: Settings) -> Settings:
        if self.mistake:
            raise self.mistake
        self.done.append("in")
        return settings

    def all_serve(self, new: Settings) -> bool:
        assert new is NEW
        return self.serves

    def settle(self, new: Settings) -> None:
        assert new is NEW
        self.done.append("settled")

    def move_out(self, new: Settings) -> None:
        assert new is NEW
        self.done.append("out")

    def tell(self, state: str, message: str) -> None:
        self.told.append((state, message))


class Situation:
    """A master, its reload, and steps by name."""

    def __init__(self) -> None:
        self.master = Master()
        self.clock = HandClock()
        logger, self.log = memory_logger()
        self.reload: Reload[Settings] = Reload(self.master, logger, self.clock)

    def reading(self) -> None:
        self.reload.ask()

    def trying(self) -> None:
        self.reading()
        self.master.readings[-1].result = NEW
        self.reload.step()

    def settled(self) -> None:
        self.trying()
        self.master.serves = True
        self.reload.step()


@pytest.fixture
def it() -> Situation:
    return Situation()


def test_nothing_is_let_go_before_all_new_workers_serve(it: Situation) -> None:
    it.trying()
    it.reload.step()
    assert (it.master.done, it.reload.trial) == (["in"], NEW)


def test_it_is_settled_when_they_do(it: Situation) -> None:
    it.settled()
    assert (it.master.done, it.master.told, it.reload.is_running) == (["in", "settled"], [("running", ""), ("done", "")], False)


def test_a_step_of_a_reading_that_is_not_over_does_nothing(it: Situation) -> None:
    it.reading()
    it.reload.step()
    assert (it.master.done, it.reload.is_running) == ([], True)


def test_a_file_that_is_wrong_is_refused_with_each_mistake_in_a_line(it: Situation) -> None:
    it.reading()
    it.master.readings[0].result = Unreadable("f:1: one\nf:2: two")
    it.reload.step()
    assert it.log == ["f:1: one", "f:2: two", "reload refused: the previous configuration stays"]
    assert (it.master.done, it.master.told[-1], it.reload.is_running) == ([], ("refused", "f:1: one\nf:2: two"), False)


def test_what_is_tried_again_and_refused_for_the_same_reason_is_told_once(it: Situation) -> None:
    for at, why in enumerate(("f:1: one", "f:1: one", "f:2: two")):
        it.reload.ask(is_again=True)
        it.master.readings[at].result = Unreadable(why)
        it.reload.step()
    refused = "reload refused: the previous configuration stays"
    assert it.log == ["f:1: one", refused, "f:2: two", refused]
    assert it.master.told[-1] == ("refused", "f:2: two")


def test_what_need_not_be_read_to_be_refused_is_a_refused_reload(it: Situation) -> None:
    for is_again in (False, True):
        it.reload.refuse("no such key", is_again=is_again)
    assert (it.log, it.master.told) == (["no such key"], [("running", ""), ("refused", "no such key")])


def test_an_address_that_cannot_be_had_is_refused(it: Situation) -> None:
    it.master.mistake = OSError("cannot listen")
    it.trying()
    assert (it.log[0], it.master.told[-1], it.reload.is_running) == ("cannot listen", ("refused", "cannot listen"), False)


def test_a_worker_that_cannot_boot_undoes_it(it: Situation) -> None:
    it.trying()
    it.reload.worker_ended("worker 7 ended with status 3", was_killed=False)
    assert (it.master.done, it.reload.trial) == (["in", "out"], None)
    assert it.log == ["reload undone, the previous workers go on: worker 7 ended with status 3"]
    assert it.master.told[-1] == ("undone", "worker 7 ended with status 3")


def test_a_worker_that_somebody_killed_does_not(it: Situation) -> None:
    it.trying()
    it.reload.worker_ended("worker 7 was killed", was_killed=True)
    assert it.reload.trial is NEW


def test_workers_that_are_killed_again_and_again_do(it: Situation) -> None:
    it.trying()
    for _ in range(4):
        it.reload.worker_ended("worker 7 was killed", was_killed=True)
    assert it.master.done == ["in", "out"]


def test_workers_that_do_not_serve_in_time_undo_it(it: Situation) -> None:
    it.trying()
    it.clock.turn(7.9)
    it.reload.step()
    waited = it.reload.trial is NEW
    it.clock.turn(0.2)
    it.reload.step()
    assert (waited, it.master.done) == (True, ["in", "out"])


def test_one_that_is_asked_for_meanwhile_follows(it: Situation) -> None:
    it.trying()
    it.reload.ask()
    it.reload.ask()
    it.master.serves = True
    it.reload.step()
    assert (len(it.master.readings), it.reload.is_running) == (2, True)


@pytest.mark.parametrize("phase", [Situation.reading, Situation.trying])
def test_one_that_is_asked_for_follows_a_failure_too(it: Situation, phase: Callable[[Situation], None]) -> None:
    phase(it)
    it.reload.ask()
    if it.reload.trial is None:
        it.master.readings[0].result = Unreadable("wrong")
        it.reload.step()
    else:
        it.reload.worker_ended("it ended", was_killed=False)
    assert (len(it.master.readings), it.reload.is_running) == (2, True)


def test_a_stop_ends_the_reading(it: Situation) -> None:
    it.reading()
    it.reload.ask()
    it.reload.cancel()
    assert (it.master.readings[0].is_cancelled, it.reload.is_running, len(it.master.readings)) == (True, False, 1)


def test_a_stop_gives_back_what_the_trial_had(it: Situation) -> None:
    it.trying()
    it.reload.cancel()
    assert (it.master.done, it.reload.is_running) == (["in", "out"], False)


def test_a_bug_is_a_traceback_in_the_log_and_not_the_end(it: Situation) -> None:
    it.reading()
    it.master.readings[0].result = ZeroDivisionError("a bug")
    it.reload.step()
    assert it.log[0].startswith("the reload failed; please report this")
    assert (it.reload.is_running, it.master.told[-1][0]) == (False, "undone")


@pytest.mark.parametrize(("timeout_s", "limit_s"), [(30.0, 30.0), (1.0, 5.0), (0.0, math.inf)])
def test_a_start_may_take_worker_timeout_but_never_less_than_five_seconds(timeout_s: float, limit_s: float) -> None:
    assert start_limit_s(ProcessSettings(worker_timeout_s=timeout_s)) == limit_s
