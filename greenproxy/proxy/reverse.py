"""The reverse proxy: a handler that leases a backend, sends it the request, returns its response, and tries again where it may.

A response whose body came with its head gives its backend back before the client has read a byte. Any other body owns the
lease (`net.relay.RelayBody`). A request body that is not at hand is streamed meanwhile (`proxy.upload`).
"""

from __future__ import annotations

from time import monotonic

from greenproxy.config.settings import RelaySettings
from greenproxy.deadline import Deadline, Patience
from greenproxy.errors import (
    BackendClosed,
    BackendReset,
    ProxyError,
    QueueTimeout,
    ReadTimeout,
    RequestTimeout,
    ResponseTimeout,
)
from greenproxy.messages import Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.protocol.forwarding import max_forwards
from greenproxy.protocol.http1 import RequestHead
from greenproxy.proxy.attempt import Attempt, Terms
from greenproxy.proxy.final import final_recipient
from greenproxy.proxy.outgoing import Outgoing, repeated
from greenproxy.proxy.retry import IDEMPOTENT, may_retry_error, may_retry_status
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.group import Upstream
from greenproxy.upstream.lease import Lease

REQUEST_BUFFER_BYTES = 64 * 1024  # what of a request is read before it gets a backend, while too many others are being read


class ReverseProxy:
    """Forwards requests to one upstream. `relay` are the upstream's deadlines and retries, or a route's."""

    def __init__(self, upstream: Upstream, relay: RelaySettings, recycler: Recycler, *, via: bool, replaces_host: bool) -> None:
        self._upstream = upstream
        self._relay = relay
        self._via = via
        self._terms = Terms(
            relay,
            recycler,
            Patience(relay.response_timeout_s, ResponseTimeout),
            Patience(relay.read_timeout_s, ReadTimeout),
            replaces_host,
        )

    def __call__(self, request: Request) -> Response:
        """Return the backend's response.

        Waits for a free connection, for the backend to accept it and for the head of its response; then its body is read as
        it is taken. Raises what `Upstream.lease` and `Attempt.run` raise, or RequestTimeout.
        """
        begun_s = monotonic()
        deadline = request.deadline
        if self._relay.request_timeout_s:
            request.deadline = deadline = deadline.within(self._relay.request_timeout_s, RequestTimeout)
        trace = request.trace
        trace.upstream = self._upstream.name
        raw = request.raw if type(request.raw) is RequestHead else None
        known = None if raw is None or not raw.sent or self._terms.replaces_host else repeated(request, raw.sent, self._via)
        hops: int | None = None
        if known is None and raw is not None and b"max-forwards" in raw.special:
            hops = max_forwards(raw.method, raw.special)
            if hops == 0:
                return final_recipient(request)
        try:
            outgoing = known or Outgoing(request, raw, via=self._via, hops=hops)
            if outgoing.held is None and outgoing.waits_for_client:
                return self._try_with_upload(request, outgoing, deadline)
            return self._try_backends(request, outgoing, deadline)
        finally:
            trace.upstream_time_s = monotonic() - begun_s

    def _try_with_upload(self, request: Request, outgoing: Outgoing, deadline: Deadline) -> Response:
        """A request that has not all come: it needs a place among the uploads, or it is read first as far as there is room."""
        uploads = self._upstream.uploads
        if uploads.is_full:
            with deadline.enforced():
                outgoing.collect(REQUEST_BUFFER_BYTES)
            if outgoing.held is not None:
                return self._try_backends(request, outgoing, deadline)
        place = uploads.wait(deadline.within(self._relay.pool_queue_timeout_s, QueueTimeout))
        outgoing.place = place
        try:
            response = self._try_backends(request, outgoing, deadline)
        except BaseException:
            place.leave()
            raise
        place.settle()
        return response

    def _try_backends(self, request: Request, outgoing: Outgoing, deadline: Deadline) -> Response:
        """Try one backend, and others as far as the retry rules allow."""
        trace = request.trace
        tries_left = self._relay.retries
        tried: tuple[Backend, ...] = ()
        is_fresh = False
        while True:
            lease: Lease | None = None
            attempt = Attempt(self._terms, request, outgoing, deadline)
            try:
                lease = self._upstream.lease(self._relay, deadline, tried, is_fresh)
                if request.method not in IDEMPOTENT and lease.is_reused and not lease.connection.is_quiet():
                    # What may not be sent twice looks once more whether the backend closes: the loop may be behind.
                    lease.drop()
                    lease = None  # an error of connecting is that of the next one
                    lease = self._upstream.lease(self._relay, deadline, tried, True)
                backend = lease.backend
                trace.backend = backend.label
                response = attempt.run(lease)
                if response.status < 502:
                    return response
                if not tries_left or not self._rejects(response, request, attempt, (*tried, backend)):
                    attempt.keep()
                    return response
                is_fresh, reason = False, str(response.status)
            except ProxyError as error:
                failed = lease.backend if lease is not None else error.backend
                if failed is None:
                    raise
                backend, reason = failed, error.reason
                trace.backend = backend.label
                is_fresh = lease is not None and lease.is_reused and isinstance(error, (BackendClosed, BackendReset))
                if not tries_left or not self._may_try_again(error, request, attempt, (*tried, backend), is_stale=is_fresh):
                    raise
            tries_left -= 1
            trace.retry_reasons = (*trace.retry_reasons, reason)
            tried = (*tried, backend)

    def _may_try_again(
        self, error: ProxyError, request: Request, attempt: Attempt, tried: tuple[Backend, ...], *, is_stale: bool
    ) -> bool:
        """Return whether another try may help: elsewhere, or on a fresh connection when a reused one turned out closed."""
        if attempt.was_answered or (not is_stale and not self._upstream.has_other(tried)):
            return False
        held = not attempt.has_streamed
        return may_retry_error(error, self._relay, request.method, was_written=attempt.was_written, body_is_held=held)

    def _rejects(self, response: Response, request: Request, attempt: Attempt, tried: tuple[Backend, ...]) -> bool:
        """Return whether the response is a failure that another backend may do better; then it is thrown away."""
        held = not attempt.has_streamed
        if attempt.was_passed_on or not may_retry_status(response.status, self._relay, request.method, body_is_held=held):
            return False
        if not self._upstream.has_other(tried):
            return False
        attempt.discard(response)
        return True
