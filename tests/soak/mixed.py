"""The case `mixed`: every kind of traffic at once for as long as one likes, and whether anything drifts meanwhile.

Two proxies have the same configuration and the same clients. The one is left alone, so that its workers live from the beginning
to the end and their figures can be followed; the other is upgraded, reloaded and loses workers (`tests.soak.restless`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.processes import PATIENCE_S, Process, Proxy, children_of, is_running
from tests.soak.drift import FEWEST_WINDOWS
from tests.soak.interrupts import Interrupts
from tests.soak.kills import unexplained
from tests.soak.load import Mix, RunningLoad
from tests.soak.restless import WORKERS, Restless
from tests.soak.site import backends
from tests.soak.stage import Stage, told
from tests.soak.terrain import Terrain, make_pair
from tests.soak.watch import Ground, Watch

_WARM_UP_SHARE, _LONGEST_WARM_UP_S = 0.2, 300.0
_MOST_SAMPLES, _MOST_TIMES = 2000, 200_000
_SHORTEST_SAMPLE_S, _LONGEST_SAMPLE_S = 0.25, 60.0
_MOST_TIMES_PER_S = 40.0
_EVENTS = 30
_SHORTEST_EVENT_S, _LONGEST_EVENT_S = 4.0, 120.0
_GROUND_S, _SHORT_GROUND_S = 20.0, 7.0  # a client that is gone lingers for 5 s
_TICK_S = 0.1
_MORE_S = 20.0  # so much longer goes a run that has not seen enough


def mix_of(factor: float, longest_s: float) -> Mix:
    """Return clients of all kinds, for one of the two proxies; uploads and downloads take up to `longest_s` seconds."""

    def some(count: int) -> int:
        return max(1, round(count * factor))

    counts = {"keepalive": 2, "fresh": 2, "thinking": 16, "slow": 4, "upload": 2, "download": 2, "massive": 1}
    counts |= {"slow-reader": 3, "slow-writer": 3, "aborting": 5, "tunnel": 4, "mistaken": 4}
    times = {"longest_s": longest_s, "most_mib": 12 if longest_s > 1 else 4}
    mix = [{"kind": kind, "clients": some(count), **times} for kind, count in counts.items()]
    return [*mix, {"kind": "open", "rate": some(30), "clients": some(40)}]


@dataclass(frozen=True)
class Plan:
    """When things happen in a run of `seconds`."""

    seconds: float
    is_short: bool

    @property
    def warm_up_s(self) -> float:
        """What is not judged in the beginning."""
        return min(_LONGEST_WARM_UP_S, self.seconds * _WARM_UP_SHARE)

    @property
    def sample_s(self) -> float:
        """The time between two samples."""
        return min(_LONGEST_SAMPLE_S, max(_SHORTEST_SAMPLE_S, self.seconds / _MOST_SAMPLES, min(1.0, self.seconds / 60)))

    @property
    def event_s(self) -> float:
        """The time between two reloads."""
        return 1.0 if self.is_short else min(_LONGEST_EVENT_S, max(_SHORTEST_EVENT_S, self.seconds / _EVENTS))

    @property
    def times_per_s(self) -> float:
        """How often the probe asks."""
        return min(_MOST_TIMES_PER_S, _MOST_TIMES / max(1.0, self.seconds))


class Mixed:
    """One run: two proxies, a load for each, the probe."""

    def __init__(self, stage: Stage, interrupts: Interrupts) -> None:
        self.plan = Plan(stage.seconds, stage.is_short)
        self._interrupts = interrupts
        self._stage = stage
        self._stack = ExitStack()
        self.was_interrupted = False
        self._goes_on = False

    def __enter__(self) -> Mixed:
        stage = self._stage
        try:
            self.ports = self._stack.enter_context(backends(stage.folder))
            # Bound and not listened on: as long as it is ours, nobody else on the machine answers there.
            nobody = self._stack.enter_context(socket.socket())
            nobody.bind(("127.0.0.1", 0))
            self._nobody = nobody.getsockname()[1]
            pair = make_pair(stage.folder)
            if pair is None:
                stage.say("openssl is not installed: this goes without TLS")
            self.calm, self.calm_ground, self.calm_proxy = self._proxy("calm", pair)
            self.restless, self.restless_ground, self.restless_proxy = self._proxy("restless", pair)
            self.calm_workers = self.calm_proxy.workers()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def _proxy(self, name: str, pair: tuple[Path, Path] | None) -> tuple[Terrain, Ground, Proxy]:
        stage = self._stage
        terrain = Terrain(stage.folder / name, self.ports, self._nobody, pair, stage.leaks if name == "calm" else ())
        terrain.write_module(**stage.leak_sizes)
        proxy = self._stack.enter_context(Proxy(terrain.ini, terrain.folder))
        ground = Ground(terrain.admin_port, WORKERS)
        ground.open()
        return terrain, ground, proxy

    # -------------------------------------------------------------- while it goes on

    def run(self) -> None:
        """Let the traffic pass for the time of the stage, or until interrupted; then judge."""
        stage, plan = self._stage, self.plan
        self.watch = Watch(self.calm_ground, self.calm.admin_port, self.calm_proxy.pid, self.calm_workers)
        self.events = Restless(self.restless_proxy, plan.event_s, stage.say, has_upgrade=not stage.is_short)
        self._loads = [self._load("calm", self.calm, ["plain", "stamped"]), self._load("restless", self.restless, ["stamped"])]
        self._times = stage.folder / "times"
        self._probe = self._start_probe()
        for load in self._loads:
            load.wait_until_answered(20)
        stage.say("clients of both proxies are at it")
        self._begun_s = time.monotonic()
        self.calm.begin(self._begun_s)
        with self._interrupts.asking():
            self._go_on()
            self.was_interrupted = self._interrupts.is_wished
            stage.say(f"{'interrupted' if self.was_interrupted else 'time is up'}: clients finish what they are at")
            self._judge()

    def _load(self, name: str, terrain: Terrain, routes: Sequence[str]) -> RunningLoad:
        stage = self._stage
        mix = mix_of(stage.factor, 0.5 if stage.is_short else 3.0)
        return self._stack.enter_context(RunningLoad(stage.folder / f"load-{name}", terrain.targets, mix, routes))

    def _start_probe(self) -> Process:
        (self._stage.folder / "probe").mkdir()
        words = [str(self.calm.port), str(self.ports[0]), str(self.plan.times_per_s), str(self._times)]
        probe = Process([sys.executable, "-m", "tests.soak.probe", *words], self._stage.folder / "probe")
        return self._stack.enter_context(probe)

    def _go_on(self) -> None:
        due_s, tell_s = 0.0, time.monotonic() + 60.0
        while not self._interrupts.is_wished and not self._is_over(now_s := time.monotonic()):
            if now_s >= due_s:
                self.watch.take()
                due_s = now_s + self.plan.sample_s
            if now_s >= tell_s:
                tell_s = now_s + 60.0
                self._tell()
            self.events.turn()
            time.sleep(_TICK_S)

    def _is_over(self, now_s: float) -> bool:
        """Return whether the time is up, and what was seen is enough, or does not become so."""
        over_s = now_s - self._begun_s - self.plan.seconds
        if over_s < 0 or self._is_enough():
            return over_s >= 0
        if not self._goes_on:
            self._goes_on = True
            self._stage.say(f"time is up, and there is not enough to judge by on a machine this busy: {_MORE_S:g} s more at most")
        return over_s >= _MORE_S

    def _is_enough(self) -> bool:
        """Return whether there are enough samples to judge by; on a busy machine they are longer in coming."""
        begun_s = self._begun_s + self.plan.warm_up_s
        return sum(1 for cost in self.watch.costs if cost.at_s >= begun_s) > FEWEST_WINDOWS

    def _tell(self) -> None:
        answered = sum(load.report().requests for load in self._loads)
        failed = sum(load.report().failure_count for load in self._loads)
        memory = " ".join(f"{points[-1][1] / 2**20:.1f}" for what, points in self.watch.series.items() if what.endswith("memory"))
        self._stage.say(f"{answered} answers, {failed} failed, {self.events.reloads} reloads; master and workers: {memory} MiB")

    # -------------------------------------------------------------- the end

    def _judge(self) -> None:
        stage = self._stage
        begun_s = self._begun_s + self.plan.warm_up_s
        self._probe.stop()
        for load in self._loads:
            load.end()
        calm, restless = (load.finish() for load in self._loads)
        self.events.finish()
        times = read_times(self._times)
        stage.verdict.rows += self.watch.rows(begun_s, [each for each in times if each[1] >= 0 and each[2] >= 0])
        stage.verdict.rows += self.events.rows(begun_s)
        stage.check_nothing_failed(calm, "the calm proxy, which is left alone: nothing may fail")
        stage.keep(
            restless, "the restless proxy, which loses workers: what fails may belong to a killed worker, and to nothing else"
        )
        strays = unexplained(restless, self.events.kills, self.ports)
        acts = f"upgrades: {self.events.upgrades}, reloads: {self.events.reloads}, killed workers: {len(self.events.kills)}"
        stage.check("what was done to the restless one", not self.events.wrong, f"{acts}; {self.events.wrong or 'as it should'}")
        stage.check("failures that no killed worker explains", not strays, told(strays) or f"0 of {restless.failure_count}")
        missed = sum(1 for each in times if each[1] < 0 or each[2] < 0)
        stage.check("probes without an answer", bool(times or self.was_interrupted) and not missed, f"{missed} of {len(times)}")
        same = self.calm_proxy.workers() == self.calm_workers
        stage.check("workers that nobody replaced", same, f"{self.calm_proxy.workers()}, at first {self.calm_workers}")
        self._check_ground()
        self._check_ends()

    def _check_ground(self) -> None:
        for name, ground in (("calm", self.calm_ground), ("restless", self.restless_ground)):
            began_s = time.monotonic()
            left = ground.left(self._patience_s())
            took = f"nothing, after {time.monotonic() - began_s:.1f} s"
            self._stage.check(f"what workers of the {name} one hold behind all traffic", not left, left or took)

    def _patience_s(self) -> float:
        """What is leaked on purpose is not waited for."""
        if self._stage.leaks:
            return 1.0
        return _SHORT_GROUND_S if self.plan.is_short else _GROUND_S

    def _check_ends(self) -> None:
        stage = self._stage
        for name, proxy in (("calm", self.calm_proxy), ("restless", self.restless_proxy)):
            stage.check(f"no traceback in the log of the {name} one", "Traceback" not in proxy.log())
        stage.check_exit(self.calm_proxy)
        master = self.events.master
        processes = [master, *children_of(master)]
        os.kill(master, signal.SIGTERM)
        end_s = time.monotonic() + PATIENCE_S
        while (left := list(filter(is_running, processes))) and time.monotonic() < end_s:
            time.sleep(0.05)
        stage.check("processes that are left of the restless one", not left, left or "none")
        # After an upgrade this is the status of the master of before.
        stage.check("exit status of the restless one", self.restless_proxy.exit_status == 0, self.restless_proxy.exit_status)


def read_times(path: Path) -> list[tuple[float, float, float]]:
    """Return what the probe has measured, in the order of the moments."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) == 3:
            found.append((float(words[0]), float(words[1]), float(words[2])))
    return sorted(found)


def mixed(stage: Stage) -> None:
    """Everything at once, with errors, aborts, tunnels, TLS, reloads and kills: nothing is lost or mixed up, nothing drifts."""
    interrupts = Interrupts()
    with interrupts.at_once(), Mixed(stage, interrupts) as run:
        run.run()
        stage.verdict.was_interrupted = run.was_interrupted
