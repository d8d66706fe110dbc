"""The command line: `greenproxy -c FILE`, `--check`, `greenproxy demo`. What users do wrong is one clear line, never a traceback.

Commands import what they need themselves, so that `--version`, `--help` and a demo backend start at once.
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
#: Commands that act on a running greenproxy.
_LATER = ("status", "reload", "stop")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit status; the console script leaves with it.

    Serving ends with SystemExit: 0 stopped, 1 cannot listen, 2 configuration, 3 workers cannot start.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    variables = os.environ if environ is None else environ
    command = arguments[0] if arguments else ""
    try:
        if command in _LATER:
            raise Refused(f"greenproxy {command} is not available in this version")
        if command == "demo":
            return _demo(arguments[1:])
        return _serve(arguments, variables)
    except (ConfigErrors, Refused) as error:
        print(error, file=sys.stderr)
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
        print(f"{options.config or 'greenproxy'}: ok")
        return STOPPED
    from greenproxy.master import serve

    serve(settings, lambda: load_settings(options, environ, [ambiguous_routes]))


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
