"""The command behind `scripts/bench`: measures what it is asked to, prints it, and writes figures and the page of the manual."""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from bench import gist, page, tools
from bench.figures import summaries
from bench.measuring import measure
from bench.processes import Trouble
from bench.report import report
from bench.scenarios import (
    BY_NAME,
    LEAST,
    QUICK,
    QUICK_END_S,
    QUICK_HELD,
    QUICK_PROXIES,
    QUICK_ROUNDS,
    QUICK_SECONDS,
    ROUNDS,
    SECONDS,
    WHOLE,
    WHOLE_END_S,
    Scenario,
)
from bench.targets import PROXIES, ROOT

MEASURED, FAILED, WRONG = 0, 1, 2
DOCS = ROOT / "docs"
_MOST_FILES = 12000
_FORMAT = 1
_KEYS = {"date", "rounds", "seconds", "machine", "versions", "scenarios"}
_EPILOG = f"""Without arguments all of it, in {WHOLE}: {ROUNDS} rounds of {SECONDS:g} s, {LEAST} where time is short
or a round is dear; latency takes rounds of {math.ceil(2 * SECONDS)} s, new TLS sessions of {math.ceil(SECONDS)} s, memory one.
As root it installs what is missing with apt, without starting any service, and Python peers with pip into .venv-peers,
unless --no-install. Exit status: 0 measured, 1 something failed or missed its rate, 2 impossible or a wrong argument,
130 stopped."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return 0 when all was measured, 1 when a cell failed, 2 when nothing could be."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        return _act(options)
    except (Trouble, OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130


def _end(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures greenproxy and other proxies side by side: processor time per request, latency, memory.",
        epilog=_EPILOG,
    )
    parser.add_argument("--list", action="store_true", help="print scenarios and proxies, those of --quick with it, and end")
    parser.add_argument("--quick", action="store_true", help=_QUICK_HELP)
    parser.add_argument(
        "--scenario", action="append", choices=list(BY_NAME), metavar="NAME", help="only this one; may be repeated"
    )
    parser.add_argument("--target", action="append", choices=PROXIES, metavar="NAME", help="only this proxy; may be repeated")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="compare greenproxy with that of another checkout instead")
    parser.add_argument("--rounds", type=_count, help=f"rounds of every scenario (default {ROUNDS})")
    parser.add_argument("--seconds", type=_duration, help=f"of load in a round (default {SECONDS:g})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="do not measure: read the figures from this file"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/performance.md, its figures and its charts, and README's sentence"
    )
    parser.add_argument("--no-install", action="store_true", help="install nothing, only name what is missing")
    return parser.parse_args(arguments)


_QUICK_HELP = f"""a minute: {", ".join(QUICK)} (with {QUICK_HELD:,}) for {", ".join(QUICK_PROXIES)};
{QUICK_ROUNDS} rounds of {QUICK_SECONDS:g} s, fewer where time is short"""


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number, at least 1, not {text!r}")
    return int(text)


def _duration(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.1 <= number <= 60:
        raise argparse.ArgumentTypeError(f"a number between 0.1 and 60, not {text!r}")
    return number


def _act(options: argparse.Namespace) -> int:
    if options.list:
        print("\n".join(f"{each.name:17}{each.about}" for each in plan(options)))
        print(f"proxies: {', '.join(QUICK_PROXIES if options.quick else PROXIES)}")
        return MEASURED
    if options.write_docs and not _is_whole(options):
        raise Trouble("--write-docs wants everything measured: no --quick, --scenario, --target or --before")
    if options.write_docs and not options.source and (options.rounds or ROUNDS) < LEAST:
        raise Trouble(f"--write-docs wants at least {LEAST} rounds")
    if options.json:
        _check_writable(options.json)
    if options.source:
        data = _read_json(options.source)
        for name, scenario in data["scenarios"].items():
            print(report(name, scenario), end="\n\n")
    else:
        data = run(plan(options), options)
    if options.json:
        _write_json(options.json, data)
    if options.write_docs:
        write_docs(ROOT, data)
        print(f"written: {DOCS / 'performance.md'}")
    has_failures = any(found.failure for scenario in data["scenarios"].values() for found in summaries(scenario))
    return FAILED if has_failures else MEASURED


def _is_whole(options: argparse.Namespace) -> bool:
    return not (options.quick or options.scenario or options.target or options.before)


def _check_writable(path: Path) -> None:
    """Refuse a file that cannot be written before a quarter of an hour is spent on what goes into it."""
    try:
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            path.open("ab").close()  # so that the kernel says why
    except OSError as error:
        raise Trouble(f"{path} cannot be written: {error.strerror}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("format") != _FORMAT or not set(data) >= _KEYS:
        raise Trouble(f"{path} holds no figures of this program (what --json writes)")
    return data


def plan(options: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios that the command line asks for, with those cells that it wants."""
    names = options.scenario or (QUICK if options.quick else list(BY_NAME))
    proxies = options.target or (QUICK_PROXIES if options.quick else PROXIES)
    wanted = [BY_NAME[name].only(proxies) for name in dict.fromkeys(names)]
    if options.quick:
        wanted = [_lighter(scenario) for scenario in wanted]
    if options.before:
        source = options.before.resolve()
        if not (source / "greenproxy" / "__init__.py").exists():
            raise Trouble(f"{options.before} is no checkout of greenproxy")
        wanted = [scenario.against(str(source)) for scenario in wanted]
    wanted = [scenario for scenario in wanted if scenario.cells]
    if not wanted:
        raise Trouble(f"no scenario of these has {' or '.join(proxies)}")
    return wanted


