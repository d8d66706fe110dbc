"""Our own error answers: one line of text or JSON, and a Proxy-Status field (RFC 9209)."""

from __future__ import annotations

import json
from http import HTTPStatus

from greenproxy.errors import ProxyError
from greenproxy.messages import Headers, Response
from greenproxy.observability.clock import http_date

_JSON = "application/json"
_RENAMED = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
_STATUSES = frozenset(HTTPStatus)


def error_response(error: ProxyError, accept: str, server_header: str) -> Response:
    """Return the page that tells a client of `error`, as JSON if its Accept field prefers that.

    `server_header` is the Server field; empty: none. Content-Length is the server's business.
    """
    headers = Headers()
    headers.add("Date", http_date().decode())
    if server_header:
        headers.add("Server", server_header)
    is_json = prefers_json(accept)
    headers.add("Content-Type", _JSON if is_json else "text/plain; charset=utf-8")
    headers.add("Proxy-Status", proxy_status(error))
    if error.retry_after_s is not None:
        headers.add("Retry-After", str(error.retry_after_s))
    if error.allow or error.status == 405:  # RFC 9110 section 15.5.6: a 405 has Allow, be it empty
        headers.add("Allow", ", ".join(error.allow))
    response = Response(error.status, headers, _page(error, is_json))
    response.reason = error.reason
    return response


def _page(error: ProxyError, is_json: bool) -> bytes:
    if is_json:
        return json.dumps({"status": error.status, "reason": error.reason, "message": str(error)}).encode() + b"\n"
    line = f"{error.status} {phrase(error.status)} ({error.reason}): {error}"
    return " ".join(line.split()).encode() + b"\n"


def phrase(status: int) -> str:
    """Return the reason phrase of a status, as RFC 9110 has it; Python 3.11 has older names for some."""
    return _RENAMED.get(status) or (HTTPStatus(status).phrase if status in _STATUSES else "Error")


def proxy_status(error: ProxyError) -> str:
    """Return the value of Proxy-Status: who failed, the registered error type, and our own reason as details."""
    return f'greenproxy; error={error.error_type}; details="{error.reason}"'


def prefers_json(accept: str) -> bool:
    """Return whether an Accept field (RFC 9110 section 12.5.1) names JSON and nothing textual that it likes better.

    Between equals the one that is named first counts; wildcards alone get text, which people can read.
    """
    if "json" not in accept.lower():
        return False
    best, is_json = 0.0, False
    for item in accept.lower().split(","):
        media, *parameters = [part.strip() for part in item.split(";")]
        quality = _quality(parameters)
        names_json = media == _JSON or (media.startswith("application/") and media.endswith("+json"))
        if quality > best and (names_json or media.startswith("text/")):
            best, is_json = quality, names_json
    return is_json


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
