"""RelayBody: the body of a proxied response, read from its backend as the client takes it.

The body owns what it borrowed: when it is exhausted it says so to `release`, and when it is closed early it says that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from greenproxy.deadline import Patience
from greenproxy.errors import BackendInvalid, BackendReset, ProxyError
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import Malformed

#: One read from a backend: large, because each costs two system calls and a wake-up or two, but below the 128 KiB from which
#: the C library maps and unmaps memory for every buffer (15 us).
READ_BYTES = 120 * 1024


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
    """

    __slots__ = ("_decoder", "_failed", "_first", "_patience", "_release", "_stream")

    def __init__(
        self,
        stream: Stream,
        decoder: Decoder,
        first: bytes,
        patience: Patience,
        release: Callable[[bool], None],
        failed: Callable[[ProxyError], None],
    ) -> None:
        self._stream = stream
        self._decoder = decoder
        self._first = first  # what came with the head, decoded already
        self._patience = patience
        self._release: Callable[[bool], None] | None = release
        self._failed = failed

    @property
    def trailers(self) -> bytes:
        """The trailer fields behind a chunked body, as field lines; complete once the body is."""
        return getattr(self._decoder, "trailers", b"")

    def take_ready(self) -> bytes:
        """Return the payload that came with the head, without waiting."""
        first, self._first = self._first, b""
        return first

    def __iter__(self) -> Iterator[bytes]:
        first, self._first = self._first, b""
        if first:
            yield first
        while (piece := self._next()) is not None:
            if piece:
                yield piece

    def _next(self) -> bytes | None:
        """Return the next payload bytes (b"" for none yet), None at the end."""
        decoder = self._decoder
        if decoder.is_done:
            self._end(is_complete=not decoder.excess)  # bytes behind the end are nothing to build on
            return None
        try:
            return self._receive(decoder)
        except ProxyError as error:
            self._failed(error)
            raise

    def _receive(self, decoder: Decoder) -> bytes | None:
        try:
            data = self._stream.recv(READ_BYTES, self._patience)
            if not data:
                self._finish_at_eof()
                return None
            return decoder.feed(data)
        except OSError as error:
            raise BackendReset(f"The backend broke off its answer: {error}") from error
        except Malformed as error:
            raise BackendInvalid(f"The backend's answer is malformed: {error}") from error

    def _finish_at_eof(self) -> None:
        finish = getattr(self._decoder, "finish", None)
        if finish is None:
            raise BackendReset("The backend closed the connection in the middle of its answer.")
        finish()
        self._end(is_complete=True)

    def _end(self, *, is_complete: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(is_complete)

    def close(self) -> None:
        """Give up the rest; the connection to the backend is dropped unless the body was exhausted. Never waits."""
        self._end(is_complete=self._decoder.is_done and not self._decoder.excess and not self._first)
