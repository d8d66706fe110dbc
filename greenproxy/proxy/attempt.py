"""Attempt: one try of one request at one backend, from the first byte sent to the head of the response.

It ends its lease: at once when the body of the response came with its head, else when response and upload have both ended
(`net.relay.RelayBody` tells of the one, `upload.Upload` of the other).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from greenproxy.config.settings import RelaySettings
from greenproxy.deadline import NEVER, Deadline, Limit, Patience
from greenproxy.errors import (
    RETRY_STATUSES,
    BackendClosed,
    BackendInvalid,
    BackendReset,
    ProxyError,
    ReadTimeout,
    ResponseTimeout,
    SendTimeout,
)
from greenproxy.messages import Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.net.relay import RelayBody
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import ChunkedDecoder, EofDecoder, LengthDecoder, Malformed
from greenproxy.protocol.http1 import ResponseHead, find_response_head_end, parse_response_head, response_body_kind
from greenproxy.proxy.outgoing import Outgoing
from greenproxy.proxy.tunnel import Tunnel
from greenproxy.proxy.upload import Upload
from greenproxy.upstream.holds import Hold
from greenproxy.upstream.lease import Lease

READ_BYTES = 72 * 1024  # heads, and bodies that come with them: one of 64 KiB then costs one call each way
MAX_HEAD_BYTES = 64 * 1024
MAX_TRAILER_BYTES = 16 * 1024
_FOREVER = float("inf")
_BODILESS = frozenset({"HEAD", "CONNECT"})  # what they are answered has no body, or none of the usual
_MAY_BE_DISCARDED = min(RETRY_STATUSES)
MAX_INTERIM = 32  # interim responses to one request; more is a flood


@dataclass(frozen=True, slots=True)
class Terms:
    """What all attempts of one reverse proxy have in common. The patiences are for exchanges without a deadline of their own."""

    relay: RelaySettings
    recycler: Recycler
    response_patience: Patience
    read_patience: Patience
    replaces_host: bool


class AnswerLimit:
    """response-timeout beside an upload: it counts from the last byte of the request, since a slow client is not a slow backend.

    Until then the timeouts of the upload count: body-timeout for the client, response-timeout for a backend that reads nothing.
    """

    __slots__ = ("_at_s", "_seconds", "_whole")

    def __init__(self, seconds: float, whole: Deadline) -> None:
        self._seconds = seconds or _FOREVER
        self._whole = whole
        self._at_s = _FOREVER

    def begin(self) -> None:
        """It is the backend's turn."""
        self._at_s = monotonic() + self._seconds

    def suspend(self) -> None:
        """It is the client's turn."""
        self._at_s = _FOREVER

    def remaining_s(self) -> float:
        """Return the seconds left for the answer."""
        return min(self._at_s, self._whole.at_s) - monotonic()

    def late(self) -> ProxyError:
        """Return the error of whichever limit has passed."""
        return self._whole.late() if self._whole.at_s <= self._at_s else ResponseTimeout()


