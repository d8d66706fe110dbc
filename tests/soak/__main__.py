"""The command behind `scripts/soak`: runs a case in its full form and prints what held."""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from tests.soak.cases import CASES
from tests.soak.stage import Stage
from tests.soak.tally import Report

_TITLES = "clients       answers  failed      MB    median      99 %   slowest   closed: told, idle"


def main() -> int:
    """Run what the command line asks for; return 0 when everything held, 1 when not."""
    options = _parser().parse_args()
    if options.list or not options.case:
        for case in CASES.values():
            print(f"{case.name:18s}{case.full_s:5g} s  {case.does}")
        return 0 if options.list else 2
    case = CASES[options.case]
    began_s = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began_s:7.2f} s  {line}", flush=True)

    print(f"{case.name}: {case.does}")
    stage = case.full(options.seconds, options.clients, say)
    print()
    _print_end(stage)
    return 0 if stage.verdict.is_right else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Puts load on a proxy while things happen to it.")
    parser.add_argument("--list", action="store_true", help="print the cases and what they do")
    parser.add_argument("--case", choices=list(CASES), help="the case to run")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long (default: the case's own full time)")
    parser.add_argument("--clients", type=float, default=1.0, help="how many clients, as a factor (default 1)")
    return parser


def _print_end(stage: Stage) -> None:
    for report in stage.verdict.reports:
        _print_report(report)
    for figures in stage.verdict.figures:
        print(figures)
    if stage.verdict.is_right:
        shutil.rmtree(stage.folder)
        print("everything held")
        return
    print(f"WRONG; the files are in {stage.folder}")
    for line in stage.verdict.wrongs():
        print(f"  {line}")


def _print_report(report: Report) -> None:
    print(_TITLES)
    for kind, tally in sorted(report.tallies.items()):
        median, most = tally.within_s(0.5) * 1000, tally.within_s(0.99) * 1000
        times = f"{median:7.1f} ms{most:7.1f} ms{tally.slowest_s * 1000:7.1f} ms"
        print(
            f"{kind:12s}{tally.requests:9d}{tally.failed:8d}{tally.received / 1e6:8.1f}{times}{tally.told:12d}, {tally.idle_ends}"
        )
    print(f"all: {report.requests} answers, {report.failure_count} failed, longest silence {report.longest_silence_s:.2f} s")
    print()


if __name__ == "__main__":
    sys.exit(main())
