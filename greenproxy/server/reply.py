"""Reply: one HTTP/1.1 answer on its way to the client: interim responses, the head, the body in its framing, or a cut.

Framing is decided here, from what the body is and what the client speaks (RFC 9112 section 6.3); what a handler says of
Transfer-Encoding or Connection is not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Protocol

from greenlet import GreenletExit

from greenproxy.deadline import Patience
from greenproxy.errors import AppError, ClientGone, ProxyError, SendTimeout, Stopped
from greenproxy.exchange import Exchange
from greenproxy.messages import Duplex, Request, Response, Takeover
from greenproxy.net.ahead import Ahead
from greenproxy.net.relay import RelayBody
from greenproxy.net.stream import Stream
from greenproxy.observability.clock import http_date
from greenproxy.observability.error_pages import phrase
from greenproxy.protocol.body import encode_chunk, last_chunk
from greenproxy.protocol.forwarding import response_block
from greenproxy.protocol.http1 import ResponseHead
from greenproxy.server.body import ClientBody

_PHRASES = {status.value: phrase(status).encode() for status in HTTPStatus}
_LAST_CHUNK = last_chunk(b"")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = (204, 304)
_UNDELIMITED = -1
_CHUNKED = -2


class Desk(Protocol):
    """What a reply needs of its listener."""

    is_draining: bool
    send_patience: Patience

    def error_page(self, error: ProxyError, request: Request | None) -> Response: ...


class Reply:
    """Answers one request on `stream`. `keep_alive` begins as what the client wants and ends as what happens."""

    __slots__ = (
        "_exchange", "_framing", "_front", "_is_close_delimited", "_is_head_request", "_is_http11", "_is_relay", "_patience",
        "_relay", "_stream", "body", "duplex", "is_cut", "is_started", "keep_alive",
    )  # fmt: skip

    def __init__(
        self, front: Desk, stream: Stream, exchange: Exchange, is_http11: bool, is_head_request: bool, keep_alive: bool
    ) -> None:
        self._front = front
        self._stream = stream
        self._exchange = exchange
        self._patience = front.send_patience
        self._is_http11 = is_http11
        self._is_head_request = is_head_request
        self._is_close_delimited = False
        self._framing = 0
        self._relay: RelayBody | None = None  # what holds a backend while the client is sent something
        self._is_relay = False  # and is sent as it is
        self.body: ClientBody | None = None  # of the request, where it has one
        self.duplex: Callable[[], Duplex] | None = None  # makes what a takeover gets
        self.is_cut = False  # what was sent is visibly not the whole: nothing may follow it
        self.is_started = False  # bytes of the final head are out: errors can only be cuts now
        self.keep_alive = keep_alive

    # -------------------------------------------------------------- heads

    def inform(self, status: int, block: bytes) -> None:
        """Send an interim response (RFC 9110 section 15.2); never to HTTP/1.0, never behind the final head."""
        if self._is_http11 and not self.is_started:
            self._write(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, _PHRASES.get(status, b""), block))

    def say_continue(self, *, waits: bool) -> bool:
        """Send a 100 (Continue), where it is allowed. Returns False if it would have to wait and must not."""
        if waits or not self._is_http11 or self.is_started:
            self.inform(100, b"")
            return True
        if self._stream.is_sending:
            return False
        try:
            sent = self._stream.send_now(_CONTINUE)
        except OSError as error:
            raise ClientGone(f"The client's connection broke: {error}") from error
        if 0 < sent < len(_CONTINUE):  # the rest would stand in the middle of something else
            raise ClientGone("The client reads too little to be told to go on.")
        return sent > 0

    def send(self, response: Response) -> None:
        """Send head and body. Waits for the body and for the client. Raises ProxyError; see `fail`."""
        if self._front.is_draining:
            self.keep_alive = False
        if self.body is not None and not self.body.is_received:
            self._settle_body(self.body)
        if response.takeover is not None:
            self._hand_over(response, response.takeover)
            return
        if not 200 <= response.status <= 599:
            raise AppError(f"{response.status} is not the status of an answer.")
        body = response.body
        if self._is_head_request or response.status in _BODILESS:
            self._start(response, self._unsent(response), b"")
        elif isinstance(body, bytes):
            self._send_bytes(response, body)
        else:
            self._send_stream(response)

    def _settle_body(self, body: ClientBody) -> None:
        """The answer begins before the request ended: can the connection go on behind them?"""
        if self.keep_alive and not body.is_cancelled and not body.is_being_read:
            try:
                body.receive_now()
            except ProxyError:  # too long, or malformed: the answer stands, and is the last one
                self.keep_alive = False
        if body.is_cancelled or not body.is_being_read:
            self.keep_alive = self.keep_alive and body.is_received

    def _hand_over(self, response: Response, takeover: Takeover) -> None:
        assert self.duplex is not None
        self._start(response, 0, b"")
        self.keep_alive = False
        self._is_close_delimited = True  # from here on the end of the connection is all that the client sees
        takeover(self.duplex())

    def _unsent(self, response: Response) -> int | None:
        """Return the framing in a head without a body: what a GET would have got, where that is known."""
        body = response.body
        if response.status == 204:
            return _UNDELIMITED  # neither length nor coding (RFC 9110 section 8.6, RFC 9112 section 6.1)
        if response.status == 304 or body is response.relayed:
            return None
        if not isinstance(body, bytes):
            return max(_UNDELIMITED, self._frame_of(response))
        return len(body) if body or "content-length" not in response.headers else None

    def _start(self, response: Response, framing: int | None, payload: bytes) -> None:
        """Send the head with the first bytes of the body in one call.

        `framing`: a length, _CHUNKED, _UNDELIMITED, or None to leave Content-Length as it is.
        """
        raw = response.raw
        if (
            response.headers_if_read is None
            and isinstance(raw, ResponseHead)
            and raw.status == response.status  # the status that came is still true, and Content-Length or its absence
            and (framing is None or framing == raw.content_length or raw.content_length is None)
        ):
            head, has_date, has_length = raw.forwarded, raw.has_date, raw.content_length is not None
        else:
            head, has_date, has_length = _touched_head(response, keeps_length=framing is None)
        if not has_date:
            head += b"Date: %b\r\n" % http_date()
        if framing == _CHUNKED:
            head += b"Transfer-Encoding: chunked\r\n"
        elif framing is not None and framing >= 0 and not has_length and response.status not in (101, 204):
            head += b"Content-Length: %d\r\n" % framing
        if response.takeover is not None:
            head += b"Connection: upgrade\r\nUpgrade: %b\r\n" % (raw.upgrade if isinstance(raw, ResponseHead) else b"")
        elif not self.keep_alive:
            head += b"Connection: close\r\n"
        elif not self._is_http11:
            head += b"Connection: keep-alive\r\n"
        self.is_started = True
        self._exchange.status = response.status
        self._write(head + b"\r\n" + payload)  # a third of what formatting takes

    # -------------------------------------------------------------- bodies

    def _send_bytes(self, response: Response, body: bytes) -> None:
        raw = response.raw
        if not self.keep_alive:
            self._stream.end_with_next_send()
        elif (  # nearly always: what came with Date and length goes out as it came, which saves a fiftieth of the exchange
            type(raw) is ResponseHead
            and raw.has_date
            and raw.content_length == len(body)
            and raw.status == response.status
            and response.headers_if_read is None
            and self._is_http11
        ):
            self.is_started = True
            self._exchange.status = response.status
            self._write(raw.forwarded + b"\r\n" + body)
            self._exchange.bytes_out = len(body)
            return
        if isinstance(raw, ResponseHead) and raw.is_chunked and body is response.relayed and self._is_http11:
            self._start(response, _CHUNKED, encode_chunk(body) + _LAST_CHUNK if body else _LAST_CHUNK)
        else:
            self._start(response, len(body), body)
        self._exchange.bytes_out = len(body)

    def _send_stream(self, response: Response) -> None:
        self._framing = framing = self._frame_of(response)
        if framing == _UNDELIMITED:
            self.keep_alive = False
            self._is_close_delimited = True
        body = response.body
        relay = body if isinstance(body, RelayBody) else None
        self._is_relay = relay is not None
        self._relay = relay or (response.relayed if isinstance(response.relayed, RelayBody) else None)
        pieces: Iterator[bytes] = iter(body) if relay is not None else _foreign(body)  # type: ignore[arg-type]
        # Ours tells what it has; of anybody else's, the first piece is awaited, so that its failure can still be a page.
        first = relay.take_ready() if relay is not None else next(pieces, b"")
        self._start(response, framing, self._framed(first))
        if relay is not None and framing in (relay.content_length, _UNDELIMITED):
            self._pass_on(relay)
        for piece in pieces:
            if piece:
                self._write(self._framed(piece))
        if framing == _CHUNKED:
            self._write(last_chunk(relay.trailers) if relay is not None else _LAST_CHUNK)
        elif framing >= 0 and self._exchange.bytes_out != framing:
            raise AppError(f"The body ended after {self._exchange.bytes_out} of {framing} bytes.")

    def _pass_on(self, relay: RelayBody) -> None:
        """Let the kernel move the body, which goes out as it comes, as long as much of it is left."""
        while relay.can_pass_on(self._stream):
            try:
                count, rest = relay.pass_on(self._stream)
            except OSError as error:
                raise ClientGone(f"The client's connection broke: {error}") from error
            self._exchange.bytes_out += count
            if rest:
                self._write(rest)

    def _framed(self, piece: bytes) -> bytes:
        """Count a piece of the body and return it as it goes on the wire."""
        exchange, framing = self._exchange, self._framing
        exchange.bytes_out += len(piece)
        if 0 <= framing < exchange.bytes_out:
            raise AppError(f"The body is longer than the {framing} bytes that its head says.")
        return encode_chunk(piece) if framing == _CHUNKED else piece

    def _frame_of(self, response: Response) -> int:
        """Return how a streamed body is delimited: by its length if that is known, else chunked, else by closing."""
        raw = response.raw
        stated: int | None = None
        if response.headers_if_read is None and isinstance(raw, ResponseHead):
            stated = raw.content_length
        else:
            text = response.headers.get("content-length")
            if text is not None and text.isascii() and text.isdigit():
                stated = int(text)
        if (
            stated is not None
            and response.body is not response.relayed
            and isinstance(raw, ResponseHead)
            and stated == raw.content_length
        ):
            stated = None  # it was true of the body that a middleware replaced
        if stated is not None:
            return stated
        return _CHUNKED if self._is_http11 else _UNDELIMITED

    # -------------------------------------------------------------- the end

    def fail(self, error: ProxyError) -> None:
        """Send the page that tells of `error`, or cut the connection when the head is out or nobody is there. Raises nothing."""
        if self.is_started or isinstance(error, (ClientGone, SendTimeout)):
            self.cut(error)
            return
        if error.closes:
            self.keep_alive = False
        page = self._front.error_page(error, self._exchange.request)
        try:
            self.send(page)
        except ProxyError as another:  # the client left as well, or its body is malformed on top of it
            self.cut(another)

    def cut(self, error: ProxyError) -> None:
        """End the connection so that the client sees an incomplete message.

        Where its end is not taken for the message's, the connection closes in stages (RFC 9112 section 9.6): a close over bytes
        that nobody read is a reset, which would take earlier answers with it that the client has not read yet.
        """
        self.keep_alive = False
        self.is_cut = True
        self._stream.break_off()
        if self._is_close_delimited or not self._is_http11 or isinstance(error, SendTimeout):
            self._stream.reset()  # an orderly end would pass off a part as the whole; who does not read gets it never
        elif isinstance(error, (ClientGone, Stopped)):
            self._stream.close()

    def _write(self, data: bytes) -> None:
        relay = self._relay
        try:
            if relay is None or relay.is_over:
                self._stream.send(data, self._patience)
                return
            sent = self._stream.send_now(data)
            if sent != len(data):
                self._write_slowly(memoryview(data)[sent:], relay)
        except OSError as error:
            raise ClientGone(f"The client's connection broke: {error}") from error

    def _write_slowly(self, rest: memoryview, relay: RelayBody) -> None:
        """The client does not take what it is sent, and a backend is held meanwhile."""
        if self._is_relay:
            Ahead(self._stream, self._patience, relay, self._framed).send(rest)
        else:
            with relay.hold.waiting(SendTimeout, self._stream.unsent_bytes):
                self._stream.send(rest, self._patience)


def _foreign(body: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a body that is not ours; whatever goes wrong in it is an AppError."""
    try:
        for piece in body:
            if not isinstance(piece, (bytes, bytearray, memoryview)):
                raise TypeError(f"a body must yield bytes, not {type(piece).__name__}")
            yield bytes(piece)
    except (ProxyError, GreenletExit, GeneratorExit):
        raise
    except BaseException as error:  # also a gevent.Timeout of its own
        raise AppError from error


def _touched_head(response: Response, *, keeps_length: bool) -> tuple[bytes, bool, bool]:
    """Return (status line and field lines, has Date, has Content-Length) of a response that is not, or not only, a backend's."""
    fields, has_date, has_length = response_block(response.headers, keeps_length=keeps_length)
    raw, status = response.raw, response.status
    phrase = raw.reason if isinstance(raw, ResponseHead) and raw.status == status else _PHRASES.get(status, b"")
    return b"HTTP/1.1 %d %b\r\n%b" % (status, phrase, fields), has_date, has_length
