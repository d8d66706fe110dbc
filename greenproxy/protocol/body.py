"""Message bodies: decoders that are fed bytes and hand back payload, and the chunked encoder (RFC 9112 sections 6 and 7).

Every decoder has `feed(data)`, `is_done` and `excess` (bytes behind the body's end: the next message's). They raise
`Malformed`, which knows no side: the server makes it a BadRequest, the proxy a BackendInvalid.
"""

from __future__ import annotations

import re
from typing import Protocol

from greenproxy.protocol.fields import HOP_BY_HOP, QUOTED, TOKEN, VALUE, is_forwarding

MAX_CHUNK_LINE_BYTES = 4096
MAX_TRAILERS = 100  # fields: each costs as much as one of a head

# RFC 9112 section 7.1.1, read and dropped. Bad white space stands where its grammar has it, but not behind the size, where
# other servers disagree about it.
_EXTENSION = rb"[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?"
# At most 15 digits: 2^60, so that no 64-bit reader overflows.
# Not possessive: some 3.11 of CPython then accept a half-read last extension. Linear all the same: no token holds a `;`.
_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _EXTENSION + rb"(?:[ \t]*;" + _EXTENSION + rb")*)?\r\n").fullmatch
_plain_line = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,14})\r\n").match  # of a chunk with data, and no extension
_trailer_line = re.compile(rb"(" + TOKEN + rb"):" + VALUE + rb"\r\n").fullmatch

# Fields that must be known before the body, or that would change what is already decided (RFC 9110 section 6.5.1).
_FORBIDDEN_TRAILERS = HOP_BY_HOP | {
    b"host", b"trailer", b"expect", b"max-forwards", b"cache-control", b"pragma", b"range", b"authorization",
    b"proxy-authorization", b"proxy-authenticate", b"www-authenticate", b"cookie", b"set-cookie", b"age", b"date", b"expires",
    b"location", b"retry-after", b"vary", b"warning",
    b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range",
}  # fmt: skip
_ALLOWED_CONTENT = (b"content-digest", b"content-md5")  # only known at the end (RFC 9530 section 6.5)


class Malformed(ValueError):
    """The bytes are no valid body."""


class BodyDecoder(Protocol):
    """What all decoders have in common."""

    is_done: bool
    excess: bytes

    def feed(self, data: bytes) -> bytes: ...


