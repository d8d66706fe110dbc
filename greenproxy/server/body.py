"""ClientBody: a request's body, read from the client's connection as somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from gevent.event import Event
from gevent.hub import getcurrent

from greenproxy.deadline import Patience
from greenproxy.errors import BadRequest, BodyGone, BodyTooLarge, ClientGone, ProxyError
from greenproxy.exchange import Exchange
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import ChunkedDecoder, LengthDecoder, Malformed

READ_BYTES = 120 * 1024  # as in net.relay
MAX_TRAILER_BYTES = 16 * 1024
CONTINUE_PATIENCE_S = 1.0  # as long as curl waits for a 100 (Continue) itself
_FOREVER = float("inf")


class _Impatience(ClientGone):
    """The backend has not said for too long whether it wants the body. Never leaves this module."""


class BodyCancelled(ClientGone):
    """The exchange is over before the body was: whoever still reads it stops."""


class SendContinue(Protocol):
    """Sends a 100 (Continue) and returns whether it went out; without `waits` it may not when there is no room."""

    def __call__(self, *, waits: bool) -> bool: ...


class Source(Protocol):
    """The connection that a body is read from: its stream, and what was read from that behind the head."""

    stream: Stream
    buffer: bytes

    def watch(self) -> None:
        """Notice from now on when the client leaves: all of the body has come, so that nobody reads any more."""
        ...


class ClientBody:
    """See `messages.StreamedBody`. `send_continue` sends a 100 (Continue); None when the client does not wait for one."""

    __slots__ = (
        "_decoder", "_exchange", "_gone_on", "_is_being_read", "_is_consumed", "_is_paused", "_max_bytes", "_own_continue",
        "_patience", "_reader", "_released", "_send_continue", "_source", "_waits_for_backend", "_when_cancelled", "_whole",
        "is_cancelled",
    )  # fmt: skip

    def __init__(
        self,
        source: Source,
        exchange: Exchange,
        content_length: int | None,
        patience: Patience,
        max_bytes: int,
        send_continue: SendContinue | None,
    ) -> None:
        self._source = source
        self._exchange = exchange
        self._decoder: LengthDecoder | ChunkedDecoder
        self._decoder = ChunkedDecoder(MAX_TRAILER_BYTES) if content_length is None else LengthDecoder(content_length)
        self._patience = patience
        self._max_bytes = max_bytes
        self._send_continue = send_continue
        self._waits_for_backend = False  # the client waits for a 100 (Continue) that is the backend's to give
        self._own_continue = send_continue  # if that does not
        self._gone_on: Callable[[], None] | None = None
        self._when_cancelled: Callable[[], None] | None = None
        self._whole: bytes | None = None  # all of it, once it was read or found in one piece: whoever asks again gets it again
        self._is_consumed = False  # a part of it was given away that is not held any more
        self._reader: object = None  # the greenlet that waits for the client's bytes
        self._is_being_read = False
        self._is_paused = False  # that greenlet is to stop
        self.is_cancelled = False  # nobody wants the rest, or nobody can read it
        self._released: Event | None = None  # set when whoever reads it stops

    @property
    def content_length(self) -> int | None:
        """The announced length in bytes; None for a chunked body."""
        return self._decoder.length if isinstance(self._decoder, LengthDecoder) else None

    @property
    def is_complete(self) -> bool:
        return self._decoder.is_done

    @property
    def is_received(self) -> bool:
        """Whether the last byte of the body came, wherever it is now: the next request can follow."""
        return self._decoder.is_done

    @property
    def trailers(self) -> bytes:
        return self._decoder.trailers if isinstance(self._decoder, ChunkedDecoder) else b""

    @property
    def is_being_read(self) -> bool:
        """Whether somebody is in the middle of reading it, waiting for the client or for whom it is passed on to."""
        return self._is_being_read

    def wait_released(self) -> None:
        """Wait until whoever reads it stops, at the end of the body or before; it is stopped when it does not get on."""
        self._released = released = Event()
        seconds = self._patience.remaining_s()
        while self._is_being_read:
            came = self._exchange.bytes_in
            if not released.wait(None if seconds == _FOREVER else seconds) and self._exchange.bytes_in == came:
                self.cancel()  # what it did not read yet will be thrown away: it must not go on behind that
                return

    def set_limit(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        length = self.content_length
        if max_bytes and length is not None and length > max_bytes:
            self.is_cancelled = True
            raise BodyTooLarge

    def expect_continue_from_backend(self, gone_on: Callable[[], None] = lambda: None) -> bool:
        self._waits_for_backend, self._send_continue = self._send_continue is not None, None
        self._gone_on = gone_on
        return self._waits_for_backend

    def continue_sent(self) -> None:
        self._waits_for_backend = False
        if self._reader is not None:
            self._source.stream.wake()

    # -------------------------------------------------------------- as the limit of its own waits

    def remaining_s(self) -> float:
        """Return the seconds that the client may be silent: body-timeout, or less while it waits for a 100 (Continue)."""
        if self._is_paused:
            return 0.0
        return CONTINUE_PATIENCE_S if self._waits_for_backend else self._patience.remaining_s()

    def late(self) -> ProxyError:
        """Return what its silence means."""
        if self._is_paused:
            return BodyCancelled()
        return _Impatience() if self._waits_for_backend else self._patience.late()

    # -------------------------------------------------------------- reading

    def __iter__(self) -> Iterator[bytes]:
        self._is_being_read = True
        try:
            if self._whole:
                yield self._whole
            while not self._decoder.is_done:
                piece = self._take()
                if not piece and not self._decoder.is_done:  # the end of a chunked body brings no bytes
                    piece = self._receive()
                if piece:
                    self._is_consumed = True
                    yield piece
        finally:
            self._is_being_read = False
            if self._released is not None:
                self._released.set()

    def read(self) -> bytes:
        if self._whole is None:
            was_consumed = self._is_consumed
            rest = b"".join(self)
            self._is_consumed = was_consumed
            if was_consumed:
                return rest
            self._whole = rest
        return self._whole

    def take_buffered(self) -> bytes:
        """See `messages.StreamedBody`. Raises BodyGone when a part of the body was given away already."""
        if self._whole is not None:
            return self._whole
        if self._is_consumed:
            raise BodyGone
        at_hand = self._take()
        if self._decoder.is_done:
            self._whole = at_hand
        else:
            self._is_consumed = True  # the caller streams the rest behind it
        return at_hand

    def receive_now(self) -> None:
        """Take and forget what has arrived, without waiting, so that a short body nobody wanted costs no connection.

        Raises what reading it raises.
        """
        self._take()
        while not self._decoder.is_done:
            try:
                data = self._source.stream.recv_now(READ_BYTES)
            except OSError as error:
                raise ClientGone(f"The client's connection broke while it sent its body: {error}") from error
            if not data or self._exchange.bytes_in > READ_BYTES:
                return
            self._feed(data)

    def _take(self) -> bytes:
        """Decode what was read behind the head."""
        data, self._source.buffer = self._source.buffer, b""
        return self._feed(data) if data and not self._decoder.is_done else self._put_back(data)

    def _put_back(self, data: bytes) -> bytes:
        self._source.buffer = data
        return b""

    def _receive(self) -> bytes:
        """Wait for the next bytes of the body."""
        if self.is_cancelled:
            raise BodyCancelled
        if self._send_continue is not None:
            send_continue, self._send_continue = self._send_continue, None
            send_continue(waits=True)
        self._reader = getcurrent()
        try:
            data = self._wait()
            if self._is_paused:  # in the very turn in which these bytes came: they are whoever's who reads next
                self._source.buffer = data
                raise BodyCancelled
        except OSError as error:
            raise ClientGone(f"The client's connection broke while it sent its body: {error}") from error
        finally:
            self._reader = None
            self._is_paused = False
        self._waits_for_backend = False
        if not data:
            raise ClientGone("The client closed the connection in the middle of its body.")
        return self._feed(data)

    def _wait(self) -> bytes:
        while True:
            try:
                return self._source.stream.recv(READ_BYTES, self)
            except _Impatience:
                self._go_on()

    def _go_on(self) -> None:
        """Tell the client to send its body, since the backend does not say whether it wants it."""
        assert self._own_continue is not None
        assert self._gone_on is not None
        # Without waiting: another greenlet may send the answer meanwhile. If there is no room, it is tried again.
        if self._own_continue(waits=False):
            self._waits_for_backend = False
            self._gone_on()

    def _feed(self, data: bytes) -> bytes:
        decoder = self._decoder
        try:
            piece = decoder.feed(data)
        except Malformed as error:
            self.is_cancelled = True
            raise BadRequest(f"The request body is malformed: {error}") from error
        if decoder.is_done:
            if decoder.excess:
                self._source.buffer, decoder.excess = decoder.excess, b""
            self._source.watch()
        self._exchange.bytes_in += len(piece)
        if self._max_bytes and self._exchange.bytes_in > self._max_bytes:
            self.is_cancelled = True
            raise BodyTooLarge
        return piece

    def pause(self) -> None:
        """Stop whoever waits for the client's bytes in another greenlet; somebody else may want them yet."""
        if self._reader is not None and self._reader is not getcurrent():
            self._is_paused = True
            self._source.stream.wake()

    def cancel(self) -> None:
        """Stop whoever waits for the client's bytes in another greenlet: nobody wants the rest."""
        self.is_cancelled = True
        self.pause()
        told, self._when_cancelled = self._when_cancelled, None
        if told is not None:
            told()

    def when_cancelled(self, told: Callable[[], None]) -> None:
        self._when_cancelled = told
