"""One matcher per condition of a route. Each only looks at a request and never changes it.

Asking for `request.headers` would make the proxy rebuild a head that nobody touched, so header conditions are
compared with the bytes the request came with as long as nobody asked for more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from greenproxy.messages import Request
from greenproxy.routing.table import Route


class HeaderMatch:
    """`header = X-Beta: 1`: some field of that name has exactly this value; the name is compared without case."""

    __slots__ = ("_field", "_search", "_value", "name", "wire_value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value.strip(" \t")
        self.wire_value = self._value.encode("latin-1", "replace")
        self._field = b"(?:\\A|\n)(?i:%b):[ \t]*%b[ \t]*\r\n" % (re.escape(name).encode(), re.escape(self.wire_value))
        self._search: Callable[[bytes], object] | None = None  # compiled when first asked: thousands take seconds

    def _is_in_block(self, block: bytes) -> bool:
        if self._search is None:
            self._search = re.compile(self._field).search
        return self._search(block) is not None

    def holds(self, request: Request) -> bool:
        """Return whether the request has the field."""
        headers = request.headers_if_read
        if headers is None:
            return request.raw is not None and self._is_in_block(request.raw.seen)
        return self._value in headers.get_all(self.name)


class Candidate:
    """A route under one host and path, with what is left to check: its headers and its methods."""

    __slots__ = ("conditions", "headers", "methods", "order", "route")

    def __init__(self, route: Route, order: int, conditions: int) -> None:
        self.route = route
        self.order = order  # in the file
        self.conditions = conditions
        self.headers = tuple(HeaderMatch(name, value) for name, value in route.settings.header)
        self.methods = frozenset(route.settings.method)

    def holds_but_for_method(self, request: Request) -> bool:
        """Return whether every condition except `method` holds."""
        return all(header.holds(request) for header in self.headers)


def compile_regex(text: str) -> re.Pattern[str]:
    """Return the regex of a `path = ~ ...` line; it may match anywhere unless it has anchors. Raises re.error."""
    return re.compile(text)
