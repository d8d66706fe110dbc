"""Router: the handler that finds the route of a request and lets it answer.

Hosts, exact paths and prefixes are looked up in dicts, so the cost depends on the number of labels in the host and
of different prefix lengths, not on the number of routes. Only regexes are tried one after the other, in file order.
The order of precedence is told in `routing/table.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from greenproxy.config.settings import PathMatch
from greenproxy.errors import MethodNotAllowed, NoRoute
from greenproxy.messages import Handler, Request, Response
from greenproxy.routing.matchers import Candidate, compile_regex
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
            for candidates in paths.matching(request.path)
            for each in candidates
            if each.holds_but_for_method(request)
            for method in each.methods
        }
        return tuple(sorted(allowed))


class _Paths:
    """The routes under one host, by path."""

    __slots__ = ("_any", "_exact", "_folders", "_lengths", "_prefixes", "_regexes")

    def __init__(self) -> None:
        self._exact: dict[str, list[Candidate]] = {}
        self._prefixes: dict[str, list[Candidate]] = {}
        self._folders: dict[str, list[Candidate]] = {}  # the prefixes that end in a slash, without it
        self._regexes: dict[str, tuple[re.Pattern[str], list[Candidate]]] = {}  # a dict keeps the file's order
        self._any: list[Candidate] = []
        self._lengths: tuple[int, ...] = ()

    def add(self, candidate: Candidate) -> None:
        if not candidate.route.settings.path:
            self._any.append(candidate)
        for path in dict.fromkeys(candidate.route.settings.path):
            self._list_of(path).append(candidate)

    def _list_of(self, path: PathMatch) -> list[Candidate]:
        if path.kind == "exact":
            return self._exact.setdefault(path.text, [])
        if path.kind == "prefix":
            return self._prefixes.setdefault(path.text, [])
        return self._regexes.setdefault(path.text, (compile_regex(path.text), []))[1]

    def freeze(self) -> None:
        """Bring everything into the order of precedence once all routes are in."""
        self._folders = {prefix[:-1]: found for prefix, found in self._prefixes.items() if prefix.endswith("/")}
        self._lengths = tuple(sorted({len(prefix) for prefix in self._prefixes}, reverse=True))
        regex_lists = [candidates for _, candidates in self._regexes.values()]
        for candidates in [*self._exact.values(), *self._prefixes.values(), *regex_lists, self._any]:
            candidates.sort(key=lambda each: (-each.conditions, each.order))

    def find(self, request: Request) -> Route | None:
        for candidates in self.matching(request.path):
            for each in candidates:
                if (not each.methods or request.method in each.methods) and (
                    not each.headers or each.holds_but_for_method(request)
                ):
                    return each.route
        return None

    def matching(self, path: str) -> Iterator[list[Candidate]]:
        """Yield the candidates whose path condition holds, most specific first."""
        if self._exact:
            candidates = self._exact.get(path)
            if candidates is not None:
                yield candidates
        if self._lengths:
            yield from self._by_prefix(path)
        for pattern, candidates in self._regexes.values():
            if pattern.search(path) is not None:
                yield candidates
        if self._any:
            yield self._any

    def _by_prefix(self, path: str) -> Iterator[list[Candidate]]:
        """Yield the longest prefix first. Prefix /api/ also takes /api, behind a route with the prefix /api."""
        prefixes = self._prefixes
        size = len(path)
        candidates = prefixes.get(path)
        if candidates is not None:
            yield candidates
        candidates = self._folders.get(path)
        if candidates is not None:
            yield candidates
        for length in self._lengths:
            if length < size:
                candidates = prefixes.get(path[:length])
                if candidates is not None:
                    yield candidates
