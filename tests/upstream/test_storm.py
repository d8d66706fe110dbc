"""Crowds: more requests than sockets, and deaths at every point where a request can wait."""

from __future__ import annotations

import random

import gevent
import pytest

from greenproxy.config.settings import RelaySettings
from greenproxy.deadline import Deadline
from greenproxy.errors import ConnectRefused, ProxyError, RequestTimeout
from tests.upstream.conftest import MakeHouse, MakeUpstream
from tests.upstream.fakes import Harbour, House, addr, backend, until

CROWD = 500


class Crowd:
    """Requests that hold their lease for a few turns of the hub and end it one way or the other."""

    def __init__(self, shop: House, seed: int) -> None:
        self.rng = random.Random(seed)
        self.shop = shop
        self.served = self.died = self.refused = 0
        shop.dial.yields = lambda: self.rng.randrange(3)
        self.greenlets = [gevent.spawn(self._visit) for _ in range(CROWD)]
        gevent.sleep(0)  # all have begun

    def _visit(self) -> None:
        try:
            for _ in range(self.rng.randrange(4)):
                gevent.sleep(0)
            lease = self.shop.lease(fresh=self.rng.random() < 0.1)
        except ProxyError:
            self.refused += 1
            return
        except (gevent.GreenletExit, gevent.Timeout):
            self.died += 1
            return
        try:
            for _ in range(self.rng.randrange(3)):
                gevent.sleep(0)
            lease.succeeded()
            (lease.give_back if self.rng.random() < 0.8 else lease.drop)()
            self.served += 1
        except (gevent.GreenletExit, gevent.Timeout):
            self.died += 1
            lease.drop()

    def living(self) -> list[gevent.Greenlet[..., None]]:
        return [each for each in self.greenlets if not each.ready()]


def nothing_is_lost(shop: House, size: int) -> None:
    assert shop.queued == 0
    for each in shop.upstream.backends:
        assert each.in_flight == 0
        assert each.pool.idle == shop.dial.open.get(addr(each.settings.address), 0)
        assert shop.dial.peak[addr(each.settings.address)] <= size


@pytest.mark.parametrize("seed", range(3))
def test_five_hundred_requests_share_a_few_sockets(house: MakeHouse, seed: int) -> None:
    shop = house(backend("a"), backend("b"), pool_size=4, pool_queue=CROWD, seed=seed)
    shop.relay = RelaySettings(pool_queue_timeout_s=0.0)
    crowd = Crowd(shop, seed)
    until(lambda: not crowd.living())
    assert crowd.served == CROWD
    nothing_is_lost(shop, 4)


@pytest.mark.parametrize("seed", range(6))
def test_deaths_anywhere_lose_no_slot(house: MakeHouse, seed: int) -> None:
    shop = house(backend("a"), backend("b"), pool_size=3, pool_queue=CROWD // 2, max_fails=0, seed=seed)
    shop.relay = RelaySettings(pool_queue_timeout_s=0.0)
    crowd = Crowd(shop, seed)
    place = addr(shop["a"].settings.address)
    while living := crowd.living():
        for victim in crowd.rng.sample(living, min(len(living), 3)):
            death = crowd.rng.choice([gevent.GreenletExit, gevent.Timeout])
            victim.kill(death(), block=False)
        if crowd.rng.random() < 0.3:
            shop.dial.errors_once[place] = ConnectRefused
        for stream in crowd.rng.sample(shop.dial.streams, min(len(shop.dial.streams), 1)):
            stream.hang_up()
        gevent.sleep(0)
    assert min(crowd.served, crowd.died, crowd.refused) > 0
    nothing_is_lost(shop, 3)
    shop.dial.errors_once.clear()
    leases = [shop.lease() for _ in range(6)]  # every slot is still there
    for lease in leases:
        lease.give_back()


@pytest.mark.parametrize("turns", range(8))  # in the line, just handed a slot, in the dial, with the lease
def test_a_death_in_any_turn_of_a_request_leaves_everything_as_it_was(house: MakeHouse, turns: int) -> None:
    shop = house(pool_size=1)
    shop.dial.yields = lambda: 3
    holder = shop.lease()
    victim = gevent.spawn(_lease_and_drop, shop)
    gevent.sleep(0)
    holder.drop()
    for _ in range(turns):
        gevent.sleep(0)
    victim.kill(gevent.Timeout())
    assert (shop["a"].in_flight, shop.queued) == (0, 0)
    assert sum(shop.dial.open.values()) == shop["a"].pool.idle


def _lease_and_drop(shop: House) -> None:
    try:
        shop.lease().drop()
    except gevent.Timeout:
        pass


def test_real_sockets_never_exceed_the_size(upstream: MakeUpstream, harbour: Harbour) -> None:
    shop = upstream(harbour.settings, pool_size=8, pool_queue=CROWD)
    relay = RelaySettings(pool_queue_timeout_s=0.0)
    answered = []

    def visit(number: int) -> None:
        lease = shop.lease(relay, Deadline.after(20.0, RequestTimeout))
        assert shop.backends[0].in_flight + shop.backends[0].pool.idle <= 8
        stream = lease.connection.stream
        harbour.answers.append(b"pong")
        stream.send(b"ping")
        answered.append(stream.recv(100, Deadline.after(20.0, RequestTimeout)))
        (lease.drop if number % 10 == 0 else lease.give_back)()

    crowd = [gevent.spawn(visit, number) for number in range(CROWD)]
    gevent.joinall(crowd, raise_error=True)
    assert answered == [b"pong"] * CROWD
    assert len(harbour.accepted) <= 8 + CROWD // 10
    assert shop.backends[0].in_flight == 0
