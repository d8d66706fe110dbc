"""The line: who gets the next slot, and that none is ever lost."""

from __future__ import annotations

from typing import TypeAlias, cast

import gevent
import pytest
from gevent.event import Event

from greenproxy.config.settings import RelaySettings
from greenproxy.deadline import Deadline
from greenproxy.errors import BackendReset, NoBackend, QueueFull, QueueTimeout, RequestTimeout, Stopped
from greenproxy.upstream.lease import Lease
from tests.upstream.conftest import MakeHouse
from tests.upstream.fakes import House, MemoryStream, backend, settle, until

Waiting: TypeAlias = "gevent.Greenlet[..., Lease]"


def full_house(house: MakeHouse, size: int = 1) -> tuple[House, list[Lease]]:
    """Return a house with one backend, and the leases that fill it."""
    shop = house(pool_size=size)
    return shop, [shop.lease() for _ in range(size)]


def outcome(waiting: Waiting) -> Lease:
    """Return what a waiting request got, or raise what it was told."""
    waiting.join(5)
    assert waiting.dead, "it waits still"
    lease = waiting.get(block=False)
    assert isinstance(lease, Lease)
    return lease


def test_a_freed_slot_goes_to_the_oldest_waiter(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiters = [shop.spawn() for _ in range(3)]
    order = []
    lease = holder
    for _ in waiters:
        lease.give_back()
        settle()
        served = [waiter for waiter in waiters if waiter.ready() and waiter not in order]
        assert len(served) == 1
        order += served
        lease = outcome(served[0])
    assert order == waiters


def test_the_connection_goes_along_with_the_slot(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiter = shop.spawn()
    holder.give_back()
    lease = outcome(waiter)
    assert lease.connection is holder.connection
    assert lease.is_reused
    assert len(shop.dial.dialled) == 1


def test_after_a_drop_the_waiter_opens_its_own(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiter = shop.spawn()
    holder.drop()
    assert not outcome(waiter).is_reused


@pytest.mark.parametrize("reason", ["stray bytes", "fresh wanted"])
def test_a_connection_that_the_waiter_must_not_have_is_closed_and_the_slot_handed_over(house: MakeHouse, reason: str) -> None:
    shop, (holder,) = full_house(house)
    waiter = shop.spawn(fresh=reason == "fresh wanted")
    cast(MemoryStream, holder.connection.stream).arrived = reason == "stray bytes"
    holder.give_back()
    assert not outcome(waiter).is_reused
    assert holder.connection.stream.is_closed


def test_a_newcomer_does_not_overtake_a_waiter_that_was_not_woken_yet(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiter = shop.spawn()
    holder.give_back()  # the slot is the waiter's now, though it has not run
    newcomer = gevent.spawn(shop.lease)
    assert shop["a"].is_full()
    settle()
    assert waiter.ready()
    assert not newcomer.ready()
    outcome(waiter).give_back()
    outcome(newcomer).give_back()


def test_pool_queue_bounds_the_line(house: MakeHouse) -> None:
    shop = house(pool_size=1, pool_queue=2)
    shop.lease()
    waiters = [shop.spawn(), shop.spawn()]
    with pytest.raises(QueueFull) as full:
        shop.lease()
    assert full.value.retry_after_s == 1
    gevent.killall(waiters)


def test_with_pool_queue_zero_nobody_waits(house: MakeHouse) -> None:
    shop = house(pool_size=1, pool_queue=0)
    shop.lease()
    with pytest.raises(QueueFull):
        shop.lease()


def test_waiting_ends_at_pool_queue_timeout(house: MakeHouse) -> None:
    shop, _ = full_house(house)
    shop.relay = RelaySettings(pool_queue_timeout_s=0.01)
    with pytest.raises(QueueTimeout) as late:
        shop.lease()
    assert late.value.retry_after_s == 1
    assert shop.queued == 0


def test_waiting_ends_at_the_deadline_if_that_comes_first(house: MakeHouse) -> None:
    shop, _ = full_house(house)
    with pytest.raises(RequestTimeout):
        shop.lease(limit=Deadline.after(0.01, RequestTimeout))
    with pytest.raises(RequestTimeout):
        shop.lease(limit=Deadline(0.0, RequestTimeout))
    assert shop.queued == 0


def test_pool_queue_timeout_zero_waits_as_long_as_it_takes(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    shop.relay = RelaySettings(pool_queue_timeout_s=0.0)
    waiter = shop.spawn()
    holder.give_back()
    outcome(waiter)


def test_a_waiter_that_is_killed_leaves_the_line(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    first, second = shop.spawn(), shop.spawn()
    first.kill()
    assert shop.queued == 1
    holder.give_back()
    outcome(second)


@pytest.mark.parametrize("death", [gevent.GreenletExit(), gevent.Timeout()])
def test_a_waiter_that_dies_with_a_slot_in_its_hands_passes_it_on(house: MakeHouse, death: BaseException) -> None:
    shop, (holder,) = full_house(house)
    first, second = shop.spawn(), shop.spawn()
    first.kill(death, block=False)  # it has not been told yet ...
    holder.give_back()  # ... when the slot is handed to it
    settle()
    assert first.ready()
    lease = outcome(second)
    assert lease.connection is holder.connection
    lease.give_back()
    assert (shop["a"].in_flight, shop["a"].pool.idle, shop.queued) == (0, 1, 0)


def test_a_slot_that_nobody_waits_for_any_more_is_free_again(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiter = shop.spawn()
    waiter.kill(block=False)
    holder.give_back()
    settle()
    assert (shop["a"].in_flight, shop["a"].pool.idle) == (0, 1)
    assert shop.lease().connection is holder.connection


def test_a_waiter_whose_dial_fails_passes_the_slot_on(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    shop.dial.gate = Event()
    first, second = shop.spawn(), shop.spawn()
    holder.drop()
    settle()
    first.kill()
    shop.dial.gate.set()
    outcome(second).give_back()
    assert shop["a"].in_flight == 0


def test_any_backends_slot_serves_the_oldest_waiter(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    leases = {lease.backend.label: lease for lease in (shop.lease(), shop.lease())}
    first, second = shop.spawn(), shop.spawn()
    leases["b"].give_back()
    assert outcome(first).backend is shop["b"]
    leases["a"].give_back()
    assert outcome(second).backend is shop["a"]


def test_a_slot_passes_over_a_waiter_that_has_tried_its_backend(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    leases = {lease.backend.label: lease for lease in (shop.lease(), shop.lease())}
    picky, easy = shop.spawn(tried={shop["a"]}), shop.spawn()
    leases["a"].give_back()
    settle()
    assert not picky.ready()
    assert outcome(easy).backend is shop["a"]
    leases["b"].give_back()
    assert outcome(picky).backend is shop["b"]


def test_a_slot_that_no_waiter_may_use_is_the_newcomers(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    leases = {lease.backend.label: lease for lease in (shop.lease(), shop.lease())}
    picky = shop.spawn(tried={shop["a"]})
    leases["a"].give_back()
    assert shop.lease().backend is shop["a"]
    assert not picky.ready()
    picky.kill()


def test_a_waiter_takes_what_it_tried_when_the_others_go_down(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    leases = {lease.backend.label: lease for lease in (shop.lease(), shop.lease())}
    picky = shop.spawn(tried={shop["a"]})
    leases["a"].give_back()
    shop["b"].health.drain(True)
    assert outcome(picky).backend is shop["a"]


def test_waiters_are_told_at_once_when_the_last_backend_goes_down(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiters = [shop.spawn(), shop.spawn()]
    shop.fail("a", 3, BackendReset())
    for waiter in waiters:
        with pytest.raises(NoBackend) as refusal:
            outcome(waiter)
        assert refusal.value.retry_after_s == 10
    holder.give_back()
    assert shop["a"].in_flight == 0


def test_a_backend_that_comes_up_serves_the_line(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    shop["b"].health.drain(True)
    shop.lease()
    waiter = shop.spawn()
    shop["b"].health.drain(False)
    assert outcome(waiter).backend is shop["b"]


def test_stopping_refuses_those_who_wait(house: MakeHouse) -> None:
    shop, _ = full_house(house)
    waiter = shop.spawn()
    shop.stop()
    with pytest.raises(Stopped):
        outcome(waiter)


def test_a_ripe_backend_is_tried_by_the_oldest_waiter_before_any_newcomer(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    shop.fail("b", 3, BackendReset())
    shop.lease()
    waiter = shop.spawn()
    shop.clock.turn(10.0)
    newcomer = shop.spawn()
    assert outcome(waiter).backend is shop["b"]
    assert not newcomer.ready()
    newcomer.kill()


def test_a_sweep_notices_that_a_backend_is_ripe_for_a_waiter(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    shop.fail("b", 3, BackendReset())
    shop.lease()
    waiter = shop.spawn()
    shop.clock.turn(10.0)
    shop.upstream.sweep()
    assert outcome(waiter).backend is shop["b"]


def test_a_waiter_that_dies_with_a_trial_in_its_hands_lets_the_next_one_try(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    shop.fail("b", 3, BackendReset())
    shop.lease()
    first, second = shop.spawn(), shop.spawn()
    shop.clock.turn(10.0)
    first.kill(block=False)
    shop.upstream.sweep()
    settle()
    shop.upstream.sweep()
    assert outcome(second).backend is shop["b"]


def test_leases_of_real_greenlets_all_end(house: MakeHouse) -> None:
    shop, (holder,) = full_house(house)
    waiters = [shop.spawn() for _ in range(50)]
    for waiter in waiters:
        waiter.link_value(lambda ready: outcome(ready).give_back())
    holder.give_back()
    until(lambda: all(waiter.ready() for waiter in waiters))
    assert (shop["a"].in_flight, shop["a"].pool.idle, len(shop.dial.dialled)) == (0, 1, 1)
