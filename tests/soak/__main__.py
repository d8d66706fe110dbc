"""The command behind `scripts/soak`: runs a case in its full form and prints what held."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from greenproxy.config.errors import BadValue
from greenproxy.config.values import parse_duration_s
from tests.soak.cases import CASES, Case
from tests.soak.interrupts import Interrupts
from tests.soak.show import as_data, lines
from tests.soak.stage import Stage
from tests.soak.terrain import LEAKS

_HELD, _WRONG, _NOT_JUDGED = 0, 1, 2
_LEAKING = "mixed"  # the one case that looks for drift, and so the one that can be made to leak
_DOES = "Puts load on a proxy while things happen to it, and says what did not hold. See docs/soak.md."
_STATUSES = """Exit status: 0 everything held; 1 something did not hold, or drifts; 2 nothing was judged: a mistake on the
command line, or ended before there was enough to judge. Ctrl-C ends it with the report so far, a second one at once."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return 0 when everything held, 1 when not, 2 when nothing was judged."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.leak and options.case != _LEAKING:
        parser.error(f"--leak is for the case {_LEAKING} alone: {options.case} would leak nothing")
    if options.list:
        for case in CASES.values():
            print(f"{case.name:18s}{case.full_s:5g} s  {case.does}")
        return _HELD
    try:
        with Interrupts().at_once():
            return _run(CASES[options.case], options)
    except AssertionError as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return _WRONG
    except KeyboardInterrupt:
        print("interrupted: everything is ended, nothing was judged", file=sys.stderr)
        return _NOT_JUDGED


def _run(case: Case, options: argparse.Namespace) -> int:
    began_s = time.monotonic()
    told = sys.stderr if options.json else sys.stdout

    def say(line: str) -> None:
        print(f"{time.monotonic() - began_s:7.2f} s  {line}", file=told, flush=True)

    seconds = options.seconds or case.full_s
    print(f"{case.name}, {seconds:g} s: {case.does}", file=told, flush=True)
    stage = case.full(seconds, options.clients, say, options.leak)
    if options.json:
        print(json.dumps(as_data(stage, case.name, time.monotonic() - began_s), indent=2))
    else:
        print("", *lines(stage), sep="\n")
    return _status(stage)


def _status(stage: Stage) -> int:
    if not stage.verdict.is_right:
        return _WRONG
    shutil.rmtree(stage.folder)
    return _NOT_JUDGED if stage.verdict.is_too_short else _HELD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=_DOES, epilog=_STATUSES)
    parser.add_argument("--list", action="store_true", help="print the cases and what they do")
    parser.add_argument("--case", choices=list(CASES), default="mixed", metavar="NAME", help="the case to run (default: mixed)")
    told_length = "how long there is load (default: the case's own full time); to start and to end takes up to a minute more"
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=_positive, default=0.0, help=told_length)
    length.add_argument("--time", type=_duration, dest="seconds", metavar="TIME", help="the same with a unit: 10m, 24h")
    parser.add_argument("--clients", type=_positive, default=1.0, help="how many clients, as a factor (default 1)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON; the rest goes to standard error")
    told = "make mixed leak this with each request that is meant for it, to see that it notices; may be given again"
    parser.add_argument("--leak", choices=LEAKS, action="append", default=[], help=told)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0")
    return value


def _duration(text: str) -> float:
    try:
        return _positive(str(parse_duration_s(text)))
    except BadValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
