"""Which route a request belongs to."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.config.settings import RouteSettings
from greenproxy.errors import MethodNotAllowed, NoRoute
from greenproxy.messages import Headers, Request
from greenproxy.routing.router import Router
from greenproxy.routing.table import Route, condition_count, normal_host
from tests.routing.requests import answers, chosen, get, router, settings

# ------------------------------------------------------------------ hosts


def test_exact_host_beats_longer_wildcard_beats_shorter_beats_any() -> None:
    house = router(
        settings("any"),
        settings("short", host=("*.example.com",)),
        settings("long", host=("*.eu.example.com",)),
        settings("exact", host=("shop.eu.example.com",)),
    )
    assert chosen(house, get("/", "shop.eu.example.com")) == "exact"
    assert chosen(house, get("/", "blog.eu.example.com")) == "long"
    assert chosen(house, get("/", "blog.example.com")) == "short"
    assert chosen(house, get("/", "example.org")) == "any"


def test_wildcard_takes_several_labels_but_not_the_apex() -> None:
    house = router(settings("wild", host=("*.example.com",)), default="default")
    assert chosen(house, get("/", "a.b.c.example.com")) == "wild"
    assert chosen(house, get("/", "example.com")) == "default"
    assert chosen(house, get("/", ".example.com")) == "default"
    assert chosen(house, get("/", "notexample.com")) == "default"


@pytest.mark.parametrize("sent", ["SHOP.example.com", "shop.example.com:8080", "shop.example.com.", "Shop.Example.Com.:80"])
def test_case_port_and_root_dot_of_a_host_do_not_matter(sent: str) -> None:
    assert chosen(router(settings("shop", host=("Shop.example.COM",))), get("/", sent)) == "shop"


@pytest.mark.parametrize("sent", ["[::1]", "[::1]:8080", "[::1]:80"])
def test_ipv6_literal_is_a_host(sent: str) -> None:
    assert chosen(router(settings("six", host=("[::1]",))), get("/", sent)) == "six"


def test_request_without_host_takes_only_routes_for_any_host() -> None:
    house = router(settings("one", host=("a.example",)), settings("any"))
    assert chosen(house, get("/", "")) == "any"


def test_hostile_host_of_many_labels_is_not_searched_through() -> None:
    house = router(settings("wild", host=("*.example.com",)), default="default")
    began = time.perf_counter()
    assert chosen(house, get("/", "a." * 15000 + "example.com")) == "default"
    assert time.perf_counter() - began < 0.05


# ------------------------------------------------------------------ paths


def test_exact_path_beats_longest_prefix_beats_regex_beats_any() -> None:
    house = router(
        settings("any"),
        settings("regex", "~ ^/shop/"),
        settings("short", "/shop/"),
        settings("long", "/shop/cart/"),
        settings("exact", "= /shop/cart/1"),
    )
    assert chosen(house, get("/shop/cart/1")) == "exact"
    assert chosen(house, get("/shop/cart/2")) == "long"
    assert chosen(house, get("/shop/x")) == "short"
    assert chosen(router(settings("any"), settings("regex", r"~ \.png$")), get("/x.png")) == "regex"
    assert chosen(house, get("/elsewhere")) == "any"


def test_regexes_are_tried_in_the_order_of_the_file() -> None:
    house = router(settings("second", "~ /x", line=20), settings("first", "~ /", line=10))
    assert chosen(house, get("/x")) == "first"


def test_prefix_with_a_slash_takes_the_folder_without_it_and_nothing_else() -> None:
    house = router(settings("api", "/api/"), default="default")
    assert chosen(house, get("/api")) == "api"
    assert chosen(house, get("/api/")) == "api"
    assert chosen(house, get("/api/v1")) == "api"
    assert chosen(house, get("/apiary")) == "default"
    assert chosen(house, get("/")) == "default"


def test_prefix_without_a_slash_takes_whatever_begins_with_it() -> None:
    house = router(settings("api", "/api"), default="default")
    assert chosen(house, get("/apiary")) == "api"
    assert chosen(house, get("/ap")) == "default"


def test_folder_without_its_slash_prefers_the_prefix_that_is_spelt_like_it() -> None:
    house = router(settings("slash", "/api/"), settings("bare", "/api"), settings("root", "/"))
    assert chosen(house, get("/api")) == "bare"
    assert chosen(house, get("/api/x")) == "slash"
    assert chosen(router(settings("slash", "/api/"), settings("root", "/")), get("/api")) == "slash"


def test_several_paths_of_a_route_are_alternatives() -> None:
    house = router(settings("both", "/a/", "= /b", "~ c$"), default="default")
    assert [chosen(house, get(path)) for path in ("/a/1", "/b", "/b/c", "/d")] == ["both", "both", "both", "default"]


# ------------------------------------------------------------------ methods and headers


def test_route_with_more_conditions_is_asked_first() -> None:
    beta = (("X-Beta", "1"),)
    house = router(
        settings("plain", "/"),
        settings("post", "/", method=("POST",)),
        settings("beta-post", "/", method=("POST",), header=beta),
    )
    assert chosen(house, get("/", method="GET")) == "plain"
    assert chosen(house, get("/", method="POST")) == "post"
    assert chosen(house, get("/", method="POST", headers=Headers({"x-beta": "1"}))) == "beta-post"


def test_specific_route_whose_condition_fails_gives_way_to_a_less_specific_one() -> None:
    house = router(settings("exact", "= /x", host=("a.example",), method=("POST",)), settings("any", "/"))
    assert chosen(house, get("/x")) == "any"


def test_any_of_several_fields_of_a_name_is_enough_and_all_header_lines_are_needed() -> None:
    house = router(settings("both", header=(("X-A", "1"), ("X-B", "2"))), default="default")
    assert chosen(house, get("/", headers=Headers([("X-A", "0"), ("x-a", "1"), ("X-B", "2")]))) == "both"
    assert chosen(house, get("/", headers=Headers([("X-A", "1")]))) == "default"


# ------------------------------------------------------------------ nothing fits


def test_no_route_and_no_default_is_404() -> None:
    with pytest.raises(NoRoute):
        router(settings("one", "/one/"))(get("/two"))


def test_route_that_fails_in_its_method_alone_is_405_with_allow() -> None:
    house = router(settings("a", "/x", method=("POST", "PUT")), settings("b", "/", method=("DELETE",)), settings("c", "= /y"))
    with pytest.raises(MethodNotAllowed) as raised:
        house(get("/x"))
    assert raised.value.allow == ("DELETE", "POST", "PUT")


def test_default_takes_what_failed_in_its_method() -> None:
    assert chosen(router(settings("a", "/x", method=("POST",)), default="default"), get("/x")) == "default"


def test_route_that_fails_in_a_header_too_is_404() -> None:
    house = router(settings("a", "/x", method=("POST",), header=(("X-A", "1"),)))
    with pytest.raises(NoRoute):
        house(get("/x"))


def test_methods_of_other_hosts_are_not_allowed_here() -> None:
    house = router(settings("a", method=("POST",), host=("b.example",)))
    with pytest.raises(NoRoute):
        house(get("/", "a.example"))


# ------------------------------------------------------------------ against the text of the rules


def host_rank(pattern: str, host: str) -> tuple[int, int] | None:
    if not pattern:
        return (0, 0)
    if pattern.startswith("*."):
        return (1, len(pattern)) if host.endswith(pattern[1:]) and host != pattern[1:] else None
    return (2, 0) if host == pattern else None


def path_rank(route: RouteSettings, path: str) -> tuple[int, int] | None:
    ranks = [(0, 0)] if not route.path else []
    for each in route.path:
        if each.kind == "exact" and path == each.text:
            ranks.append((3, 0))
        if each.kind == "prefix" and path.startswith(each.text):
            ranks.append((2, 2 * len(each.text)))
        if each.kind == "prefix" and path + "/" == each.text:
            ranks.append((2, 2 * len(path) - 1))
    return max(ranks, default=None)


def slow_choice(routes: list[RouteSettings], request: Request) -> str:
    ranked = []
    for route in routes:
        hosts = [rank for pattern in route.host or ("",) if (rank := host_rank(pattern, normal_host(request.host))) is not None]
        path = path_rank(route, request.path)
        if hosts and path is not None and (not route.method or request.method in route.method):
            ranked.append((max(hosts), path, condition_count(route), -route.line, route.name))
    return max(ranked)[-1] if ranked else "default"


hosts = st.sampled_from(["", "a.x", "b.a.x", "*.x", "*.a.x", "c.b.a.x"])
paths = st.sampled_from(["", "= /a", "= /a/b", "/", "/a", "/a/", "/a/b", "/a/b/"])
methods = st.sampled_from([(), ("GET",), ("POST",)])
routes_of_any_kind = st.lists(st.tuples(st.lists(hosts, max_size=2), st.lists(paths, max_size=2), methods), max_size=8)


asked = st.tuples(hosts.filter(lambda host: "*" not in host), st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab"]))


@given(routes_of_any_kind, asked)
def test_router_chooses_what_the_rules_say(
    drawn: list[tuple[list[str], list[str], tuple[str, ...]]], asked_for: tuple[str, str]
) -> None:
    host, path = asked_for
    routes = [
        settings(f"{n}", *filter(None, each[1]), line=n, host=tuple(filter(None, each[0])), method=each[2])
        for n, each in enumerate(drawn)
    ]
    request = get(path, host)
    assert chosen(router(*routes, default="default"), request) == slow_choice(routes, request)


# ------------------------------------------------------------------ cost


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(200):
            work()
        best = min(best, time.perf_counter() - began)
    return best


def test_ten_thousand_routes_cost_about_what_a_few_do() -> None:
    def made(count: int) -> Router:
        many = [settings(f"r{n}", f"/r{n:05}/", line=n, host=(f"h{n % 100}.example",)) for n in range(count)]
        return Router([Route(each, answers(each.name)) for each in many])

    few, many = made(100), made(10_000)
    request = get("/r00042/x", "h42.example")
    assert chosen(few, request) == chosen(many, request) == "r42"
    assert seconds(lambda: many(request)) < 5 * seconds(lambda: few(request))
