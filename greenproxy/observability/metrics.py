"""Metrics: what one worker counted since the last flush. Counting costs an increment; names and formats are made at the flush.

Everything is taken from finished exchanges. A try that failed is known by the retry it led to, the last one by its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from greenproxy.errors import Blame, ProxyError, UpstreamError
from greenproxy.exchange import Exchange
from greenproxy.messages import Trace

MAX_SAMPLES = 100  # per timer, worker and flush
_CLASSES = 10  # by the first digit, 0 is "nothing was sent"
_CLIENT_LEFT = 499  # never sent: it counts as an error only


def _reasons(cls: type[ProxyError]) -> set[str]:
    below = {reason for each in cls.__subclasses__() for reason in _reasons(each)}
    return below | {cls.reason} if cls.blame is Blame.UPSTREAM else below


_BACKEND_REASONS = frozenset(_reasons(UpstreamError)) - {UpstreamError.reason}


class Samples:
    """At most MAX_SAMPLES durations, evenly spread over all that were observed."""

    __slots__ = ("_every", "_next", "kept", "seen")

    def __init__(self) -> None:
        self.kept: list[float] = []
        self.seen = 0
        self._every = 1
        self._next = 0

    def observe(self, seconds: float) -> None:
        """Take one duration into account."""
        if self.seen == self._next:
            self._keep(seconds)
        self.seen += 1

    def _keep(self, seconds: float) -> None:
        if len(self.kept) == MAX_SAMPLES:  # full: every other one goes, and from now on every other one comes
            del self.kept[1::2]
            self._every *= 2
        self.kept.append(seconds)
        self._next = self.seen + self._every

    @property
    def rate(self) -> float:
        """The share of the observed durations that was kept, between 0 and 1."""
        return len(self.kept) / self.seen if self.seen else 1.0


class UpstreamMetrics:
    """What was counted for one upstream. `failures` are tries that a backend failed, whatever became of the request.

    `retry_reasons` counts the `retries` by what each of them was made for.
    """

    __slots__ = ("failures", "requests", "response_time", "retries", "retry_reasons")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.retries = 0
        self.retry_reasons: dict[str, int] = {}
        self.response_time = Samples()

    def finished(self, trace: Trace, reason: str) -> None:
        """Count an exchange that went to this upstream and is over."""
        self.requests += 1
        if reason:
            self.failures += reason in _BACKEND_REASONS
        if trace.retry_reasons:
            self._count_retries(trace.retry_reasons)
        if trace.upstream_time_s >= 0:
            self.response_time.observe(trace.upstream_time_s)

    def _count_retries(self, reasons: tuple[str, ...]) -> None:
        self.retries += len(reasons)
        self.failures += len(reasons)
        for reason in reasons:
            self.retry_reasons[reason] = self.retry_reasons.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts between two flushes. `responses` goes by the first digit of the status, `handshakes` by listener and outcome."""

    requests: int
    responses: tuple[int, ...]
    errors: Mapping[str, int]
    request_time: Samples
    upstreams: Mapping[str, UpstreamMetrics]
    handshakes: Mapping[tuple[str, str], int] = field(default_factory=dict)


class Metrics:
    """The counters of one worker. All methods are cheap and none waits."""

    __slots__ = ("_errors", "_handshakes", "_request_time", "_requests", "_responses", "_upstreams")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._requests = 0
        self._responses = [0] * _CLASSES
        self._errors: dict[str, int] = {}
        self._request_time = Samples()
        self._upstreams: dict[str, UpstreamMetrics] = {}
        self._handshakes: dict[tuple[str, str], int] = {}

    def shaken(self, listener: str, outcome: str) -> None:
        """Count a handshake of TLS: `outcome` is one of HANDSHAKES (of names)."""
        self._handshakes[listener, outcome] = self._handshakes.get((listener, outcome), 0) + 1

    def finished(self, exchange: Exchange) -> None:
        """Count an exchange that is over."""
        self._requests += 1
        status = exchange.status
        if status != _CLIENT_LEFT:
            self._responses[status // 100] += 1
        reason = exchange.reason
        if reason:
            self._errors[reason] = self._errors.get(reason, 0) + 1
        self._request_time.observe(exchange.ended_s - exchange.started_s)
        upstream = exchange.upstream
        if upstream:
            counters = self._upstreams.get(upstream)
            if counters is None:
                counters = self._upstreams[upstream] = UpstreamMetrics()
            counters.finished(exchange, reason)

    def drain(self) -> Snapshot:
        """Return what was counted since the last call, and begin anew."""
        counted = self._requests, tuple(self._responses), self._errors, self._request_time, self._upstreams, self._handshakes
        snapshot = Snapshot(*counted)
        self._begin()
        return snapshot


def metric_word(text: str) -> str:
    """Return a name as a part of a metric's name: every character but letters, digits, `_` and `-` becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
