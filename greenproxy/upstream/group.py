"""Upstream: a named group of backends in one worker: its life, its leases, and what can be seen of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from time import monotonic
from typing import Any

from gevent import get_hub

from greenproxy.config.settings import RelaySettings, UpstreamSettings
from greenproxy.deadline import Deadline
from greenproxy.errors import ConnectTimeout, ProxyError, QueueTimeout, Retry, Stopped
from greenproxy.net.dial import dial
from greenproxy.net.resolver import Resolver, Watch
from greenproxy.observability.names import BACKEND_NUMBERS, of_backend, of_upstream, stems
from greenproxy.observability.verdicts import Verdict
from greenproxy.upstream.backend import Backend, Dial
from greenproxy.upstream.balancers import Balancer, make_balancer
from greenproxy.upstream.checks import Checks
from greenproxy.upstream.lease import Lease
from greenproxy.upstream.line import Grant
from greenproxy.upstream.roster import Roster
from greenproxy.upstream.slots import Slots
from greenproxy.upstream.uploads import Uploads

_SWEEP_S = 1.0


class Upstream:
    """One `[upstream:NAME]` in one worker. `changed` is called when one of its backends is out, or back.

    `clock` (seconds, monotonic), `rng` and `dial` are for tests to turn and to load.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        resolver: Resolver,
        metrics: object,
        log: logging.Logger,
        clock: Callable[[], float] = monotonic,
        rng: Random | None = None,
        dial: Dial = dial,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        rng = rng or Random()
        self.name = settings.name
        self.settings = settings
        self.metrics = metrics
        self.backends = tuple(Backend(each, settings, clock, self._health_changed, dial) for each in settings.backends)
        self._changed = changed
        self._stems = stems(settings)
        self._told: list[Sequence[float]] = [()] * len(self.backends)  # what `numbers` has returned of each
        self._resolver = resolver
        self._log = log
        balancer: Balancer[Backend] = make_balancer(settings.balance, rng)
        self._pick = balancer.pick
        self._roster = Roster(self.backends, balancer, settings.fail_timeout_s, clock)
        self._checks = Checks(settings, self.backends, clock, rng) if settings.health_interval_s else None
        self._slots = Slots(self._roster, settings.pool_queue)
        self._waiters = self._slots.line.waiters
        self._watches: list[Watch] = []
        self._sweep_timer: Any = None
        self._is_stopped = False

    # ------------------------------------------------------------------ life

    def inherit(self, verdicts: Mapping[str, Verdict]) -> None:
        """Believe what other workers think of these backends, by their stems. Before `start`; nothing is said about it."""
        for stem, backend in zip(self._stems, self.backends, strict=True):
            if stem in verdicts:
                backend.health.inherit(verdicts[stem])
        self._roster.inherit()

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
        for waiter in self._slots.line.waiting():
            self._slots.line.refuse(waiter, Stopped())
        for backend in self.backends:
            backend.pool.close()
        if self._checks is not None:
            self._checks.stop()

    def sweep(self) -> None:
        """Close what has been idle or alive for too long, and give waiting requests to backends that are ripe. Never waits."""
        for backend in self.backends:
            backend.pool.sweep()
        if self._slots.line:
            self._slots.serve_line()

    def shed(self) -> int:
        """Out of descriptors: sockets that have been idle longest make room. Returns how many they are. Never waits."""
        return sum(backend.pool.shed() for backend in self.backends)

    # ------------------------------------------------------------------ leasing

    def lease(self, relay: RelaySettings, deadline: Deadline, tried: Collection[Backend] = (), fresh: bool = False) -> Lease:
        """Return a connection to a backend, for one exchange.

        Waits for a slot (at most pool-queue-timeout) when every eligible backend is full, and for the handshake (at most
        connect-timeout) when no socket is idle; both within `deadline`. Backends in `tried` are avoided while another
        one is available. `fresh`: open a socket even if one is idle.

        Raises NoBackend, Draining, QueueFull, QueueTimeout, ConnectRefused, ConnectFailed, ConnectTimeout, Stopped or the
        deadline's error. An error of connecting names the `backend`; its slot is back already.
        """
        if self._is_stopped:
            raise Stopped()
        if not self._roster.resting and not self._waiters:  # nearly always: nothing to decide but whose turn it is
            backend = self._pick(tried)
            if backend is not None:
                connection = backend.pool.take(fresh)
                if connection is not None:
                    return Lease(self._slots, backend, connection, False)
                return self._open(Grant(backend, None, False), relay, deadline)
        grant = self._slots.acquire(tried, fresh, lambda: deadline.within(relay.pool_queue_timeout_s, QueueTimeout))
        if grant.connection is not None:
            return Lease(self._slots, grant.backend, grant.connection, grant.is_trial)
        return self._open(grant, relay, deadline)

    def _open(self, grant: Grant, relay: RelaySettings, deadline: Deadline) -> Lease:
        """Dial under a slot that is held already; it goes to the next when that fails, however it ends."""
        backend = grant.backend
        try:
            connection = backend.open(deadline.within(relay.connect_timeout_s, ConnectTimeout))
        except BaseException as error:
            self._connect_failed(grant, error)
            raise
        return Lease(self._slots, backend, connection, grant.is_trial)

    def _connect_failed(self, grant: Grant, error: BaseException) -> None:
        backend = grant.backend
        if isinstance(error, ProxyError):
            error.backend = backend
        if isinstance(error, ProxyError) and error.retry is Retry.CONNECT:
            self._slots.failed(backend, error, grant.is_trial)
        elif grant.is_trial:
            self._slots.trial_undecided(backend)
        self._slots.take_back(backend, None)

    @property
    def uploads(self) -> Uploads:
        """Return who may hold a connection although its request has not all come."""
        return self._slots.uploads

    # ------------------------------------------------------------------ health

    def _health_changed(self, backend: Backend, reason: str) -> None:
        """Act on a change: one log line if it came up or went down (`reason` is not empty), new members, then the line."""
        if reason and backend.health.is_available:
            self._log.info("upstream %s: backend %s is up: %s", self.name, backend.label, reason)
        elif reason:
            self._log.warning("upstream %s: backend %s is down: %s", self.name, backend.label, reason)
            backend.pool.drop_idle()  # whatever is behind them, it will not be there when it comes back
        self._roster.refresh()
        self._changed()
        if self._slots.line:
            self._slots.serve_line()

    # ------------------------------------------------------------------ what can be seen

    def has_other(self, tried: Collection[Backend]) -> bool:
        """Return whether a backend that is not among `tried` is available."""
        return any(backend not in tried for backend in self._roster.members)

    def available(self) -> bool:
        """Return whether a request that comes now would be given to a backend, or at least wait for one."""
        return self._roster.is_available()

    @property
    def queued(self) -> int:
        """Return how many requests wait for a connection."""
        return len(self._slots.line)

    def held(self) -> dict[str, Any]:
        """Return what it holds in this worker at this moment: requests in its line, checks under way, slots and sockets."""
        backends = [
            {"name": each.label, "lent": each.pool.lent, "idle": each.pool.idle, "size": each.pool.size} for each in self.backends
        ]
        checks = self._checks.under_way if self._checks is not None else 0
        return {"name": self.name, "queued": self.queued, "checks": checks, "backends": backends}

    def numbers(self) -> dict[str, float]:
        """Return what can be counted of it in this worker and has changed since the last call, by the names on the board.

        Of a thousand backends most are as they were a second ago.
        """
        changed: dict[str, float] = {of_upstream(self.name, "queued"): self.queued}
        for at, backend in enumerate(self.backends):
            before, now = self._told[at], backend.numbers()
            if now != before:
                self._told[at] = now
                pairs = zip(BACKEND_NUMBERS, now, before or now, strict=True)
                changed.update((of_backend(self._stems[at], what), new) for what, new, old in pairs if new != old or not before)
        return changed
