"""Configurations as texts: what they are read as, and the lines of what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

from greenproxy.config.errors import ConfigErrors
from greenproxy.config.load import Override, TryCode, assemble
from greenproxy.config.reader import Reader
from greenproxy.config.settings import MiddlewareSettings, Settings

FILE = "f.ini"
FOLDER = Path("/etc/greenproxy")


def no_code_is_wrong(_middlewares: Sequence[MiddlewareSettings], _folder: Path) -> Mapping[str, str]:
    """Stand in for the child processes that try user code."""
    return {}


def settings_of(
    text: str,
    environ: Mapping[str, str] | None = None,
    *,
    overrides: Sequence[Override] = (),
    try_code: TryCode = no_code_is_wrong,
    folder: Path = FOLDER,
) -> Settings:
    """Return what the text is read as. Raises ConfigErrors."""
    reader = Reader(dedent(text), FILE, environ or {})
    return assemble(reader.sections, file=FILE, folder=folder, errors=reader.errors, overrides=overrides, try_code=try_code)


def mistakes_in(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of what is wrong with the text, without the name of the file."""
    try:
        settings_of(text, environ)
    except ConfigErrors as errors:
        return [line.removeprefix(f"{FILE}:") for line in str(errors).splitlines()]
    return []
