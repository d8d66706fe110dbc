"""What a thousand backends cost a request: no more than a few do. Counted in instructions and questions, not in time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from greenproxy.errors import ConnectRefused
from greenproxy.upstream.balancers import Balancer, Lottery, RoundRobin
from tests.counting import Work
from tests.upstream.conftest import MakeHouse
from tests.upstream.fakes import House, backend

MANY = 1000


class Member:
    """A backend that counts how often it is asked whether it has room."""

    questions = 0

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.has_room = True

    def is_full(self) -> bool:
        Member.questions += 1
        return not self.has_room


def weights_of(kind: str) -> list[int]:
    return [1 + n % 5 if kind == "weighted" else 1 for n in range(MANY)]


@pytest.fixture(params=["even", "weighted"])
def members(request: pytest.FixtureRequest) -> list[Member]:
    Member.questions = 0
    return [Member(weight) for weight in weights_of(request.param)]


@pytest.fixture(params=[RoundRobin, Lottery])
def balancer(request: pytest.FixtureRequest, members: list[Member]) -> Balancer[Member]:
    made: Balancer[Member] = request.param(Random(1))
    made.set_members(members)
    Member.questions = 0
    return made


def test_a_pick_among_a_thousand_asks_one(balancer: Balancer[Member]) -> None:
    with Work() as work:
        for _ in range(100):
            assert balancer.pick() is not None
    assert Member.questions == 100
    assert work.count < 100 * 300


def test_a_pick_among_a_thousand_of_which_half_are_full_asks_few(balancer: Balancer[Member], members: list[Member]) -> None:
    for member in members[::2]:
        member.has_room = False
    for _ in range(100):
        assert balancer.pick() is not None
    assert Member.questions < 100 * 6


def test_weights_among_a_thousand_are_kept_exactly() -> None:
    members = [Member(weight) for weight in weights_of("weighted")]
    balancer: RoundRobin[Member] = RoundRobin(Random(5))
    balancer.set_members(members)
    picks = dict.fromkeys(members, 0)
    for _ in range(sum(each.weight for each in members)):
        picked = balancer.pick()
        assert picked is not None
        picks[picked] += 1
    assert [picks[member] for member in members] == [member.weight for member in members]


# ------------------------------------------------------------------ whole leases


@pytest.fixture
def crowd(house: MakeHouse) -> Callable[..., House]:
    return lambda **settings: house(*(backend(f"b{n}") for n in range(MANY)), **{"health_interval_s": 0.0, **settings})


def test_a_lease_among_a_thousand_backends_costs_what_it_costs_among_two(house: MakeHouse, crowd: Callable[..., House]) -> None:
    costs = []
    for shop in (house(health_interval_s=0.0), crowd()):
        for _ in shop.upstream.backends:  # each has its connection then
            shop.lease().give_back()
        with Work() as work:
            shop.lease().give_back()
        costs.append(work.count)
    assert costs[1] <= costs[0] * 1.1


def test_a_request_looks_at_backends_that_rest_only_when_one_may_be_ripe(crowd: Callable[..., House]) -> None:
    shop = crowd(max_fails=1, fail_timeout_s=10.0)
    for each in shop.upstream.backends[:500]:
        each.note_failure(ConnectRefused(), is_trial=False)
    shop.lease().give_back()
    with Work() as work:
        shop.lease().give_back()
    assert work.count < 1000
    shop.clock.turn(10.0)
    tried = {shop.lease().backend for _ in range(500)}
    assert tried == set(shop.upstream.backends[:500])


def test_who_comes_when_all_are_full_looks_at_none(crowd: Callable[..., House]) -> None:
    shop = crowd(pool_size=1)
    leases = [shop.lease() for _ in range(MANY)]
    waiting = shop.spawn()
    with Work() as work:
        assert shop.upstream._slots._is_known_to_be_full()
    assert work.count < 100
    leases[7].give_back()
    assert waiting.get().backend is leases[7].backend


def test_a_slot_that_comes_back_finds_its_waiter_without_a_look_at_all_members(crowd: Callable[..., House]) -> None:
    shop = crowd(pool_size=1)
    leases = [shop.lease() for _ in range(MANY)]
    waiting = shop.spawn()
    with Work() as work:
        leases[-1].give_back()
    assert work.count < 500
    waiting.get().give_back()
    for lease in leases[:-1]:
        lease.give_back()


def test_an_upload_among_a_thousand_backends_counts_no_slots(crowd: Callable[..., House]) -> None:
    shop = crowd()
    with Work() as work:
        assert not shop.upstream.uploads.is_full
    assert work.count < 100
