"""Slots: who gets the next free slot of an upstream's backends, in one worker.

If a backend that a request may use has a free slot it takes that, else it stands in the line. What keeps this fair is one
invariant: *no waiter could use any slot that is free*. Whatever could break it, a slot that comes back or a backend that
becomes available, serves the line first. So a newcomer may take what it finds.

All decisions are made without waiting; a greenlet waits in the line only, and whatever ends it there, its slot goes to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from gevent import get_hub

from greenproxy.deadline import Deadline
from greenproxy.errors import ProxyError, QueueFull, Unavailable
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.connection import Connection
from greenproxy.upstream.holds import Hold, Holds
from greenproxy.upstream.line import Grant, Line, Waiter
from greenproxy.upstream.roster import Roster
from greenproxy.upstream.uploads import Uploads

_RELIEF_S = 0.1  # how often somebody slow makes room while others wait


class Slots:
    """Gives slots out and takes them back. At most `queue_size` requests wait."""

    def __init__(self, roster: Roster, queue_size: int) -> None:
        self._roster = roster
        self._queue_size = queue_size
        self.line = Line(self._pass_on)
        self.holds = Holds()
        self.uploads = Uploads(self._count, queue_size, self._somebody_waits)
        self._relief: Any = None  # a timer, there while somebody waits

    def _count(self) -> int:
        members = self._roster.members
        return len(members) * members[0].pool.size if members else 0  # pools of an upstream are of one size

    def acquire(self, tried: Collection[Backend], fresh: bool, limit: Callable[[], Deadline]) -> Grant:
        """Return a slot of an available backend, of one in `tried` only if there is no other.

        Waits while every eligible backend is full, until `limit()`. Raises NoBackend, Draining, QueueFull or the limit's error.
        """
        if self.line and self._roster.resting:
            self.serve_line()  # time alone makes a backend ripe: those who wait come first
        grant = None if self._is_known_to_be_full() else self._choose(tried, fresh)
        if grant is not None:
            return grant
        if len(self.line) >= self._queue_size:
            raise QueueFull()
        self._somebody_waits()
        return self.line.wait(Waiter(tried, fresh), limit())

    def _is_known_to_be_full(self) -> bool:
        """Return whether somebody waits who could use any slot: then none is free, and under overload nobody need look at all."""
        roster = self._roster
        is_one_pool = bool(roster.members) and not roster.resting
        return is_one_pool and bool(self.line.waiters) and self.line.first(lambda each: not each.tried) is not None

    def _choose(self, tried: Collection[Backend], fresh: bool) -> Grant | None:
        """Take a slot if one is free. Raises Unavailable when there is nothing to wait for."""
        backend, is_trial = self._roster.choose(tried)
        return None if backend is None else Grant(backend, backend.pool.take(fresh), is_trial)

    def take_back(self, backend: Backend, connection: Connection | None) -> None:
        """Give a slot, and the connection if it may be used again, to the oldest waiter that may use it. Never waits."""
        if self.line.waiters and self._hand_over(backend, connection):
            return
        backend.pool.put(connection)

    def _hand_over(self, backend: Backend, connection: Connection | None) -> bool:
        waiter = self.line.first(lambda each: self._roster.may_use(backend, each.tried))
        if waiter is None:
            return False
        if connection is not None and (waiter.fresh or not backend.pool.may_pass_on(connection)):
            connection.stream.close()
            connection = None
        self.line.hand(waiter, Grant(backend, connection, False))
        return True

    def _pass_on(self, grant: Grant) -> None:
        """Take back what was handed to a waiter that ended before it could use it."""
        if grant.is_trial:
            self.trial_undecided(grant.backend)
        self.take_back(grant.backend, grant.connection)

    def serve_line(self) -> None:
        """Give free slots to those who wait, oldest first; refuse them all when nothing is available any more."""
        for waiter in self.line.waiting():
            try:
                grant = self._choose(waiter.tried, waiter.fresh)
            except Unavailable as refusal:
                self.line.refuse(waiter, refusal)
                continue
            if grant is not None:
                self.line.hand(waiter, grant)

    # ------------------------------------------------------------------ relief

    def _somebody_waits(self) -> None:
        """From now on, and until nobody waits any more, those who hold slots for slow clients make room."""
        if self._relief is None:
            self._relief = get_hub().loop.timer(_RELIEF_S, _RELIEF_S)
            self._relief.start(self._relieve)

    def _relieve(self) -> None:
        self.uploads.serve()  # a backend may have come back
        if self.line or self.uploads:
            self.holds.relieve(len(self.uploads), lambda hold: hold.is_upload)  # only these have the places
            self.holds.relieve(len(self.line), self._is_wanted)
        else:
            self._relief.stop()
            self._relief.close()
            self._relief = None

    def _is_wanted(self, hold: Hold) -> bool:
        return self.line.first(lambda each: self._roster.may_use(hold.backend, each.tried)) is not None

    # ------------------------------------------------------------------ verdicts

    def trial_undecided(self, backend: Backend) -> None:
        """Let the next request try a backend: the one that did ended before it could show anything."""
        backend.health.end_trial()
        self._roster.trial_undecided()

    def failed(self, backend: Backend, error: ProxyError, is_trial: bool) -> None:
        """Note a failure that is the backend's fault."""
        if is_trial:
            self._roster.trial_failed()
        backend.note_failure(error, is_trial)
