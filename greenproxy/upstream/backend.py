"""Backend: one address behind us, with its pool, its health and its counters, as one worker sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from greenproxy.config.settings import BackendSettings, UpstreamSettings
from greenproxy.deadline import Deadline, Limit
from greenproxy.errors import ConnectFailed, ConnectTimeout, ProxyError
from greenproxy.net.dial import SockAddr, dial
from greenproxy.net.stream import Stream
from greenproxy.observability.verdicts import STATES
from greenproxy.upstream.connection import Connection
from greenproxy.upstream.health import Health
from greenproxy.upstream.pool import Pool

Dial = Callable[[SockAddr, Limit], Stream]
_NUMBER_OF = {state: number for number, state in enumerate(STATES)}


class Backend:
    """One of an upstream's backends. `changed(backend, reason)` is called when its health has changed.

    `requests` counts the leases, `failures` those of them that ended with a failure of the backend.
    """

    # Of a thousand backends none is in the processor's caches when its turn comes: the fewer places, the better.
    __slots__ = (
        "__weakref__", "_addresses", "_clock", "_dial", "failures", "health", "host", "is_full", "label", "pool",
        "requests", "settings", "weight",
    )  # fmt: skip

    def __init__(
        self,
        settings: BackendSettings,
        upstream: UpstreamSettings,
        clock: Callable[[], float],
        changed: Callable[[Backend, str], None],
        dial: Dial = dial,
    ) -> None:
        self.settings = settings
        self.label = settings.label
        self.weight = settings.weight
        self.host = _host(settings)  # its own name, as a Host field has it
        self.pool = Pool(upstream.pool_size, upstream.pool_idle_timeout_s, upstream.pool_max_age_s, clock)
        self.health = Health(upstream, clock, lambda reason: changed(self, reason))
        self.requests = 0
        self.failures = 0
        #: Whether every slot is taken: the queue's own method, because balancers ask for each request.
        self.is_full: Callable[[], bool] = self.pool.slots.empty
        self._addresses: tuple[SockAddr, ...] = ()
        self._clock = clock
        self._dial = dial

    def __repr__(self) -> str:
        return f"Backend({self.label!r})"

    @property
    def state(self) -> str:
        """Return unknown, up, down or draining."""
        return self.health.state.value

    @property
    def in_flight(self) -> int:
        """Return how many requests hold a socket of it, or are opening one."""
        return self.pool.lent

    @property
    def has_address(self) -> bool:
        """Return whether its name is known."""
        return bool(self._addresses)

    def moved(self, addresses: tuple[SockAddr, ...], reason: str) -> None:
        """Use these addresses from now on; `reason` says why there are none, if there are none."""
        self._addresses = addresses
        self.pool.move(addresses)
        if addresses:
            self.health.address_known()
        else:
            self.health.address_missing(reason)

    def connect(self, limit: Deadline) -> tuple[Stream, SockAddr]:
        """Return a new stream to one of its addresses, and which.

        Waits for the handshake, at most `limit`. Addresses are tried in order, each with its share of the time; one that
        fails goes to the end of the list. Raises ConnectRefused, ConnectFailed, ConnectTimeout or `limit.late()`.
        """
        error: ProxyError = ConnectFailed("The name of the backend has no address.")
        addresses = self._addresses
        for n, address in enumerate(addresses):
            left = len(addresses) - n
            share = limit if left == 1 else limit.within(_share_s(limit, left), ConnectTimeout)
            try:
                return self._dial(address, share), address
            except ProxyError as failure:
                if isinstance(error, ConnectFailed):  # says least: this machine may not even have the address's family
                    error = failure
                self._put_last(address)
                if limit.remaining_s() <= 0:
                    break
        raise error

    def open(self, limit: Deadline) -> Connection:
        """Return a new connection for a slot that the caller holds. Waits and raises as `connect`."""
        stream, address = self.connect(limit)
        connection = Connection(stream, address, self._clock())
        self.pool.adopt(connection)
        return connection

    def note_failure(self, error: ProxyError, is_trial: bool) -> None:
        """Count a failure that is this backend's fault. `is_trial`: its request was to try whether it works again."""
        self.failures += 1
        if is_trial:
            self.health.end_trial()
        self.health.failed(error.reason, is_trial)

    def _put_last(self, address: SockAddr) -> None:
        if address in self._addresses:
            self._addresses = (*(each for each in self._addresses if each != address), address)

    def numbers(self) -> Sequence[float]:
        """Return what can be counted of it, in the order of BACKEND_NUMBERS."""
        health, pool = self.health, self.pool
        state, rests_until_s = health.verdict
        return (
            health.is_available, pool.lent, pool.idle, _NUMBER_OF[health.state], self.requests, self.failures, _NUMBER_OF[state],
            rests_until_s,
        )  # fmt: skip


def _host(settings: BackendSettings) -> bytes:
    """Return the authority of a backend; a Unix socket has none, and `localhost` is what its peers expect."""
    address = settings.address
    if address.path:
        return b"localhost"
    return str(address).encode("ascii" if address.host.isascii() else "idna").removesuffix(b":80")


def _share_s(limit: Deadline, left: int) -> float:
    """Return the seconds that one of `left` addresses may take; 0, no bound of its own, when the limit is none."""
    seconds = limit.remaining_s()
    return 0.0 if seconds == float("inf") else max(0.0, seconds) / left
