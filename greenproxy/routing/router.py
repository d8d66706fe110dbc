"""Router: the handler that finds the route of a request and lets it answer.

Hosts, exact paths and header values are looked up in dicts, prefixes in a sorted list, so the cost hardly depends on the
number of routes. Only regexes are tried one after the other, in file order, as far as the path begins as they want it.
The order of precedence is told in `routing/table.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter

from greenproxy.config.settings import PathMatch
from greenproxy.errors import MethodNotAllowed, NoRoute
from greenproxy.messages import Handler, Request, Response
from greenproxy.routing.matchers import Candidate, compile_regex
from greenproxy.routing.prefixes import Prefixes, literal_start
from greenproxy.routing.shelf import Shelf
from greenproxy.routing.table import Route, condition_count, normal_host

_LONGEST_NAME = 255  # no DNS name is longer (RFC 1035 section 2.3.4); bounds the search through a hostile Host


class Router:
    """Calls the handler of the most specific route, else `default`; raises NoRoute (404) or MethodNotAllowed (405)."""

    def __init__(self, routes: Sequence[Route], default: Handler | None = None) -> None:
        self._default = default
        self._hosts: dict[str, _Paths] = {}
        self._wildcards: dict[str, _Paths] = {}  # ".example.com" for *.example.com
        self._any_host: _Paths | None = None
        for order, route in enumerate(sorted(routes, key=lambda each: each.settings.line)):
            candidate = Candidate(route, order, condition_count(route.settings))
            for host in dict.fromkeys(route.settings.host or ("",)):
                self._paths_of(host).add(candidate)
        for paths in self._all_paths():
            paths.freeze()
        self._has_hosts = bool(self._hosts or self._wildcards)

    def _paths_of(self, host: str) -> _Paths:
        if not host:
            self._any_host = self._any_host or _Paths()
            return self._any_host
        if host.startswith("*."):
            return self._wildcards.setdefault(normal_host(host)[1:], _Paths())
        return self._hosts.setdefault(normal_host(host), _Paths())

    def _all_paths(self) -> Iterator[_Paths]:
        yield from self._hosts.values()
        yield from self._wildcards.values()
        if self._any_host is not None:
            yield self._any_host

    def __call__(self, request: Request) -> Response:
        """Return the answer of the route's handler, or of the default. Raises NoRoute or MethodNotAllowed."""
        route = self.find(request)
        if route is not None:
            return route.handler(request)
        if self._default is not None:
            return self._default(request)
        allow = self._allowed(request)
        raise MethodNotAllowed(allow) if allow else NoRoute()

    def find(self, request: Request) -> Route | None:
        """Return the most specific route of which every condition holds, or None."""
        if not self._has_hosts:
            return None if self._any_host is None else self._any_host.find(request)
        for paths in self._by_host(request.host):
            route = paths.find(request)
            if route is not None:
                return route
        return None

    def _by_host(self, sent: str) -> Iterator[_Paths]:
        """Yield what is under the request's host, most specific first."""
        host = normal_host(sent)
        paths = self._hosts.get(host)
        if paths is not None:
            yield paths
        if self._wildcards and len(host) <= _LONGEST_NAME:
            at = host.find(".", 1)  # at least one label stands for the *
            while at > 0:
                paths = self._wildcards.get(host[at:])
                if paths is not None:
                    yield paths
                at = host.find(".", at + 1)
        if self._any_host is not None:
            yield self._any_host

    def _allowed(self, request: Request) -> tuple[str, ...]:
        """Return the methods of the routes that took the request but for its method."""
        allowed = {
            method
            for paths in self._by_host(request.host)
            for shelf in paths.matching(request.path)
            for each in shelf.but_for_method(request)
            for method in each.methods
        }
        return tuple(sorted(allowed))


class _Paths:
    """The routes under one host, by path."""

    __slots__ = ("_any", "_beginnings", "_exact", "_folders", "_prefixes", "_regexes", "_searched", "_starts")

    def __init__(self) -> None:
        self._exact: dict[str, Shelf] = {}
        self._prefixes: dict[str, Shelf] = {}
        self._folders: dict[str, Shelf] = {}  # the prefixes that end in a slash, without it
        self._searched = Prefixes(())  # the prefixes
        self._regexes: dict[str, tuple[int, re.Pattern[str], Shelf]] = {}  # with their places in the file's order
        self._starts: dict[str, list[tuple[int, re.Pattern[str], Shelf]]] = {}  # by what a path must begin with
        self._beginnings = Prefixes(())
        self._any: Shelf | None = None

    def add(self, candidate: Candidate) -> None:
        if not candidate.route.settings.path:
            self._any = self._any or Shelf()
            self._any.add(candidate)
        for path in dict.fromkeys(candidate.route.settings.path):
            self._shelf_of(path).add(candidate)

    def _shelf_of(self, path: PathMatch) -> Shelf:
        if path.kind == "exact":
            return self._exact.setdefault(path.text, Shelf())
        if path.kind == "prefix":
            return self._prefixes.setdefault(path.text, Shelf())
        return self._regexes.setdefault(path.text, (len(self._regexes), compile_regex(path.text), Shelf()))[2]

    def freeze(self) -> None:
        """Bring everything into the order of precedence once all routes are in."""
        self._folders = {prefix[:-1]: found for prefix, found in self._prefixes.items() if prefix.endswith("/")}
        self._searched = Prefixes(self._prefixes)
        for text, ranked in self._regexes.items():
            self._starts.setdefault(literal_start(text), []).append(ranked)
        self._beginnings = Prefixes(self._starts)
        shelves = [*self._exact.values(), *self._prefixes.values(), *(shelf for _, _, shelf in self._regexes.values())]
        for shelf in shelves if self._any is None else [*shelves, self._any]:
            shelf.freeze()

    def find(self, request: Request) -> Route | None:
        for shelf in self.matching(request.path):
            route = shelf.find(request)
            if route is not None:
                return route
        return None

    def matching(self, path: str) -> Iterator[Shelf]:
        """Yield the shelves whose path condition holds, most specific first."""
        if self._exact:
            shelf = self._exact.get(path)
            if shelf is not None:
                yield shelf
        if self._prefixes:
            yield from self._by_prefix(path)
        if self._regexes:
            yield from self._by_regex(path)
        if self._any is not None:
            yield self._any

    def _by_prefix(self, path: str) -> Iterator[Shelf]:
        """Yield the longest prefix first. Prefix /api/ also takes /api, behind a route with the prefix /api."""
        prefixes = self._prefixes
        shelf = prefixes.get(path)
        if shelf is not None:
            yield shelf
        shelf = self._folders.get(path)
        if shelf is not None:
            yield shelf
        for prefix in self._searched.of(path):
            if prefix != path:
                yield prefixes[prefix]

    def _by_regex(self, path: str) -> Iterator[Shelf]:
        """Yield in the order of the file. Those are not tried that begin with other characters than the path does."""
        lists = [self._starts[start] for start in self._beginnings.of(path)]
        ranked = lists[0] if len(lists) == 1 else sorted(chain.from_iterable(lists), key=itemgetter(0))
        for _, pattern, shelf in ranked:
            if pattern.search(path) is not None:
                yield shelf
