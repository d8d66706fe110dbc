"""Stage: where a case runs, how long and how hard, and what it found out."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.processes import Process, Proxy, children_of, is_running
from tests.soak.drift import Row
from tests.soak.figures import Figures, take
from tests.soak.load import Mix, everything
from tests.soak.site import Site, backends
from tests.soak.tally import Failure, Report


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    what: str
    is_right: bool
    figure: str = ""


@dataclass
class Verdict:
    """What a case found out."""

    checks: list[Check] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    was_interrupted: bool = False

    @property
    def is_right(self) -> bool:
        """Return whether everything held, and there was something that could fail."""
        return bool(self.checks) and all(check.is_right for check in self.checks) and not any(row.is_wrong for row in self.rows)

    @property
    def is_too_short(self) -> bool:
        """Return whether there was not enough of any series to judge it."""
        return bool(self.rows) and not any(row.was_judged for row in self.rows)

    def wrongs(self) -> list[str]:
        """Return what did not hold."""
        wrong = [f"{check.what}: {check.figure}" for check in self.checks if not check.is_right]
        return wrong + [f"{row.what}: {row.verdict}" for row in self.rows if row.is_wrong]


@dataclass
class Stage:
    """The folder of one run, its length in seconds, the number of clients as a factor, and whether this is the short form.

    `leaks` are what a case that looks for drift is to lose on purpose, and `leak_sizes` how much of it (`tests.soak.terrain`).
    """

    folder: Path
    seconds: float
    factor: float = 1.0
    is_short: bool = False
    say: Callable[[str], None] = lambda _line: None
    verdict: Verdict = field(default_factory=Verdict)
    leaks: Sequence[str] = ()
    leak_sizes: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def proxy(self, **process: str) -> Iterator[tuple[Site, Proxy, list[int]]]:
        """Run two backends and `greenproxy -c` before them, with keys of [greenproxy]; yield the backends' ports too."""
        with self.site() as (site, ports):
            keys = hyphened(process)
            with Proxy(site.ini(process=keys), self.folder) as proxy:
                yield site, proxy, ports

    @contextmanager
    def site(self) -> Iterator[tuple[Site, list[int]]]:
        """Run two backends and yield what configurations are made of, and their ports."""
        with backends(self.folder) as ports:
            yield Site(self.folder, ports), ports

    @property
    def mix(self) -> Mix:
        """All kinds of clients; in the short form without those that take seconds at the end."""
        return everything(self.factor, 0.5 if self.is_short else 2.0)

    def check(self, what: str, is_right: bool, figure: object = "") -> None:
        """Note whether something holds, with what was measured."""
        self.verdict.checks.append(Check(what, is_right, str(figure)))
        self.say(f"{'ok    ' if is_right else 'WRONG '}{what}{f': {figure}' if str(figure) else ''}")

    def measure(self, when: str, master: int, workers: list[int]) -> Figures:
        """Take memory and descriptors, and keep them."""
        figures = take(when, master, workers)
        self.verdict.figures.append(figures)
        self.say(str(figures))
        return figures

    def keep(self, report: Report, of: str = "") -> Report:
        """Keep what a load has seen, for the table at the end, which says `of` what it is."""
        report.of = of
        self.verdict.reports.append(report)
        return report

    def check_nothing_failed(self, report: Report, of: str = "") -> None:
        """Every request got its own, whole answer; there were some of every kind."""
        self.keep(report, of)
        mixed = [failure for failure in report.failures if failure.what in ("mixed", "pattern")]
        silent = [kind for kind, tally in report.tallies.items() if not tally.requests]
        self.check("every kind of client was answered", bool(report.tallies) and not silent, f"{report.requests} requests")
        self.check("failed requests", not report.failure_count, told(report.failures) or report.failure_count)
        self.check("mixed up answers", not mixed, len(mixed))

    def check_exit(self, process: Process, within_s: float = 20.0, *, status: int = 0) -> None:
        """It stops with this status in time, and leaves no process behind."""
        children, began_s = children_of(process.pid), time.monotonic()
        found = process.stop(signal.SIGTERM, within_s + 20.0)
        took_s = time.monotonic() - began_s
        left = [pid for pid in children if is_running(pid)]
        self.check("exit status", found == status and took_s <= within_s and not left, f"{found} after {took_s:.1f} s")


def told(failures: list[Failure], most: int = 5) -> str:
    """Return the first failures as text for a table, "" when there are none."""
    lines = [f"{len(failures)} or more:", *map(str, failures[:most])] if failures else []
    return "\n           ".join(lines)


def hyphened(process: Mapping[str, str]) -> dict[str, str]:
    """Return keywords as keys of the configuration."""
    return {key.replace("_", "-"): value for key, value in process.items()}
