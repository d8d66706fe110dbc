"""A siege: a herd at the gates of a proxy, honest clients among it, and what all that costs the worker.

A `Situation` says what each of the herd does, what it may cost, and how it must end; `besiege` makes it happen once and returns
the `Report` that tests look at.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.client import RawClient, ask, get
from tests.e2e.crowd import Crowd, visit
from tests.e2e.herd import Herd
from tests.processes import Process, wait_until
from tests.running import RunningProxy

HERD = 1000
HONEST, REQUESTS = 20, 5
KIB = 1024
#: What the honest ones and the allocator may take beside the herd.
SLACK_BYTES = 3 * KIB * KIB
_OWN = "herd.example.com"  # the Host of the herd's requests, by which they are found in the log
_PATIENCE_S = 25.0
_BACKEND = Path(__file__).with_name("greedy_backend.py")

INI = """
[greenproxy]
admin = unix:admin.sock
worker-connections = 5000
statsd = 127.0.0.1:{statsd}

# All but the times is as it comes.
[listener:web]
bind = 127.0.0.1:0
upstream = shop
header-timeout = 1200ms
body-timeout = 1s
idle-timeout = 1200ms
send-timeout = 1s

[upstream:shop]
backends = {backend}
health-interval = 0
max-fails = 0

# For a backend that is kept busy by those who ask, or by itself: room for all.
[listener:roomy]
bind = 127.0.0.1:0
upstream = roomy
header-timeout = 1200ms
body-timeout = 1s
idle-timeout = 1200ms
send-timeout = 1s

[upstream:roomy]
backends = {backend}
health-interval = 0
max-fails = 0
pool-size = 1500