def _lighter(scenario: Scenario) -> Scenario:
    cells = tuple(replace(cell, held=min(cell.held, QUICK_HELD)) for cell in scenario.cells if cell.label == cell.variant.proxy)
    about = scenario.about.replace("5,000", f"{QUICK_HELD:,}")
    return replace(scenario, cells=cells, about=about)


def run(wanted: list[Scenario], options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print each scenario as soon as it is done, and return what goes into the JSON."""
    wanted = _possible(wanted, options)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    proxies = dict.fromkeys(cell.variant.proxy for scenario in wanted for cell in scenario.cells)
    used = dict.fromkeys([*proxies, *(tool for scenario in wanted for cell in scenario.cells for tool in cell.load.tools)])
    data: dict[str, Any] = {
        "format": _FORMAT,
        "date": datetime.date.today().isoformat(),
        "rounds": rounds,
        "seconds": seconds,
        "machine": tools.machine(),
        "python_build": tools.python_build(),
        "versions": tools.versions(used),
        "scenarios": {},
    }
    if data["machine"]["load_before"] > 0.5 * data["machine"]["cores"]:
        print(f"this machine is busy (load {data['machine']['load_before']}): trust the figures less\n")
    began_s = time.monotonic()
    least = 1 if options.quick else LEAST
    for scenario, end_s in zip(wanted, ends_s(wanted, rounds, seconds, options), strict=True):
        data["scenarios"][scenario.name] = measure(scenario, rounds, seconds, _say, began_s + end_s, least)
        data["took_s"] = round(time.monotonic() - began_s)
        _say("")
        print(report(scenario.name, data["scenarios"][scenario.name]), end="\n\n", flush=True)
        if options.json:
            _write_json(options.json, data)
    print(f"measured in {time.monotonic() - began_s:.0f} s")
    return data


def ends_s(wanted: list[Scenario], rounds: int, seconds: float, options: argparse.Namespace) -> list[float]:
    """Return when each scenario begins no further round that need not be, counted from the start.

    The quick form and the whole run have a time to keep; who names scenarios, or rounds, gets all of them.
    """
    if options.rounds or not (options.quick or _is_whole(options)):
        return [math.inf] * len(wanted)
    shares = list(itertools.accumulate(scenario.expected_s(rounds, seconds) for scenario in wanted))
    end_s = QUICK_END_S if options.quick else WHOLE_END_S
    return [end_s * share / shares[-1] for share in shares]


def _say(line: str) -> None:
    """Show what is under way, on a terminal; the next line takes its place."""
    if sys.stdout.isatty():
        print(f"\r{line:50}\r", end="", flush=True)


def _possible(wanted: list[Scenario], options: argparse.Namespace) -> list[Scenario]:
    """Install or name what is missing; return the scenarios with those cells whose programs are there."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), most))
    needs = {cell: (cell.variant.proxy, *cell.load.tools) for scenario in wanted for cell in scenario.cells}
    names = [*tools.FOUNDATION, *(name for each in needs.values() for name in each)]
    if not options.no_install:
        tools.install(names, print)
    absent = tools.missing(names)
    if absent:
        print(f"not installed: {', '.join(absent)} ({tools.advice(absent)})\n")
    if lost := [name for name in tools.FOUNDATION if name in absent]:
        raise Trouble(f"nothing can be measured without {' and '.join(lost)}")

    def is_possible(cell: Any) -> bool:
        return not set(needs[cell]) & set(absent) and cell.held + 2000 <= most

    if most < _MOST_FILES:
        print(f"at most {most} open files: no scenario with more connections\n")
    left = [replace(scenario, cells=tuple(filter(is_possible, scenario.cells))) for scenario in wanted]
    if not any(scenario.cells for scenario in left):
        raise Trouble("what is installed does not suffice for any of these scenarios")
    return [scenario for scenario in left if scenario.cells]


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(_rounded(data), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Return figures with five digits: the others are noise, and would be another commit's diff."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def write_docs(root: Path, data: dict[str, Any]) -> None:
    """Write the page, what it was made from, and its charts into docs/, and the sentence in README.md."""
    data = _rounded(data)
    folder, readme = root / "docs", root / "README.md"
    _write_json(folder / "performance.json", data)
    (folder / "performance.md").write_text(page.page(data))
    for name, svg in page.charts(data).items():
        (folder / name).write_text(svg)
    readme.write_text(gist.put(readme.read_text(), gist.gist(data)))


if __name__ == "__main__":
    sys.exit(main())
