"""Leave: which key bounds the end of a worker, and from when it counts."""

from __future__ import annotations

import math

from greenproxy.config.settings import ProcessSettings
from greenproxy.process.leave import LINGER_S, LINGER_WHEN_REPLACED_S, Leave


class Situation:
    """A worker that leaves, with a clock of its own."""

    def __init__(self, *, is_replaced: bool, reload_s: float = 600.0, at_most_s: float = math.inf) -> None:
        self.now_s = 100.0
        self.is_replaced = is_replaced
        self.others_serve = False
        process = ProcessSettings(graceful_timeout_s=30.0, reload_timeout_s=reload_s)
        self.leave = Leave(
            process,
            lambda: self.is_replaced,
            lambda: self.others_serve,
            lambda: False,
            lambda: None,
            at_most_s=at_most_s,
            clock=lambda: self.now_s,
        )

    def after(self, seconds: float) -> float:
        self.now_s += seconds
        return self.leave.remaining_s()


def test_a_replaced_worker_has_the_reload_timeout() -> None:
    it = Situation(is_replaced=True)
    assert (it.after(10), it.leave.limit, it.leave.linger_s) == (590.0, "reload-timeout", LINGER_WHEN_REPLACED_S)


def test_a_stop_has_the_graceful_timeout() -> None:
    it = Situation(is_replaced=False)
    assert (it.after(10), it.leave.limit, it.leave.linger_s) == (20.0, "graceful-timeout", LINGER_S)


def test_a_stop_in_the_middle_counts_from_then() -> None:
    it = Situation(is_replaced=True)
    it.after(300)
    it.is_replaced = False
    assert (it.after(1), it.leave.limit) == (30.0, "graceful-timeout")
    assert it.after(10) == 20.0


def test_what_has_begun_to_stop_stays_so() -> None:
    it = Situation(is_replaced=False)
    it.is_replaced = True
    assert (it.after(10), it.leave.limit) == (20.0, "graceful-timeout")


def test_zero_is_no_limit() -> None:
    it = Situation(is_replaced=True, reload_s=0.0)
    assert it.after(10**6) == math.inf


def test_a_master_that_kills_earlier_is_respected() -> None:
    it = Situation(is_replaced=True, at_most_s=5.0)
    assert (it.after(1), it.leave.limit) == (4.0, "gunicorn's graceful_timeout")


def test_idle_clients_of_a_master_that_has_a_successor_may_linger() -> None:
    it = Situation(is_replaced=False)
    it.others_serve = True
    assert (it.leave.linger_s, it.leave.limit) == (LINGER_WHEN_REPLACED_S, "graceful-timeout")
