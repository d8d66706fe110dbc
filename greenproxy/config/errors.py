"""What is wrong with a configuration: one line per mistake, all of them at once.

A line is `FILE:LINE: [section] key: message (did you mean x?)`. A mistake in a flag or an environment
variable has no file: its line begins with the name of the flag or variable.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConfigError:
    """One mistake and where it is. `str()` is its line."""

    message: str
    file: str = ""
    line: int = 0  # 0: the file as a whole
    section: str = ""  # as written, without brackets
    key: str = ""  # a key of the section, or a flag, or an environment variable
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        section = f"[{self.section}] " if self.section else ""
        key = f"{self.key}: " if self.key else ""
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{place}{section}{key}{self.message}{hint}"


class ConfigErrors(Exception):
    """The configuration cannot be used. `str()` is one line per mistake, in the order of the file."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors: tuple[ConfigError, ...] = tuple(sorted(errors, key=lambda error: (error.file, error.line)))
        super().__init__("\n".join(str(error) for error in self.errors))


class BadValue(ValueError):
    """A value that cannot be read. `str()` says why; `suggestion` is what may have been meant."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion = suggestion


def closest(word: str, known: Iterable[str]) -> str:
    """Return the name among `known` that `word` was probably meant to be, or an empty string."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, n=1)
    return names[found[0]] if found else ""
