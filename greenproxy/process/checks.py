"""What the configuration room cannot see by itself: mistakes that only another room can judge."""

from __future__ import annotations

from collections.abc import Iterator

from greenproxy.config.errors import ConfigError
from greenproxy.config.settings import Settings
from greenproxy.routing.table import find_ambiguities


def ambiguous_routes(settings: Settings) -> Iterator[ConfigError]:
    """Yield a mistake for each route that takes the same requests as an earlier one."""
    file = str(settings.source or "")
    for first, second in find_ambiguities(settings.routes):
        message = f"takes the same requests as [route:{first.name}] in line {first.line}: neither is more specific"
        yield ConfigError(file=file, line=second.line, section=f"route:{second.name}", message=message)
