"""Balancing: shares, smoothness, and passing over who is full or was tried."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.upstream.balancers import Balancer, Lottery, RoundRobin, make_balancer

WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=6)
SEEDS = st.integers(0, 2**16)


class Member:
    """A backend that is only a weight."""

    def __init__(self, weight: int = 1) -> None:
        self.weight = weight
        self.has_room = True

    def is_full(self) -> bool:
        return not self.has_room


def members(*weights: int) -> list[Member]:
    return [Member(weight) for weight in weights]


def loaded(balancer: Balancer[Member], among: list[Member]) -> Balancer[Member]:
    balancer.set_members(among)
    return balancer


@given(WEIGHTS, SEEDS)
def test_round_robin_gives_each_exactly_its_share_in_every_round(weights: list[int], seed: int) -> None:
    among = members(*weights)
    balancer = loaded(RoundRobin(Random(seed)), among)
    for _ in range(3):
        shares = Counter(balancer.pick() for _ in range(sum(weights)))
        assert [shares[member] for member in among] == weights


@given(WEIGHTS, SEEDS)
def test_round_robin_is_smooth(weights: list[int], seed: int) -> None:
    among = members(*weights)
    balancer = loaded(RoundRobin(Random(seed)), among)
    total = sum(weights)
    shares: Counter[Member | None] = Counter()
    for n in range(1, 2 * total + 1):
        shares[balancer.pick()] += 1
        # Nobody is ever further from its ideal share than the number of members, wherever one begins to count.
        assert all(abs(shares[member] - n * member.weight / total) < len(among) for member in among)


@pytest.mark.parametrize(
    ("weights", "turns"),
    [((5, 1, 1), "aabacaa"), ((4, 2, 1), "abacaba"), ((1, 1), "ab"), ((3, 2), "abaab")],
)
def test_weights_are_interleaved_as_nginx_does_it(weights: tuple[int, ...], turns: str) -> None:
    among = members(*weights)
    balancer = loaded(RoundRobin(Random(0)), among)
    picks = "".join("abc"[among.index(balancer.pick() or among[0])] for _ in range(3 * len(turns)))
    assert turns in picks


def test_equal_weights_take_turns() -> None:
    among = members(1, 1, 1)
    balancer = loaded(RoundRobin(Random(3)), among)
    picks = [balancer.pick() for _ in range(9)]
    assert picks[:3] == picks[3:6] == picks[6:]
    assert set(picks) == set(among)


def test_workers_do_not_all_begin_with_the_same_backend() -> None:
    among = members(1, 1, 1, 1)
    firsts = {loaded(RoundRobin(Random(seed)), among).pick() for seed in range(40)}
    assert firsts == set(among)


@given(WEIGHTS, SEEDS, st.data())
@pytest.mark.parametrize("policy", [RoundRobin, Lottery])
def test_only_members_with_room_that_were_not_tried_are_picked(
    policy: type[RoundRobin[Member] | Lottery[Member]], weights: list[int], seed: int, data: st.DataObject
) -> None:
    among = members(*weights)
    balancer = loaded(policy(Random(seed)), among)
    full = data.draw(st.sets(st.sampled_from(among)))
    tried = data.draw(st.sets(st.sampled_from(among)))
    for member in full:
        member.has_room = False
    usable = set(among) - full - tried
    picks = {balancer.pick(tried) for _ in range(4 * len(among))}
    assert picks <= usable if usable else picks == {None}


@given(WEIGHTS, SEEDS)
def test_the_lottery_follows_the_weights(weights: list[int], seed: int) -> None:
    among = members(*weights)
    balancer = loaded(Lottery(Random(seed)), among)
    tickets = 400
    shares = Counter(balancer.pick() for _ in range(tickets))
    for member in among:
        share = member.weight / sum(weights)
        # Seven standard deviations: the seeds are Hypothesis's, the bound is not luck.
        assert abs(shares[member] - tickets * share) <= 7 * (tickets * share * (1 - share)) ** 0.5


def test_a_full_member_leaves_its_share_to_the_others_by_weight() -> None:
    among = members(5, 2, 1)
    balancer = loaded(RoundRobin(Random(0)), among)
    among[0].has_room = False
    shares = Counter(balancer.pick() for _ in range(30))
    assert set(shares) == {among[1], among[2]}
    assert abs(shares[among[1]] - 20) <= 1  # one turn may be owed from before


def test_no_members_no_pick() -> None:
    assert loaded(RoundRobin(Random(0)), []).pick() is None
    assert loaded(Lottery(Random(0)), []).pick() is None


def test_policies_have_the_names_of_the_configuration() -> None:
    first: Balancer[Member] = make_balancer("round-robin", Random(0))
    second: Balancer[Member] = make_balancer("random", Random(0))
    assert isinstance(first, RoundRobin)
    assert isinstance(second, Lottery)
