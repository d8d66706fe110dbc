"""The admin app: /healthz, /readyz, /api/status and /api/resources, for probes, for operators and for `greenproxy status`.

It knows nothing by itself: what there is to tell comes from plain callables. The token guards what is under /api/ alone:
probes of Kubernetes and of load balancers carry none, and all they are told is one word, or why there is no traffic to expect.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from greenproxy.messages import Handler, Request, Response
from greenproxy.observability.clock import http_date

#: Returns the state, of one worker by its process id or of all together (None); None when there is no such worker.
Snapshot: TypeAlias = Callable[[int | None], Mapping[str, Any] | None]
#: Returns "" when requests may come, else why they better do not.
Readiness: TypeAlias = Callable[[], str]
#: Returns what the worker that is asked holds at this moment: see `observability.census`.
Resources: TypeAlias = Callable[[], Mapping[str, Any]]

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_METHODS = ("GET", "HEAD")
_CHALLENGE = 'Bearer realm="greenproxy"'
_LONGEST_PID = 10  # digits
_without_port = partial(re.compile(r":[0-9]*\Z").sub, "")


def admin(snapshot: Snapshot, readiness: Readiness, resources: Resources, token: str = "", server_header: str = "") -> Handler:
    """Return the handler of an admin listener. An empty `token` lets everybody in who can connect."""
    pages: Mapping[str, Handler] = {
        "/healthz": lambda _request: _text(200, "ok"),  # who can answer is alive
        "/readyz": lambda _request: _ready(readiness()),
        "/api/status": lambda request: _status(request, snapshot),
        "/api/resources": lambda _request: _document(resources()),
    }

    def answer(request: Request) -> Response:
        if request.path.startswith("/api/"):
            if token and not _knows(request, token):
                return _unauthorized(request)
            if not token and not _is_direct(request):
                return _text(403, "403 Forbidden: ask by address or as localhost; by another name it takes an admin-token")
        page = pages.get(request.path)
        if page is None:
            return _text(404, f"404 Not Found: here are {', '.join(pages)}")
        if request.method not in _METHODS:
            response = _text(405, f"405 Method Not Allowed: {' or '.join(_METHODS)}")
            response.headers["Allow"] = ", ".join(_METHODS)
            return response
        return page(request)

    def answer_freshly(request: Request) -> Response:
        response = answer(request)
        response.headers["Date"] = http_date().decode()
        if server_header:
            response.headers["Server"] = server_header
        response.headers["Cache-Control"] = "no-store"
        return response

    return answer_freshly


def _ready(reason: str) -> Response:
    return _text(HTTPStatus.SERVICE_UNAVAILABLE, reason) if reason else _text(HTTPStatus.OK, "ok")


def _status(request: Request, snapshot: Snapshot) -> Response:
    asked = parse_qs(request.query, keep_blank_values=True).get("worker")
    pid = None if asked is None else _pid(asked[0])
    state = snapshot(pid) if pid != 0 else None
    if state is None:
        return _text(404, "404 Not Found: there is no such worker; /api/status without a query names them all")
    return _document(state)


def _document(told: Mapping[str, Any]) -> Response:
    page = json.dumps(told, allow_nan=False, ensure_ascii=False).encode()
    return Response(HTTPStatus.OK, {"Content-Type": _JSON}, page + b"\n")


def _pid(text: str) -> int:
    """Return the process id that a query names, 0 when it cannot be one."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_PID else 0


def _knows(request: Request, token: str) -> bool:
    """Return whether the request carries the token (RFC 6750 section 2.1). How long it takes tells nothing of the token."""
    fields = request.headers.get_all("authorization")
    scheme, _, given = (fields[0] if len(fields) == 1 else "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip(" ").encode("latin-1"), token.encode())


def _is_direct(request: Request) -> bool:
    """Return whether the client names us by address, or as localhost.

    A web page elsewhere can let its own name point to 127.0.0.1 (DNS rebinding), and would read our answers in a browser here.
    """
    host = _without_port(request.host)
    if not host or host.lower() == "localhost" or request.peer.ip == "unix:":
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _unauthorized(request: Request) -> Response:
    has_tried = "authorization" in request.headers
    response = _text(401, "401 Unauthorized: this needs the admin-token, as Authorization: Bearer TOKEN")
    response.headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="invalid_token"' if has_tried else _CHALLENGE
    return response


def _text(status: int, line: str) -> Response:
    return Response(status, {"Content-Type": _TEXT}, line.encode() + b"\n")
