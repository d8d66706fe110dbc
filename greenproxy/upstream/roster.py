"""Roster: which backends a request may be given now.

In this order: a resting primary that is ripe gets one request that tries it; else the available primaries, by balance; else,
with no primary available, the backups, in the same way. With nothing available at all, one request per `fail-timeout` may
try the backend that was tried longest ago, and everybody else is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import ceil

from greenproxy.errors import Draining, NoBackend, Unavailable
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.balancers import Balancer


class Roster:
    """The backends of an upstream by their health. `refresh` must follow every change of it."""

    __slots__ = (
        "_among", "_backends", "_balancer", "_clock", "_fail_timeout_s", "_next_trial_at_s", "_none_ripe_until_s", "members",
        "resting",
    )  # fmt: skip

    def __init__(
        self, backends: Sequence[Backend], balancer: Balancer[Backend], fail_timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self._backends = backends
        self._balancer = balancer
        self._fail_timeout_s = fail_timeout_s
        self._clock = clock
        self._next_trial_at_s = float("-inf")
        self._none_ripe_until_s = float("-inf")  # so that requests need not look at all that rest
        self._among: frozenset[Backend] = frozenset()  # the members
        self.members: tuple[Backend, ...] = ()  # among these the balancer chooses
        self.resting: tuple[Backend, ...] = ()  # of these, the ripe ones get a request each that tries them
        self.refresh()

    def refresh(self) -> None:
        """Bring the members in line with the health of the backends."""
        primaries = [backend for backend in self._backends if not backend.settings.is_backup]
        backups = [backend for backend in self._backends if backend.settings.is_backup]
        members = [backend for backend in primaries if backend.health.is_available]
        allowed = primaries
        if not members:
            members = [backend for backend in backups if backend.health.is_available]
            allowed = primaries + backups
        if self.members and not members:
            self._next_trial_at_s = self._clock() + self._fail_timeout_s
        if tuple(members) != self.members:
            self.members = tuple(members)
            self._among = frozenset(members)
            self._balancer.set_members(self.members)
        self.resting = tuple(backend for backend in allowed if backend.health.is_resting)
        self._none_ripe_until_s = float("-inf")

    def inherit(self) -> None:
        """Begin with what others know of the backends: when all are out, the next trial is when the first has rested."""
        self.refresh()
        if not self.members:
            ends_s = [backend.health.verdict.rests_until_s for backend in self.resting]
            self._next_trial_at_s = min([self._next_trial_at_s, *ends_s])

    def is_available(self) -> bool:
        """Return whether a request that comes now would be given to a backend, or at least wait for one."""
        now = self._clock()
        return bool(self.members) or any(backend.health.is_ripe(now) for backend in self.resting)

    def may_use(self, backend: Backend, tried: Collection[Backend]) -> bool:
        """Return whether a request that tried these may be given this member, should a slot of it become free."""
        return backend in self._among and (backend not in tried or all(each in tried for each in self.members))

    def choose(self, tried: Collection[Backend]) -> tuple[Backend | None, bool]:
        """Return a backend with a free slot, and whether this is a trial; no backend when every eligible one is full.

        Raises Unavailable when there is none to wait for either. The trial has begun when this returns.
        """
        if not self.members:
            return self._last_resort(tried), True
        if self.resting and self._none_ripe_until_s <= (now_s := self._clock()):
            backend = self._ripe(tried, now_s)
            if backend is not None:
                backend.health.begin_trial()
                return backend, True
        if tried and all(backend in tried for backend in self.members):
            tried = ()
        return self._balancer.pick(tried), False

    def _ripe(self, tried: Collection[Backend], now_s: float) -> Backend | None:
        """Return a backend that has rested for long enough; note until when it is of no use to ask again."""
        soonest_s = float("inf")
        for backend in self.resting:
            if backend.health.has_trial:  # its end is told
                continue
            ripe_at_s = backend.health.verdict.rests_until_s
            if ripe_at_s <= now_s and backend not in tried and not backend.is_full():
                return backend
            soonest_s = min(soonest_s, ripe_at_s)
        self._none_ripe_until_s = soonest_s
        return None

    def _last_resort(self, tried: Collection[Backend]) -> Backend:
        now = self._clock()
        if now < self._next_trial_at_s:
            raise self.refusal()
        usable = [backend for backend in self._backends if backend.health.can_be_tried and not backend.is_full()]
        if not usable:
            raise self.refusal()
        backend = min(usable, key=lambda each: (each in tried, each.health.tried_at_s, each.settings.is_backup))
        backend.health.begin_trial()
        self._next_trial_at_s = now + self._fail_timeout_s
        return backend

    def trial_undecided(self) -> None:
        """Let the next request try at once: the one that did ended before the backend could show anything."""
        self._next_trial_at_s = min(self._next_trial_at_s, self._clock())
        self._none_ripe_until_s = float("-inf")

    def trial_failed(self) -> None:
        """Let nobody try for the next `fail-timeout`. Also when the trial's lease had ended before its failure was told."""
        self._next_trial_at_s = self._clock() + self._fail_timeout_s
        self._none_ripe_until_s = float("-inf")

    def refusal(self) -> Unavailable:
        """Return the error that says that nothing is available, with the seconds to the next trial."""
        retry_after_s = max(1, ceil(max(0.0, self._next_trial_at_s - self._clock())))
        if all(backend.health.is_draining for backend in self._backends):
            return Draining(retry_after_s=retry_after_s)
        return NoBackend(retry_after_s=retry_after_s)
