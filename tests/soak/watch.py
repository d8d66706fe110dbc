"""Watch: takes samples of a proxy that is left alone, and makes the rows of the report of them.

What is judged of a worker is what nobody accounts for: a descriptor beyond those of its clients, its pools and its checks, a
greenlet beyond those that serve. Times are those of small requests less those of the same without the proxy; they may grow as
these do. Processor time stands beside that of a fixed piece of work (the yardstick), and may grow as that does. A busy machine
makes everything slower, and that is no drift.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.client import RawClient, get
from tests.ledger import ask, grown, in_flight, standing
from tests.processes import wait_until
from tests.soak.drift import WINDOWS, Bound, Point, Row, compared, judge, quantile, scatter, slope, windows
from tests.soak.figures import descriptors, memory_bytes

MIB = 1024 * 1024
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MOST_TRIES = 200
_IN_A_QUANTILE = 100  # so many times has a window at least of which the slowest in a hundred is taken
_FEWEST_TIMES = 3
_COST_WINDOW_S = 5.0  # shorter ones have too few ticks of the processor's clock
_MIXED_S = 60.0  # processor time over less than this swings by more: each window has other requests, and a cache that others use
_LOW = 0.25  # of counts the low ones are compared: a leak lifts them as well, and traffic does not

#: What a worker takes in its first time, whatever comes after it: judged over less than that much, more of it is in the figures.
_SETTLING_BYTES, _SETTLING_S = 12 * MIB, 30.0
MEMORY, DESCRIPTORS, GREENLETS, TIMERS = Bound(0.08, 2 * MIB), Bound(0.0, 6), Bound(0.0, 6), Bound(0.25, 20)
MASTER_DESCRIPTORS = Bound(0.0, 2)
COST, MEDIAN_TIME, SLOWEST_TIME = Bound(0.25, 0.0), Bound(1.0, 0.040), Bound(2.0, 0.200)
_SHORT_TIME_S = 0.002  # past the proxy; what is shorter varies by more than the machine
_RESTLESS_S = 10.0  # times over less than this swing by more


def settling(bound: Bound, judged_s: float) -> Bound:
    """Return the bound for memory over so long a time."""
    return Bound(bound.share, bound.little + _SETTLING_BYTES * min(1.0, _SETTLING_S / max(1.0, judged_s)))


class Ground:
    """What workers hold when nobody asks anything; all of them must come back to it, those of later generations too."""

    def __init__(self, admin_port: int, workers: int) -> None:
        self._admin = ("127.0.0.1", admin_port)
        self._workers = workers
        self._most: dict[str, int] = {}

    def open(self) -> None:
        """Take it, from a moment in which two looks in a row are the same."""

        def is_at_rest() -> bool:
            first, second = self.by_worker(), self.by_worker()
            self._most = _most(standing(held) for held in second.values())
            is_same = self._most == _most(standing(held) for held in first.values())
            return is_same and not any(map(in_flight, second.values()))

        wait_until(is_at_rest, "a proxy without requests is at rest")

    def by_worker(self) -> dict[int, Mapping[str, Any]]:
        """Return the census of every worker. Who answers is chance, so it asks until each has; some may be missing under load."""
        found: dict[int, Mapping[str, Any]] = {}
        for _ in range(_MOST_TRIES):
            held = ask(self._admin)
            found.setdefault(held["pid"], held)
            if len(found) >= self._workers:
                break
        return found

    def left(self, within_s: float) -> dict[str, int]:
        """Return what workers hold more than in the beginning and do not let go within that time."""
        end_s = time.monotonic() + within_s
        while (left := self._new()) and time.monotonic() < end_s:
            time.sleep(0.1)
        return left

    def _new(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for held in self.by_worker().values():
            found |= in_flight(held)
            found = _most([found, grown(self._most, standing(held))])
        return found


def _most(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest count of each kind."""
    most: dict[str, int] = {}
    for each in counts:
        for what, count in each.items():
            most[what] = max(count, most.get(what, 0))
    return most


class Cost(NamedTuple):
    """A moment: what workers have used of the processor, what they have answered, and what the yardstick took, in seconds."""

    at_s: float
    used_s: float
    requests: int
    yardstick_s: float


