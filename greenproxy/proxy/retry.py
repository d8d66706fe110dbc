"""When a request may be tried again, and where. Pure rules; see `docs/configuration.md`, retry-on."""

from __future__ import annotations

from greenproxy.config.settings import RelaySettings
from greenproxy.errors import RETRY_STATUSES, ProxyError, Retry

#: RFC 9110 section 9.2.2. Doing them twice is as good as once.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def may_retry_error(error: ProxyError, relay: RelaySettings, method: str, *, was_written: bool, body_is_held: bool) -> bool:
    """Return whether the request may be sent again behind `error`.

    `was_written`: a byte of it went to a backend. `body_is_held`: there is no body, none of it was taken from the client, or
    all of it is still here. That no byte of a response has come yet is the caller's business.
    """
    if error.retry is Retry.NEVER or error.retry.value not in relay.retry_on:
        return False
    if error.retry is Retry.CONNECT:
        return body_is_held or not was_written
    if not body_is_held:
        return False
    return method in IDEMPOTENT or (error.retry is Retry.RESET and not was_written)


def may_retry_status(status: int, relay: RelaySettings, method: str, *, body_is_held: bool) -> bool:
    """Return whether a response with this status may be thrown away and the request sent to another backend."""
    return status in RETRY_STATUSES and str(status) in relay.retry_on and method in IDEMPOTENT and body_is_held
