"""The answer to a TRACE or OPTIONS that goes no further: its Max-Forwards was 0 (RFC 9110 sections 7.6.2, 9.3.7, 9.3.8)."""

from __future__ import annotations

from greenproxy.messages import Request, Response

_SECRETS = ("authorization", "cookie", "proxy-authorization")
_ALLOW = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE"


def final_recipient(request: Request) -> Response:
    """Return what the final recipient of a TRACE (the request as it came, less its secrets) or OPTIONS says."""
    if request.method != "TRACE":
        return Response(200, {"Allow": _ALLOW})
    fields = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in _SECRETS]
    lines = [f"TRACE {request.target} HTTP/{request.version}", *fields, "", ""]
    return Response(200, {"Content-Type": "message/http"}, "\r\n".join(lines).encode("latin-1"))
