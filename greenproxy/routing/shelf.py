"""Shelf: the routes under one host and one path. What is left to tell them apart are headers and methods."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from greenproxy.messages import Request
from greenproxy.routing.matchers import Candidate, HeaderMatch
from greenproxy.routing.table import Route

_FEW = 8  # so many are asked one after the other
_Ranked = list[tuple[int, Candidate]]


class Shelf:
    """Add candidates, `freeze`, then ask. Many are found in a dict, by that of their headers which the fewest others have."""

    __slots__ = ("_by_value", "_candidates", "_without")

    def __init__(self) -> None:
        self._candidates: list[Candidate] = []
        self._by_value: dict[_Field, dict[bytes, _Ranked]] = {}
        self._without: _Ranked = []

    def add(self, candidate: Candidate) -> None:
        """Take one more."""
        self._candidates.append(candidate)

    def freeze(self) -> None:
        """Bring them into the order of precedence once all are in: more conditions first, then the file's."""
        self._candidates.sort(key=lambda each: (-each.conditions, each.order))
        if len(self._candidates) <= _FEW:
            return
        commonness = Counter(_key(header) for each in self._candidates for header in each.headers)
        fields: dict[str, _Field] = {}
        for rank, each in enumerate(self._candidates):
            if not each.headers:
                self._without.append((rank, each))
                continue
            header = min(each.headers, key=lambda each: commonness[_key(each)])
            field = fields.setdefault(header.name.lower(), _Field(header.name))
            self._by_value.setdefault(field, {}).setdefault(header.wire_value, []).append((rank, each))

    def find(self, request: Request) -> Route | None:
        """Return the first route of which every condition holds, or None."""
        for each in self._candidates if not self._by_value else self._likely(request):
            if (not each.methods or request.method in each.methods) and (not each.headers or each.holds_but_for_method(request)):
                return each.route
        return None

    def but_for_method(self, request: Request) -> Iterator[Candidate]:
        """Yield those of which every condition but the method holds."""
        for each in self._candidates if not self._by_value else self._likely(request):
            if each.holds_but_for_method(request):
                yield each

    def _likely(self, request: Request) -> Sequence[Candidate]:
        """Return, in order, those without headers and those of which the request has one."""
        found = self._without
        for field, by_value in self._by_value.items():
            for value in field.values_in(request):
                found = found + by_value.get(value, [])
        return [each for _, each in sorted(found, key=lambda ranked: ranked[0])]


def _key(header: HeaderMatch) -> tuple[str, bytes]:
    return header.name.lower(), header.wire_value


class _Field:
    """A header by its name: reads its values in a request, as bytes. Asks for no `Headers` if nobody else did."""

    __slots__ = ("_find_all", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._find_all = re.compile(b"(?:\\A|\n)(?i:%b):[ \t]*([^\r\n]*)" % re.escape(name).encode()).findall

    def values_in(self, request: Request) -> set[bytes]:
        headers = request.headers_if_read
        if headers is not None:
            return {value.encode("latin-1", "replace") for value in headers.get_all(self._name)}
        return {value.rstrip(b" \t") for value in self._find_all(request.raw.seen)} if request.raw is not None else set()
