"""Tally: what one worker has counted since its birth, and how fast it was in the last seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from greenproxy.errors import RETRY_REASONS
from greenproxy.observability.metrics import Snapshot
from greenproxy.observability.names import RATES, RESPONSES, UPSTREAM_COUNTERS, of_listener, of_retries, of_upstream

#: Rates are means over this many seconds.
RATE_OVER_S = 10


class Tally:
    """Adds up snapshots, one a second, of a worker with these upstreams."""

    def __init__(self, now_s: float, upstreams: Iterable[str]) -> None:
        self._counts: dict[str, int] = dict.fromkeys(("requests", "errors", *RESPONSES), 0)
        self._rated = {"requests_per_s": "requests", "errors_per_s": "errors"}  # a rate, and what it is the rate of
        for upstream in upstreams:
            self._counts |= {of_upstream(upstream, what): 0 for what in UPSTREAM_COUNTERS}
            self._counts |= {of_retries(upstream, reason): 0 for reason in RETRY_REASONS}
            self._rated[of_upstream(upstream, RATES[0])] = of_upstream(upstream, "requests")
        self._past: deque[tuple[float, dict[str, int]]] = deque([(now_s, {})], maxlen=RATE_OVER_S + 1)

    def add(self, snapshot: Snapshot, now_s: float) -> None:
        """Count what happened between the last call and `now_s` (CLOCK_MONOTONIC)."""
        counts = self._counts
        counts["requests"] += snapshot.requests
        counts["errors"] += sum(snapshot.errors.values())
        for name, count in zip(RESPONSES, snapshot.responses[1:], strict=False):
            counts[name] += count
        for upstream, seen in snapshot.upstreams.items():
            for what in UPSTREAM_COUNTERS:
                counts[of_upstream(upstream, what)] += getattr(seen, what)
            for reason, count in seen.retry_reasons.items():
                counts[of_retries(upstream, reason)] += count
        for (listener, outcome), count in snapshot.handshakes.items():
            name = of_listener(listener, f"tls/{outcome}")
            counts[name] = counts.get(name, 0) + count
        self._past.append((now_s, {counted: counts[counted] for counted in self._rated.values()}))

    def values(self) -> dict[str, float]:
        """Return counters and rates (per second) by their names on the board."""
        (begun_s, before), (now_s, now) = self._past[0], self._past[-1]
        passed_s = now_s - begun_s
        values: dict[str, float] = dict(self._counts)
        for rate, counted in self._rated.items():
            grown = now.get(counted, 0) - before.get(counted, 0)
            values[rate] = grown / passed_s if passed_s > 0 else 0.0
        return values
