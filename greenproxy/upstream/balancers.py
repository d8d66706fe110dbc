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


class Balancer(Protocol[C]):
    """One policy."""

    def set_members(self, members: Sequence[C]) -> None:
        """Choose among these from now on."""
        ...

    def pick(self, tried: Collection[C] = ()) -> C | None:
        """Return a member that has room and is not in `tried`, None if there is none."""
        ...


class RoundRobin(Generic[C]):
    """One after the other. Unequal weights are interleaved smoothly, as nginx does it.

    It begins anywhere, so that workers (and the workers after a reload) do not all begin with the first backend.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._members: Sequence[C] = ()
        self._is_even = True
        self._next = 0
        self._credits: list[int] = []  # with unequal weights, by position

    def set_members(self, members: Sequence[C]) -> None:
        """Choose among these from now on."""
        self._members = members
        self._is_even = len({member.weight for member in members}) <= 1
        self._next = self._rng.randrange(len(members)) if members else 0
        self._credits = [0] * len(members)
        if not self._is_even:
            for _ in range(self._rng.randrange(2 * len(members))):
                self._turn(range(len(members)))

    def pick(self, tried: Collection[C] = ()) -> C | None:
        """Return the next member that has room and is not in `tried`, None if there is none."""
        members = self._members
        if not self._is_even:
            usable = [n for n, member in enumerate(members) if not member.is_full() and member not in tried]
            return self._turn(usable) if usable else None
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

    def _turn(self, usable: Sequence[int]) -> C:
        """Return whose turn it is among these positions.

        Everybody earns its weight, the richest is chosen and pays what all have earned: so each gets exactly its share
        in every round, and its turns lie as far apart as they can.
        """
        members, credits = self._members, self._credits
        richest = usable[0]
        earned = 0
        for n in usable:
            weight = members[n].weight
            earned += weight
            credits[n] += weight
            if credits[n] > credits[richest]:
                richest = n
        credits[richest] -= earned
        return members[richest]


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
