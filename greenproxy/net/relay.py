"""RelayBody: the body of a proxied response, read from its backend as the client takes it.

The body owns what it borrowed: when it is exhausted it says so to `release`, and when it is closed early it says that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from greenproxy.deadline import Limit, Patience
from greenproxy.errors import BackendInvalid, BackendReset, ProxyError
from greenproxy.net.ahead import Hold, NoHold
from greenproxy.net.splice import LEAST_BYTES, PIPE, Unable
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import EofDecoder, LengthDecoder, Malformed

#: One read from a backend: large, because each costs two system calls and a wake-up or two, but below the 128 KiB from which
#: the C library maps and unmaps memory for every buffer (15 us).
READ_BYTES = 120 * 1024
#: After as many bytes others get their turn, however fast a backend and its client are: half a millisecond.
TURN_BYTES = 1024 * 1024
_NO_HOLD = NoHold()


class Decoder(Protocol):
    """What the decoders of `protocol.body` have in common."""

    is_done: bool
    excess: bytes

    def feed(self, data: bytes) -> bytes: ...


class RelayBody:
    """An iterable of payload bytes with `close()`. `release(is_complete)` is called exactly once, and `failed` before
    it if the backend breaks it off.

    Iterating waits for the backend, at most `patience` each time. Raises ReadTimeout, BackendReset (also for an end
    before the announced one) or BackendInvalid.

    `ahead_bytes`: how much may be read before the client takes it. `hold` is told when the backend waits for the client.
    """

    __slots__ = (
        "_decoder", "_failed", "_first", "_in_turn", "_may_splice", "_release", "ahead_bytes", "hold", "patience", "stream",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        decoder: Decoder,
        first: bytes,
        patience: Patience,
        release: Callable[[bool], None],
        failed: Callable[[ProxyError], None],
        *,
        ahead_bytes: int = 0,
        hold: Hold = _NO_HOLD,
    ) -> None:
        self.stream = stream
        self._decoder = decoder
        self._first = first  # what came with the head, decoded already
        self.patience = patience
        self._release: Callable[[bool], None] | None = release
        self._failed = failed
        self._in_turn = 0  # bytes that came since others had their turn
        self._may_splice = True
        self.ahead_bytes = ahead_bytes
        self.hold = hold

    @property
    def content_length(self) -> int | None:
        """The announced length in bytes; None where the end shows otherwise."""
        return self._decoder.length if isinstance(self._decoder, LengthDecoder) else None

    @property
    def trailers(self) -> bytes:
        """The trailer fields behind a chunked body, as field lines; complete once the body is."""
        return getattr(self._decoder, "trailers", b"")

    @property
    def is_over(self) -> bool:
        """Whether all of it has come, or none of it will: the backend is free."""
        return self._release is None

    def take_ready(self) -> bytes:
        """Return the payload that came with the head, without waiting."""
        first, self._first = self._first, b""
        self._end_if_done()
        return first

    def __iter__(self) -> Iterator[bytes]:
        first = self.take_ready()
        if first:
            yield first
        while (piece := self._next()) is not None:
            if piece:
                yield piece

    def _next(self) -> bytes | None:
        """Return the next payload bytes (b"" for none yet), None at the end."""
        if self._decoder.is_done:
            return None
        piece = self._receive(READ_BYTES, waits=True)
        self._end_if_done()
        return piece

    # -------------------------------------------------------------- unseen

    def can_pass_on(self, sink: Stream) -> bool:
        """Whether `pass_on` may be called for what comes next: it is long, and goes from one plain socket to another."""
        decoder = self._decoder
        return (
            isinstance(decoder, (LengthDecoder, EofDecoder))
            and decoder.left >= LEAST_BYTES
            and self._may_splice
            and not self.is_over
            and type(sink) is type(self.stream) is Stream
        )

    def pass_on(self, sink: Stream) -> tuple[int, bytes]:
        """Move the next bytes to `sink` inside the kernel: return how many came, and what of them it did not take at once.

        Waits for the backend. Raises as iterating does; an OSError is the sink's. No bytes: ask `can_pass_on` again.
        """
        decoder = self._decoder
        assert isinstance(decoder, (LengthDecoder, EofDecoder))
        count = self._fill(min(decoder.left, max(READ_BYTES, min(self.ahead_bytes, TURN_BYTES))))
        if not count:
            return 0, b""
        decoder.skip(count)
        self._end_if_done()
        return count, PIPE.drain(sink)

    def _fill(self, most_bytes: int) -> int:
        """Take the next bytes into the pipe. Returns how many, 0 when there is nothing more to splice."""
        stream = self.stream
        try:
            self._take_turn()
            count = PIPE.fill(stream, most_bytes)
            if count is None:
                stream.wait_readable(self.patience)
                count = PIPE.fill(stream, most_bytes)
                if count is None:  # an urgent byte (MSG_OOB) is in the way: receiving skips it, splicing never does
                    raise Unable
            if not count:
                self._finish_at_eof()
        except Unable:
            self._may_splice = False
            return 0
        except ProxyError as error:
            self._failed(error)
            raise
        except OSError as error:
            raise self._failure(BackendReset("The backend broke off its answer.")) from error
        self._in_turn += count
        return count

    # -------------------------------------------------------------- beside a slow client

    def take_now(self, max_bytes: int) -> bytes | None:
        """Return payload bytes (b"" for none yet) of at most `max_bytes` that have arrived, None when nothing has.

        Raises as iterating does. Does not wait: look at `is_over` behind it.
        """
        data = self._receive(min(max_bytes, READ_BYTES), waits=False)
        self._end_if_done()
        return data

    def wait_beside(self, client: Stream, limit: Limit) -> None:
        """Wait until something may have arrived, or until `client` may take more. Raises as iterating does, and `limit.late()`.

        An OSError is the client's.
        """
        try:
            client.wait_writable_or(self.stream, limit)
        except ProxyError as error:
            self._failed(error)
            raise
        except OSError as error:
            if not self.stream.is_closed:
                raise
            raise self._failure(BackendReset("The connection to the backend was closed.")) from error

    # -------------------------------------------------------------- for all of them

    def _receive(self, max_bytes: int, *, waits: bool) -> bytes | None:
        """Return payload bytes; None at the end, or when nothing has arrived."""
        stream = self.stream
        try:
            if waits:
                self._take_turn()
            data = stream.recv(max_bytes, self.patience) if waits else stream.recv_now(max_bytes)
            if data:
                self._in_turn += len(data)
                return self._decoder.feed(data)
            if data is not None:
                self._finish_at_eof()
            return None
        except ProxyError as error:
            self._failed(error)
            raise
        except OSError as error:
            raise self._failure(BackendReset("The backend broke off its answer.")) from error
        except Malformed as error:
            raise self._failure(BackendInvalid(f"The backend's answer is malformed: {error}")) from error

    def _take_turn(self) -> None:
        """Let others go first after a while. Waits for the backend then, as everybody does."""
        if self._in_turn >= TURN_BYTES:
            self._in_turn = 0
            self.stream.wait_readable(self.patience)

    def _failure(self, error: ProxyError) -> ProxyError:
        self._failed(error)
        return error

    def _finish_at_eof(self) -> None:
        finish = getattr(self._decoder, "finish", None)
        if finish is None:
            raise BackendReset("The backend closed the connection in the middle of its answer.")
        finish()
        self._end(is_complete=True)

    def _end_if_done(self) -> None:
        """Let go of the backend with its last byte: the client may take its time to read that."""
        if self._decoder.is_done:
            self._end(is_complete=not self._decoder.excess)  # bytes behind the end are nothing to build on

    def _end(self, *, is_complete: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(is_complete)

    def close(self) -> None:
        """Give up the rest; the connection to the backend is dropped unless the body was exhausted. Never waits."""
        self._end(is_complete=self._decoder.is_done and not self._decoder.excess and not self._first)
