"""Routes as the router wants them, the order among them, and what a route does to the target.

A request belongs to the most specific route of which every condition holds: exact host, longest wildcard, any host;
within that exact path, longest prefix, regexes in file order, any path; within that the route with more conditions
(a `method` line is one, each `header` line is one). Two routes that this order cannot tell apart are ambiguous.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from urllib.parse import unquote_to_bytes

from greenproxy.config.settings import PathMatch, RouteSettings
from greenproxy.messages import Handler, Request, Response

_FEW = 16


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a listener: its settings and what answers. `max_body_bytes` None: the listener's limit."""

    settings: RouteSettings
    handler: Handler
    max_body_bytes: int | None = None


def condition_count(settings: RouteSettings) -> int:
    """Return how many conditions a route has besides host and path: the more there are, the earlier it is asked."""
    return bool(settings.method) + len(settings.header)


def normal_host(host: str) -> str:
    """Return a host as it is compared: lower case, without port, without the dot of the root."""
    if host.startswith("["):  # an IPv6 literal; its colons are not a port's
        return host[: host.find("]") + 1].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def find_ambiguities(routes: Sequence[RouteSettings]) -> list[tuple[RouteSettings, RouteSettings]]:
    """Return the pairs of routes that some request fits equally well, in file order.

    They share a listener, a host and a path, have equally many conditions, and the conditions do not exclude each
    other: neither are their methods disjoint, nor do they want different values of one header.
    """
    shelves: dict[tuple[str, PathMatch | None], list[RouteSettings]] = {}
    for route in routes:
        for key in _places(route):
            shelves.setdefault(key, []).append(route)
    found: dict[tuple[int, int], tuple[RouteSettings, RouteSettings]] = {}
    for shelf in shelves.values():
        for first, second in _pairs(shelf):
            if first is not second and _is_tied(first, second):
                found.setdefault((id(first), id(second)), (first, second))
    return list(found.values())


def _pairs(shelf: Sequence[RouteSettings]) -> Iterator[tuple[RouteSettings, RouteSettings]]:
    """Yield the pairs that may be tied, each in file order.

    Of many, those are left out that have different numbers of conditions, and those of which the header that the fewest others
    have is one field with two values.
    """
    if len(shelf) <= _FEW:
        yield from combinations(shelf, 2)
        return
    commonness = Counter((name.lower(), value) for route in shelf for name, value in route.header)
    by_field: dict[tuple[int, str], dict[str, list[tuple[int, RouteSettings]]]] = {}
    for place, route in enumerate(shelf):
        names = [name.lower() for name, _ in route.header]
        keys = [(name.lower(), value) for name, value in route.header if names.count(name.lower()) == 1]
        name, value = min(keys, key=lambda key: commonness[key], default=("", ""))
        by_field.setdefault((condition_count(route), name), {}).setdefault(value, []).append((place, route))
    for by_value in by_field.values():
        for alike in by_value.values():
            yield from ((first, second) for (_, first), (_, second) in combinations(alike, 2))
    for (one, these), (other, those) in combinations(by_field.items(), 2):
        if one[0] == other[0]:
            yield from _mixed(chain.from_iterable(these.values()), chain.from_iterable(those.values()))


def _mixed(
    these: Iterable[tuple[int, RouteSettings]], those: Iterable[tuple[int, RouteSettings]]
) -> Iterator[tuple[RouteSettings, RouteSettings]]:
    for first, second in product(these, those):
        yield (first[1], second[1]) if first[0] < second[0] else (second[1], first[1])


def _places(route: RouteSettings) -> Iterator[tuple[str, PathMatch | None]]:
    hosts = {normal_host(host) for host in route.host} or {""}
    return iter(dict.fromkeys(product(sorted(hosts), route.path or (None,))))


def _is_tied(first: RouteSettings, second: RouteSettings) -> bool:
    if first.listener and second.listener and not set(first.listener) & set(second.listener):
        return False
    if condition_count(first) != condition_count(second):
        return False
    if first.method and second.method and not set(first.method) & set(second.method):
        return False
    wanted = {name.lower(): value for name, value in first.header}
    return all(wanted.get(name.lower(), value) == value for name, value in second.header)


# ------------------------------------------------------------------ strip-prefix


def stripped(handler: Handler, prefix: str) -> Handler:
    """Return a handler that calls `handler` with the target as the backend shall see it (`strip-prefix`).

    The request gets its own target back before the answer is returned: the access log shows what the client sent.
    """
    if not prefix.strip("/"):
        return handler

    def strip_and_call(request: Request) -> Response:
        sent = request.target
        request.target = strip_prefix(sent, request.path, prefix)
        try:
            return handler(request)
        finally:
            request.target = sent

    return strip_and_call


def strip_prefix(target: str, path: str, prefix: str) -> str:
    """Return the raw `target` without `prefix`, which is compared with the decoded `path`, whole segments only.

    At least `/` is left, and never two slashes at the start (a backend could read a host behind them). What follows
    the prefix stays as the client wrote it. Only a target with `.` or `..` segments is resolved first, since cutting
    `/api/../api/x` blindly would hand `/../api/x` to the backend. A path that is not under the prefix keeps its target.
    """
    prefix = prefix.rstrip("/")
    if path != prefix and not path.startswith(prefix + "/"):
        return target
    raw, mark, query = target.partition("?")
    segments = raw.split("/")[1:]
    if any(_is_dots(segment) for segment in segments):
        segments = _resolve(segments)
    for _ in range(prefix.count("/")):
        while segments and not segments[0]:  # doubled slashes were merged in `path`
            del segments[0]
        del segments[:1]
    return "/" + "/".join(segments).lstrip("/") + mark + query


def _is_dots(segment: str) -> bool:
    return segment[:1] in (".", "%") and unquote_to_bytes(segment) in (b".", b"..")


def _resolve(segments: Sequence[str]) -> list[str]:
    """Return the segments without dots and doubled slashes (RFC 3986 section 5.2.4), escapes untouched."""
    kept: list[str] = []
    for segment in segments:
        if not _is_dots(segment):
            if segment:
                kept.append(segment)
        elif unquote_to_bytes(segment) == b"..":
            del kept[-1:]
    if not segments[-1] or _is_dots(segments[-1]):
        kept.append("")  # it named a folder
    return kept
