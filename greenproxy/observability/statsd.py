"""statsd: everything counted since the last second, in as few datagrams as hold it.

`send` never raises and never blocks the worker: the host is looked up by gevent's resolver in a greenlet of its own, the
socket does not wait, and trouble is one line when it begins and one when it is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from logging import Logger
from time import monotonic
from typing import Any

import gevent
from gevent import Timeout, socket
from statsd import StatsClient

from greenproxy.config.settings import Address
from greenproxy.observability.error_log import Condition
from greenproxy.observability.metrics import Samples, Snapshot, metric_word

_DATAGRAM_BYTES = 1400  # fits an Ethernet frame
_LOOKUP_S = 5.0
_LAST_LOOKUP_S = 1.0  # a worker that stops has better things to do
_NEXT_LOOKUP_S = 10.0
_CALM_SENDS = 3  # a refusal is told by the datagram after the one refused, so one success proves nothing


class _Client(StatsClient):  # type: ignore[misc]
    """The statsd package's client, on a connected socket that does not wait and does not hide its errors."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._maxudpsize = _DATAGRAM_BYTES
        self._sock: socket.socket | None = None

    def connect(self, address: Address, within_s: float) -> None:
        """Look the host up and connect. Waits for the resolver, not longer than `within_s`; raises OSError."""
        with Timeout(within_s, TimeoutError(f"{address.host} was not found within {within_s:g}s")):
            family, kind, proto, _, sockaddr = socket.getaddrinfo(address.host, address.port, 0, socket.SOCK_DGRAM)[0]
        sock = socket.socket(family, kind, proto)
        try:
            sock.settimeout(0.0)
            sock.connect(sockaddr)
        except BaseException:
            sock.close()
            raise
        self._sock = sock

    def is_connected(self) -> bool:
        return self._sock is not None

    def _send(self, data: str) -> None:
        if self._sock is None:
            return
        packet = data.encode("ascii", "replace")
        try:
            self._sock.send(packet)
        except ConnectionRefusedError:
            self._sock.send(packet)  # the refusal was about an earlier one
            raise

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None


class Statsd:
    """Sends what it is given. `tags` are appended to every metric in the manner of DogStatsD.

    While the host is not known, counts are kept and everything else is dropped.
    """

    def __init__(self, address: Address, prefix: str, tags: Sequence[str], log: Logger) -> None:
        self._address = address
        self._mark = "|#" + ",".join(tags) if tags else ""
        self._client = _Client(prefix)
        self._trouble = Condition(log)
        self._waiting: Counter[str] = Counter()
        self._calm = 0
        self._next_lookup_s = 0.0
        self._lookup: gevent.Greenlet[[float], None] | None = None

    def start(self) -> None:
        """Begin to look the host up."""
        self._look_up()

    def send(self, snapshot: Snapshot, gauges: Mapping[str, float]) -> None:
        """Send what was counted and these gauges, by their names. Never waits; trouble goes to the log."""
        self._waiting.update(counts_of(snapshot))
        self._look_up()
        if self._client.is_connected():
            self._put(snapshot, gauges)

    def close(self) -> None:
        """Send the counts that are left and close. Waits a moment for the resolver if the host is not known."""
        if self._waiting and not self._client.is_connected():
            self._try_once_more()
        if self._waiting and self._client.is_connected():
            self._put(None, {})
        if self._lookup is not None:
            self._lookup.kill()
        self._client.close()

    def _try_once_more(self) -> None:
        self._next_lookup_s = 0.0
        self._look_up()
        if self._lookup is not None:
            self._lookup.join(_LAST_LOOKUP_S)
            if not self._lookup.ready():
                self._trouble.begin(f"{self._failure}: {self._address.host} was not found within {_LAST_LOOKUP_S:g}s")

    @property
    def _failure(self) -> str:
        return f"statsd: metrics cannot be sent to {self._address}"

    def _look_up(self) -> None:
        is_under_way = self._lookup is not None and not self._lookup.ready()
        if not self._client.is_connected() and not is_under_way and monotonic() >= self._next_lookup_s:
            self._next_lookup_s = monotonic() + _NEXT_LOOKUP_S
            self._lookup = gevent.spawn(self._connect, _LOOKUP_S)

    def _connect(self, within_s: float) -> None:
        try:
            self._client.connect(self._address, within_s)
            self._next_lookup_s = 0.0
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self._calm = 0
        self._client.close()
        self._trouble.begin(f"{self._failure}: {error}")

    def _put(self, snapshot: Snapshot | None, gauges: Mapping[str, float]) -> None:
        counts, self._waiting = self._waiting, Counter()
        try:
            pipe: Any
            with self._client.pipeline() as pipe:
                for name, count in counts.items():
                    pipe._send_stat(name, f"{count}|c{self._mark}", 1)
                if snapshot is not None:
                    self._put_timers(pipe, snapshot)
                for name, value in gauges.items():
                    pipe._send_stat(name, f"{_shown(value)}|g{self._mark}", 1)
        except OSError as error:
            self._failed(error)
            return
        self._calm += 1
        if self._calm == _CALM_SENDS:
            self._trouble.end(f"statsd: metrics are sent to {self._address} again")

    def _put_timers(self, pipe: Any, snapshot: Snapshot) -> None:
        """Send durations in milliseconds with the rate they were kept at; the client's own `rate` would sample them again."""
        for name, samples in timers_of(snapshot).items():
            rate = f"|@{samples.rate:.6g}" if samples.rate < 1 else ""
            for seconds in samples.kept:
                pipe._send_stat(name, f"{seconds * 1000:.3f}|ms{rate}{self._mark}", 1)


def _shown(value: float) -> float:
    return int(value) if value == int(value) else round(value, 3)


def counts_of(snapshot: Snapshot) -> dict[str, int]:
    """Return the counters that did not stay 0, by their names in statsd, without the prefix."""
    counts = {"requests": snapshot.requests}
    counts.update({f"responses.{digit}xx": count for digit, count in enumerate(snapshot.responses) if 1 <= digit <= 5})
    counts.update({f"errors.{reason}": count for reason, count in snapshot.errors.items()})
    for name, upstream in snapshot.upstreams.items():
        place = f"upstream.{metric_word(name)}"
        counts[f"{place}.requests"] = upstream.requests
        counts[f"{place}.failures"] = upstream.failures
        counts[f"{place}.retries"] = upstream.retries
        counts.update({f"{place}.retries.{reason}": count for reason, count in upstream.retry_reasons.items()})
    for (listener, outcome), count in snapshot.handshakes.items():
        counts[f"listener.{metric_word(listener)}.tls.{outcome}"] = count
    return {name: count for name, count in counts.items() if count}


def timers_of(snapshot: Snapshot) -> dict[str, Samples]:
    """Return the timers by their names in statsd, without the prefix."""
    timers = {"request_time": snapshot.request_time}
    for name, upstream in snapshot.upstreams.items():
        timers[f"upstream.{metric_word(name)}.response_time"] = upstream.response_time
    return timers
