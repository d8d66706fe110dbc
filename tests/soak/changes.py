"""Cases in which something changes under load: the configuration, good and evil, and the program."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.processes import Process, Proxy, children_of, is_running, wait_until
from tests.soak.figures import grown
from tests.soak.load import RunningLoad
from tests.soak.single import ask, is_closed, no_echo_from, what_is_wrong
from tests.soak.site import DIES, RAISES, Site
from tests.soak.stage import Stage

BROKEN = "\n[listner:typo]\nbind = :0\n[upstream:app\n"
DONE, REFUSED, UNDONE = "reloaded", "reload refused", "reload undone"
OUTCOME = re.compile(f"info: ({DONE}): |error: ({REFUSED}|{UNDONE})")
_BEGUN, _ENDS = "info: reloading ", (f"{DONE}: ", REFUSED, UNDONE)
_HUPS_PER_S = 20 / 60


@dataclass(frozen=True)
class Step:
    """One reload: what is asked for, and what must come of it. `extra` are numbers of the site's further ports."""

    workers: int = 2
    extra: tuple[int, ...] = ()
    evil: str = ""  # broken, taken, or the beginning of a module that fails in workers
    hups: int = 1
    outcome: str = DONE


BASE = Step()
FULL = (
    Step(3, (0,)),
    Step(evil="broken", outcome=REFUSED),
    Step(2, (0, 1)),
    Step(4, evil="taken", outcome=REFUSED),
    Step(1, (1,)),
    Step(3, (0,), evil=RAISES, outcome=UNDONE),
    Step(3),
    Step(1, evil=DIES, outcome=UNDONE),
    Step(2, (0,), hups=3),
    BASE,
)
SHORT = (Step(3, (0,)), FULL[1], FULL[3], FULL[5], BASE)


class Reloads:
    """Reloads one proxy again and again, and checks what comes of it."""

    def __init__(self, stage: Stage, site: Site, proxy: Proxy, taken_port: int) -> None:
        self._stage = stage
        self._site = site
        self._proxy = proxy
        self._taken_port = taken_port
        self._open: tuple[int, ...] = ()
        self.hups = 0
        self.wrong: list[str] = []

    def _outcomes(self) -> list[str]:
        return [done or not_done for done, not_done in OUTCOME.findall(self._proxy.log())]

    def step(self, step: Step) -> None:
        """Change the file, send HUP, wait for the outcome, and look whether it is what the file says."""
        before = len(self._outcomes())
        old = set(self._proxy.workers())
        self._proxy.file.write_text(self._ini(step))
        leaving = [port for port in self._open if port not in self._ports(step)] if step.outcome == DONE else []
        with self._requests_in_flight(leaving):
            self._hup(step.hups)
            wanted = [step.outcome] * min(step.hups, 2)  # HUPs during a reload are one more reload
            wait_until(lambda: len(self._outcomes()) >= before + len(wanted), f"what comes of {step}", 30.0)
        found = self._outcomes()[before:]
        self._expect(found == wanted, f"{step}: {found}")
        if step.outcome == DONE:
            self._open = self._ports(step)
            self._look(step, old, leaving)

    def begin(self, step: Step) -> None:
        """Change the file and send HUP; wait for nothing."""
        self._proxy.file.write_text(self._ini(step))
        self._hup(1)

    def is_running(self) -> bool:
        """Return whether a reload is under way, or one that was asked for has not begun."""
        begun, ended = self._proxy.log().rfind(_BEGUN), max(self._proxy.log().rfind(outcome) for outcome in _ENDS)
        return begun > ended

    def _hup(self, count: int) -> None:
        """Send HUP, and further ones while the reload is under way."""
        begun = self._proxy.log().count(_BEGUN)
        self._proxy.send(signal.SIGHUP)
        if count > 1:
            wait_until(lambda: self._proxy.log().count(_BEGUN) > begun, "the reload begins")
        for _ in range(count - 1):
            self._proxy.send(signal.SIGHUP)
        self.hups += count

    def _ports(self, step: Step) -> tuple[int, ...]:
        return tuple(self._site.extra_ports[number] for number in step.extra)

    def _ini(self, step: Step) -> str:
        ports, more = self._ports(step), ""
        if step.evil == "taken":
            ports = (*ports, self._taken_port)
        elif step.evil == "broken":
            more = BROKEN
        elif step.evil:
            more = self._site.evil(step.evil)
        return self._site.ini(extra=ports, more=more, process={"workers": str(step.workers)})

    def _look(self, step: Step, old: set[int], leaving: Sequence[int]) -> None:
        for port in (self._site.port, *self._ports(step)):
            why = no_echo_from(port)
            self._expect(not why, f"{step}: no answer from port {port}: {why}")
        for port in leaving:
            self._expect(is_closed(port), f"{step}: port {port} is still open")
        new = set(self._proxy.workers()) - old
        self._expect(len(new) >= step.workers, f"{step}: {len(new)} new workers")

    @contextmanager
    def _requests_in_flight(self, ports: Sequence[int]) -> Iterator[None]:
        """Send a request that takes half a second to listeners that are about to go; all must be answered."""
        waiting = [ask(port, 0.5) for port in ports]
        yield
        for port, (sock, ident) in zip(ports, waiting, strict=True):
            why = what_is_wrong(sock, ident)
            self._expect(not why, f"the request in flight at port {port} was lost: {why}")

    def _expect(self, is_right: bool, otherwise: str) -> None:
        if not is_right:
            self.wrong.append(otherwise)
            self._stage.say(f"WRONG {otherwise}")

    def wait_until_settled(self) -> None:
        """Wait until the workers of before are gone."""
        wait_until(lambda: len(self._proxy.workers()) == BASE.workers, "only the new workers are left", 60.0)