class LengthDecoder:
    """A body of exactly `length` bytes (RFC 9112 section 6.2)."""

    __slots__ = ("excess", "is_done", "left", "length")

    def __init__(self, length: int) -> None:
        self.length = length
        self.left = length
        self.is_done = length == 0
        self.excess = b""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data` belongs to the body."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        payload = data if left == 0 else data[: self.left]
        if left < 0:
            self.excess += data[self.left :]
        self.left = 0
        self.is_done = True
        return payload

    def skip(self, count: int) -> None:
        """Note that `count` bytes of the body, at most `left`, went past unseen."""
        self.left -= count
        self.is_done = not self.left


class EofDecoder:
    """A body that ends with the connection (RFC 9112 section 6.3, item 8): whoever sees EOF calls `finish`."""

    __slots__ = ("excess", "is_done")

    left = 1 << 62  # nobody knows

    def __init__(self) -> None:
        self.is_done = False
        self.excess = b""

    def feed(self, data: bytes) -> bytes:
        """Return `data`: all of it is body."""
        return data

    def skip(self, count: int) -> None:
        """Note that `count` bytes went past unseen."""

    def finish(self) -> None:
        """Note that the peer has ended the connection."""
        self.is_done = True


_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkedDecoder:
    """A chunked body (RFC 9112 section 7.1), strict: CRLF only, bounded lines, no white space around the size.

    `trailers` are the trailer field lines, each with its CRLF, when `is_done`. `max_trailer_bytes` bounds them (0: no limit).
    """

    __slots__ = (
        "_left", "_max_trailer_bytes", "_partial", "_state", "_trailer_bytes", "_trailers", "excess", "is_done", "trailers",
    )  # fmt: skip

    def __init__(self, max_trailer_bytes: int = 8192) -> None:
        self._max_trailer_bytes = max_trailer_bytes
        self._state = _SIZE
        self._left = 0  # of the current chunk's data
        self._partial = bytearray()  # the beginning of a line that is not complete
        self._trailers: list[bytes] = []
        self._trailer_bytes = 0
        self.trailers = b""
        self.excess = b""
        self.is_done = False

    def feed(self, data: bytes) -> bytes:
        """Return the payload in `data`. Raises Malformed for a line that is not valid, or too long."""
        size = len(data)
        if self._state == _DATA and size < self._left:  # the middle of a big chunk: nothing is copied
            self._left -= size
            return data
        spans: list[tuple[int, int]] = []
        at = 0
        while at < size:
            if self._state == _DATA:
                end = at + self._left
                spans.append((at, min(end, size)))
                if data[end : end + 2] == b"\r\n":  # nearly always
                    self._state = _SIZE
                    at = end + 2
                else:
                    self._left = max(0, end - size)
                    self._state = _DATA if end > size else _DATA_END
                    at = end
            elif self._state == _SIZE and not self._partial and (line := _plain_line(data, at)):  # saves a third
                self._left = int(line[1], 16)
                self._state = _DATA
                at = line.end()
            elif self._state == _DONE:
                self.excess += data[at:]
                break
            else:
                at = self._feed_line(data, at)
        if len(spans) == 1:
            begin, end = spans[0]
            return data[begin:end]
        view = memoryview(data)  # joined out of the buffer: slices of bytes would be copied twice
        return b"".join([view[begin:end] for begin, end in spans])

    def _feed_line(self, data: bytes, at: int) -> int:
        """Read up to the end of the line that begins or goes on at `at`; return the index behind it."""
        if self._state == _SIZE and not self._partial and data.startswith(b"0\r\n\r\n", at):  # nearly always the end
            self._end()
            return at + 5
        end = data.find(b"\n", at) + 1
        if not end:
            self._partial += data[at:]
            self._check_partial()
            return len(data)
        line = data[at:end]
        if self._partial:
            line = bytes(self._partial) + line
            self._partial.clear()
        if self._state == _SIZE:
            self._begin_chunk(line)
        elif self._state == _TRAILER:
            self._add_trailer(line)
        elif line == b"\r\n":
            self._state = _SIZE
        else:
            raise Malformed("a chunk is longer than its size")
        return end

    def _check_partial(self) -> None:
        size = len(self._partial)
        if self._state == _DATA_END and self._partial != b"\r":
            raise Malformed("a chunk is longer than its size")
        if self._partial.find(b"\r", 0, size - 1) >= 0:  # no line can follow: whoever sent it may wait for an answer
            raise Malformed("a line has a CR that no LF follows")
        if self._state == _SIZE and size > MAX_CHUNK_LINE_BYTES:
            raise Malformed("a chunk line is too long")
        if self._state == _TRAILER and self._partial != b"\r":  # which may well begin the empty line at the end
            self._check_trailer_size(size)

    def _begin_chunk(self, line: bytes) -> None:
        match = _chunk_line(line) if len(line) <= MAX_CHUNK_LINE_BYTES else None
        if match is None:
            raise Malformed("a chunk line is not valid")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILER

    def _add_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self._end()
            return
        self._check_trailer_size(len(line))
        match = _trailer_line(line)
        if match is None or is_forbidden_trailer(match[1]):
            raise Malformed("a trailer field is not valid")
        self._trailers.append(line)
        self._trailer_bytes += len(line)
        if len(self._trailers) > MAX_TRAILERS:
            raise Malformed("there are too many trailer fields")

    def _end(self) -> None:
        self._state = _DONE
        if self._trailers:
            self.trailers = b"".join(self._trailers)
        self.is_done = True

    def _check_trailer_size(self, more: int) -> None:
        if self._max_trailer_bytes and self._trailer_bytes + more > self._max_trailer_bytes:
            raise Malformed("the trailer section is too long")


def is_forbidden_trailer(name: bytes) -> bool:
    """Tell whether a field called `name` may not be sent behind a body (RFC 9110 section 6.5.1)."""
    name = name.lower().replace(b"_", b"-")
    if name.startswith(b"content-"):
        return name not in _ALLOWED_CONTENT
    return name in _FORBIDDEN_TRAILERS or is_forwarding(name)


def encode_chunk(data: bytes) -> bytes:
    """Return `data` as one chunk; nothing for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """Return the end of a chunked body. `trailers` are field lines, each with its CRLF."""
    return b"0\r\n%b\r\n" % trailers
