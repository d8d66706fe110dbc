"""Which routes are ambiguous, and what strip-prefix leaves of a target."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from greenproxy.config.settings import RouteSettings
from greenproxy.errors import BadRequest
from greenproxy.messages import Request, Response
from greenproxy.protocol.target import parse_target
from greenproxy.routing.table import find_ambiguities, normal_host, strip_prefix, stripped
from tests.routing.requests import settings


def ambiguous(*routes: RouteSettings) -> list[tuple[str, str]]:
    return [(first.name, second.name) for first, second in find_ambiguities(routes)]


def test_equal_host_and_path_are_ambiguous() -> None:
    assert ambiguous(settings("a", "/x", host=("h",)), settings("b", "/x", host=("H:80",))) == [("a", "b")]


def test_a_pair_is_told_once_however_much_it_shares() -> None:
    assert ambiguous(settings("a", "/x", "/y", host=("h", "i")), settings("b", "/y", "/x", host=("i", "h"))) == [("a", "b")]


def test_three_equal_routes_are_three_pairs() -> None:
    assert len(ambiguous(settings("a"), settings("b"), settings("c"))) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (settings("a", "/x"), settings("b", "/y")),
        (settings("a", "/x"), settings("b", "= /x")),
        (settings("a", "/x"), settings("b", "/x/")),
        (settings("a", "/x"), settings("b")),
        (settings("a", host=("h",)), settings("b", host=("i",))),
        (settings("a", host=("h",)), settings("b")),
        (settings("a", host=("*.h",)), settings("b", host=("h",))),
        (settings("a", "/x", method=("GET",)), settings("b", "/x", method=("POST",))),
        (settings("a", header=(("X", "1"),)), settings("b", header=(("x", "2"),))),
        (settings("a", listener=("web",)), settings("b", listener=("admin",))),
    ],
    ids=lambda route: f"{route.host}{route.path}{route.method}{route.header}",
)
def test_routes_that_exclude_each_other_or_are_ordered_are_not_ambiguous(first: RouteSettings, second: RouteSettings) -> None:
    assert ambiguous(first, second) == []


def test_more_conditions_decide_instead_of_being_ambiguous() -> None:
    assert ambiguous(settings("a", "/x"), settings("b", "/x", method=("GET",))) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (settings("a", method=("GET", "POST")), settings("b", method=("POST", "PUT"))),
        (settings("a", header=(("X", "1"),)), settings("b", header=(("Y", "1"),))),
        (settings("a", method=("GET",)), settings("b", header=(("X", "1"),))),
        (settings("a", header=(("X", "1"),)), settings("b", header=(("x", "1"),))),
        (settings("a", "~ ^/x"), settings("b", "~ ^/x")),
        (settings("a", listener=("web", "admin")), settings("b", listener=("admin",))),
        (settings("a", listener=("web",)), settings("b")),
    ],
    ids=lambda route: f"{route.host}{route.path}{route.method}{route.header}{route.listener}",
)
def test_conditions_that_can_hold_together_are_ambiguous(first: RouteSettings, second: RouteSettings) -> None:
    assert ambiguous(first, second) == [("a", "b")]


def test_a_route_is_not_ambiguous_with_itself() -> None:
    assert ambiguous(settings("a", "/x", "/x", host=("h", "H"))) == []


def test_ten_thousand_different_routes_are_checked_at_once() -> None:
    assert find_ambiguities([settings(f"r{n}", f"/r{n}/") for n in range(10_000)]) == []


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("A.Example", "a.example"), ("a:80", "a"), ("a.", "a"), ("[::1]:80", "[::1]"), ("[FE80::1]", "[fe80::1]"), ("", "")],
)
def test_hosts_are_compared_in_their_normal_form(sent: str, expected: str) -> None:
    assert normal_host(sent) == expected


# ------------------------------------------------------------------ strip-prefix


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?x=1", "/?x=1"),
        ("/api?", "/?"),
        ("/api/v1", "/v1"),
        ("/api/v1/?a=/api/b", "/v1/?a=/api/b"),
        ("/api/%41%2d?q=%41", "/%41%2d?q=%41"),
        ("/%61pi/v%31", "/v%31"),
        ("/api//v1//x", "/v1//x"),
        ("//api///v1", "/v1"),
        ("/api//evil.example/x", "/evil.example/x"),
        ("/./api/v1", "/v1"),
        ("/x/../api/v1", "/v1"),
        ("/api/../api/v1", "/v1"),
        ("/api/v1/../v2/%41", "/v2/%41"),
        ("/api/v1/..", "/"),
        ("/api/v1/.", "/v1/"),
        ("/api/a/b/..", "/a/"),
        ("/api/.well-known/x", "/.well-known/x"),
        ("/api/...", "/..."),
        ("/apiary", "/apiary"),
        ("/other/api", "/other/api"),
    ],
)
def test_strip_prefix_leaves_the_rest_as_it_was_sent(target: str, expected: str) -> None:
    path = parse_target(target.encode(), b"GET").path
    assert strip_prefix(target, path, "/api") == expected
    assert strip_prefix(target, path, "/api/") == expected


def test_prefix_of_several_segments_is_stripped() -> None:
    assert strip_prefix("//a/%62/c", "/a/b/c", "/a/b") == "/c"


def test_prefix_with_letters_beyond_ascii_is_compared_decoded() -> None:
    path = parse_target(b"/caf%C3%A9/x", b"GET").path
    assert strip_prefix("/caf%C3%A9/x", path, "/café") == "/x"


segments = st.sampled_from(["api", "%61pi", "a", "%41", ".", "..", "", "b.c", "...", ".x", "%2b", "v1;p=1"])


def is_served(target: str) -> bool:
    try:
        parse_target(target.encode(), b"GET")
    except BadRequest:
        return False
    return True


@given(st.lists(segments, min_size=1, max_size=7), st.sampled_from(["", "?", "?x=/api/..", "?%2e"]))
def test_the_backend_reads_the_path_that_routes_saw_without_its_prefix(parts: list[str], query: str) -> None:
    target = "/" + "/".join(parts) + query
    assume(is_served(target))
    path = parse_target(target.encode(), b"GET").path
    after = strip_prefix(target, path, "/api")
    is_under = path == "/api" or path.startswith("/api/")
    expected = "/" + path.removeprefix("/api").lstrip("/") if is_under else path
    seen = parse_target(after.encode(), b"GET")
    assert seen.path == expected
    assert after.partition("?")[1:] == target.partition("?")[1:]
    assert not (is_under and after.startswith("//"))


def test_target_is_stripped_for_the_handler_only() -> None:
    seen = []

    def backend(request: Request) -> Response:
        seen.append(request.target)
        raise BadRequest

    request = Request("GET", "/api/x", path="/api/x")
    with pytest.raises(BadRequest):
        stripped(backend, "/api")(request)
    assert (seen, request.target, request.path) == (["/x"], "/api/x", "/api/x")


def test_nothing_to_strip_costs_nothing() -> None:
    def backend(_request: Request) -> Response:
        return Response()

    assert stripped(backend, "/") is backend
