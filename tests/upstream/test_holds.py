"""Holds: which slow clients make room, in which order, and which are spared. Time is turned by hand."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from greenproxy.errors import BodyTimeout, ProxyError, SendTimeout
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.holds import Hold, Holds
from tests.fakes import HandClock
from tests.hub import settle
from tests.upstream.conftest import MakeHouse
from tests.upstream.fakes import backend


class Slow:
    """A client that keeps its backend waiting until it is let go; `ended` is how that ended."""

    def __init__(self, hold: Hold, error: type[ProxyError]) -> None:
        self.hold = hold
        self.unsent = 1000
        self.gate = Event()
        self.ended = ""
        self._error = error
        self.greenlet = gevent.spawn(self._run)
        settle()

    def _run(self) -> None:
        try:
            with self.hold.waiting(self._error, lambda: self.unsent):
                self.gate.wait()
            self.ended = "let go"
        except BaseException as error:
            self.ended = type(error).__name__

    def go(self) -> None:
        self.gate.set()
        settle()


class Scene:
    """Slow clients of two backends and what `relieve` does to them."""

    def __init__(self, a: Backend, b: Backend) -> None:
        self.clock = HandClock()
        self.holds = Holds(self.clock)
        self.backends = {"a": a, "b": b}
        self.clients: list[Slow] = []

    def slow(self, name: str = "a", error: type[ProxyError] = SendTimeout) -> Slow:
        self.clients.append(Slow(Hold(self.holds, self.backends[name]), error))
        return self.clients[-1]

    def relieve(self, most: int = 1, wanted: str = "ab") -> int:
        count = self.holds.relieve(most, lambda hold: hold.backend in [self.backends[name] for name in wanted])
        settle()
        return count

    @property
    def cut(self) -> list[int]:
        return [number for number, each in enumerate(self.clients) if each.ended == "SendTimeout"]


@pytest.fixture
def scene(house: MakeHouse) -> Iterator[Scene]:
    it = house(backend("a"), backend("b"))
    scene = Scene(it["a"], it["b"])
    yield scene
    gevent.killall([each.greenlet for each in scene.clients])
    assert not scene.holds.waiting


# ------------------------------------------------------------------ who


@pytest.mark.parametrize(("seconds", "is_cut"), [(0.0, False), (0.49, False), (0.5, True), (60.0, True)])
def test_who_kept_its_backend_waiting_for_half_a_second_makes_room(scene: Scene, seconds: float, is_cut: bool) -> None:
    scene.slow()
    scene.clock.turn(seconds)
    assert (scene.relieve(), scene.cut) == ((1, [0]) if is_cut else (0, []))


@pytest.mark.parametrize("error", [SendTimeout, BodyTimeout])
def test_it_is_told_what_it_did_not_do(scene: Scene, error: type[ProxyError]) -> None:
    client = scene.slow(error=error)
    scene.clock.turn(1)
    scene.relieve()
    assert client.ended == error.__name__


def test_the_slowest_go_first(scene: Scene) -> None:
    for seconds in (1, 1, 1):
        scene.slow()
        scene.clock.turn(seconds)
    scene.relieve(2)
    assert scene.cut == [0, 1]


def test_no_more_go_than_are_wanted(scene: Scene) -> None:
    for _ in range(5):
        scene.slow()
    scene.clock.turn(1)
    assert (scene.relieve(3), len(scene.cut)) == (3, 3)


def test_none_goes_when_none_is_wanted(scene: Scene) -> None:
    scene.slow()
    scene.clock.turn(100)
    assert (scene.relieve(0), scene.cut) == (0, [])


def test_only_those_go_whose_backend_is_wanted(scene: Scene) -> None:
    scene.slow("a")
    scene.clock.turn(5)
    scene.slow("b")
    scene.clock.turn(1)
    assert (scene.relieve(5, wanted="b"), scene.cut) == (1, [1])


def test_a_client_is_cut_once(scene: Scene) -> None:
    scene.slow()
    scene.clock.turn(1)
    assert [scene.relieve(), scene.relieve(), scene.cut] == [1, 0, [0]]


def test_who_was_served_in_the_same_turn_is_spared(scene: Scene) -> None:
    client = scene.slow()
    scene.clock.turn(1)
    client.gate.set()
    gevent.get_hub().loop.run_callback(client.hold.cut)  # behind the callback that wakes it
    settle()
    assert client.ended == "let go"


def test_who_moved_between_the_verdict_and_the_cut_can_be_cut_later(scene: Scene) -> None:
    client = scene.slow()
    scene.clock.turn(0.6)
    client.hold.cut()
    client.unsent = 0
    settle()
    spared = client.ended
    scene.clock.turn(100)
    scene.relieve()
    assert (spared, client.ended) == ("", "SendTimeout")


# ------------------------------------------------------------------ what it owes


def test_the_time_between_two_waits_does_not_count(scene: Scene) -> None:
    hold = Hold(scene.holds, scene.backends["a"])
    with hold.waiting(SendTimeout):
        scene.clock.turn(0.2)
    scene.clock.turn(60)
    with hold.waiting(SendTimeout):
        scene.clock.turn(0.2)
    assert hold.owed_s() == pytest.approx(0.4)


@pytest.mark.parametrize("rate", [1000, 1001, 2000, 10**6])
def test_a_client_that_moves_a_thousand_bytes_per_second_never_owes_more(scene: Scene, rate: int) -> None:
    hold = Hold(scene.holds, scene.backends["a"])
    most = 0.0
    for _ in range(100):
        with hold.waiting(BodyTimeout):
            scene.clock.turn(0.4)
            most = max(most, hold.owed_s())
        hold.moved(int(rate * 0.4))
    assert most < 0.5


@pytest.mark.parametrize(("rate", "waits"), [(500, 3), (1, 2), (900, 9)])
def test_a_client_that_trickles_owes_more_and_more(scene: Scene, rate: int, waits: int) -> None:
    hold = Hold(scene.holds, scene.backends["a"])
    for _ in range(waits):
        with hold.waiting(BodyTimeout):
            scene.clock.turn(0.25)
        last = hold.owed_s()
        hold.moved(int(rate * 0.25))
    with hold.waiting(BodyTimeout):
        scene.clock.turn(0.25)
        assert last < hold.owed_s() < 0.25 * (waits + 1) + 0.001


def test_nothing_is_paid_in_advance(scene: Scene) -> None:
    hold = Hold(scene.holds, scene.backends["a"])
    hold.moved(10**9)
    with hold.waiting(SendTimeout):
        scene.clock.turn(0.5)
    assert hold.owed_s() == pytest.approx(0.5)


def test_a_client_that_reads_what_the_kernel_has_pays_while_it_waits(scene: Scene) -> None:
    left = [5000]
    hold = Hold(scene.holds, scene.backends["a"])
    with hold.waiting(SendTimeout, lambda: left[0]):
        scene.clock.turn(3)
        left[0] = 2500
        assert hold.owed_s() == pytest.approx(0.5)


def test_what_the_kernel_takes_at_the_beginning_of_a_wait_is_no_credit_for_its_rest(scene: Scene) -> None:
    client = scene.slow()
    scene.clock.turn(0.1)
    client.unsent = 0
    early = scene.relieve()
    scene.clock.turn(0.5)
    assert (early, scene.relieve(), client.ended) == (0, 1, "SendTimeout")


def test_what_it_paid_while_it_waited_is_paid_behind_the_wait(scene: Scene) -> None:
    left = [5000]
    hold = Hold(scene.holds, scene.backends["a"])
    with hold.waiting(SendTimeout, lambda: left[0]):
        scene.clock.turn(3)
        left[0] = 2500
    assert hold.owed_s() == pytest.approx(0.5)


# ------------------------------------------------------------------ excused


def test_a_client_that_waits_for_its_backend_owes_nothing(scene: Scene) -> None:
    client = scene.slow()
    client.hold.excuse()
    scene.clock.turn(100)
    assert (scene.relieve(), client.ended) == (0, "")


def test_from_its_100_on_the_time_of_a_client_counts(scene: Scene) -> None:
    client = scene.slow()
    client.hold.excuse()
    scene.clock.turn(100)
    client.hold.blame()
    scene.clock.turn(0.4)
    early = scene.relieve()
    scene.clock.turn(0.2)
    assert (early, scene.relieve()) == (0, 1)


# ------------------------------------------------------------------ the end of a wait


def test_who_does_not_wait_is_never_cut(scene: Scene) -> None:
    client = scene.slow()
    scene.clock.turn(100)
    client.go()
    assert (scene.relieve(), client.ended) == (0, "let go")


def test_a_wait_that_was_killed_is_over(scene: Scene) -> None:
    client = scene.slow()
    scene.clock.turn(100)
    client.greenlet.kill()
    assert (list(scene.holds.waiting), scene.relieve()) == ([], 0)


def test_a_client_that_is_killed_while_it_is_cut_ends_once(scene: Scene) -> None:
    client = scene.slow()
    scene.clock.turn(1)
    client.greenlet.kill(block=False)
    scene.relieve()
    assert client.ended == "GreenletExit"
