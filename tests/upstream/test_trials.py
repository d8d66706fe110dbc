"""Passive health in the round: ejection by traffic, and the one request that tries a backend again."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from greenproxy.errors import (
    BackendClosed,
    BackendInvalid,
    BackendReset,
    ClientGone,
    ConnectRefused,
    NoBackend,
    ProxyError,
    RequestTimeout,
    ResponseTimeout,
)
from tests.upstream.conftest import MakeHouse
from tests.upstream.fakes import House, addr, backend, settle


def resting_b(house: MakeHouse, **changes: object) -> House:
    """Return a house with two backends of which b was just taken out by traffic."""
    shop = house(backend("a"), backend("b"), **changes)
    shop.fail("b", 3, BackendReset())
    return shop


def all_down(house: MakeHouse) -> House:
    """Return a house with two backends that traffic has just taken out."""
    shop = resting_b(house)
    shop.fail("a", 3, BackendReset())
    return shop


def backends_of(shop: House, count: int) -> list[str]:
    """Return who served that many requests, one after the other and all with success."""
    names = []
    for _ in range(count):
        lease = shop.lease()
        lease.succeeded()
        lease.give_back()
        names.append(lease.backend.label)
    return names


@pytest.mark.parametrize("error", [BackendReset, BackendClosed, BackendInvalid, ResponseTimeout])
def test_what_is_the_backends_fault_counts(house: MakeHouse, error: type[ProxyError]) -> None:
    shop = house()
    for _ in range(3):
        lease = shop.lease(fresh=True)
        lease.failed(error())
        lease.drop()
    assert shop["a"].state == "down"
    assert shop["a"].failures == 3


@pytest.mark.parametrize("error", [ClientGone, RequestTimeout])
def test_what_is_not_the_backends_fault_does_not_count(house: MakeHouse, error: type[ProxyError]) -> None:
    shop = house()
    for _ in range(5):
        lease = shop.lease()
        lease.failed(error())
        lease.drop()
    assert shop["a"].state == "unknown"
    assert shop["a"].failures == 0


def test_the_end_of_a_reused_connection_before_any_answer_does_not_count(house: MakeHouse) -> None:
    shop = house(max_fails=1)
    shop.lease().give_back()
    lease = shop.lease()
    lease.failed(BackendClosed())
    lease.drop()
    assert shop["a"].failures == 0


def test_a_reused_connection_that_breaks_in_the_answer_counts(house: MakeHouse) -> None:
    shop = house(max_fails=1)
    shop.lease().give_back()
    lease = shop.lease()
    lease.succeeded()
    lease.failed(BackendReset())
    lease.drop()
    assert shop["a"].state == "down"


def test_a_backend_that_traffic_took_out_gets_nothing_for_fail_timeout(house: MakeHouse) -> None:
    shop = resting_b(house)
    shop.clock.turn(9.9)
    assert set(backends_of(shop, 6)) == {"a"}


def test_then_one_request_tries_it_and_its_success_brings_it_back(house: MakeHouse) -> None:
    shop = resting_b(house)
    shop.clock.turn(10.0)
    trial = shop.lease()
    assert trial.backend is shop["b"]
    assert {shop.lease().backend.label for _ in range(4)} == {"a"}  # one at a time
    trial.succeeded()
    trial.give_back()
    assert set(backends_of(shop, 4)) == {"a", "b"}
    assert shop.log[-1] == "upstream shop: backend b is up: a trial request succeeded"


def test_a_trial_that_fails_costs_another_fail_timeout(house: MakeHouse) -> None:
    shop = resting_b(house)
    shop.clock.turn(10.0)
    trial = shop.lease()
    trial.failed(ResponseTimeout())
    trial.drop()
    assert set(backends_of(shop, 4)) == {"a"}
    shop.clock.turn(10.0)
    assert backends_of(shop, 1) == ["b"]


def test_a_trial_that_cannot_connect_costs_another_fail_timeout(house: MakeHouse) -> None:
    shop = resting_b(house)
    shop.clock.turn(10.0)
    shop.dial.errors[addr(shop["b"].settings.address)] = ConnectRefused
    with pytest.raises(ConnectRefused):
        shop.lease()
    assert set(backends_of(shop, 4)) == {"a"}
    assert len(shop.log) == 1


@pytest.mark.parametrize("end", ["give_back", "drop"])
def test_a_trial_that_ends_before_it_shows_anything_lets_the_next_request_try(house: MakeHouse, end: str) -> None:
    shop = resting_b(house)
    shop.clock.turn(10.0)
    getattr(shop.lease(), end)()
    assert shop.lease().backend is shop["b"]


def test_a_trial_that_is_killed_while_connecting_lets_the_next_request_try(house: MakeHouse) -> None:
    shop = resting_b(house)
    shop.clock.turn(10.0)
    shop.dial.gate = Event()
    trial = shop.spawn()
    trial.kill()
    shop.dial.gate = None
    assert shop.lease().backend is shop["b"]


def test_a_retry_does_not_try_the_backend_that_it_comes_from(house: MakeHouse) -> None:
    shop = resting_b(house)
    shop.clock.turn(10.0)
    assert shop.lease(tried={shop["b"]}).backend is shop["a"]


def test_a_resting_backup_is_not_tried_while_a_primary_is_there(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("dr", is_backup=True))
    shop.fail("dr", 3, BackendReset())
    shop.clock.turn(10.0)
    assert set(backends_of(shop, 3)) == {"a"}


def test_a_resting_primary_is_tried_while_backups_serve(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("dr", is_backup=True))
    shop.fail("a", 3, BackendReset())
    assert set(backends_of(shop, 3)) == {"dr"}
    shop.clock.turn(10.0)
    assert set(backends_of(shop, 3)) == {"a"}


# ------------------------------------------------------------------ all down


def test_with_all_down_one_request_per_fail_timeout_may_try(house: MakeHouse) -> None:
    shop = all_down(house)
    for _ in range(3):
        with pytest.raises(NoBackend):
            shop.lease()
        shop.clock.turn(10.0)
        trial = shop.lease()
        with pytest.raises(NoBackend) as refusal:
            shop.lease()
        assert refusal.value.retry_after_s == 10
        trial.failed(ResponseTimeout())
        trial.drop()


def test_the_failure_of_a_trial_counts_also_when_it_is_told_after_the_end(house: MakeHouse) -> None:
    shop = all_down(house)
    shop.clock.turn(10.0)
    trial = shop.lease()
    trial.drop()
    trial.failed(ResponseTimeout())
    with pytest.raises(NoBackend) as refusal:
        shop.lease()
    assert refusal.value.retry_after_s == 10


def test_the_success_of_a_trial_counts_also_when_it_is_told_after_the_end(house: MakeHouse) -> None:
    shop = house()
    shop.fail("a", 3, BackendReset())
    shop.clock.turn(10.0)
    trial = shop.lease()
    trial.give_back()
    trial.succeeded()
    assert shop["a"].state == "up"
    assert shop.lease().is_reused


def test_with_all_down_the_trials_go_round(house: MakeHouse) -> None:
    shop = all_down(house)
    tried = []
    for _ in range(4):
        shop.clock.turn(10.0)
        trial = shop.lease()
        tried.append(trial.backend.label)
        trial.failed(ResponseTimeout())
        trial.drop()
    assert sorted(tried[:2]) == sorted(tried[2:]) == ["a", "b"]


def test_with_all_down_a_trial_that_succeeds_opens_the_door(house: MakeHouse) -> None:
    shop = all_down(house)
    shop.clock.turn(10.0)
    assert shop.upstream.available()
    trial = shop.lease()
    trial.succeeded()
    trial.give_back()
    assert set(backends_of(shop, 3)) == {"a", "b"}  # the other one has rested for as long, and is tried too


def test_with_all_down_a_trial_whose_client_went_away_lets_the_next_one_try(house: MakeHouse) -> None:
    shop = all_down(house)
    shop.clock.turn(10.0)
    trial = shop.lease()
    trial.failed(ClientGone())
    trial.drop()
    shop.lease().drop()


def test_backends_that_checks_took_out_get_the_same_one_trial(house: MakeHouse) -> None:
    shop = house()
    for _ in range(3):
        shop["a"].health.check_failed("connect-refused")
    with pytest.raises(NoBackend):
        shop.lease()
    shop.clock.turn(10.0)
    trial = shop.lease()
    trial.succeeded()  # the checks must still agree
    trial.give_back()
    with pytest.raises(NoBackend):
        shop.lease()
    assert not shop.upstream.available()


def test_a_backend_without_an_address_or_that_drains_is_never_tried(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"))
    shop["a"].health.address_missing("no such name")
    shop["b"].health.drain(True)
    shop.clock.turn(60.0)
    with pytest.raises(NoBackend):
        shop.lease()


def test_fail_timeout_zero_tries_at_once_but_one_at_a_time(house: MakeHouse) -> None:
    shop = house(fail_timeout_s=0.0)
    shop.fail("a", 3, BackendReset())
    shop.lease()
    with pytest.raises(NoBackend):
        shop.lease()


def test_a_thousand_requests_on_a_dead_upstream_dial_once(house: MakeHouse) -> None:
    shop = all_down(house)
    shop.dial.gate = Event()
    shop.clock.turn(10.0)
    requests = [gevent.spawn(_refused, shop) for _ in range(1000)]
    settle()
    assert len(shop.dial.dialled) == 1
    assert sum(request.ready() for request in requests) == 999
    gevent.killall(requests)


def _refused(shop: House) -> None:
    try:
        shop.lease()
    except NoBackend:
        pass
