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

from greenproxy.config.settings import Address, BackendSettings, Settings
from greenproxy.observability.board import Board, Slot
from greenproxy.observability.error_log import Condition
from greenproxy.observability.metrics import Metrics, Samples, Snapshot, metric_word

FLUSH_EVERY_S = 1.0
_DATAGRAM_BYTES = 1400  # fits an Ethernet frame
_LOOKUP_S = 5.0
_NEXT_LOOKUP_S = 10.0
_CALM_FLUSHES = 3  # a refusal is told by the datagram after the one refused, so one success proves nothing


def gauge_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of every gauge, which are the names of the board."""
    names = ["connections.active", "connections.idle"]
    for upstream in settings.upstreams:
        names.append(f"upstream.{upstream.name}.queued")
        for backend in upstream.backends:
            names += [f"{backend_prefix(upstream.name, backend)}.{what}" for what in ("up", "active", "idle")]
    return tuple(dict.fromkeys(names))


def backend_prefix(upstream: str, backend: BackendSettings) -> str:
    """Return the start of a backend's names: `upstream.shop.blue`, or `upstream.shop.10_0_0_11_8000`."""
    return f"upstream.{upstream}.{metric_word(backend.label)}"


class _Client(StatsClient):  # type: ignore[misc]
    """The statsd package's client, on a connected socket that does not wait and does not hide its errors."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._maxudpsize = _DATAGRAM_BYTES
        self._sock: socket.socket | None = None

    def connect(self, address: Address) -> None:
        """Look the host up and connect. Waits for the resolver, not longer than _LOOKUP_S; raises OSError."""
        with Timeout(_LOOKUP_S, TimeoutError(f"{address.host} was not found within {_LOOKUP_S:g}s")):
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
    """Sends what `metrics` counted, and, when its slot speaks for all workers, the gauges of the whole board.

    `gauges` has a callable for each name of the board; a name without one is 0 for this worker.
    """

    def __init__(
        self, address: Address, prefix: str, metrics: Metrics, slot: Slot, gauges: Mapping[str, Callable[[], float]], log: Logger
    ) -> None:
        self._address = address
        self._metrics = metrics
        self._slot = slot
        self._read = [gauges.get(name, _nought) for name in slot.board.names]
        self._log = log
        self._client = _Client(prefix)
        self._trouble = Condition(log)
        self._calm = 0
        self._next_lookup_s = 0.0
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to flush once a second."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Flush what is left and leave the board. Waits for the resolver at most, if the host was not known yet."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
        self.flush()
        self._slot.release()
        self._client.close()

    def _run(self) -> None:
        due_s = monotonic()
        while True:
            due_s = max(due_s + FLUSH_EVERY_S, monotonic())
            gevent.sleep(due_s - monotonic())
            self.flush()

    def flush(self) -> None:
        """Publish this worker's gauges and send one second's metrics. Raises nothing."""
        try:
            self._slot.write([read() for read in self._read])
            self._connect()
            if self._client.is_connected:
                self._send(self._metrics.drain(), self._slot.board)
                self._calm += 1
                if self._calm == _CALM_FLUSHES:
                    self._trouble.end(f"statsd: metrics are sent to {self._address} again")
        except OSError as error:
            self._calm = 0
            self._client.close()
            self._trouble.begin(f"statsd: metrics cannot be sent to {self._address}: {error}")
        except Exception:
            self._log.exception("statsd: a flush failed; please report this")

    def _connect(self) -> None:
        if self._client.is_connected or monotonic() < self._next_lookup_s:
            return
        self._next_lookup_s = monotonic() + _NEXT_LOOKUP_S
        self._client.connect(self._address)
        self._next_lookup_s = 0.0

    def _send(self, snapshot: Snapshot, board: Board) -> None:
        pipe: Any
        with self._client.pipeline() as pipe:
            send_counts(pipe, snapshot)
            if self._slot.speaks:
                for name, value in board.totals().items():
                    pipe.gauge(name, int(value) if value == int(value) else round(value, 3))


def send_counts(pipe: Any, snapshot: Snapshot) -> None:
    """Hand a snapshot's counters and timers to a pipeline of the statsd package; what stayed 0 is left out."""
    counts = {"requests": snapshot.requests}
    counts.update({f"responses.{digit}xx": count for digit, count in enumerate(snapshot.responses) if 1 <= digit <= 5})
    counts.update({f"errors.{reason}": count for reason, count in snapshot.errors.items()})
    _send_samples(pipe, "request_time", snapshot.request_time)
    for name, upstream in snapshot.upstreams.items():
        counts[f"upstream.{name}.requests"] = upstream.requests
        counts[f"upstream.{name}.failures"] = upstream.failures
        counts[f"upstream.{name}.retries"] = upstream.retries
        _send_samples(pipe, f"upstream.{name}.response_time", upstream.response_time)
    for name, count in counts.items():
        if count:
            pipe.incr(name, count)


def _send_samples(pipe: Any, name: str, samples: Samples) -> None:
    """Send durations in milliseconds with the rate they were kept at; the client's own `rate` would sample them again."""
    mark = f"|@{samples.rate:.6g}" if samples.rate < 1 else ""
    for seconds in samples.kept:
        pipe._send_stat(name, f"{seconds * 1000:.3f}|ms{mark}", 1)


def _nought() -> float:
    return 0.0
