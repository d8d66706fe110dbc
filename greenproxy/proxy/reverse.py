"""The reverse proxy: a handler that leases a backend, sends it the request and returns its response.

A response whose body came with its head gives its backend back before the client has read a byte. Any other body owns the
lease (`net.relay.RelayBody`). A request body that is not at hand is streamed meanwhile (`upload.Upload`).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from greenproxy.config.settings import RelaySettings
from greenproxy.deadline import Deadline, Patience
from greenproxy.errors import (
    BackendClosed,
    BackendInvalid,
    BackendReset,
    Blame,
    ConnectTimeout,
    ProxyError,
    ReadTimeout,
    RequestTimeout,
    ResponseTimeout,
)
from greenproxy.messages import Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.net.relay import RelayBody
from greenproxy.net.stream import Stream
from greenproxy.observability.metrics import Metrics
from greenproxy.protocol.body import ChunkedDecoder, EofDecoder, LengthDecoder, Malformed
from greenproxy.protocol.forwarding import max_forwards
from greenproxy.protocol.http1 import RequestHead, ResponseHead, find_response_head_end, parse_response_head, response_body_kind
from greenproxy.proxy.final import final_recipient
from greenproxy.proxy.outgoing import Outgoing
from greenproxy.proxy.retry import may_retry_error, may_retry_status
from greenproxy.proxy.tunnel import Tunnel
from greenproxy.proxy.upload import Upload
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.group import Upstream
from greenproxy.upstream.lease import Lease

READ_BYTES = 32 * 1024  # heads, and bodies that come with them
MAX_HEAD_BYTES = 64 * 1024
MAX_TRAILER_BYTES = 16 * 1024
MAX_INTERIM = 32  # interim responses to one request; more is a flood
UPGRADES = frozenset({b"websocket"})


class ReverseProxy:
    """Forwards requests to one upstream. `relay` are the upstream's deadlines and retries, or a route's."""

    def __init__(
        self, upstream: Upstream, relay: RelaySettings, recycler: Recycler, metrics: Metrics, *, via: bool, sends_own_host: bool
    ) -> None:
        self._upstream = upstream
        self._relay = relay
        self._recycler = recycler
        self._metrics = metrics
        self._via = via
        self._sends_own_host = sends_own_host
        self._read_patience = Patience(relay.read_timeout_s, ReadTimeout)

    def __call__(self, request: Request) -> Response:
        """Return the backend's response.

        Waits for a free connection, for the backend to accept it and for the head of its response; then its body is read as
        it is taken. Raises what `Upstream.lease` raises, BackendReset, BackendClosed, BackendInvalid, ResponseTimeout or
        RequestTimeout.
        """
        deadline = request.deadline
        if self._relay.request_timeout_s:
            request.deadline = deadline = deadline.within(self._relay.request_timeout_s, RequestTimeout)
        trace = request.trace
        trace.upstream = self._upstream.name
        begun_s = monotonic()
        try:
            special = request.raw.special if isinstance(request.raw, RequestHead) else {}
            hops = max_forwards(request.method.encode("ascii"), special) if b"max-forwards" in special else None
            if hops == 0:
                return final_recipient(request)
            outgoing = Outgoing(request, via=self._via, allowed_upgrades=UPGRADES, hops=hops)
            return self._try_backends(request, outgoing, deadline)
        finally:
            trace.upstream_time_s = monotonic() - begun_s

    def _try_backends(self, request: Request, outgoing: Outgoing, deadline: Deadline) -> Response:
        """Try one backend, and others as far as the retry rules allow."""
        relay, trace = self._relay, request.trace
        tries_left = relay.retries
        tried: tuple[Backend, ...] = ()
        is_fresh = False
        while True:
            lease: Lease | None = None
            attempt = Attempt(self, request, outgoing, deadline)
            try:
                lease = self._upstream.lease(relay, deadline, tried, is_fresh)
                trace.backend = lease.backend.label
                response = attempt.run(lease)
            except ProxyError as error:
                backend: Backend | None = lease.backend if lease is not None else getattr(error, "backend", None)
                if backend is None:
                    raise
                trace.backend = backend.label
                if error.blame is Blame.UPSTREAM:
                    self._metrics.upstream_failed(trace.upstream)
                is_stale = lease is not None and lease.is_reused and isinstance(error, (BackendClosed, BackendReset))
                held = not attempt.has_streamed
                if not tries_left or not may_retry_error(
                    error, relay, request.method, was_written=attempt.was_written, body_is_held=held
                ):
                    raise
                if not is_stale and not self._upstream.has_other((*tried, backend)):
                    raise
                is_fresh = is_stale
            else:
                backend = lease.backend
                if not tries_left or not self._rejects(response, request, attempt, (*tried, backend)):
                    return response
                _discard(response)
                is_fresh = False
            tries_left -= 1
            trace.retries += 1
            tried = (*tried, backend)

    def _rejects(self, response: Response, request: Request, attempt: Attempt, tried: tuple[Backend, ...]) -> bool:
        """Return whether the response is a failure that another backend may do better."""
        return (
            response.status >= 502
            and may_retry_status(response.status, self._relay, request.method, body_is_held=not attempt.has_streamed)
            and self._upstream.has_other(tried)
        )

    @property
    def relay(self) -> RelaySettings:
        """The deadlines and retries of this proxy."""
        return self._relay

    @property
    def read_patience(self) -> Patience:
        """How long a response body may be silent."""
        return self._read_patience

    @property
    def recycler(self) -> Recycler:
        """Where uploads run."""
        return self._recycler

    def host_for(self, lease: Lease) -> bytes | None:
        """Return the Host that replaces the client's (host-header = backend), None to keep that."""
        return lease.backend.host if self._sends_own_host else None


