"""What a parser of the configuration owes to any text at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenproxy.config.errors import BadValue


def is_read_or_refused(parse: Callable[[str], Any], text: str) -> bool:
    """Return whether `parse` gives `text` the same meaning each time, or says in words what is wrong with it."""
    try:
        found = parse(text)
    except BadValue as error:
        return bool(str(error).strip())
    return bool(parse(text) == found)
