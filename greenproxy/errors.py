"""Every expected failure: what the client is told, whose fault it is, and whether another backend may be tried.

`reason` is one closed list (`REASONS`) that the access log, the metrics, the JSON error page and
`Proxy-Status` share. `error_type` is the matching name from the registry of RFC 9209 section 2.3.
Foreign errors (OSError, a parser's) are translated into these where they enter, `raise ... from`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any


class Blame(enum.Enum):
    """Whose fault an error is; only the upstream's count as failures of a backend."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"


class Retry(enum.Enum):
    """Which condition of `retry-on` an error falls under; the rules are in `proxy/retry.py`."""

    NEVER = "never"
    CONNECT = "connect"
    RESET = "reset"
    TIMEOUT = "timeout"


class ProxyError(Exception):
    """An expected failure of one exchange. `str(error)` is the sentence that the client may read."""

    status = 500
    reason = "internal"
    error_type = "proxy_internal_error"
    message = "The proxy made a mistake."
    blame = Blame.PROXY
    retry = Retry.NEVER
    closes = False  # the client's connection cannot be used for another request

    def __init__(self, message: str | None = None, *, retry_after_s: int | None = None) -> None:
        super().__init__(message or self.message)
        self.retry_after_s = retry_after_s
        self.allow: tuple[str, ...] = ()
        self.edits: list[Callable[[Any], None]] = []  # what the page that tells of it goes through, as other responses do
        self.backend: Any = None  # the upstream.backend.Backend that could not be connected to


# ------------------------------------------------------------------ the client's mistakes


class ClientError(ProxyError):
    """The request cannot be served as it was sent; after most of these the connection is closed."""

    status = 400
    reason = "bad-request"
    error_type = "http_request_error"
    message = "The request is malformed."
    blame = Blame.CLIENT
    closes = True


class BadRequest(ClientError):
    """A malformed head or chunk, contradictory framing, a bad path, a missing or doubled Host."""


class HeaderTimeout(ClientError):
    """The head did not arrive within header-timeout of its first byte."""

    status, reason = 408, "header-timeout"
    message = "The request head took too long to arrive."


class BodyTimeout(ClientError):
    """Nothing of the request body arrived for body-timeout."""

    status, reason = 408, "body-timeout"
    message = "The request body took too long to arrive."


class BodyTooLarge(ClientError):
    """The request body is longer than max-body."""

    status, reason = 413, "body-too-large"
    message = "The request body is too large."


class UriTooLong(ClientError):
    """The request target is longer than max-uri."""

    status, reason = 414, "uri-too-long"
    message = "The request target is too long."


class HeadTooLarge(ClientError):
    """The head is longer than max-header-size or has more than max-headers fields."""

    status, reason = 431, "head-too-large"
    message = "The request head is too large."


class UnknownExpectation(ClientError):
    """An Expect other than 100-continue (RFC 9110 section 10.1.1)."""

    status, reason = 417, "expectation"
    message = "The expectation of this request is not supported."


class UnsupportedTransferCoding(ClientError):
    """A transfer coding that we do not speak (RFC 9112 section 6.1)."""

    status, reason = 501, "transfer-coding"
    message = "The transfer coding of this request is not supported."


class UnsupportedVersion(ClientError):
    """A well-formed HTTP version that we do not speak (RFC 9110 section 15.6.6)."""

    status, reason = 505, "version"
    message = "This HTTP version is not supported."


class NoRoute(ClientError):
    """No route takes the request and the listener has no upstream."""

    status, reason, closes = 404, "no-route", False
    error_type = "destination_not_found"
    message = "Nothing is served under this address."


class MethodNotAllowed(ClientError):
    """A route failed in its method alone, or CONNECT on an http listener. `allow` lists the methods that work."""

    status, reason, closes = 405, "method", False
    message = "This method is not allowed here."

    def __init__(self, allow: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.allow = allow


class ClientGone(ClientError):
    """The client went away first. It is told nothing; 499 stands in the log only."""

    status, reason = 499, "client-gone"
    message = "The client closed the connection before the answer was complete."


class SendTimeout(ClientError):
    """The client read nothing for send-timeout; the connection is cut."""

    status, reason = 499, "send-timeout"
    error_type = "connection_write_timeout"
    message = "The client stopped reading."


# ------------------------------------------------------------------ our own failures


class InternalError(ProxyError):
    """A bug of ours: an exception that nobody expected."""


class MiddlewareError(ProxyError):
    """A middleware raised an exception."""

    reason = "middleware-error"
    message = "A middleware of the proxy failed."


class BodyGone(MiddlewareError):
    """A middleware read the request's body piece by piece, or had it sent before, and passes the request on without it."""

    message = "The body of the request was used up by a middleware; request.body.read() would have kept it."


class AppError(ProxyError):
    """An application served by the proxy itself raised an exception."""

    reason = "app-error"
    message = "The application failed."


class MiddlewareTimeout(ProxyError):
    """A middleware took longer than its own timeout."""

    status, reason = 504, "middleware-timeout"
    message = "A middleware of the proxy took too long."


class Stopped(ProxyError):
    """The proxy was stopped and graceful-timeout is over; what is left is cut."""

    status, reason = 503, "stopped"
    message = "The proxy is stopping."
    closes = True

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, retry_after_s=1)  # whoever comes after us listens on the same address


