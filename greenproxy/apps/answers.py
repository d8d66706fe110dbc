"""Answers that need no backend: `redirect = ...` and `status = ...` of a route."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlsplit

from greenproxy.config.settings import RouteSettings
from greenproxy.errors import BadRequest
from greenproxy.messages import Handler, Request, Response
from greenproxy.observability.clock import http_date

_own_host = re.compile(r"(https?://)\$host(?![^:/?#])(.*)", re.IGNORECASE).fullmatch
_WITHOUT_BODY = (204, 205, 304)


def redirect(settings: RouteSettings, server_header: str = "") -> Handler:
    """Return a handler that redirects to `settings.redirect`.

    The path and query of the request are appended, as the client sent them, unless the target has a path (or a query) of
    its own. A target that is a path keeps scheme and host, `//host` keeps the scheme; `$host` is the host of the request.
    """
    to = settings.redirect
    parts = urlsplit(to)
    is_whole = bool(parts.path or parts.query)
    code = settings.redirect_status
    own = _own_host(to)

    def redirected(request: Request) -> Response:
        # What follows a host must begin with a slash: `OPTIONS *` has nothing to append.
        location = f"{own[1]}{_host(request)}{own[2]}" if own else to
        if not is_whole and request.target.startswith("/"):
            location += request.target
        response = _line(code, f"{code} {_phrase(code)}: {location}", server_header)
        response.headers["Location"] = location
        return response

    return redirected


def _host(request: Request) -> str:
    """Return the host that a request asks for, without its port. Raises BadRequest for one of HTTP/1.0 that names none."""
    host = request.host
    if not host:
        raise BadRequest("The request names no host to redirect to.")
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def status(settings: RouteSettings, server_header: str = "") -> Handler:
    """Return a handler that answers with `settings.status` and its name in one line of text."""
    code = settings.status

    def answered(_request: Request) -> Response:
        return _line(code, f"{code} {_phrase(code)}", server_header)

    return answered


def _line(code: int, text: str, server_header: str) -> Response:
    response = Response(code, {"Date": http_date().decode()})
    if server_header:
        response.headers["Server"] = server_header
    if code not in _WITHOUT_BODY:
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        response.body = text.encode() + b"\n"
    return response


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Status"