class Attempt:
    """One try.

    `was_written`: a byte went to the backend. `was_answered`: a byte came back. `was_passed_on`: a byte of what came back
    (an interim response) went to the client.
    """

    __slots__ = (
        "_deadline", "_interim", "_is_responding", "_is_reusable", "_lease", "_limit", "_outgoing", "_request", "_stands",
        "_stream_upload", "_terms", "_upload", "_was_broken_off", "was_answered", "was_passed_on", "was_written",
    )  # fmt: skip

    def __init__(self, terms: Terms, request: Request, outgoing: Outgoing, deadline: Deadline) -> None:
        self._terms = terms
        self._request = request
        self._outgoing = outgoing
        self._deadline = deadline
        self._lease: Lease | None = None
        self._upload: Upload | None = None  # while it goes on
        self._stream_upload: Upload | None = None  # the one that takes bytes from the client, also when it has ended
        self._is_responding = True
        self._is_reusable = True
        self._stands = True  # whoever is told of the response, nobody else will be asked
        self._limit: AnswerLimit | None = None  # where there is an upload
        self._interim = 0
        self._was_broken_off = False  # sending failed
        self.was_written = False
        self.was_answered = False
        self.was_passed_on = False

    @property
    def has_streamed(self) -> bool:
        """Whether bytes of the body went to the backend that nobody holds any more."""
        return self._stream_upload is not None and self._stream_upload.has_taken

    def run(self, lease: Lease) -> Response:
        """Send the request and return the response. The lease is ours to end.

        Waits for the backend. Raises BackendReset, BackendClosed, BackendInvalid, ResponseTimeout, the deadline's error, or
        what reading the client's body raises.
        """
        self._lease = lease
        stream = lease.connection.stream
        try:
            self._send(stream, lease)
            head, rest = self._read_head(stream)
            body = b"" if head.status == 101 else self._body(head, rest, stream)
            response = Response(head.status, None, body, head)
            if head.status == 101:
                response.takeover = self._tunnel(head, rest, stream)
        except BaseException as error:
            self._abandon(error, lease)
            raise
        # A backend that breaks off its bodies is failing too: it has succeeded when the body has, save where one that is out
        # would have to wait for the end of a long one.
        if type(body) is bytes or lease.is_trial:
            lease.succeeded()
        return response

    # -------------------------------------------------------------- sending

    def _send(self, stream: Stream, lease: Lease) -> None:
        outgoing = self._outgoing
        data = outgoing.head(lease.backend.host, replaces_host=self._terms.replaces_host)
        body = outgoing.first if outgoing.held is None else outgoing.held
        if body:
            data += body
        try:
            sent = stream.send_now(data)
        except OSError as error:
            raise BackendReset from error
        self.was_written = sent > 0
        if sent < len(data) or outgoing.held is None:
            self._start_upload(lease, data[sent:])

    def _send_patience(self) -> Patience:
        """How long a backend may refuse to read: as long as it may take to answer."""
        if self._deadline is NEVER:
            return self._terms.response_patience
        return Patience(self._terms.relay.response_timeout_s, ResponseTimeout, self._deadline)

    def _start_upload(self, lease: Lease, first: bytes) -> None:
        """Send what is left, and what is still to come, while the answer is awaited: a backend may refuse before it has all."""
        outgoing = self._outgoing
        body = self._request.body
        is_streamed = outgoing.held is None
        self.was_written = True
        self._limit = AnswerLimit(self._terms.relay.response_timeout_s, self._deadline)
        if outgoing.expects_continue:
            self._limit.begin()
            outgoing.client_goes_on = self._client_goes_on
        self._upload = Upload(
            first,
            outgoing.rest() if is_streamed else (),
            lambda: getattr(body, "trailers", b""),
            lease.connection.stream,
            self._send_patience(),
            self._upload_ended,
            is_chunked=is_streamed and outgoing.is_chunked,
            hold=self._hold(lease) if outgoing.waits_for_client else None,
        )
        if is_streamed:
            self._stream_upload = self._upload
            if outgoing.waits_for_client:
                body.when_cancelled(self._body_cancelled)
        if outgoing.place is not None:
            outgoing.place.began()
        self._upload.start(self._terms.recycler)

    def _hold(self, lease: Lease) -> Hold:
        hold = lease.hold(is_upload=True)
        if self._outgoing.expects_continue:
            hold.excuse()
        return hold

    def _body_cancelled(self) -> None:
        """Nobody waits for the upload: behind a response that is out it must not wait for a backend that does not read."""
        if not self._is_responding:
            self._is_reusable = False
            self._settle()

    def _upload_ended(self, is_whole: bool) -> None:
        if self._outgoing.place is not None:
            self._outgoing.place.ended(is_whole)
        if self._upload is not None and self._upload.was_refused:
            self._was_broken_off = True
        self._upload = None
        if self._limit is not None and self._lease is not None:
            self._limit.begin()
            self._lease.connection.stream.wake()
        self._is_reusable = self._is_reusable and is_whole
        self._settle()

    # -------------------------------------------------------------- receiving

    def _read_head(self, stream: Stream) -> tuple[ResponseHead, bytes]:
        """Return the final head and what came behind it; interim responses are passed on."""
        sent_s = monotonic()
        limit: Limit | None = self._limit
        if limit is None:
            # Nearly every head comes in one piece: the deadline for the whole of it is made only for the others.
            limit = self._terms.response_patience if self._deadline is NEVER else self._head_deadline(sent_s)
        data = self._receive(stream, limit)
        end = find_response_head_end(data, MAX_HEAD_BYTES)
        if end >= 0:
            head = parse_response_head(data[:end])
            if head.status >= 200:
                return head, data[end:]
        return self._read_on(stream, data, self._limit or self._head_deadline(sent_s))

    def _head_deadline(self, sent_s: float) -> Deadline:
        seconds = self._terms.relay.response_timeout_s
        at_s = sent_s + seconds if seconds else NEVER.at_s
        return self._deadline if self._deadline.at_s <= at_s else Deadline(at_s, ResponseTimeout)

    def _read_on(self, stream: Stream, buffer: bytes, limit: Limit) -> tuple[ResponseHead, bytes]:
        """Go on with a head that came in pieces or behind interim responses."""
        searched = 0
        while True:
            while (end := find_response_head_end(buffer, MAX_HEAD_BYTES, searched)) >= 0:
                head = parse_response_head(buffer[:end])
                buffer, searched = buffer[end:], 0
                if head.status >= 200 or head.status == 101:
                    return head, buffer
                self._inform(head)
            searched = len(buffer)
            buffer += self._receive(stream, limit)

    def _receive(self, stream: Stream, limit: Limit) -> bytes:
        try:
            data = stream.recv_after_wait(READ_BYTES, limit)
        except OSError as error:
            raise BackendReset from error
        if not data:
            # Whoever sent has been given the reset; whoever receives sees an orderly end.
            raise BackendReset if self._was_broken_off else BackendClosed
        self.was_answered = True
        return data

    def _inform(self, head: ResponseHead) -> None:
        """Pass an interim response on; a 100 (Continue) only to a client that waits for one."""
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise BackendInvalid("The backend sends interim responses without end.")
        if head.status == 100:
            if not self._outgoing.expects_continue:
                return
            self._outgoing.expects_continue = False
            self._client_goes_on()
        self.was_passed_on = True
        lease = self._lease
        assert lease is not None
        with lease.hold().waiting(SendTimeout):  # a client that does not read what it is told holds the backend as well
            self._request.inform(head.status, b"".join([line + b"\r\n" for line in head.kept]))
        if head.status == 100:
            self._request.body.continue_sent()

    def _client_goes_on(self) -> None:
        """It is the client's turn, not the backend's."""
        if self._limit is not None and self._upload is not None and self._lease is not None:
            self._limit.suspend()
            self._lease.connection.stream.wake()
            if self._upload.hold is not None:
                self._upload.hold.blame()

    def _body(self, head: ResponseHead, rest: bytes, stream: Stream) -> bytes | RelayBody:
        """Return the body itself when all of it is here, else one that reads it from the backend."""
        if head.status >= _MAY_BE_DISCARDED:
            self._stands = False
        elif self._upload is not None:
            self._spare_body()
        method = self._request.method
        kind = response_body_kind(head, method.encode("latin-1")) if method in _BODILESS else head.body_kind
        if kind == "length" and len(rest) >= (length := head.content_length or 0):
            self._response_ended(head.keep_alive and len(rest) == length)
            return rest if len(rest) == length else rest[:length]
        if kind == "none":
            self._response_ended(head.keep_alive and not rest)
            return b""
        return self._stream_body(kind, head, rest, stream)

    def _stream_body(self, kind: str, head: ResponseHead, rest: bytes, stream: Stream) -> bytes | RelayBody:
        decoder = _decoder(kind, head)
        try:
            first = decoder.feed(rest) if rest else b""
        except Malformed as error:
            raise BackendInvalid(f"The backend's answer is malformed: {error}") from error
        if isinstance(decoder, ChunkedDecoder) and decoder.is_done and not decoder.trailers:
            self._response_ended(head.keep_alive and not decoder.excess)
            return first
        is_last = kind == "eof" or not head.keep_alive
        ended: Callable[[bool], None] = self._body_ended_for_good if is_last else self._body_ended
        patience = self._terms.read_patience
        if self._deadline is not NEVER:
            patience = Patience(self._terms.relay.read_timeout_s, ReadTimeout, self._deadline)
        lease = self._lease
        assert lease is not None
        return RelayBody(
            stream,
            decoder,
            first,
            patience,
            ended,
            self._body_failed,
            ahead_bytes=self._terms.relay.response_buffer_bytes,
            hold=lease.hold(),
        )

    def _tunnel(self, head: ResponseHead, rest: bytes, stream: Stream) -> Tunnel:
        """A 101 to a request that asked for it becomes a tunnel (RFC 9110 section 7.8)."""
        if not self._outgoing.upgrade or head.upgrade.lower() != self._outgoing.upgrade.lower():
            raise BackendInvalid("The backend switched to a protocol that nobody asked for.")
        return Tunnel(stream, rest, lambda: self._response_ended(False))

    def _spare_body(self) -> None:
        """A client that waits for a 100 (Continue) is told the outcome instead: it may never send its body now."""
        if self._outgoing.expects_continue and self._upload is not None:
            self._is_reusable = False
            self._upload.was_stopped = True
            self._request.body.cancel()

    # -------------------------------------------------------------- the end of the lease

    def keep(self) -> None:
        """Let a response stand that could have been discarded: what has not come of the body is for no other backend."""
        self._stands = True
        self._spare_body()
        if not self._is_reusable:
            self._stop_upload(for_good=True)
            self._settle()

    def discard(self, response: Response) -> None:
        """Throw the response away, so that the request can be sent elsewhere. Never waits.

        An upload that goes on is broken off with its connection; what it waits for is the next one's.
        """
        lease = self._lease
        if self._upload is not None and lease is not None:
            self._stop_upload(for_good=False)
            self._lease = None
            lease.drop()
        if isinstance(response.body, RelayBody):
            response.body.close()

    def _body_failed(self, error: ProxyError) -> None:
        if self._lease is not None:
            self._lease.answered()
            self._lease.failed(error)

    def _body_ended(self, is_complete: bool) -> None:
        if is_complete and self._lease is not None:
            self._lease.succeeded()
        self._response_ended(is_complete)

    def _body_ended_for_good(self, is_complete: bool) -> None:
        if is_complete and self._lease is not None:
            self._lease.succeeded()
        self._response_ended(False)  # the backend closes this connection

    def _response_ended(self, is_reusable: bool) -> None:
        self._is_responding = False
        lease = self._lease
        if is_reusable and self._is_reusable and self._upload is None and lease is not None:  # nearly always
            self._lease = None
            lease.give_back()
            return
        self._is_reusable = self._is_reusable and is_reusable
        self._settle()

    def _settle(self) -> None:
        """Give the connection back when both directions ended in order; drop it as soon as it cannot be used again."""
        lease = self._lease
        if lease is None or self._is_responding:
            return
        if not self._is_reusable:
            self._lease = None
            self._stop_upload(for_good=self._stands)
            lease.drop()
        elif self._upload is None:
            self._lease = None
            lease.give_back()

    def _stop_upload(self, *, for_good: bool) -> None:
        """Stop the upload where it waits for the client; what it sends ends with the connection to the backend."""
        body = self._request.body
        if self._upload is None or self._stream_upload is None or not hasattr(body, "cancel"):
            return  # it has ended, or all of it is held, or a middleware made it and waits for nobody we know
        self._upload.was_stopped = True
        if for_good:
            body.cancel()
        else:
            body.pause()

    def _abandon(self, error: BaseException, lease: Lease) -> None:
        # A body that nobody has taken anything of can still go to another backend.
        self._stop_upload(for_good=self.has_streamed)
        self._is_responding = self._is_reusable = False
        self._lease = None
        lease.drop()
        if self.was_answered:
            lease.answered()
        if isinstance(error, ProxyError):
            lease.failed(error)


def _decoder(kind: str, head: ResponseHead) -> LengthDecoder | ChunkedDecoder | EofDecoder:
    if kind == "chunked":
        return ChunkedDecoder(MAX_TRAILER_BYTES)
    if kind == "length":
        return LengthDecoder(head.content_length or 0)
    return EofDecoder()
