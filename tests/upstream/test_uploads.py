"""Uploads: places for requests whose body is still to come. No place is lost or doubled, whatever ends a wait."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import gevent
import pytest
from gevent import get_hub
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from greenproxy.deadline import NEVER, Deadline
from greenproxy.errors import ProxyError, QueueFull, QueueTimeout
from greenproxy.upstream.uploads import Place, Uploads
from tests.hub import settle, watchers

PICK = st.integers(0, 10**6)


class House:
    """Uploads whose number of slots the test sets, and how often somebody began to wait."""

    def __init__(self, slots: int = 8, queue: int = 100) -> None:
        self.slots = slots
        self.wanted = 0
        self.uploads = Uploads(lambda: self.slots, queue, self._want)

    def _want(self) -> None:
        self.wanted += 1

    def fill(self) -> list[Place]:
        places = []
        while not self.uploads.is_full:
            places.append(self.uploads.enter())
        return places


class Waiter:
    """A request that waits for a place in a greenlet of its own."""

    def __init__(self, uploads: Uploads, limit: Deadline = NEVER) -> None:
        self.place: Place | None = None
        self.error: BaseException | None = None
        self._uploads = uploads
        self._limit = limit
        self.greenlet = gevent.spawn(self._run)
        settle()

    def _run(self) -> None:
        try:
            self.place = self._uploads.wait(self._limit)
        except (ProxyError, gevent.Timeout) as error:
            self.error = error


# ------------------------------------------------------------------ how many


@pytest.mark.parametrize(
    ("slots", "places"), [(0, 1), (1, 1), (2, 2), (7, 7), (8, 7), (15, 14), (16, 14), (100, 88), (1000, 875)]
)
def test_an_eighth_of_the_slots_is_kept_for_others_but_one_upload_is_always_taken(slots: int, places: int) -> None:
    assert len(House(slots).fill()) == places


def test_a_place_left_twice_is_one_place() -> None:
    it = House(16)
    places = it.fill()
    places[0].leave()
    places[0].leave()
    assert it.uploads.under_way == 13


def test_whoever_waits_is_served_in_order() -> None:
    it = House(1)
    (place,) = it.fill()
    first, second = Waiter(it.uploads), Waiter(it.uploads)
    place.leave()
    settle()
    assert (first.place is not None, second.place) == (True, None)
    assert first.place is not None
    first.place.leave()
    settle()
    assert second.place is not None


def test_a_newcomer_stands_behind_those_who_wait() -> None:
    it = House(1)
    (place,) = it.fill()
    waiter = Waiter(it.uploads)
    place.leave()  # handed over, but its greenlet has not run
    assert it.uploads.is_full
    waiter.greenlet.kill()


def test_no_more_wait_than_the_queue_holds() -> None:
    it = House(1, queue=2)
    it.fill()
    waiters = [Waiter(it.uploads) for _ in range(3)]
    assert [type(each.error) for each in waiters] == [type(None), type(None), QueueFull]
    gevent.killall([each.greenlet for each in waiters])


def test_somebody_is_told_of_each_that_begins_to_wait() -> None:
    it = House(2)
    places = it.fill()
    before = it.wanted
    waiters = [Waiter(it.uploads) for _ in range(2)]
    for place in places:
        place.leave()
    settle()
    assert (before, it.wanted, [bool(each.place) for each in waiters]) == (0, 2, [True, True])


# ------------------------------------------------------------------ the end of a wait


@pytest.mark.parametrize("seconds", [-1.0, 0.01])
def test_a_wait_that_takes_too_long_ends_with_the_error_of_its_limit(seconds: float) -> None:
    it = House(1)
    it.fill()
    with pytest.raises(QueueTimeout):
        it.uploads.wait(Deadline(monotonic() + seconds, QueueTimeout))
    assert (len(it.uploads), it.uploads.under_way) == (0, 1)


@pytest.mark.parametrize("error", [gevent.GreenletExit, gevent.Timeout])
def test_who_is_killed_in_the_turn_in_which_its_place_came_passes_it_on(error: type[BaseException]) -> None:
    it = House(1)
    (place,) = it.fill()
    first, second = Waiter(it.uploads), Waiter(it.uploads)
    first.greenlet.kill(error(), block=False)
    place.leave()
    settle()
    assert (first.place, second.place is not None, it.uploads.under_way) == (None, True, 1)


def test_who_is_killed_before_it_knows_of_its_place_leaves_it() -> None:
    it = House(1)
    (place,) = it.fill()
    waiter = Waiter(it.uploads)
    get_hub().loop.run_callback(waiter.greenlet.throw, gevent.Timeout())
    place.leave()  # it is told behind that
    settle()
    assert (type(waiter.error), waiter.place, it.uploads.under_way) == (gevent.Timeout, None, 0)


def test_a_wait_leaves_no_timer() -> None:
    it = House(1)
    (place,) = it.fill()
    before = watchers()
    waiter = Waiter(it.uploads, Deadline(monotonic() + 60, QueueTimeout))
    during = watchers()
    place.leave()
    settle()
    assert (during > before, watchers(), waiter.error) == (True, before, None)


# ------------------------------------------------------------------ slots that come and go


def test_whoever_sees_that_slots_came_back_has_places_given() -> None:
    it = House(1)
    it.fill()
    waiter = Waiter(it.uploads)
    it.slots = 7
    it.uploads.serve()
    settle()
    assert (waiter.place is not None, it.uploads.under_way) == (True, 2)


def test_places_of_slots_that_came_back_go_to_all_who_wait() -> None:
    it = House(1)
    (place,) = it.fill()
    waiters = [Waiter(it.uploads) for _ in range(5)]
    it.slots = 7
    place.leave()
    settle()
    assert ([bool(each.place) for each in waiters], it.uploads.under_way) == ([True] * 5, 5)


def test_places_of_slots_that_are_gone_go_to_nobody() -> None:
    it = House(7)
    places = it.fill()
    waiter = Waiter(it.uploads)
    it.slots = 2
    for place in places[:5]:
        place.leave()
    settle()
    early = waiter.place
    places[5].leave()
    settle()
    assert (early, waiter.place is not None, it.uploads.under_way) == (None, True, 2)


class Places(RuleBasedStateMachine):
    """Any sequence of waits, ends, kills, timeouts and changes of the slots."""

    @initialize(slots=st.integers(0, 4), queue=st.integers(0, 4))
    def build(self, slots: int, queue: int) -> None:
        self.house = House(slots, queue)
        self.uploads = self.house.uploads
        self.waiters: list[Waiter] = []
        self.places: list[Place] = []

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        gevent.killall([each.greenlet for each in self.waiters])
        self._collect()
        for place in self.places:
            place.leave()
        assert (self.uploads.under_way, len(self.uploads)) == (0, 0)

    def _collect(self) -> None:
        """Move those whose wait has ended on."""
        settle()
        for waiter in list(self.waiters):
            if waiter.greenlet.ready():
                self.waiters.remove(waiter)
                if waiter.place is not None:
                    self.places.append(waiter.place)

    @rule(count=st.integers(1, 4))
    def requests_come(self, count: int) -> None:
        self.waiters += [Waiter(self.uploads) for _ in range(count)]
        self._collect()

    @rule()
    def one_comes_too_late(self) -> None:
        self.waiters.append(Waiter(self.uploads, Deadline(0.0, QueueTimeout)))
        self._collect()

    @rule()
    def one_enters_without_a_place(self) -> None:
        self.places.append(self.uploads.enter())

    @precondition(lambda self: self.places)
    @rule(which=PICK, again=st.booleans())
    def one_leaves(self, which: int, again: bool) -> None:
        place = self.places.pop(which % len(self.places))
        place.leave()
        if again:
            place.leave()
        self._collect()

    @precondition(lambda self: self.waiters)
    @rule(which=PICK, other=PICK, leaves=st.sampled_from(["before", "behind", "never"]), with_timeout=st.booleans())
    def one_is_killed(self, which: int, other: int, leaves: str, with_timeout: bool) -> None:
        """Perhaps in the very turn in which it is given a place, whichever of both is first."""
        victim = self.waiters[which % len(self.waiters)]
        place = self.places.pop(other % len(self.places)) if self.places and leaves != "never" else None
        if place is not None and leaves == "before":
            place.leave()
        victim.greenlet.kill(gevent.Timeout() if with_timeout else gevent.GreenletExit(), block=False)
        if place is not None and leaves == "behind":
            place.leave()
        self._collect()

    @precondition(lambda self: self.waiters)
    @rule(which=PICK, other=PICK)
    def one_times_out_as_a_place_comes(self, which: int, other: int) -> None:
        victim = self.waiters[which % len(self.waiters)]
        get_hub().loop.run_callback(victim.greenlet.throw, gevent.Timeout())
        if self.places:
            self.places.pop(other % len(self.places)).leave()
        self._collect()

    @rule(slots=st.integers(0, 10))
    def slots_come_and_go(self, slots: int) -> None:
        self.house.slots = slots

    @invariant()
    def every_place_is_somebodys(self) -> None:
        if hasattr(self, "house"):
            assert self.uploads.under_way == len(self.places)

    @invariant()
    def those_wait_who_seem_to(self) -> None:
        if hasattr(self, "house"):
            assert len(self.uploads) == len(self.waiters)

    @invariant()
    def nobody_waits_without_somebody_who_will_leave(self) -> None:
        if hasattr(self, "house"):
            assert self.places or not self.waiters


Places.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestPlaces = Places.TestCase


# ------------------------------------------------------------------ more than one try


@pytest.mark.parametrize(
    ("steps", "under_way"),
    [
        ("began", 1),
        ("began whole", 0),
        ("began part", 1),
        ("began part began", 1),
        ("began part began whole", 0),
        ("began part began part", 1),
        ("began part settle", 0),
        ("began settle", 1),
        ("began settle part", 0),
        ("began settle whole", 0),
        ("began began part settle", 1),
        ("began began part settle part", 0),
        ("settle", 0),
    ],
)
def test_a_place_is_kept_while_somebody_sends_or_may_send_again(steps: str, under_way: int) -> None:
    it = House()
    place = it.uploads.enter()
    acts: dict[str, Callable[[], None]]
    acts = {"began": place.began, "settle": place.settle, "whole": lambda: place.ended(True), "part": lambda: place.ended(False)}
    for step in steps.split():
        acts[step]()
    assert it.uploads.under_way == under_way
