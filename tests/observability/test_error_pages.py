"""What the client is told when something failed."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest

from greenproxy import errors
from greenproxy.errors import ConnectRefused, MethodNotAllowed, NoBackend, NoRoute, ProxyError
from greenproxy.messages import Headers
from greenproxy.observability.error_pages import error_response, prefers_json


def every_error() -> list[type[ProxyError]]:
    return errors._leaves(ProxyError)


def page(error: ProxyError, accept: str = "") -> str:
    body = error_response(error, accept, "greenproxy").body
    assert isinstance(body, bytes)
    return body.decode()


def test_page_is_one_line_of_text() -> None:
    assert page(ConnectRefused()) == "502 Bad Gateway (connect-refused): The backend refused the connection.\n"


def test_message_of_several_lines_stays_one_line() -> None:
    assert page(ConnectRefused("a\r\nb\n")).count("\n") == 1


def test_page_is_json_where_that_is_preferred() -> None:
    response = error_response(ConnectRefused(), "application/json", "greenproxy")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(page(ConnectRefused(), "application/json")) == {
        "status": 502,
        "reason": "connect-refused",
        "message": "The backend refused the connection.",
    }


def test_head_names_time_server_and_error() -> None:
    response = error_response(ConnectRefused(), "", "greenproxy")
    assert parsedate_to_datetime(response.headers["Date"]) is not None
    del response.headers["Date"]
    assert (response.status, response.reason) == (502, "connect-refused")
    assert response.headers == Headers(
        {
            "Server": "greenproxy",
            "Content-Type": "text/plain; charset=utf-8",
            "Proxy-Status": 'greenproxy; error=connection_refused; details="connect-refused"',
        }
    )


def test_server_field_can_be_off() -> None:
    assert "Server" not in error_response(NoRoute(), "", "").headers


def test_503_says_when_to_try_again() -> None:
    assert error_response(NoBackend(retry_after_s=7), "", "").headers["Retry-After"] == "7"
    assert error_response(NoBackend(), "", "").headers["Retry-After"] == "1"
    assert "Retry-After" not in error_response(NoRoute(), "", "").headers


def test_405_has_allow_even_when_nothing_is_allowed() -> None:
    assert error_response(MethodNotAllowed(("GET", "PUT")), "", "").headers["Allow"] == "GET, PUT"
    assert error_response(MethodNotAllowed(), "", "").headers["Allow"] == ""
    assert "Allow" not in error_response(NoRoute(), "", "").headers


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
@pytest.mark.parametrize("accept", ["", "application/json"])
def test_every_error_has_a_page(error: type[ProxyError], accept: str) -> None:
    response = error_response(error(), accept, "greenproxy")
    assert response.status == error.status
    assert response.headers["Proxy-Status"] == f'greenproxy; error={error.error_type}; details="{error.reason}"'
    assert isinstance(response.body, bytes)
    assert response.body.endswith(b"\n")


#: RFC 9209 section 2.3, as far as it fits a proxy without TLS and without a cache.
REGISTERED = {
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
    "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout", "connection_read_timeout",
    "connection_write_timeout", "connection_limit_reached", "tls_protocol_error", "tls_certificate_error", "tls_alert_received",
    "http_request_error", "http_request_denied", "http_response_incomplete", "http_response_header_section_size",
    "http_response_header_size", "http_response_body_size", "http_response_trailer_section_size",
    "http_response_trailer_size", "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout",
    "http_upgrade_failed", "http_protocol_error", "proxy_internal_response", "proxy_internal_error",
    "proxy_configuration_error", "proxy_loop_detected",
}  # fmt: skip


def test_error_types_are_registered() -> None:
    assert {error.error_type for error in every_error()} <= REGISTERED


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/problem+json", True),
        ("application/json, text/plain, */*", True),
        ("text/plain, application/json", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("text/html, application/json;q=0.9", False),
        ("text/html;q=0.5, application/json", True),
        ("application/json;q=0", False),
        ("application/json;q=oops", False),
        ("application/json;q=nan", False),
        ("application/jsonp", False),
        (",;,=,json", False),
    ],
)
def test_form_follows_accept(accept: str, is_json: bool) -> None:
    assert prefers_json(accept) is is_json
