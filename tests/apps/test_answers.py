"""Redirects and fixed answers of routes."""

from __future__ import annotations

import pytest

from greenproxy.apps.answers import redirect, status
from greenproxy.config.settings import RouteSettings
from greenproxy.errors import BadRequest
from greenproxy.messages import Request


def location(to: str, target: str) -> str:
    settings = RouteSettings(name="r", redirect=to)
    return redirect(settings)(Request("GET", target, path="/")).headers["Location"]


@pytest.mark.parametrize(
    ("to", "target", "expected"),
    [
        ("https://example.com", "/a/b?x=1", "https://example.com/a/b?x=1"),
        ("https://example.com", "/", "https://example.com/"),
        ("https://example.com:8443", "/%41?%42", "https://example.com:8443/%41?%42"),
        ("http://[::1]:80", "/a", "http://[::1]:80/a"),
        ("https://example.com/", "/a?x=1", "https://example.com/"),
        ("https://example.com/new", "/a?x=1", "https://example.com/new"),
        ("https://example.com?y=2", "/a?x=1", "https://example.com?y=2"),
        ("/new", "/a?x=1", "/new"),
        ("//example.com", "/a?x=1", "//example.com/a?x=1"),
        ("//example.com/new", "/a?x=1", "//example.com/new"),
        ("https://example.com", "*", "https://example.com"),
        ("https://example.com", "//evil.example", "https://example.com//evil.example"),
    ],
)
def test_path_and_query_are_appended_unless_the_target_has_its_own(to: str, target: str, expected: str) -> None:
    assert location(to, target) == expected


@pytest.mark.parametrize(
    ("to", "host", "expected"),
    [
        ("https://$host", "a.example.com", "https://a.example.com/a?x=1"),
        ("https://$host", "a.example.com:8080", "https://a.example.com/a?x=1"),
        ("HTTPS://$host:8443", "[::1]:80", "HTTPS://[::1]:8443/a?x=1"),
        ("https://$host/new", "a.example.com:", "https://a.example.com/new"),
        ("https://$host?y=2", "a", "https://a?y=2"),
        ("https://b/$host", "a", "https://b/$host"),
    ],
)
def test_own_host_is_that_of_the_request_without_its_port(to: str, host: str, expected: str) -> None:
    answer = redirect(RouteSettings(name="r", redirect=to))(Request("GET", "/a?x=1", path="/a", host=host))
    assert answer.headers["Location"] == expected


def test_request_without_a_host_cannot_be_sent_to_its_own() -> None:
    with pytest.raises(BadRequest, match="names no host"):
        redirect(RouteSettings(name="r", redirect="https://$host"))(Request("GET", "/", path="/"))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_has_its_status_and_says_where_to(code: int) -> None:
    settings = RouteSettings(name="r", redirect="https://example.com/new", redirect_status=code)
    response = redirect(settings, "greenproxy")(Request("GET", "/", path="/"))
    assert response.status == code
    assert response.headers["Server"] == "greenproxy"
    assert "Date" in response.headers
    assert isinstance(response.body, bytes)
    assert response.body.endswith(b"https://example.com/new\n")


def test_status_is_told_in_a_line() -> None:
    response = status(RouteSettings(name="r", status=403), "greenproxy")(Request("GET", "/", path="/"))
    assert (response.status, response.body) == (403, b"403 Forbidden\n")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Server"] == "greenproxy"
    assert response.reason == ""


def test_status_without_a_name_is_answered_too() -> None:
    assert status(RouteSettings(name="r", status=599))(Request("GET", "/", path="/")).body == b"599 Status\n"


@pytest.mark.parametrize("code", [204, 205, 304])
def test_status_without_a_body_has_none(code: int) -> None:
    response = status(RouteSettings(name="r", status=code))(Request("GET", "/", path="/"))
    assert response.body == b""
    assert "Content-Type" not in response.headers


def test_answers_are_not_shared_between_requests() -> None:
    handler = status(RouteSettings(name="r", status=200))
    first = handler(Request("GET", "/", path="/"))
    first.headers["X-Mine"] = "1"
    assert "X-Mine" not in handler(Request("GET", "/", path="/")).headers
