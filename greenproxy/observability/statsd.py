"""statsd: everything counted since the last second, in as few datagrams as hold it.

One greenlet flushes once a second. It never raises and never blocks the worker: the host is looked up by gevent's resolver,
the socket does not wait, and trouble is one line when it begins and one when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from logging import Logger
from time import monotonic
from typing import Any

import gevent
from gevent import Timeout, socket
from statsd import StatsClient

from greenproxy.config.settings import Address
from greenproxy.observability.board import Board, Slot
from greenproxy.observability.error_log import Condition
from greenproxy.observability.metrics import Metrics, Samples, Snapshot, metric_word

FLUSH_EVERY_S = 1.0
_DATAGRAM_BYTES = 1400  # fits an Ethernet frame
_LOOKUP_S = 5.0
_LAST_LOOKUP_S = 1.0  # a worker that stops has better things to do
_NEXT_LOOKUP_S = 10.0
_CALM_FLUSHES = 3  # a refusal is told by the datagram after the one refused, so one success proves nothing


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

    @property
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
    """Sends what `metrics` counted, and, when its slot speaks for all workers, the gauges of all of them.

    `gauges` returns this worker's, always with the same names. Without an address nothing is done; without a board this
    worker is the only one.
    """

    def __init__(
        self,
        address: Address | None,
        prefix: str,
        metrics: Metrics,
        gauges: Callable[[], Mapping[str, float]],
        board: Board | None,
        index: int,
        log: Logger,
    ) -> None:
        self._address = address
        self._metrics = metrics
        self._gauges = gauges
        self._board = board
        self._index = index
        self._log = log
        self._client = _Client(prefix)
        self._trouble = Condition(log)
        self._calm = 0
        self._next_lookup_s = 0.0
        self._slot: Slot | None = None
        self._greenlet: gevent.Greenlet[[Address], None] | None = None

    def start(self) -> None:
        """Begin to flush once a second."""
        if self._address is not None:
            names = tuple(self._gauges())
            board = self._board or Board(1, len(names))
            try:
                self._slot = board.claim(self._index, names)
            except ValueError as error:
                self._log.error("statsd: no gauges are sent: %s", error)
            self._greenlet = gevent.spawn(self._run, self._address)

    def stop(self) -> None:
        """Flush what is left and leave the board. Waits a moment for the resolver if the host is not known yet."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
        if self._address is not None:
            self.flush(self._address, _LAST_LOOKUP_S)
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        self._client.close()

    def _run(self, address: Address) -> None:
        due_s = monotonic()
        while True:
            due_s = max(due_s + FLUSH_EVERY_S, monotonic())
            gevent.sleep(due_s - monotonic())
            self.flush(address, _LOOKUP_S)

    def flush(self, address: Address, within_s: float) -> None:
        """Publish this worker's gauges and send one second's metrics. Raises nothing.

        Waits for the resolver while the host is not known, not longer than `within_s`.
        """
        try:
            if self._slot is not None:
                gauges = self._gauges()
                self._slot.write([gauges.get(name, 0) for name in self._slot.names])
            self._connect(address, within_s)
            if self._client.is_connected:
                self._send(self._metrics.drain())
                self._calm += 1
                if self._calm == _CALM_FLUSHES:
                    self._trouble.end(f"statsd: metrics are sent to {address} again")
        except OSError as error:
            self._calm = 0
            self._client.close()
            self._trouble.begin(f"statsd: metrics cannot be sent to {address}: {error}")
        except Exception:
            self._log.exception("statsd: a flush failed; please report this")

    def _connect(self, address: Address, within_s: float) -> None:
        if self._client.is_connected or monotonic() < self._next_lookup_s:
            return
        self._next_lookup_s = monotonic() + _NEXT_LOOKUP_S
        self._client.connect(address, within_s)
        self._next_lookup_s = 0.0

    def _send(self, snapshot: Snapshot) -> None:
        pipe: Any
        with self._client.pipeline() as pipe:
            send_counts(pipe, snapshot)
            if self._slot is not None and self._slot.speaks:
                for name, value in self._slot.totals().items():
                    pipe.gauge(name, int(value) if value == int(value) else round(value, 3))


def send_counts(pipe: Any, snapshot: Snapshot) -> None:
    """Hand a snapshot's counters and timers to a pipeline of the statsd package; what stayed 0 is left out."""
    counts = {"requests": snapshot.requests}
    counts.update({f"responses.{digit}xx": count for digit, count in enumerate(snapshot.responses) if 1 <= digit <= 5})
    counts.update({f"errors.{reason}": count for reason, count in snapshot.errors.items()})
    _send_samples(pipe, "request_time", snapshot.request_time)
    for name, upstream in snapshot.upstreams.items():
        stem = f"upstream.{metric_word(name)}"
        counts[f"{stem}.requests"] = upstream.requests
        counts[f"{stem}.failures"] = upstream.failures
        counts[f"{stem}.retries"] = upstream.retries
        _send_samples(pipe, f"{stem}.response_time", upstream.response_time)
    for name, count in counts.items():
        if count:
            pipe.incr(name, count)


def _send_samples(pipe: Any, name: str, samples: Samples) -> None:
    """Send durations in milliseconds with the rate they were kept at; the client's own `rate` would sample them again."""
    mark = f"|@{samples.rate:.6g}" if samples.rate < 1 else ""
    for seconds in samples.kept:
        pipe._send_stat(name, f"{seconds * 1000:.3f}|ms{mark}", 1)