class Watch:
    """Samples of one proxy, whose workers are `workers` until the end."""

    def __init__(self, ground: Ground, admin_port: int, master: int, workers: Sequence[int]) -> None:
        self.series: dict[str, list[Point]] = defaultdict(list)
        self.costs: list[Cost] = []
        self._ground = ground
        self._admin = ("127.0.0.1", admin_port)
        self._master = master
        self._workers = list(workers)

    def take(self) -> None:
        """Take a sample of everything."""
        now_s = time.monotonic()
        self.series["master memory"].append((now_s, memory_bytes(self._master)))
        self.series["master descriptors"].append((now_s, descriptors(self._master)))
        found = self._ground.by_worker()
        for number, pid in enumerate(self._workers, 1):
            self.series[f"worker {number} memory"].append((now_s, memory_bytes(pid)))
            if pid in found:
                self._note(f"worker {number}", now_s, standing(found[pid]))
        self.costs.append(Cost(now_s, sum(map(used_s, self._workers)), self._requests(), yardstick_s()))

    def _note(self, who: str, now_s: float, held: Mapping[str, int]) -> None:
        for kind in ("descriptors", "greenlets"):
            count = sum(count for what, count in held.items() if what.startswith(f"{kind}: "))
            self.series[f"{who} {kind}"].append((now_s, count))
        self.series[f"{who} timers"].append((now_s, held.get("watchers: timer", 0)))

    def _requests(self) -> int:
        with RawClient(self._admin) as client:
            told = json.loads(client.ask(get("/api/status", "Connection: close", host="localhost")).body)
            return int(told["requests"])

    def rows(self, begun_s: float, times: Sequence[tuple[float, float, float]]) -> list[Row]:
        """Return the rows of what was seen from `begun_s` on. `times`: moments, times through the proxy, times past it."""
        judged = {what: [point for point in points if point[0] >= begun_s] for what, points in self.series.items()}
        found = [row_of(what, points) for what, points in judged.items()]
        found.append(cost_row([cost for cost in self.costs if cost.at_s >= begun_s]))
        return [*found, *time_rows([each for each in times if each[0] >= begun_s])]


def row_of(what: str, points: Sequence[Point]) -> Row:
    """Return the row of a series of memory or of a count, by its name."""
    if what.endswith("memory"):
        span_s = points[-1][0] - points[0][0] if points else 0.0
        return judge(what, windows(points), settling(MEMORY, span_s), "MiB", scale=MIB, decimals=1)
    bounds = {"descriptors": DESCRIPTORS, "greenlets": GREENLETS, "timers": TIMERS}
    bound = MASTER_DESCRIPTORS if what.startswith("master") else bounds[what.rpartition(" ")[2]]
    return judge(what, windows(points, _LOW), bound)


def cost_row(costs: Sequence[Cost]) -> Row:
    """Return the row of processor time per request, in microseconds of a machine on which the yardstick takes its median."""
    usual_s = quantile([cost.yardstick_s for cost in costs], 0.5)
    span_s = costs[-1].at_s - costs[0].at_s if costs else 0.0
    count = min(WINDOWS, int(span_s / _COST_WINDOW_S))
    points: list[Point] = []
    yardsticks: list[Point] = []
    for number in range(count):
        part = costs[number * (len(costs) - 1) // count : (number + 1) * (len(costs) - 1) // count + 1]
        answered = part[-1].requests - part[0].requests
        if answered > 0:
            here_s = quantile([cost.yardstick_s for cost in part], 0.5)
            yardsticks.append((part[-1].at_s, here_s))
            points.append((part[-1].at_s, (part[-1].used_s - part[0].used_s) / answered * usual_s / here_s))
    # What makes a loop slower makes a program slower that needs more of the caches: by more than what is taken off above.
    may = Bound(COST.share * (1.0 + _MIXED_S / max(1.0, span_s)) + significant(yardsticks), COST.little)
    return judge("processor time per request", points, may, "us", scale=1e-6)


def time_rows(times: Sequence[tuple[float, float, float]]) -> list[Row]:
    """Return the rows of the probe's times: what the proxy adds, and what the same takes without it."""
    span_s = times[-1][0] - times[0][0] if times else 0.0
    found = []
    for name, share, fewest, bound in (
        ("median", 0.5, _FEWEST_TIMES, MEDIAN_TIME),
        ("slowest 1 %", 0.99, _IN_A_QUANTILE, SLOWEST_TIME),
    ):
        through = windows([(at, each) for at, each, _ in times], share, fewest_in_one=fewest)
        past = windows([(at, each) for at, _, each in times], share, fewest_in_one=fewest)
        added = [(at, mine - other) for (at, mine), (_, other) in zip(through, past, strict=True)]
        may = Bound(bound.share + significant(past), bound.little * (1.0 + _RESTLESS_S / max(1.0, span_s)))
        found.append(judge(f"time that the proxy adds, {name}", added, may, "ms", scale=1e-3, decimals=2))
        found.append(compared(judge(f"time past the proxy, {name}", past, may, "ms", scale=1e-3, decimals=2)))
    return found


def significant(points: Sequence[Point]) -> float:
    """Return by which share of its start a series rises, less what may be chance: so much busier the machine has become."""
    row = judge("", points, Bound(0.0, 0.0))
    if not row.was_judged:
        return 0.0
    return max(0.0, row.grown - scatter(points, slope(points))) / max(row.start, _SHORT_TIME_S)


def used_s(pid: int) -> float:
    """Return the processor time of a process, 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def yardstick_s() -> float:
    """Return the processor time that a fixed piece of work takes now, about 3 ms."""
    began_s = time.thread_time()
    total = 0
    for number in range(40_000):
        total += number & 7
    return time.thread_time() - began_s