def reload(stage: Stage) -> None:
    """HUP again and again with other workers and listeners; a broken file, a taken port, crashing middleware in between."""
    with stage.proxy(workers=str(BASE.workers)) as (site, proxy, _ports), socket.create_server(("127.0.0.1", 0)) as taken:
        reloads = Reloads(stage, site, proxy, taken.getsockname()[1])
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], stage.mix) as load:
            load.wait_until_answered(100)
            if stage.is_short:
                for step in SHORT:
                    reloads.step(step)
            else:
                _reload_for(stage, reloads, proxy)
            report = load.finish()
        stage.check("what came of the reloads", not reloads.wrong, f"{reloads.hups} HUPs; {reloads.wrong or 'as it should'}")
        stage.check_nothing_failed(report)
        stage.check("no traceback in the log", "Traceback" not in proxy.log())
        stage.check_exit(proxy)


def _reload_for(stage: Stage, reloads: Reloads, proxy: Proxy) -> None:
    """Reload for the time of the stage; memory is compared once what happens only once has happened."""
    for step in (FULL[0], FULL[5], BASE):
        reloads.step(step)
    reloads.wait_until_settled()
    first = stage.measure("start", proxy.pid, proxy.workers())
    begun_s, count = time.monotonic(), max(len(FULL), round(stage.seconds * _HUPS_PER_S))
    for number in range(-(-count // len(FULL)) * len(FULL)):
        reloads.step(FULL[number % len(FULL)])
        time.sleep(max(0.0, begun_s + (number + 1) / _HUPS_PER_S - time.monotonic()))
        if (number + 1) % len(FULL) == 0:
            stage.measure("now", proxy.pid, proxy.workers())
    reloads.wait_until_settled()
    last = stage.measure("end", proxy.pid, proxy.workers())
    stage.check("memory and descriptors are flat", not grown(first, last), grown(first, last) or "")


def retire(stage: Stage) -> None:
    """Workers retire after max-requests, and one more is started and ended by TTIN and TTOU; nobody notices."""
    limit = "100" if stage.is_short else "500"
    with stage.proxy(max_requests=limit, max_requests_jitter=limit) as (site, proxy, _ports):
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], stage.mix) as load:
            load.wait_until_answered(100)
            first = stage.measure("start", proxy.pid, proxy.workers())
            end_s = time.monotonic() + stage.seconds
            while time.monotonic() < end_s:
                for signum in (signal.SIGTTIN, signal.SIGTTOU):
                    proxy.send(signum)
                    time.sleep(min(1.0, stage.seconds / 2))
            report = load.finish()
        wait_until(lambda: len(proxy.workers()) == 2, "only workers that serve are left", 60.0)
        last = stage.measure("end", proxy.pid, proxy.workers())
        retired = proxy.log().count("requests and is replaced")
        stage.check("workers that retired", retired > 0, retired)
        stage.check("memory and descriptors are flat", not grown(first, last), grown(first, last) or "")
        stage.check_nothing_failed(report)
        stage.check_exit(proxy)


