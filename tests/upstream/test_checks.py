"""Active checks: what counts as healthy, when they come, and that they leave nothing open."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenproxy.config.settings import Address, BackendSettings
from greenproxy.errors import ConnectRefused, NoBackend, NoDescriptor
from greenproxy.net.resolver import literal
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.checks import AT_ONCE, Checks
from tests.counting import Work
from tests.fakes import HandClock
from tests.scripted import ScriptedBackend
from tests.scripts import answer, close, expect_request, hang, reset, send, send_in_pieces, wait_until_gone
from tests.upstream.conftest import MakeHouse
from tests.upstream.fakes import House, addr, backend, until, upstream_settings

MakeScripted = Callable[..., ScriptedBackend]
Examine = Callable[..., Backend]


def address_of(scripted: ScriptedBackend) -> Address:
    if scripted.path:
        return Address(path=scripted.path)
    return Address(host=scripted.host, port=scripted.port)


@pytest.fixture
def examine() -> Iterator[Examine]:
    """Return a function that checks a scripted backend once and returns it as the upstream room sees it."""
    made: list[Backend] = []

    def check(scripted: ScriptedBackend, **changes: Any) -> Backend:
        settings = upstream_settings(
            BackendSettings(address=address_of(scripted)),
            **{"health_interval_s": 10.0, "health_fall": 1, "health_timeout_s": 5.0, **changes},
        )
        examined = Backend(settings.backends[0], settings, HandClock(), lambda *_: None)
        made.append(examined)
        known = literal(settings.backends[0].address)
        assert known is not None
        examined.moved((known,), "")
        Checks(settings, made, HandClock(), random.Random(1)).check(examined)
        return examined

    yield check
    for each in made:
        each.pool.close()


def http(*steps: Any) -> list[Any]:
    return [expect_request, *steps, wait_until_gone]


# ------------------------------------------------------------------ one check


def test_without_a_path_a_connection_is_enough(examine: Examine, scripted: MakeScripted) -> None:
    server = scripted([wait_until_gone])
    assert examine(server).state == "up"
    server.wait_for(lambda: server.gone == 1)
    assert not server.requests


def test_nobody_listening_is_a_failure(examine: Examine, scripted: MakeScripted) -> None:
    assert examine(scripted(is_listening=False)).state == "down"


def test_with_a_path_it_is_asked_for_with_the_backends_own_host(examine: Examine, scripted: MakeScripted) -> None:
    server = scripted(http(send(answer())))
    assert examine(server, health_path="/healthz?deep=1").state == "up"
    (request,) = server.requests
    assert request.target == "/healthz?deep=1"
    assert request.get("host") == f"127.0.0.1:{server.port}"
    server.wait_for(lambda: server.gone == 1)  # the socket of the check is closed


def test_a_unix_socket_can_be_checked(examine: Examine, scripted: MakeScripted, tmp_path: Path) -> None:
    server = scripted(http(send(answer())), path=str(tmp_path / "shop.sock"))
    assert examine(server, health_path="/").state == "up"
    assert server.requests[0].get("host") == "localhost"


@pytest.mark.parametrize(
    ("status", "wanted", "state"),
    [
        ("200 OK", ((200, 399),), "up"),
        ("399 Odd", ((200, 399),), "up"),
        ("404 Not Found", ((200, 399),), "down"),
        ("500 Broken", ((200, 399),), "down"),
        ("401 Unauthorized", ((200, 299), (401, 401)), "up"),
        ("302 Found", ((200, 299), (401, 401)), "down"),
    ],
)
def test_the_status_must_be_one_of_health_status(
    examine: Examine, scripted: MakeScripted, status: str, wanted: tuple[tuple[int, int], ...], state: str
) -> None:
    server = scripted(http(send(answer(b"", status))))
    assert examine(server, health_path="/", health_status=wanted).state == state


def test_the_answer_may_come_in_pieces_and_after_an_interim_one(examine: Examine, scripted: MakeScripted) -> None:
    server = scripted(http(send_in_pieces(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(), 7)))
    assert examine(server, health_path="/").state == "up"


@pytest.mark.parametrize(
    "misbehaviour",
    [[close], [expect_request, close], [expect_request, reset], http(send(b"220 mail.example.com ESMTP\r\n\r\n"))],
    ids=["closes", "closes after the request", "resets", "speaks another language"],
)
def test_misbehaviour_is_a_failure(examine: Examine, scripted: MakeScripted, misbehaviour: list[Any]) -> None:
    assert examine(scripted(misbehaviour), health_path="/").state == "down"


def test_silence_is_a_failure_after_health_timeout(examine: Examine, scripted: MakeScripted) -> None:
    server = scripted([expect_request, hang])
    assert examine(server, health_path="/", health_timeout_s=0.02).state == "down"
    server.release()


def test_a_check_uses_no_slot_of_the_pool(examine: Examine, scripted: MakeScripted) -> None:
    examined = examine(scripted([wait_until_gone]), pool_size=1)
    assert (examined.in_flight, examined.pool.idle, examined.requests) == (0, 0, 0)


def test_without_a_descriptor_of_our_own_nothing_is_shown_of_the_backend(house: MakeHouse) -> None:
    shop = house(health_interval_s=10.0, health_fall=1)
    checks = Checks(shop.settings, shop.upstream.backends, HandClock(), random.Random(1))
    shop.dial.errors[addr(shop["a"].settings.address)] = NoDescriptor
    checks.check(shop["a"])
    assert (shop["a"].state, checks.under_way) == ("unknown", 0)


# ------------------------------------------------------------------ the timetable


class Timetable:
    """Checks of some backends on a hand-turned clock."""

    def __init__(self, shop: House) -> None:
        self.clock = HandClock()
        self.backends = shop.upstream.backends
        self.checks = Checks(upstream_settings(health_interval_s=10.0), self.backends, self.clock, random.Random(1))


@pytest.fixture
def timetable(house: MakeHouse) -> Timetable:
    return Timetable(house(backend("a"), backend("b"), backend("c")))


def test_the_first_checks_come_soon_and_not_all_at_once(timetable: Timetable) -> None:
    assert timetable.checks.due() == []
    seen: list[int] = []
    for _ in range(10):
        timetable.clock.turn(0.1)
        seen.append(len(timetable.checks.due()))
    assert sum(seen) == 3
    assert max(seen) < 3


def test_then_each_comes_once_an_interval_give_or_take_a_tenth(timetable: Timetable) -> None:
    timetable.clock.turn(1.0)
    counts = dict.fromkeys(timetable.backends, 0)
    for _ in range(1000):
        for due in timetable.checks.due():
            counts[due] += 1
        timetable.clock.turn(0.1)
    assert all(9 <= count <= 12 for count in counts.values())


def test_a_thousand_backends_are_checked_evenly_over_the_interval(house: MakeHouse) -> None:
    timetable = Timetable(house(*(backend(f"b{n}") for n in range(1000))))
    seen: list[int] = []
    for _ in range(600):
        timetable.clock.turn(0.1)
        seen.append(len(timetable.checks.due()))
    assert sum(seen[:50]) == 1000
    assert max(seen[:150]) <= 45
    assert max(seen) <= 30


def test_checks_of_a_thousand_backends_come_a_few_at_a_time(house: MakeHouse) -> None:
    timetable = Timetable(house(*(backend(f"b{n}") for n in range(1000))))
    seen: list[int] = []
    for _ in range(400):
        timetable.clock.turn(timetable.checks.pause_s())
        seen.append(len(timetable.checks.due()))
    assert 4 <= sum(seen) / len(seen) <= 12


def test_a_lone_check_is_waited_for_until_it_is_due(timetable: Timetable) -> None:
    timetable.clock.turn(1.0)
    assert len(timetable.checks.due()) == 3
    timetable.clock.turn(timetable.checks.pause_s())
    assert len(timetable.checks.due()) == 1


def test_a_check_that_is_due_costs_no_look_at_all_the_others(house: MakeHouse) -> None:
    timetable = Timetable(house(*(backend(f"b{n}") for n in range(1000))))
    timetable.clock.turn(20.0)
    timetable.checks.due()
    with Work() as work:
        for _ in range(100):
            timetable.clock.turn(0.001)
            timetable.checks.due()
    assert work.count < 100 * 100


def test_a_backend_without_an_address_is_passed_over(timetable: Timetable) -> None:
    timetable.backends[0].moved((), "no such name")
    timetable.clock.turn(1.0)
    assert timetable.checks.due() == list(timetable.backends[1:])


def test_a_check_that_is_still_under_way_is_not_begun_again(house: MakeHouse) -> None:
    shop = house(health_interval_s=10.0, health_timeout_s=0.0)
    timetable = Timetable(shop)
    shop.dial.gate = Event()
    slow = gevent.spawn(timetable.checks.check, shop["a"])
    until(lambda: shop.dial.dialled)
    timetable.clock.turn(30.0)
    assert timetable.checks.due() == []
    shop.dial.gate.set()
    slow.join()
    timetable.clock.turn(30.0)
    assert timetable.checks.due() == [shop["a"]]


def test_only_so_many_checks_run_at_a_time(house: MakeHouse) -> None:
    names = [backend(f"b{n}") for n in range(3 * AT_ONCE)]
    shop = house(*names, health_interval_s=0.001, health_timeout_s=0.0, ticks=True)
    shop.dial.gate = Event()
    until(lambda: len(shop.dial.dialled) == AT_ONCE)
    for _ in range(20):
        gevent.sleep(0)
    assert len(shop.dial.dialled) == AT_ONCE


# ------------------------------------------------------------------ in the round


def test_an_upstream_notices_that_a_backend_dies_and_comes_back(house: MakeHouse) -> None:
    shop = house(backend("a"), ticks=True, health_interval_s=0.005, health_rise=2, health_fall=3)
    until(lambda: shop["a"].state == "up")
    place = addr(shop["a"].settings.address)
    shop.dial.errors[place] = ConnectRefused
    until(lambda: shop["a"].state == "down")
    with pytest.raises(NoBackend):
        shop.lease()
    del shop.dial.errors[place]
    until(lambda: shop["a"].state == "up")
    shop.lease().give_back()
    assert shop.log == [
        "upstream shop: backend a is down: 3 checks in a row failed, the last one with connect-refused",
        "upstream shop: backend a is up: 2 checks in a row passed",
    ]


def test_stopping_ends_the_checks_under_way_and_closes_their_sockets(house: MakeHouse) -> None:
    shop = house(ticks=True, health_interval_s=0.005, health_timeout_s=0.0)
    shop.dial.gate = Event()
    until(lambda: sum(shop.dial.open.values()) > 0)
    shop.stop()
    assert sum(shop.dial.open.values()) == 0
