"""Balancers: which of the available backends gets the next request. They decide and do no I/O.

A balancer is told its members when availability changes; `pick` passes over those that are full and those that this
request has tried already. Chance comes from an injected generator.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from random import Random
from typing import Generic, Protocol, TypeVar


class Candidate(Protocol):
    """What a balancer looks at: a share of the requests, and whether every slot is taken."""

    @property
    def weight(self) -> int: ...

    @property
    def is_full(self) -> Callable[[], bool]: ...


C = TypeVar("C", bound=Candidate)
_FEW = 16
_DRAWS = 8


class Balancer(Protocol[C]):
    """One policy."""

    def set_members(self, members: Sequence[C]) -> None:
        """Choose among these from now on."""
        ...

    def pick(self, tried: Collection[C] = ()) -> C | None:
        """Return a member that has room and is not in `tried`, None if there is none."""
        ...


class _Ring(Generic[C]):
    """Members of one weight, who take turns. `weight` is what all of them have together, `credit` what they have earned of it."""

    __slots__ = ("_members", "_next", "credit", "weight")

    def __init__(self, members: Sequence[C], first: int) -> None:
        self._members = members
        self._next = first
        self.weight = len(members) * members[0].weight
        self.credit = 0

    def pick(self, tried: Collection[C]) -> C | None:
        """Return the next member that has room and is not in `tried`, None if there is none."""
        members = self._members
        at = self._next
        if not tried and at < len(members):  # nearly always; the loop costs twice as much
            member = members[at]
            if not member.is_full():
                self._next = at + 1
                return member
        for _ in members:
            if at >= len(members):
                at = 0
            member = members[at]
            at += 1
            if not member.is_full() and member not in tried:
                self._next = at
                return member
        return None


class RoundRobin(Generic[C]):
    """One after the other. Unequal weights are interleaved smoothly, as nginx does it.

    Among more than a few members those of one weight are a ring, and the rings are interleaved: what a turn costs depends on
    how many different weights there are, not on how many members. It begins anywhere, so that workers (and the workers after
    a reload) do not all begin with the first backend.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._rings: Sequence[_Ring[C]] = ()

    def set_members(self, members: Sequence[C]) -> None:
        """Choose among these from now on."""
        kinds: dict[int, list[C]] = {}
        for n, member in enumerate(members):
            is_alone = len(members) <= _FEW
            kinds.setdefault(-n - 1 if is_alone else member.weight, []).append(member)
        if len({member.weight for member in members}) == 1:
            kinds = {0: list(members)}
        self._rings = [_Ring(alike, self._rng.randrange(len(alike))) for alike in kinds.values()]
        if len(self._rings) > 1:
            for _ in range(self._rng.randrange(2 * len(members))):
                self.pick()

    def pick(self, tried: Collection[C] = ()) -> C | None:
        """Return the next member that has room and is not in `tried`, None if there is none."""
        rings = self._rings
        if len(rings) == 1:
            return rings[0].pick(tried)
        while rings:
            richest = max(rings, key=_earning)
            member = richest.pick(tried)
            if member is not None:
                for ring in rings:
                    ring.credit += ring.weight
                richest.credit -= sum(ring.weight for ring in rings)
                return member
            rings = [ring for ring in rings if ring is not richest]  # who cannot serve earns nothing
        return None


def _earning(ring: _Ring[C]) -> int:
    """Return what a ring has when it has earned its weight.

    Everybody earns its weight, the richest is chosen and pays what all have earned: so each gets exactly its share
    in every round, and its turns lie as far apart as they can.
    """
    return ring.credit + ring.weight


class Lottery(Generic[C]):
    """By lot; a weight is a number of tickets."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._members: Sequence[C] = ()
        self._tickets: list[int] = []  # running totals

    def set_members(self, members: Sequence[C]) -> None:
        """Choose among these from now on."""
        self._members = members
        self._tickets = list(accumulate(member.weight for member in members))

    def pick(self, tried: Collection[C] = ()) -> C | None:
        """Return a member that has room and is not in `tried`, None if there is none."""
        if not self._members:
            return None
        for _ in range(_DRAWS):  # who was drawn and cannot serve is put back: among the others chances are what they were
            member = self._members[self._draw(self._tickets)]
            if not member.is_full() and member not in tried:
                return member
        usable = [each for each in self._members if not each.is_full() and each not in tried]
        if not usable:
            return None
        return usable[self._draw(list(accumulate(each.weight for each in usable)))]

    def _draw(self, tickets: Sequence[int]) -> int:
        return bisect(tickets, int(self._rng.random() * tickets[-1]))


def make_balancer(balance: str, rng: Random) -> Balancer[C]:
    """Return the policy that `balance` names. Raises KeyError for a name that the configuration would not let pass."""
    policies: dict[str, Callable[[Random], Balancer[C]]] = {"round-robin": RoundRobin, "random": Lottery}
    return policies[balance](rng)
