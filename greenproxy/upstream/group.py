"""Upstream: a named group of backends, and the slots, sockets and waiting requests of one worker.

How a request gets its connection: if a backend that it may use has a free slot it takes that, else it stands in the line.
What keeps this fair is one invariant: *no waiter could use any slot that is free*. Whatever could break it, a slot that comes
back or a backend that becomes available, serves the line first. So a newcomer may take what it finds.

All decisions are made without waiting; a greenlet waits in two places only, in the line and in the dial, and whatever ends
it there its slot goes to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from random import Random
from time import monotonic
from typing import Any

from gevent import get_hub

from greenproxy.config.settings import RelaySettings, UpstreamSettings
from greenproxy.deadline import Deadline
from greenproxy.errors import ConnectTimeout, ProxyError, QueueFull, QueueTimeout, Retry, Stopped, Unavailable
from greenproxy.net.dial import dial
from greenproxy.net.resolver import Resolver, Watch
from greenproxy.upstream.backend import Backend, Dial, metric_name
from greenproxy.upstream.balancers import Balancer, make_balancer
from greenproxy.upstream.checks import Checks
from greenproxy.upstream.connection import Connection
from greenproxy.upstream.lease import Lease
from greenproxy.upstream.line import Grant, Line, Waiter
from greenproxy.upstream.roster import Roster

_SWEEP_S = 1.0


class Upstream:
    """One `[upstream:NAME]` in one worker. `clock` (seconds, monotonic) and `rng` are for tests to turn and to load."""

    def __init__(
        self,
        settings: UpstreamSettings,
        resolver: Resolver,
        metrics: object,
        log: logging.Logger,
        clock: Callable[[], float] = monotonic,
        rng: Random | None = None,
        dial: Dial = dial,
    ) -> None:
        rng = rng or Random()
        self.name = settings.name
        self.settings = settings
        self.metrics = metrics
        self.backends = tuple(Backend(each, settings, clock, self._health_changed, dial) for each in settings.backends)
        self._resolver = resolver
        self._log = log
        self._line = Line(self._pass_on)
        balancer: Balancer[Backend] = make_balancer(settings.balance, rng)
        self._pick = balancer.pick
        self._roster = Roster(self.backends, balancer, settings.fail_timeout_s, clock)
        self._checks = Checks(settings, self.backends, clock, rng) if settings.health_interval_s else None
        self._watches: list[Watch] = []
        self._sweep_timer: Any = None
        self._is_stopped = False

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to look up names, to check health and to sweep idle sockets.

        Waits, a bounded moment for all upstreams together, for the addresses of names, so that the first request finds them.
        """
        self._watches = [self._resolver.watch(each.settings.address, each.moved) for each in self.backends]
        self._resolver.wait_for_first_answers()
        for backend in self.backends:
            if not backend.has_address:
                backend.health.address_missing("its name does not resolve yet")
        period_s = max(0.05, min(_SWEEP_S, (self.settings.pool_idle_timeout_s or _SWEEP_S) / 4))
        self._sweep_timer = get_hub().loop.timer(period_s, period_s, ref=False)
        self._sweep_timer.start(self.sweep)
        if self._checks is not None:
            self._checks.start()

    def stop(self) -> None:
        """Refuse new and waiting requests, close idle sockets; those in use are closed when they come back.

        Waits only until the checks under way have closed their sockets. Idempotent.
        """
        self._is_stopped = True
        if self._sweep_timer is not None:
            self._sweep_timer.stop()
            self._sweep_timer.close()
            self._sweep_timer = None
        for watch in self._watches:
            watch.cancel()
        for waiter in self._line.waiting():
            self._line.refuse(waiter, Stopped())
        for backend in self.backends:
            backend.pool.close()
        if self._checks is not None:
            self._checks.stop()

    def sweep(self) -> None:
        """Close what has been idle or alive for too long, and give waiting requests to backends that are ripe. Never waits."""
        for backend in self.backends:
            backend.pool.sweep()
        if self._line:
            self._serve_line()

    # ------------------------------------------------------------------ leasing

    def lease(
        self, relay: RelaySettings, deadline: Deadline, tried: Collection[Backend] = (), fresh: bool = False
    ) -> Lease:
        """Return a connection to a backend, for one exchange.

        Waits for a slot (at most pool-queue-timeout) when every eligible backend is full, and for the handshake (at most
        connect-timeout) when no socket is idle; both within `deadline`. Backends in `tried` are avoided while another
        one is available. `fresh`: open a socket even if one is idle.

        Raises NoBackend, Draining, QueueFull, QueueTimeout, ConnectRefused, ConnectFailed, ConnectTimeout, Stopped or the
        deadline's error. An error of connecting names the `backend`; its slot is back already.
        """
        if not self._roster.resting and not self._is_stopped:
            backend = self._pick(tried)
            if backend is not None:
                connection = backend.pool.take(fresh)
                if connection is not None:
                    return Lease(self, backend, connection, False)
                return self._open(Grant(backend, None, False), relay, deadline)
        grant = self._acquire(relay, deadline, tried, fresh)
        if grant.connection is not None:
            return Lease(self, grant.backend, grant.connection, grant.is_trial)
        return self._open(grant, relay, deadline)

    def _acquire(self, relay: RelaySettings, deadline: Deadline, tried: Collection[Backend], fresh: bool) -> Grant:
        if self._is_stopped:
            raise Stopped()
        if self._line and self._roster.resting:
            self._serve_line()  # time alone makes a backend ripe: those who wait come first
        grant = self._choose(tried, fresh)
        if grant is not None:
            return grant
        if len(self._line) >= self.settings.pool_queue:
            raise QueueFull()
        return self._line.wait(Waiter(tried, fresh), deadline.within(relay.pool_queue_timeout_s, QueueTimeout))

    def _choose(self, tried: Collection[Backend], fresh: bool) -> Grant | None:
        """Take a slot if one is free. Raises Unavailable when nothing is available, not even for those who wait."""
        backend, is_trial = self._roster.choose(tried)
        return None if backend is None else Grant(backend, backend.pool.take(fresh), is_trial)

    def _open(self, grant: Grant, relay: RelaySettings, deadline: Deadline) -> Lease:
        """Dial under a slot that is held already; it goes to the next when that fails, however it ends."""
        backend = grant.backend
        try:
            connection = backend.open(deadline.within(relay.connect_timeout_s, ConnectTimeout))
        except BaseException as error:
            self._connect_failed(grant, error)
            raise
        return Lease(self, backend, connection, grant.is_trial)

    def _connect_failed(self, grant: Grant, error: BaseException) -> None:
        backend = grant.backend
        if isinstance(error, ProxyError):
            error.backend = backend
        if isinstance(error, ProxyError) and error.retry is Retry.CONNECT:
            backend.note_failure(error, grant.is_trial)
        elif grant.is_trial:
            self.trial_undecided(backend)
        self.take_back(backend, None)

    # ------------------------------------------------------------------ slots that come back

    def take_back(self, backend: Backend, connection: Connection | None) -> None:
        """Give a slot, and the connection if it may be used again, to the oldest waiter that may use it. Never waits."""
        if self._line and self._hand_over(backend, connection):
            return
        backend.pool.put(connection)

    def _hand_over(self, backend: Backend, connection: Connection | None) -> bool:
        waiter = self._line.first(lambda each: self._roster.may_use(backend, each.tried))
        if waiter is None:
            return False
        if connection is not None and (waiter.fresh or not backend.pool.may_pass_on(connection)):
            connection.stream.close()
            connection = None
        self._line.hand(waiter, Grant(backend, connection, False))
        return True

    def _pass_on(self, grant: Grant) -> None:
        """Take back what was handed to a waiter that ended before it could use it."""
        if grant.is_trial:
            self.trial_undecided(grant.backend)
        self.take_back(grant.backend, grant.connection)

    def trial_undecided(self, backend: Backend) -> None:
        """Let the next request try a backend: the one that did ended before it could show anything."""
        backend.health.end_trial()
        self._roster.trial_undecided()

    def _serve_line(self) -> None:
        """Give free slots to those who wait, oldest first; refuse them all when nothing is available any more."""
        for waiter in self._line.waiting():
            try:
                grant = self._choose(waiter.tried, waiter.fresh)
            except Unavailable as refusal:
                self._line.refuse(waiter, refusal)
                continue
            if grant is not None:
                self._line.hand(waiter, grant)

    # ------------------------------------------------------------------ health

    def _health_changed(self, backend: Backend, reason: str) -> None:
        """Act on a change: one log line if it came up or went down (`reason` is not empty), new members, then the line."""
        if reason and backend.health.is_available:
            self._log.info("upstream %s: backend %s is up: %s", self.name, backend.label, reason)
        elif reason:
            self._log.warning("upstream %s: backend %s is down: %s", self.name, backend.label, reason)
            backend.pool.drop_idle()  # whatever is behind them, it will not be there when it comes back
        self._roster.refresh()
        if self._line:
            self._serve_line()

    # ------------------------------------------------------------------ what can be seen

    def has_other(self, tried: Collection[Backend]) -> bool:
        """Return whether a backend that is not among `tried` is available."""
        return any(backend not in tried for backend in self._roster.members)

    def available(self) -> bool:
        """Return whether a request that comes now would be given to a backend, or at least wait for one."""
        return self._roster.is_available()

    def describe(self) -> dict[str, Any]:
        """Return what the status page says of it: its entry in `upstreams`, for this worker."""
        return {"name": self.name, "queued": len(self._line), "backends": [each.describe() for each in self.backends]}

    @property
    def queued(self) -> int:
        """Return how many requests wait for a connection."""
        return len(self._line)

    def gauges(self) -> dict[str, int]:
        """Return the gauges of this worker by the names that they have in statsd, without the prefix."""
        stem = f"upstream.{metric_name(self.name)}"
        gauges = {f"{stem}.queued": self.queued}
        for backend in self.backends:
            place = f"{stem}.{backend.metric_name}"
            gauges[f"{place}.up"] = int(backend.health.is_available)
            gauges[f"{place}.active"] = backend.in_flight
            gauges[f"{place}.idle"] = backend.pool.idle
        return gauges
