"""Metrics: what one worker counted since the last flush. Counting costs a look-up and an increment; the rest waits for the flush.

Everything is taken from finished exchanges. A try that failed is known by the retry it led to, the last one by its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from greenproxy.errors import Blame, ProxyError, UpstreamError
from greenproxy.exchange import Exchange

MAX_SAMPLES = 100  # per timer, worker and flush
_CLASSES = 10  # by the first digit, 0 is "nothing was sent"
_CLIENT_LEFT = 499  # never sent: it counts as an error only


def _reasons(cls: type[ProxyError]) -> set[str]:
    below = {reason for each in cls.__subclasses__() for reason in _reasons(each)}
    return below | {cls.reason} if cls.blame is Blame.UPSTREAM else below


_BACKEND_REASONS = frozenset(_reasons(UpstreamError)) - {UpstreamError.reason}


class Ending:
    """Exchanges that ended alike: how many there were, and how long some of them took, evenly spread over all.

    `kept` are at most MAX_SAMPLES pairs of seconds: of the whole exchange, and until the backend's head (negative: none was
    asked).
    """

    __slots__ = ("_every", "kept", "next", "seen")

    def __init__(self) -> None:
        self.kept: list[tuple[float, float]] = []
        self.seen = 0
        self.next = 0  # which one will be kept
        self._every = 1

    def keep(self, took_s: float, upstream_s: float) -> None:
        """Keep how long the exchange took that is number `next`."""
        if len(self.kept) == MAX_SAMPLES:  # full: every other one goes, and from now on every other one comes
            del self.kept[1::2]
            self._every *= 2
        self.kept.append((took_s, upstream_s))
        self.next = self.seen + self._every


@dataclass(frozen=True, slots=True)
class Samples:
    """At most MAX_SAMPLES of `seen` durations, in seconds."""

    kept: list[float] = field(default_factory=list)
    seen: float = 0

    @property
    def rate(self) -> float:
        """The share of the durations that was kept, between 0 and 1."""
        return len(self.kept) / self.seen if self.seen else 1.0


def spread(parts: Sequence[tuple[Sequence[float], float]]) -> Samples:
    """Return samples of several parts, each as many durations out of a number that was seen: as many of each as its share."""
    parts = [part for part in parts if part[0]]
    seen = sum(count for _, count in parts)
    if not seen:
        return Samples()
    step = max(seen / MAX_SAMPLES, *(count / len(durations) for durations, count in parts))
    kept: list[float] = []
    passed, wanted = 0.0, step / 2
    for durations, count in parts:
        for duration in durations:
            passed += count / len(durations)
            if passed > wanted:
                kept.append(duration)
                wanted += step
    return Samples(kept, seen)


@dataclass(slots=True)
class UpstreamMetrics:
    """What was counted for one upstream. `failures` are tries that a backend failed, whatever became of the request.

    `retry_reasons` counts the `retries` by what each of them was made for.
    """

    requests: int = 0
    failures: int = 0
    retries: int = 0
    retry_reasons: dict[str, int] = field(default_factory=dict)
    response_time: Samples = field(default_factory=Samples)

    def add(self, count: int, reason: str, retry_reasons: tuple[str, ...]) -> None:
        """Count exchanges that went to this upstream and ended alike."""
        self.requests += count
        self.failures += count * (len(retry_reasons) + (reason in _BACKEND_REASONS))
        self.retries += count * len(retry_reasons)
        for each in retry_reasons:
            self.retry_reasons[each] = self.retry_reasons.get(each, 0) + count


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counts between two flushes. `responses` goes by the first digit of the status, `handshakes` by listener and outcome."""

    requests: int
    responses: tuple[int, ...]
    errors: Mapping[str, int]
    request_time: Samples
    upstreams: Mapping[str, UpstreamMetrics]
    handshakes: Mapping[tuple[str, str], int] = field(default_factory=dict)


#: Status, reason, upstream and what it was tried again for: whatever has these in common is counted together.
_Kind: TypeAlias = tuple[int, str, str, tuple[str, ...]]


class Metrics:
    """The counters of one worker. All methods are cheap and none waits."""

    __slots__ = ("_endings", "_handshakes")

    def __init__(self) -> None:
        self._endings: dict[_Kind, Ending] = {}
        self._handshakes: dict[tuple[str, str], int] = {}

    def shaken(self, listener: str, outcome: str) -> None:
        """Count a handshake of TLS: `outcome` is one of HANDSHAKES (of names)."""
        self._handshakes[listener, outcome] = self._handshakes.get((listener, outcome), 0) + 1

    def finished(self, exchange: Exchange) -> None:
        """Count an exchange that is over. One look-up: what it counts for is found out at the flush."""
        kind = exchange.status, exchange.reason, exchange.upstream, exchange.retry_reasons
        ending = self._endings.get(kind)
        if ending is None:
            ending = self._endings[kind] = Ending()
        if ending.seen == ending.next:
            ending.keep(exchange.ended_s - exchange.started_s, exchange.upstream_time_s)
        ending.seen += 1

    def drain(self) -> Snapshot:
        """Return what was counted since the last call, and begin anew."""
        endings, self._endings = self._endings, {}
        handshakes, self._handshakes = self._handshakes, {}
        responses = [0] * _CLASSES
        errors: Counter[str] = Counter()
        upstreams: dict[str, UpstreamMetrics] = {}
        times: dict[str, list[tuple[list[float], float]]] = {}
        for (status, reason, upstream, retry_reasons), ending in endings.items():
            if status != _CLIENT_LEFT:
                responses[status // 100] += ending.seen
            if reason:
                errors[reason] += ending.seen
            if upstream:
                upstreams.setdefault(upstream, UpstreamMetrics()).add(ending.seen, reason, retry_reasons)
                times.setdefault(upstream, []).append(_upstream_times(ending))
        for upstream, counted in upstreams.items():
            counted.response_time = spread(times[upstream])
        return Snapshot(
            sum(ending.seen for ending in endings.values()),
            tuple(responses),
            errors,
            spread([([took_s for took_s, _ in ending.kept], ending.seen) for ending in endings.values()]),
            upstreams,
            handshakes,
        )


def _upstream_times(ending: Ending) -> tuple[list[float], float]:
    """Return the durations of those for which a backend was asked, and of how many they are samples."""
    times = [upstream_s for _, upstream_s in ending.kept if upstream_s >= 0]
    return times, ending.seen * len(times) / len(ending.kept)


def metric_word(text: str) -> str:
    """Return a name as a part of a metric's name: every character but letters, digits, `_` and `-` becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