# ------------------------------------------------------------------ the upstream's failures


class UpstreamError(ProxyError):
    """A backend failed; nothing of its answer reached the client unless the error is a cut."""

    status = 502
    blame = Blame.UPSTREAM


class ConnectRefused(UpstreamError):
    """The backend refused the connection."""

    reason, error_type, retry = "connect-refused", "connection_refused", Retry.CONNECT
    message = "The backend refused the connection."


class ConnectFailed(UpstreamError):
    """The backend cannot be reached: no route, no such socket, a name that does not resolve."""

    reason, error_type, retry = "connect-failed", "destination_unavailable", Retry.CONNECT
    message = "The backend cannot be reached."


class ConnectTimeout(UpstreamError):
    """No connection to the backend within connect-timeout. Nothing was sent yet."""

    status, reason, error_type, retry = 504, "connect-timeout", "connection_timeout", Retry.CONNECT
    message = "The backend did not accept the connection in time."


class BackendReset(UpstreamError):
    """The backend reset the connection."""

    reason, error_type, retry = "backend-reset", "connection_terminated", Retry.RESET
    message = "The backend reset the connection."


class BackendClosed(UpstreamError):
    """The backend closed the connection before its response head was complete."""

    reason, error_type, retry = "backend-closed", "http_response_incomplete", Retry.RESET
    message = "The backend closed the connection without an answer."


class BackendInvalid(UpstreamError):
    """The backend sent bytes that are no valid HTTP/1.1 response."""

    reason, error_type = "backend-invalid", "http_protocol_error"
    message = "The backend sent an invalid response."


class ResponseTimeout(UpstreamError):
    """No response head from the backend within response-timeout."""

    status, reason, error_type, retry = 504, "response-timeout", "http_response_timeout", Retry.TIMEOUT
    message = "The backend did not answer in time."


class ReadTimeout(UpstreamError):
    """The backend sent nothing of its response body for read-timeout; the answer is cut."""

    status, reason, error_type = 504, "read-timeout", "connection_read_timeout"
    message = "The backend stopped in the middle of its answer."


class RequestTimeout(UpstreamError):
    """The exchange took longer than request-timeout, queue and retries included."""

    status, reason, error_type, blame = 504, "request-timeout", "http_response_timeout", Blame.PROXY
    message = "The request took too long."


class Unavailable(ProxyError):
    """No backend can take the request now. `retry_after_s` is when trying again makes sense, at least 1."""

    status, reason, error_type = 503, "no-backend", "destination_unavailable"
    message = "No backend is available."

    def __init__(self, message: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s=max(1, retry_after_s))


class NoBackend(Unavailable):
    """Every backend is down."""


class Draining(Unavailable):
    """Every backend is draining."""

    reason = "draining"
    message = "Every backend is draining."


class QueueFull(Unavailable):
    """Every backend is busy and pool-queue requests wait already."""

    reason, error_type = "queue-full", "connection_limit_reached"
    message = "Too many requests are waiting for a backend."


class QueueTimeout(Unavailable):
    """No backend became free within pool-queue-timeout."""

    reason, error_type = "queue-timeout", "connection_limit_reached"
    message = "No backend became free in time."


class NoDescriptor(Unavailable):
    """This process cannot open another socket. That says nothing about the backend, and another one does not help."""

    message = "The proxy has no socket left."


def _leaves(cls: type[ProxyError]) -> list[type[ProxyError]]:
    below = cls.__subclasses__()
    return [cls] + [leaf for each in below for leaf in _leaves(each)]


#: Every reason that can stand in the log, in metrics, in an error page and in Proxy-Status.
REASONS: tuple[str, ...] = tuple(sorted({cls.reason for cls in _leaves(ProxyError)}))
#: Statuses of backends that `retry-on` may name.
RETRY_STATUSES = (502, 503, 504)
#: Every reason of a failed try behind which there may be another one.
RETRY_REASONS: tuple[str, ...] = (
    *sorted({cls.reason for cls in _leaves(ProxyError) if cls.retry is not Retry.NEVER}),
    *map(str, RETRY_STATUSES),
)
