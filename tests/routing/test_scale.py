"""Ten thousand routes: what a request costs, and that many are told apart as few are. Counted in instructions, not in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.config.settings import RouteSettings
from greenproxy.messages import Headers, Request
from greenproxy.routing import shelf, table
from greenproxy.routing.router import Router
from greenproxy.routing.table import find_ambiguities
from tests.counting import Work
from tests.routing.requests import chosen, get, router, settings

MANY = 10_000


class Raw:
    """A request head as the parser gives it."""

    def __init__(self, block: bytes) -> None:
        self.seen = block


def asking(path: str, host: str = "a.example", block: bytes = b"") -> Request:
    """Return a request whose head nobody has read."""
    return Request("GET", path, path=path, host=host, raw=Raw(block))


KINDS: dict[str, tuple[Callable[[int], RouteSettings], Callable[[int], Request]]] = {
    "hosts": (lambda n: settings(f"r{n}", host=(f"h{n}.example",)), lambda n: asking("/", f"h{n}.example")),
    "wildcards": (lambda n: settings(f"r{n}", host=(f"*.h{n}.example",)), lambda n: asking("/", f"www.h{n}.example")),
    "exact paths": (lambda n: settings(f"r{n}", f"= /p/{n}"), lambda n: asking(f"/p/{n}")),
    "prefixes": (lambda n: settings(f"r{n}", f"/{'x' * (n % 50)}p{n}/"), lambda n: asking(f"/{'x' * (n % 50)}p{n}/deep/er")),
    "headers": (
        lambda n: settings(f"r{n}", "/a/", header=(("X-Env", "prod"), ("X-Team", f"t{n}"))),
        lambda n: asking("/a/b", block=b"Host: a\r\nx-team: t%d\r\nX-Env: prod\r\n" % n),
    ),
    "regexes": (lambda n: settings(f"r{n}", rf"~ ^/svc-{n}/\d+$"), lambda n: asking(f"/svc-{n}/12")),
}


def large(kind: str, count: int) -> Router:
    return router(*(KINDS[kind][0](n) for n in range(count)), settings("rest", line=MANY + 1), default="default")


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_ten_thousand_routes_costs_what_one_of_ten_does(kind: str) -> None:
    costs = []
    for count in (10, MANY if kind != "regexes" else 1000):  # compiling as many takes seconds
        house, request = large(kind, count), KINDS[kind][1](7)
        assert chosen(house, request) == "r7"
        with Work() as work:
            house.find(request)
        costs.append(work.count)
    assert costs[1] <= costs[0] * 1.5 + 100


def test_ambiguities_among_a_thousand_routes_of_one_path_are_found_without_a_look_at_all_pairs() -> None:
    routes = [KINDS["headers"][0](n) for n in range(MANY // 10)]
    twin = settings("twin", "/a/", header=(("x-team", "t77"), ("X-Env", "prod")), line=MANY + 1)
    with Work() as work:
        found = find_ambiguities([*routes, twin])
    assert [(first.name, second.name) for first, second in found] == [("r77", "twin")]
    assert work.count < len(routes) * 1000


# ------------------------------------------------------------------ many are told apart as few are

HEADERS = st.lists(st.tuples(st.sampled_from(["X-A", "x-a", "X-B"]), st.sampled_from(["1", "2", ""])), max_size=3)
ROUTES = st.lists(st.tuples(HEADERS, st.sampled_from([(), ("GET",), ("PUT", "GET")])), min_size=1, max_size=14)


def small_and_large(monkeypatch: pytest.MonkeyPatch, tell: Callable[[], object]) -> list[object]:
    told = []
    for few in (1000, 0):
        with monkeypatch.context() as patched:
            patched.setattr(shelf, "_FEW", few)
            patched.setattr(table, "_FEW", few)
            told.append(tell())
    return told


@given(ROUTES, HEADERS, st.booleans())
def test_routes_are_found_the_same_way_however_many_there_are(
    routes: list[tuple[list[tuple[str, str]], tuple[str, ...]]], sent: list[tuple[str, str]], is_read: bool
) -> None:
    made = [settings(f"r{n}", "/a", header=tuple(header), method=method, line=n) for n, (header, method) in enumerate(routes)]
    block = b"".join(f"{name}: {value}\r\n".encode() for name, value in sent)
    request = get("/a", headers=Headers(sent)) if is_read else asking("/a", block=block)
    with pytest.MonkeyPatch.context() as monkeypatch:
        few, many = small_and_large(monkeypatch, lambda: chosen(router(*made, default="default"), request))
    assert few == many


@given(ROUTES)
def test_ambiguities_are_the_same_however_many_routes_there_are(
    routes: list[tuple[list[tuple[str, str]], tuple[str, ...]]],
) -> None:
    made = [settings(f"r{n}", "/a", header=tuple(header), method=method, line=n) for n, (header, method) in enumerate(routes)]

    def found() -> set[tuple[str, str]]:
        return {(first.name, second.name) for first, second in find_ambiguities(made)}

    with pytest.MonkeyPatch.context() as monkeypatch:
        few, many = small_and_large(monkeypatch, found)
    assert few == many