def upgrade(stage: Stage) -> None:
    """USR2 starts a new master beside the old one, TERM ends the old one; nobody notices, nor when the new one cannot start."""
    wrong, pid_file = [], {"pid-file": "greenproxy.pid"}
    with stage.proxy(pid_file="greenproxy.pid") as (site, proxy, _ports):
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], stage.mix) as load:
            load.wait_until_answered(100)
            pids, end_s, extra = [proxy.pid], time.monotonic() + stage.seconds, site.extra_ports[0]
            first = stage.measure("start", proxy.pid, proxy.workers())
            while len(pids) < 2 or time.monotonic() < end_s:
                if not stage.is_short:
                    proxy.file.write_text(site.ini(process=pid_file) + BROKEN)
                    fail_to_upgrade(proxy, pids[-1])
                has_extra = len(pids) % 2 == 1
                proxy.file.write_text(site.ini(extra=[extra] if has_extra else [], process=pid_file))
                pids.append(next_master(proxy, pids[-1], "the new program is ready"))
                if stage.is_short:
                    continue  # the old one ends when the clients leave
                wait_until_gone(stage, proxy, *pids[-2:])
                if why := no_echo_from(extra) if has_extra else "" if is_closed(extra) else "still open":
                    wrong.append(f"upgrade {len(pids) - 1}, port {extra}: {why}")
            last = stage.measure("end", pids[-1], children_of(pids[-1]))
            report = load.finish()
        if stage.is_short:
            wait_until_gone(stage, proxy, *pids[-2:])
        stage.check("upgrades", len(set(pids)) == len(pids) and not wrong, f"{len(pids) - 1}; {wrong or 'as it should'}")
        stage.check("memory and descriptors are flat", not grown(first, last), grown(first, last) or "")
        stage.check_nothing_failed(report)
        stage.check("exit status of the first", proxy.exit_status == 0, proxy.exit_status)
        leave(stage, pids[-1])


def fail_to_upgrade(process: Process, pid: int) -> None:
    """Ask for a new master that cannot start, and wait until that is told."""
    gone = "is gone, this one goes on"
    before = process.log().count(gone)
    os.kill(pid, signal.SIGUSR2)
    wait_until(lambda: process.log().count(gone) > before, "the upgrade has failed")


def next_master(process: Process, old: int, is_ready: str) -> int:
    """Have a master followed by a new one, which is up when `is_ready` stands in the log once more; return its id."""
    children, ready = set(children_of(old)), process.log().count(is_ready)
    os.kill(old, signal.SIGUSR2)
    (new,) = wait_until(lambda: set(children_of(old)) - children, "the new master is there", 60.0)
    wait_until(lambda: process.log().count(is_ready) > ready, "the new master is ready", 60.0)
    os.kill(old, signal.SIGTERM)
    return new


def wait_until_gone(stage: Stage, process: Process, old: int, new: int) -> None:
    """Wait until a master has ended that was told to, and the new one has its pid file."""
    began_s = time.monotonic()
    if old == process.pid:
        process.wait(60.0)
    wait_until(lambda: not is_running(old), "the old master has ended", 60.0)
    file = stage.folder / "greenproxy.pid"  # which nobody has for a moment
    wait_until(lambda: file.exists() and file.read_text().strip() == str(new), "the pid file is that of the new one")
    stage.say(f"the old master {old} has ended, {time.monotonic() - began_s:.1f} s after TERM or a little more")


def leave(stage: Stage, pid: int) -> None:
    """End the last of several masters, which is nobody's child any more."""
    workers = children_of(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_running(pid), "the last master has ended")
    stage.check("processes that are left", not any(map(is_running, workers)))
