"""The command line: `greenproxy -c FILE`, `--check`, `greenproxy demo`. What users do wrong is one clear line, never a traceback.

Commands import what they need themselves, so that `--version`, `--help` and a demo backend start at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from greenproxy.config.errors import ConfigErrors

STOPPED, WRONG = 0, 2
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
    from greenproxy.config.options import load_settings, parse
    from greenproxy.process.checks import ambiguous_routes

    options = parse(arguments, environ)
    settings = load_settings(options, environ, [ambiguous_routes])
    if options.is_check:
        print(f"{options.config or 'greenproxy'}: ok")
        return STOPPED
    from greenproxy.master import serve

    serve(settings)


def _demo(arguments: Sequence[str]) -> int:
    from greenproxy.process.demo_process import run

    return run(arguments)
