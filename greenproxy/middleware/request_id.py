"""The built-in `request-id`: every request has an id, in the request header, the response header and the access log."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial

from greenproxy.errors import ProxyError
from greenproxy.messages import Handler, Middleware, Request, Response

_is_sane = re.compile(r"[0-9A-Za-z._~+/=:@-]{1,128}").fullmatch
_is_name = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_KEEPS = ("trusted", "always", "never")


def check(options: Mapping[str, str]) -> None:
    """Raise ValueError, naming the key, if the options of a `request-id` are wrong."""
    for key in options:
        if key not in ("header", "keep"):
            raise ValueError(f"{key}: unknown key; request-id has header and keep")
    if not _is_name(options.get("header", "X-Request-ID")):
        raise ValueError(f"header: {options['header']!r} is not a header name")
    if options.get("keep", "trusted") not in _KEEPS:
        raise ValueError(f"keep: {options['keep']!r} is not one of {', '.join(_KEEPS)}")


def make(options: Mapping[str, str]) -> Middleware:
    """Return the middleware. `keep` says whose ids are kept: by default those of a trusted proxy.

    Anybody else's would let a client choose what our logs say, so they get a new one, as in nginx and Envoy.
    """
    check(options)
    header = options.get("header", "X-Request-ID")
    keep = options.get("keep", "trusted")

    def request_id(request: Request, call_next: Handler) -> Response:
        sent = request.headers.get(header, "") if keep == "always" or (keep == "trusted" and request.is_peer_trusted) else ""
        request.request_id = sent if sent and _is_sane(sent) else os.urandom(16).hex()
        request.headers[header] = request.request_id
        try:
            response = call_next(request)
        except ProxyError as error:
            error.edits.append(partial(_name, header, request.request_id))
            raise
        _name(header, request.request_id, response)
        return response

    return request_id


def _name(header: str, request_id: str, response: Response) -> None:
    response.headers[header] = request_id
