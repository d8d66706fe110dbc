"""The targets by name. Each takes the bytes of one input, and raises when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

FOLDER = Path(__file__).parent
SEEDS = FOLDER / "seeds"
FOUND = FOLDER / "found"
DICTIONARY = FOLDER / "http.dict"

#: Name, and how much of the time it gets.
TARGETS = {"heads": 3, "chunks": 2, "answers": 3, "relay": 4, "connection": 4, "chain": 2}


def target(name: str) -> Callable[[bytes], None]:
    """Return the function that takes one input. Imports what it tests, so that a fuzzer can prepare for that."""
    return cast("Callable[[bytes], None]", import_module(f"fuzz.{name}").one_input)


def seeds(name: str) -> list[Path]:
    """Return the files of the committed inputs of a target."""
    return sorted((SEEDS / name).iterdir())