def _discard(response: Response) -> None:
    if isinstance(response.body, RelayBody):
        response.body.close()


class Attempt:
    """One try of one request at one backend. Ends its lease, now or when response and upload have both ended."""

    __slots__ = (
        "_deadline",
        "_interim",
        "_is_reusable",
        "_lease",
        "_outgoing",
        "_proxy",
        "_request",
        "_responding",
        "_upload",
        "has_streamed",
        "was_written",
    )

    def __init__(self, proxy: ReverseProxy, request: Request, outgoing: Outgoing, deadline: Deadline) -> None:
        self._proxy = proxy
        self._request = request
        self._outgoing = outgoing
        self._deadline = deadline
        self._lease: Lease | None = None
        self._upload: Upload | None = None
        self._responding = True
        self._is_reusable = True
        self._interim = 0
        self.was_written = False  # a byte of the request went to the backend
        self.has_streamed = False  # bytes of the body were taken from the client that are not held any more

    def run(self, lease: Lease) -> Response:
        """Send the request and return the response; raises as `ReverseProxy.__call__` does. The lease is ours to end."""
        self._lease = lease
        stream = lease.connection.stream
        try:
            self._send(stream, lease)
            head, rest = self._read_head(stream)
            response = self._respond(head, rest, stream)
        except BaseException as error:
            self._abandon(error, lease)
            raise
        lease.succeeded()
        return response

    # -------------------------------------------------------------- sending

    def _send(self, stream: Stream, lease: Lease) -> None:
        outgoing = self._outgoing
        body = outgoing.first if outgoing.held is None else outgoing.held
        data = outgoing.head(self._proxy.host_for(lease)) + body
        patience = self._send_patience()
        try:
            sent = stream.send_now(data)
            self.was_written = sent > 0
            if sent < len(data):
                stream.send(data[sent:], patience)
        except OSError as error:
            if not self.was_written:
                raise BackendReset(f"The backend closed the connection: {error}") from error
            return  # it may have answered before it closed: the answer, or its absence, is read next
        if outgoing.held is None:
            self._start_upload(stream, patience)

    def _send_patience(self) -> Patience:
        """How long a backend may refuse to read: as long as it may take to answer."""
        return Patience(self._proxy.relay.response_timeout_s, ResponseTimeout, self._deadline)

    def _start_upload(self, stream: Stream, patience: Patience) -> None:
        outgoing = self._outgoing
        self.has_streamed = True
        body = self._request.body
        self._upload = Upload(
            outgoing.rest(),
            lambda: getattr(body, "trailers", b""),
            stream,
            patience,
            self._upload_ended,
            is_chunked=outgoing.is_chunked,
        )
        self._upload.start(self._proxy.recycler)

    def _upload_ended(self, is_whole: bool) -> None:
        self._upload = None
        self._is_reusable = self._is_reusable and is_whole
        self._settle()

    # -------------------------------------------------------------- receiving

    def _read_head(self, stream: Stream) -> tuple[ResponseHead, bytes]:
        """Return the final head and what came behind it; interim responses are passed on."""
        limit = self._deadline.within(self._proxy.relay.response_timeout_s, ResponseTimeout)
        buffer, searched = b"", 0
        while True:
            try:
                data = stream.recv_after_wait(READ_BYTES, limit)
            except OSError as error:
                raise BackendReset(f"The backend broke the connection: {error}") from error
            if not data:
                raise BackendClosed
            buffer = buffer + data if buffer else data
            while (end := find_response_head_end(buffer, MAX_HEAD_BYTES, searched)) >= 0:
                head = parse_response_head(buffer[:end])
                buffer, searched = buffer[end:], 0
                if head.status >= 200 or head.status == 101:
                    return head, buffer
                self._inform(head)
                if not buffer:
                    break
            searched = len(buffer)

    def _inform(self, head: ResponseHead) -> None:
        """Pass an interim response on; a 100 (Continue) only to a client that waits for one."""
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise BackendInvalid("The backend sends interim responses without end.")
        if head.status == 100:
            if not self._outgoing.expects_continue:
                return
            self._outgoing.expects_continue = False
        block = b"".join([line + b"\r\n" for line in head.kept])
        self._request.inform(head.status, block)

    def _respond(self, head: ResponseHead, rest: bytes, stream: Stream) -> Response:
        if head.status == 101:
            return self._switch_protocols(head, rest, stream)
        if self._outgoing.expects_continue and self._upload is not None:
            # The client was told the outcome before it sent its body: it may never send it now.
            self._outgoing.expects_continue = False
            self._is_reusable = False
            self._request.body.cancel()
        body = self._body(head, rest, stream)
        return Response(head.status, body=body, raw=head)

    def _body(self, head: ResponseHead, rest: bytes, stream: Stream) -> bytes | RelayBody:
        """Return the body itself when all of it is here, else one that reads it from the backend."""
        kind = response_body_kind(head, self._request.method.encode("ascii"))
        if kind == "none":
            self._response_ended(head.keep_alive and not rest)
            return b""
        if kind == "length":
            length = head.content_length or 0
            if len(rest) >= length:
                self._response_ended(head.keep_alive and len(rest) == length)
                return rest[:length]
        decoder = _decoder(kind, head)
        try:
            first = decoder.feed(rest) if rest else b""
        except Malformed as error:
            raise BackendInvalid(f"The backend's answer is malformed: {error}") from error
        if kind == "chunked" and decoder.is_done and not decoder.trailers:  # type: ignore[union-attr]
            self._response_ended(head.keep_alive and not decoder.excess)
            return first
        ended: Callable[[bool], None] = self._response_ended
        if not head.keep_alive:
            ended = self._response_ended_for_good
        return RelayBody(stream, decoder, first, self._patience(), ended)

    def _patience(self) -> Patience:
        proxy = self._proxy
        if not proxy.relay.request_timeout_s:
            return proxy.read_patience
        return Patience(proxy.relay.read_timeout_s, ReadTimeout, self._deadline)

    def _switch_protocols(self, head: ResponseHead, rest: bytes, stream: Stream) -> Response:
        """A 101 to a request that asked for it becomes a tunnel (RFC 9110 section 7.8)."""
        if not self._outgoing.upgrade or head.upgrade.lower() != self._outgoing.upgrade.lower():
            raise BackendInvalid("The backend switched to a protocol that nobody asked for.")
        response = Response(101, raw=head)
        response.takeover = Tunnel(stream, rest, lambda: self._response_ended(False))
        return response

    # -------------------------------------------------------------- the end of the lease

    def _response_ended_for_good(self, _is_complete: bool) -> None:
        self._response_ended(False)  # the backend closes this connection

    def _response_ended(self, is_reusable: bool) -> None:
        self._responding = False
        self._is_reusable = self._is_reusable and is_reusable
        self._settle()

    def _settle(self) -> None:
        """Give the connection back when both directions ended in order; drop it as soon as it cannot be used again."""
        lease = self._lease
        if lease is None or self._responding:
            return
        if not self._is_reusable:
            self._lease = None
            lease.drop()
            if self._upload is not None:
                self._request.body.cancel()
        elif self._upload is None:
            self._lease = None
            lease.give_back()

    def _abandon(self, error: BaseException, lease: Lease) -> None:
        self._responding = False
        self._is_reusable = False
        self._settle()
        lease.drop()
        if isinstance(error, ProxyError) and not isinstance(error, RequestTimeout) and _blames_backend(error, lease):
            lease.failed(error)


def _blames_backend(error: ProxyError, lease: Lease) -> bool:
    """A connection that was closed while it lay idle says nothing about its backend's health."""
    if isinstance(error, (BackendClosed, BackendReset)) and lease.is_reused:
        return False
    return isinstance(error, (BackendClosed, BackendReset, BackendInvalid, ResponseTimeout, ConnectTimeout))


def _decoder(kind: str, head: ResponseHead) -> LengthDecoder | ChunkedDecoder | EofDecoder:
    if kind == "chunked":
        return ChunkedDecoder(MAX_TRAILER_BYTES)
    if kind == "length":
        return LengthDecoder(head.content_length or 0)
    return EofDecoder()
