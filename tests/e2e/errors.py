"""What an answer of the proxy's own looks like (status, page, Proxy-Status, end of the connection), checked in one place."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from tests.client import Answer, RawClient, get

JSON = "Accept: application/json"


@dataclass(frozen=True)
class Told:
    """What the client is told: the row of the table, and the error type of RFC 9209 section 2.3."""

    status: int
    reason: str
    error: str
    closes: bool = False


BAD_REQUEST = Told(400, "bad-request", "http_request_error", closes=True)
NO_ROUTE = Told(404, "no-route", "destination_not_found")
METHOD = Told(405, "method", "http_request_error")
HEADER_TIMEOUT = Told(408, "header-timeout", "http_request_error", closes=True)
BODY_TIMEOUT = Told(408, "body-timeout", "http_request_error", closes=True)
BODY_TOO_LARGE = Told(413, "body-too-large", "http_request_error", closes=True)
URI_TOO_LONG = Told(414, "uri-too-long", "http_request_error", closes=True)
HEAD_TOO_LARGE = Told(431, "head-too-large", "http_request_error", closes=True)
EXPECTATION = Told(417, "expectation", "http_request_error", closes=True)
TRANSFER_CODING = Told(501, "transfer-coding", "http_request_error", closes=True)
VERSION = Told(505, "version", "http_request_error", closes=True)
MIDDLEWARE_ERROR = Told(500, "middleware-error", "proxy_internal_error")
MIDDLEWARE_TIMEOUT = Told(504, "middleware-timeout", "proxy_internal_error")
CONNECT_REFUSED = Told(502, "connect-refused", "connection_refused")
CONNECT_FAILED = Told(502, "connect-failed", "destination_unavailable")
BACKEND_RESET = Told(502, "backend-reset", "connection_terminated")
BACKEND_CLOSED = Told(502, "backend-closed", "http_response_incomplete")
BACKEND_INVALID = Told(502, "backend-invalid", "http_protocol_error")
NO_BACKEND = Told(503, "no-backend", "destination_unavailable")
QUEUE_FULL = Told(503, "queue-full", "connection_limit_reached")
QUEUE_TIMEOUT = Told(503, "queue-timeout", "connection_limit_reached")
CONNECT_TIMEOUT = Told(504, "connect-timeout", "connection_timeout")
RESPONSE_TIMEOUT = Told(504, "response-timeout", "http_response_timeout")
REQUEST_TIMEOUT = Told(504, "request-timeout", "http_response_timeout")


def check(answer: Answer, told: Told, *, is_json: bool = False) -> None:
    """Assert that `answer` is the page of that error."""
    assert (answer.status, answer.get("proxy-status")) == (
        told.status,
        f'greenproxy; error={told.error}; details="{told.reason}"',
    )
    assert answer.get("server") == "greenproxy"
    date = answer.get("date")
    assert date is not None
    assert parsedate_to_datetime(date) is not None
    assert answer.says_close == told.closes
    if told.status == 503:
        assert int(answer.get("retry-after") or "0") >= 1
    if is_json:
        assert (answer.get("content-type") or "").startswith("application/json")
        page = answer.json()
        assert (page["status"], page["reason"], bool(page["message"])) == (told.status, told.reason, True)
        assert set(page) == {"status", "reason", "message"}
    else:
        assert (answer.get("content-type") or "").startswith("text/plain")
        assert len(answer.body.decode().strip().splitlines()) == 1


def check_end(client: RawClient, told: Told) -> None:
    """Assert that the connection is closed, or that it can be used again, as the table says."""
    if told.closes:
        assert client.is_closed()
    else:
        assert client.ask(get("/after-the-error")).status in (200, 404)
