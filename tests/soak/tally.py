"""What clients saw: counts, times and failures by kind of client, as plain data that goes from process to process."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

#: So many failures are kept in full; all are counted.
_KEPT_FAILURES = 5000
_BUCKETS_PER_DOUBLING = 4
_FINEST_S = 0.0001


@dataclass
class Failure:
    """One request that did not get its own whole answer.

    `phase` is where it failed: connect, send, head, body. `what` is how: refused, reset, end, timeout, mixed, cut, pattern,
    malformed, status 503; or stale: the connection had answered before and died under this request without a byte.
    """

    at_s: float  # CLOCK_MONOTONIC, which all processes share
    kind: str
    phase: str
    what: str
    worker: int  # who answered on this connection before, 0 when nobody had
    began_s: float
    received: int  # bytes of this answer
    detail: str
    ident: str
    server_port: int = 0  # the ends of its connection, 0 when it had none
    client_port: int = 0
    connected_s: float = 0.0  # when that was asked for

    def __str__(self) -> str:
        who = f"worker {self.worker}" if self.worker else "no worker known"
        took = f"{self.at_s - self.began_s:.3f} s"
        what = f"{self.kind}: {self.what} in {self.phase} after {took}"
        return f"{self.at_s:.3f} {what}, {who}, from port {self.client_port}, {self.received} bytes {self.detail}"


@dataclass
class Tally:
    """Counts of one kind of client. `times` has so many answers by the bucket of their time."""

    requests: int = 0
    failed: int = 0
    received: int = 0
    slowest_s: float = 0.0
    told: int = 0  # connections closed because an answer said so
    idle_ends: int = 0  # connections that the proxy closed between two requests, seen before the next was sent
    times: dict[str, int] = field(default_factory=dict)

    def answered(self, took_s: float, received: int) -> None:
        """Count a good answer."""
        self.requests += 1
        self.received += received
        self.slowest_s = max(self.slowest_s, took_s)
        bucket = str(max(0, math.ceil(math.log2(max(took_s, _FINEST_S) / _FINEST_S) * _BUCKETS_PER_DOUBLING)))
        self.times[bucket] = self.times.get(bucket, 0) + 1

    def within_s(self, share: float) -> float:
        """Return the time within which this share of the good answers came, to about a fifth."""
        missing = share * sum(self.times.values())
        for bucket in sorted(map(int, self.times)):
            missing -= self.times[str(bucket)]
            if missing <= 0:
                return float(min(_FINEST_S * 2 ** (bucket / _BUCKETS_PER_DOUBLING), self.slowest_s))
        return 0.0


@dataclass
class Report:
    """All that one load has seen."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    longest_silence_s: float = 0.0  # in which no client got any answer
    is_over: bool = False
    of: str = ""  # what it is the report of, where a case has several

    def tally(self, kind: str) -> Tally:
        """Return the counts of a kind of client."""
        return self.tallies.setdefault(kind, Tally())

    def failed(self, failure: Failure) -> None:
        """Count a failure, and keep it if there is room."""
        self.tally(failure.kind).failed += 1
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(failure)

    @property
    def requests(self) -> int:
        """Good answers of all kinds of clients."""
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def failure_count(self) -> int:
        """Failures of all kinds of clients."""
        return sum(tally.failed for tally in self.tallies.values())

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can have it."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Report:
        """Return what `as_data` was made of."""
        return cls(
            tallies={kind: Tally(**tally) for kind, tally in data["tallies"].items()},
            failures=[Failure(**failure) for failure in data["failures"]],
            longest_silence_s=data["longest_silence_s"],
            is_over=data["is_over"],
        )