[route:trickle]
listener = roomy
path = /trickle/
upstream = roomy
response-timeout = 1s
request-timeout = 1500ms
"""


def opening(target: str, *lines: str, method: str = "GET") -> bytes:
    """Return the head of a request of the herd."""
    return get(target, *lines, host=_OWN, method=method)


class Cost(NamedTuple):
    """What a worker holds, at one moment or for one client."""

    memory_bytes: int
    greenlets: int
    descriptors: int

    def less(self, other: Cost) -> Cost:
        """Return how much more this is than `other`."""
        return Cost(*(mine - its for mine, its in zip(self, other, strict=True)))

    def at_least(self, other: Cost) -> Cost:
        """Return the greater one of each."""
        return Cost(*map(max, self, other))


@dataclass(frozen=True)
class Situation:
    """What each of a thousand clients does on which listener, and what is allowed for each of them.

    It sends one of `openings` at once and then a byte of its drip after the other. `cost` is the most that each may cost.
    `ends` are the statuses, or the ends without one, that it may see, `logged` the statuses and reasons that the
    log may have for it. Honest clients are served within `patience_s`.
    """

    name: str
    listener: str
    cost: Cost
    openings: Sequence[bytes] = (b"",)
    drips: Sequence[bytes] = ()
    receive_buffer: int = 0
    is_half_closed: bool = False  # behind its opening
    leaves_at_once: bool = False  # breaks off behind its opening, and so does one after the other
    reads: bool = True  # what it is sent
    sips_bytes: int = 0  # if not: it takes as many bytes every tenth of a second
    ends: tuple[str, ...] = ()
    logged: tuple[tuple[int, str | None], ...] = ()
    patience_s: float = 10
    may_refuse: bool = False  # honest clients too, at first: they heed Retry-After, until all are served

    def __str__(self) -> str:
        return self.name


@dataclass
class Report:
    """What came of a siege. `spent` is the most that was seen of each, beyond what was held before; see `Fort.spent`."""

    situation: Situation
    spent: Cost
    honest: list[Crowd] = field(default_factory=list)
    honest_s: list[float] = field(default_factory=list)
    open: int = 0  # of the herd, when the honest ones had been served
    ends: Counter[str] = field(default_factory=Counter)
    ended_s: float = 0.0
    logged: Counter[tuple[int, str | None]] = field(default_factory=Counter)

    def __str__(self) -> str:
        spent = self.spent
        served = [(dict(crowd.statuses), crowd.failures[:3]) for crowd in self.honest]
        return (
            f"{HERD} clients, {self.situation}: {spent.memory_bytes / HERD:,.0f} bytes each, {spent.greenlets} greenlets, "
            f"{spent.descriptors} descriptors; honest clients: {served} in {[round(each, 2) for each in self.honest_s]} s; "
            f"{self.open} of the herd open meanwhile, then {dict(self.ends)} after {self.ended_s:.1f} s; log: {dict(self.logged)}"
        )


class Fort:
    """The proxy that is besieged."""

    def __init__(self, running: RunningProxy) -> None:
        self.running = running
        (self._pid,) = running.workers()
        self._entries_seen = 0
        for listener in ("web", "roomy"):
            visit(running.address(listener), HONEST, REQUESTS)
        self.at_rest_bytes = running.memory_bytes()

    def resources(self) -> Mapping[str, Any]:
        """Return what the worker says that it holds."""
        with RawClient(str(self.running.folder / "admin.sock")) as client:
            told: Mapping[str, Any] = client.ask(get("/api/resources", "Connection: close", host="localhost")).json()
            return told

    def spent(self) -> Cost:
        """Return what the worker holds now: of memory, what it has more than before all sieges, since freed memory may stay."""
        held = self.resources()
        greenlets = sum(held["greenlets"].values()) - held["idle_greenlets"]
        return Cost(self.running.memory_bytes() - self.at_rest_bytes, greenlets, len(os.listdir(f"/proc/{self._pid}/fd")))

    def settle(self) -> None:
        """Wait until nobody is connected and the log has told of everybody."""
        wait_until(lambda: self.resources()["clients"]["open"] == 0, "nobody is connected", _PATIENCE_S)
        last = f"/settled-{time.monotonic_ns()}"
        ask(self.running.address(), get(last, "Connection: close"))
        self.running.entry(last)
        self.fresh_entries()

    def fresh_entries(self) -> Counter[tuple[int, str | None]]:
        """Return what the access log has of the herd since it was asked last, by status and reason."""
        self.running.send(signal.SIGUSR1)  # which hurries the batch along
        entries = [json.loads(line) for line in self.running.access_log()]
        mine = [(entry["status"], entry["reason"]) for entry in entries if entry["host"] in (_OWN, None, "")]
        fresh, self._entries_seen = mine[self._entries_seen :], len(mine)
        return Counter(fresh)


@contextlib.contextmanager
def open_fort(folder: Path, statsd_port: int, ini: str = INI) -> Iterator[Fort]:
    """Yield a proxy with a backend in a process of its own."""
    (folder / "backend").mkdir()
    with Process([sys.executable, str(_BACKEND)], folder / "backend") as backend:
        port = int(wait_until(lambda: backend.output().strip(), "the backend says its port"))
        with RunningProxy(folder, ini.format(backend=f"http://127.0.0.1:{port}", statsd=statsd_port)) as running:
            yield Fort(running)


def besiege(fort: Fort, situation: Situation) -> Report:
    """Let the herd do it, serve honest clients meanwhile and afterwards, and wait until the proxy has ended each of the herd."""
    fort.settle()
    before = fort.spent()._replace(memory_bytes=0)
    begun_s = time.monotonic()
    with Herd(fort.running.address(situation.listener), HERD, situation.openings, situation.receive_buffer) as herd:
        with _doing_it(herd, situation):
            report = Report(situation, fort.spent().less(before))
            _visit_honestly(fort, report, may_refuse=situation.may_refuse)
            report.spent = report.spent.at_least(fort.spent().less(before))
            report.open = HERD - herd.ready()
        if situation.leaves_at_once:
            herd.reset()
        else:
            _await_the_end(fort, herd, report)
            report.ends = herd.outcomes()
        report.ended_s = time.monotonic() - begun_s
    _visit_honestly(fort, report)
    if situation.logged:
        wait_until(lambda: _note_log(fort, report) >= HERD, f"the log; {report}", _PATIENCE_S)
    return report


@contextlib.contextmanager
def _doing_it(herd: Herd, situation: Situation) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if situation.is_half_closed:
            herd.half_close()
        if situation.drips:
            stack.enter_context(herd.dripping(situation.drips))
        if situation.sips_bytes:
            stack.enter_context(herd.sipping(situation.sips_bytes))
        if situation.leaves_at_once:
            stack.enter_context(herd.asking_and_leaving(situation.openings[0]))
        yield


def _visit_honestly(fort: Fort, report: Report, *, may_refuse: bool = False) -> None:
    """Let honest clients ask the same upstream, and note what they got and how long it took."""
    begun_s = time.monotonic()
    while True:
        crowd = visit(fort.running.address(report.situation.listener), HONEST, REQUESTS)
        spent_s = time.monotonic() - begun_s
        if not (may_refuse and crowd.statuses[503] and spent_s < report.situation.patience_s):
            break
    report.honest.append(crowd)
    report.honest_s.append(spent_s)


def _await_the_end(fort: Fort, herd: Herd, report: Report) -> None:
    """Wait until the proxy has closed each connection. Who does not read sees that afterwards."""
    if report.situation.reads:
        wait_until(herd.is_over, f"the end of the herd; {report}", _PATIENCE_S)
    else:
        wait_until(lambda: fort.resources()["clients"]["open"] == 0, f"the end of the herd; {report}", _PATIENCE_S)
        herd.read()


def _note_log(fort: Fort, report: Report) -> int:
    report.logged += fort.fresh_entries()
    return report.logged.total()
