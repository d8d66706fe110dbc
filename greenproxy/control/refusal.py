"""What a command cannot do, in one line."""

from __future__ import annotations


class CannotDo(Exception):
    """A command has failed. `str()` is the line to print."""
