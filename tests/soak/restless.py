"""Restless: a proxy that is upgraded once, then reloaded again and again, and that loses a worker now and then.

Its workers do not live long, so those of one generation are compared with those of the others at the same age: just before
the next reload.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tests.processes import Proxy, children_of, is_running
from tests.soak.changes import DONE, OUTCOME
from tests.soak.drift import Point, Row, judge, windows
from tests.soak.figures import descriptors, memory_bytes
from tests.soak.kills import Kill, kill
from tests.soak.watch import MASTER_DESCRIPTORS, MEMORY, MIB, settling

WORKERS = 2
_PATIENCE_S = 90.0
_MOST_KILLS = 20
_FEWEST_GENERATIONS = 6
_UPGRADED = "the new program is ready"


@dataclass(frozen=True)
class _Upgrade:
    """An upgrade that was asked for: the children of the old master then, and how often its log said that a new one is ready."""

    children: frozenset[int]
    ready: int


class Restless:
    """Acts on the proxy about every `between_s` seconds. `wrong` says what did not come out as it should."""

    def __init__(self, proxy: Proxy, between_s: float, say: Callable[[str], None], *, has_upgrade: bool) -> None:
        self.master = proxy.pid
        self.kills: list[Kill] = []
        self.reloads = 0
        self.upgrades = 0
        self.wrong: list[str] = []
        self.series: dict[str, list[Point]] = defaultdict(list)
        self._proxy = proxy
        self._between_s = between_s
        self._say = say
        cycle = itertools.cycle([self._reload, self._reload, self._kill, self._reload, self._reload])
        self._acts = itertools.chain([self._upgrade] if has_upgrade else [], cycle)
        self._begun_s = time.monotonic()  # what was done last
        self._is_under_way = False
        self._upgrade_begun: _Upgrade | None = None
        self._born: set[int] = set()  # the workers after that
        self._is_of_age = False  # they all came with one reload
        self._outcomes: Counter[str] = Counter()
        self._read_bytes = 0

    def turn(self) -> None:
        """Do what is due, unless what was done before has not come to its end."""
        now_s = time.monotonic()
        if self._is_under_way:
            if self.is_settled():
                self._is_under_way = False
                self._born = set(self.workers())
            elif now_s > self._begun_s + self._between_s + _PATIENCE_S:
                self._expect(False, "what was done last did not come to its end")
                self._is_under_way = False
        elif now_s >= self._begun_s + self._between_s:
            self._take(now_s)
            self._begun_s, self._is_under_way = now_s, True
            next(self._acts)()

    def is_settled(self) -> bool:
        """Return whether the upgrade and every reload have ended, and only its own workers are left."""
        self._read_on()
        if self._upgrade_begun:
            self._follow(self._upgrade_begun)
            return False
        return sum(self._outcomes.values()) >= self.reloads and len(self.workers()) == WORKERS

    def _read_on(self) -> None:
        """Count how reloads came out, in what was logged since the last look: a day's log is long."""
        with open(self._proxy.folder / "stderr", errors="surrogateescape") as log:
            log.seek(self._read_bytes)
            text, newline, _ = log.read().rpartition("\n")
        self._read_bytes += len((text + newline).encode(errors="surrogateescape"))
        self._outcomes.update(done or undone for done, undone in OUTCOME.findall(text))

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        return children_of(self.master)

    def finish(self) -> None:
        """Wait for what was begun, and see how all of it came out."""
        end_s = time.monotonic() + _PATIENCE_S
        while not (self.is_settled() and self._is_alone()) and time.monotonic() < end_s:
            time.sleep(0.05)
        self._expect(not self._upgrade_begun, "the upgrade did not come to its end")
        self._expect(self._is_alone(), f"the master of before, {self._proxy.pid}, has not ended")
        done = self._outcomes[DONE]
        self._expect(done == self.reloads, f"{done} of {self.reloads} reloads are done")
        self._expect(len(self.workers()) == WORKERS, f"workers at the end: {len(self.workers())}")

    def _is_alone(self) -> bool:
        """Return whether the master of before the upgrade has ended."""
        return self.master == self._proxy.pid or not is_running(self._proxy.pid)

    def _take(self, now_s: float) -> None:
        """Note how big the master is, and its workers if they are as old as those of other generations were."""
        if self._born and self._is_of_age:
            sizes = [memory_bytes(pid) for pid in self._born]
            self.series["workers of the same age, memory"].append((now_s, sum(sizes) / len(sizes)))
        self.series["reloaded master memory"].append((now_s, memory_bytes(self.master)))
        self.series["reloaded master descriptors"].append((now_s, descriptors(self.master)))

    def _reload(self) -> None:
        os.kill(self.master, signal.SIGHUP)
        self.reloads += 1
        self._is_of_age = True

    def _kill(self) -> None:
        if len(self.kills) >= _MOST_KILLS:
            self._reload()
            return
        self._is_of_age = False
        done = kill(random.choice(self.workers()))
        self.kills.append(done)
        self._say(f"worker {done.pid} is killed, with {len(done.had)} connections")

    def _upgrade(self) -> None:
        """Ask for it. Nobody waits here: whoever ends the run meanwhile must not find it half done and forgotten."""
        self._upgrade_begun = _Upgrade(frozenset(children_of(self.master)), self._proxy.log().count(_UPGRADED))
        os.kill(self.master, signal.SIGUSR2)

    def _follow(self, begun: _Upgrade) -> None:
        """End the old master as soon as the new one is ready, which is the master from then on."""
        old, new = self.master, set(children_of(self.master)) - begun.children
        if len(new) != 1 or self._proxy.log().count(_UPGRADED) <= begun.ready:
            return
        (self.master,) = new
        os.kill(old, signal.SIGTERM)
        self._upgrade_begun = None
        self.upgrades += 1
        self._say(f"master {self.master} has followed {old}")

    def _expect(self, is_right: bool, otherwise: str) -> None:
        if not is_right:
            self.wrong.append(otherwise)
            self._say(f"WRONG {otherwise}")

    def rows(self, begun_s: float) -> list[Row]:
        """Return the rows of what was seen from `begun_s` on."""
        found = []
        for what, points in self.series.items():
            judged = [point for point in points if point[0] >= begun_s]
            if what.endswith("memory"):
                span_s = judged[-1][0] - judged[0][0] if judged else 0.0
                bound = settling(MEMORY, span_s)
                found.append(judge(what, windows(judged), bound, "MiB", scale=MIB, decimals=1, fewest=_FEWEST_GENERATIONS))
            else:
                found.append(judge(what, windows(judged, 0.25), MASTER_DESCRIPTORS, fewest=_FEWEST_GENERATIONS))
        return found
