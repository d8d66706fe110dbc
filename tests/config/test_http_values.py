from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.config import http_values
from greenproxy.config.errors import BadValue
from greenproxy.config.settings import PathMatch
from tests.config.verdicts import is_read_or_refused


def refusal(parse: Callable[[str], Any], text: str) -> tuple[str, str]:
    with pytest.raises(BadValue) as refused:
        parse(text)
    return str(refused.value), refused.value.suggestion


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("/", "prefix", "/"),
        ("/api/, /b", "prefix", "/api/, /b"),
        ("= /exact", "exact", "/exact"),
        ("=/exact", "exact", "/exact"),
        ("~ ^/x{2,3}$", "regex", "^/x{2,3}$"),
        ("~\\.php$", "regex", "\\.php$"),
        ("/caf\u00e9 au lait", "prefix", "/caf\u00e9 au lait"),
    ],
)
def test_a_path_is_a_prefix_exact_or_a_regex(text: str, kind: str, path: str) -> None:
    assert http_values.parse_path_match(text) == PathMatch(kind=kind, text=path)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("api", ("'api' does not begin with a slash", "/api")),
        ("=", ("'' does not begin with a slash", "")),
        ("http://a/b", ("'http://a/b' does not begin with a slash", "")),
        ("/a?b=1", ("a path has no query", "")),
        ("/a/../b", ("'/a/../b' never matches: dots and double slashes are resolved first", "")),
        ("/a//b", ("'/a//b' never matches: dots and double slashes are resolved first", "")),
        ("~", ("an empty regular expression", "")),
        ("~ (", ("not a regular expression: missing ), unterminated subpattern at position 0", "")),
    ],
)
def test_a_path_that_can_never_match_is_refused(text: str, refused: tuple[str, str]) -> None:
    assert refusal(http_values.parse_path_match, text) == refused


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM.", "api.example.com"),
        ("*.Example.com", "*.example.com"),
        ("[::1]", "[::1]"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_hosts_are_compared_in_lower_case(text: str, host: str) -> None:
    assert http_values.parse_host_pattern(text) == host


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("*", ("'*' is not a host or *.domain", "")),
        ("a.*.b", ("'a.*.b' is not a host or *.domain", "")),
        ("a.example:8080", ("the port of Host plays no part here", "a.example")),
        ("a b", ("'a b' is not a host name or address", "")),
        ("*.", ("'' is not a host name or address", "")),
    ],
)
def test_a_wildcard_stands_only_at_the_start_of_a_host(text: str, refused: tuple[str, str]) -> None:
    assert refusal(http_values.parse_host_pattern, text) == refused


def test_methods_are_spelt_as_on_the_wire() -> None:
    assert http_values.parse_method("PROPFIND") == "PROPFIND"
    assert refusal(http_values.parse_method, "get") == ("'get' is not a method", "GET")
    assert refusal(http_values.parse_method, "G T")[0] == "'G T' is not a method"
    assert refusal(http_values.parse_method, "CONNECT") == ("CONNECT is never forwarded by an http listener", "")


def test_a_field_is_a_name_and_a_value() -> None:
    assert http_values.parse_field("X-Beta:  a, b: c ") == ("X-Beta", "a, b: c")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("X-Beta", ("'X-Beta' is not Name: value", "X-Beta: value")),
        ("X-Beta:", ("'X-Beta:' is not Name: value", "X-Beta: value")),
        ("X Beta: 1", ("'X Beta' is not the name of a header field", "")),
        ("X-Beta: \u20ac", ("'\u20ac' has signs that a header field may not have", "")),
    ],
)
def test_other_fields_are_refused(text: str, refused: tuple[str, str]) -> None:
    assert refusal(http_values.parse_field, text) == refused


def test_statuses_are_single_or_ranges() -> None:
    assert http_values.parse_statuses("200-399") == (200, 399)
    assert http_values.parse_statuses("401") == (401, 401)
    for text in ("399-200", "99", "600", "2xx", "200-", ""):
        assert refusal(http_values.parse_statuses, text)[0].endswith("is not a status or a range of them, such as 200-399")


def test_an_answer_of_our_own_is_final() -> None:
    assert http_values.parse_status("404") == 404
    assert refusal(http_values.parse_status, "101") == ("101 is too small: at least 200", "")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com",
        "http://a:81/x?y=1#z",
        "https://[::1]/",
        "/login",
        "/a?b",
        "HTTPS://a",
        "https://$host",
        "https://$host:81/a",
    ],
)
def test_a_redirect_goes_to_a_host_or_a_path(text: str) -> None:
    assert http_values.parse_redirect(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("example.com", "'example.com' is not https://host, http://host or a path"),
        ("//example.com", "'//example.com' is not https://host, http://host or a path"),
        ("ftp://a", "'ftp://a' is not https://host, http://host or a path"),
        ("https://", "'' is not a host name or address"),
        ("https://a:0", "'0' is not a port: 1 to 65535"),
        ("https://$hosts", "'$hosts' is not a host name or address"),
        ("https://www.$host", "'www.$host' is not a host name or address"),
        ("https://u@a", "'u@a' is not a host name or address"),
        ("https://a b", "'https://a b' has signs that an address may not have"),
    ],
)
def test_other_redirects_are_refused(text: str, message: str) -> None:
    assert refusal(http_values.parse_redirect, text) == (message, "")


def test_a_redirect_needs_no_name_for_path_and_query() -> None:
    message = "path and query of the request are appended to a host without being named"
    assert refusal(http_values.parse_redirect, "https://$host$request_uri") == (message, "https://$host")


def test_a_probe_asks_for_a_path() -> None:
    assert http_values.parse_probe_path("/healthz?full=1") == "/healthz?full=1"
    assert refusal(http_values.parse_probe_path, "healthz") == ("'healthz' is not a path", "/healthz")
    assert refusal(http_values.parse_probe_path, "/a b") == ("'/a b' has signs that a request target may not have", "")


def test_no_server_field_is_an_empty_one() -> None:
    assert http_values.parse_server_header("edge/1 (x)") == "edge/1 (x)"
    assert http_values.parse_server_header("off") == ""
    assert refusal(http_values.parse_server_header, "\u00e9") == ("'\u00e9' has signs that a header field may not have", "")


PARSERS = [
    http_values.parse_path_match,
    http_values.parse_host_pattern,
    http_values.parse_method,
    http_values.parse_field,
    http_values.parse_field_name,
    http_values.parse_statuses,
    http_values.parse_status,
    http_values.parse_redirect,
    http_values.parse_probe_path,
    http_values.parse_server_header,
]


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"(~ |= |/|\*\.|https?://)[\x20-\x7e]*", fullmatch=True)), st.sampled_from(PARSERS))
def test_any_text_is_a_value_or_a_bad_value(text: str, parse: Callable[[str], Any]) -> None:
    assert is_read_or_refused(parse, text)
