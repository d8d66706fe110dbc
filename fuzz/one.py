"""Runs one target under atheris: `python -m fuzz.one TARGET [inputs or arguments of libFuzzer]`."""

from __future__ import annotations

import shlex
import sys

import atheris

from fuzz.targets import TARGETS, target


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer ends the process; or, with files, ask what is in them."""
    name, *rest = arguments
    if name not in TARGETS:
        raise SystemExit(f"{name} is no target; there are {', '.join(TARGETS)}")
    with atheris.instrument_imports(include=["greenproxy"]):
        one_input = target(name)
    # libFuzzer starts itself again to merge inputs, by its first argument.
    atheris.Setup([shlex.join([sys.executable, "-m", "fuzz.one", name]), *rest], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
