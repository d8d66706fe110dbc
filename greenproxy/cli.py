"""The command line: `greenproxy -c FILE`, `--check`, `greenproxy demo`, `greenproxy status | reload | stop`.

What users do wrong is one clear line, never a traceback. Commands import what they need themselves, so that `--version`,
`--help` and a demo backend start at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from greenproxy.config.errors import ConfigErrors

STOPPED, CANNOT_LISTEN, WRONG = 0, 1, 2
#: Those that act on a running greenproxy.
_COMMANDS = ("status", "reload", "stop")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit status; the console script leaves with it.

    `status`, `reload` and `stop` return 0 done, 1 not done, 2 wrong command line or file; so does `demo` (1: cannot listen).
    Serving ends with SystemExit: 0 stopped, 1 cannot listen, 2 configuration, 3 workers cannot start.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    variables = os.environ if environ is None else environ
    try:
        if arguments[:1] == ["demo"]:
            return _demo(arguments[1:])
        command, others = _find_command(arguments)
        if command:
            return _control(command, others, variables)
        return _serve(arguments, variables)
    except (ConfigErrors, Refused) as error:
        print(error, file=sys.stderr)
        from greenproxy.process.upgrade import tell_failure

        tell_failure(os.environ, str(error))
        return WRONG
    except KeyboardInterrupt:
        return 130  # as the shell says it: 128 and the number of INT


class Refused(Exception):
    """A command line that cannot be followed. `str()` is the line to print."""


def _serve(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    from greenproxy.config.options import idle_variables, load_settings, parse
    from greenproxy.process.checks import ambiguous_routes

    options = parse(arguments, environ)
    settings = load_settings(options, environ, [ambiguous_routes])
    for line in idle_variables(environ, settings):
        print(f"greenproxy: warning: {line}", file=sys.stderr)
    if options.is_check:
        if settings.warnings:
            raise Refused("\n".join(settings.warnings))
        print(f"{options.config or 'greenproxy'}: ok")
        return STOPPED
    from greenproxy.master import serve

    serve(settings, lambda: load_settings(options, environ, [ambiguous_routes]))


def _find_command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the command of a command line ("" if there is none) and what else stands there. `-c FILE` may stand before it."""
    place = 0
    while place < len(arguments):
        word = arguments[place]
        if word in ("-c", "--config"):
            place += 2
        elif word.startswith(("-c", "--config=")):
            place += 1
        else:
            break
    if place < len(arguments) and arguments[place] in _COMMANDS:
        return arguments[place], [*arguments[:place], *arguments[place + 1 :]]
    return "", list(arguments)


def _control(command: str, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    from greenproxy.config.commands import parse_command
    from greenproxy.control.commands import run

    try:
        return run(parse_command(command, arguments, environ), environ)
    except BrokenPipeError:  # `greenproxy status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what the end would flush goes nowhere
        return STOPPED


class _DemoParser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise Refused(f"greenproxy demo: {message.removeprefix('argument ')}")


def _demo(arguments: Sequence[str]) -> int:
    from greenproxy.apps.demo import CannotListen, serve
    from greenproxy.config.addresses import parse_bind
    from greenproxy.config.errors import BadValue
    from greenproxy.process.demos import LISTENING

    parser = _DemoParser(prog="greenproxy demo", description="A small JSON backend to try things with.", allow_abbrev=False)
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1:9001", help="where it listens (default: %(default)s)")
    parser.add_argument("--name", default="demo", help="what it calls itself (default: %(default)s)")
    # How a master starts it: the log is the master's, which gets one line by standard output, and so is Ctrl-C.
    parser.add_argument("--die-with-parent", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args(list(arguments))
    try:
        address = parse_bind(found.bind, Path.cwd())
    except BadValue as error:
        raise Refused(f"greenproxy demo: --bind: {error}") from None
    try:
        if found.die_with_parent:
            serve(address, found.name, dies_with_parent=True, on_listening=lambda: print(LISTENING, flush=True))
        else:
            serve(address, found.name)
    except CannotListen as error:
        if found.die_with_parent:
            print(error, flush=True)
        else:
            print(f"demo backend {found.name}: {error}", file=sys.stderr)
        return CANNOT_LISTEN
    return STOPPED
