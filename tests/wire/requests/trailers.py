"""Trailer sections: by the grammar of fields, bounded, and without fields that must be known before the body."""

from __future__ import annotations

from tests.wire.cases import HELLO, SERVED, Case, chunked

_TRAILER = "RFC 9112 section 7.1.2"
_LIMITS = "RFC 9110 section 6.5.1"
_SECTION_BYTES = 16 * 1024

_FORBIDDEN = [
    # framing and routing
    "Content-Length", "content-LENGTH", "Transfer-Encoding", "Host", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade",
    "TE",
    "Trailer", "Expect", "Max-Forwards", "HTTP2-Settings",
    # how the content is read
    "Content-Type", "Content-Encoding", "Content-Range", "Content-Location", "Content-Disposition",
    # who asks, and for what
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Cache-Control", "Pragma", "Range", "If-Match",
    "If-None-Match",
    "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Location", "Date", "Age", "Vary",
    # who asked before us
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Any", "X-Real-IP", "Forwarded", "Via",
    # and their twins
    "Content_Length", "Transfer_Encoding", "X_Forwarded_For", "X-Forwarded_For", "X_Real_IP",
]  # fmt: skip
_MALFORMED = {
    "no colon": b"X y",
    "no name": b": y",
    "space before the colon": b"X : y",
    "a leading space": b" X: y",
    "folded": b"X: y\r\n z",
    "a control": b"X: \x01",
    "a NUL": b"X: y\x00",
    "a bare LF": b"X: y\nZ: z",
    "a bare CR": b"X: y\rZ: z",
    "CR CR LF": b"X: y\r",
    "obs-text in the name": b"X\xff: y",
    "a request line": b"GET / HTTP/1.1",
}


def _ended(*lines: bytes) -> bytes:
    return chunked(b"5\r\nhello\r\n0\r\n" + b"".join([line + b"\r\n" for line in lines]) + b"\r\n")


def _of_size(size: int) -> bytes:
    """Return a trailer field line of `size` bytes, its CRLF included."""
    return b"X: " + b"y" * (size - 5)


CASES = [
    Case("a trailer", _ended(b"X: y"), SERVED, _TRAILER, HELLO, trailers=b"X: y\r\n"),
    Case("two trailers", _ended(b"X: y", b"x-Z:z"), SERVED, _TRAILER, HELLO, trailers=b"X: y\r\nx-Z:z\r\n"),
    Case("an empty trailer", _ended(b"X:"), SERVED, _TRAILER, HELLO, trailers=b"X:\r\n"),
    Case("obs-text in a trailer", _ended(b"X: \xff"), SERVED, _TRAILER, HELLO, trailers=b"X: \xff\r\n"),
    Case(
        "a digest as a trailer",
        _ended(b"Content-Digest: sha-256=:x:", b"ETag: a"),
        SERVED,
        "RFC 9530 section 6.5",
        HELLO,
        trailers=b"Content-Digest: sha-256=:x:\r\nETag: a\r\n",
    ),
    *[Case(f"trailer {name}", _ended(b"%b: 9" % name.encode()), 400, _LIMITS) for name in _FORBIDDEN],
    Case("a forbidden trailer behind a good one", _ended(b"X: y", b"Content-Length: 9"), 400, _LIMITS),
    *[Case(f"trailer with {name}", _ended(line), 400, _TRAILER) for name, line in _MALFORMED.items()],
]

# At the server's own limit of the section, which single decoders may have lower.
LIMITS = [
    Case(
        "trailers as long as may be",
        _ended(_of_size(_SECTION_BYTES)),
        SERVED,
        _TRAILER,
        HELLO,
        trailers=_of_size(_SECTION_BYTES) + b"\r\n",
    ),
    Case("trailers too long by one", _ended(_of_size(_SECTION_BYTES + 1)), 400, _TRAILER),
    *[
        Case(f"{count} trailers", _ended(*[b"X:"] * count), status, _TRAILER, HELLO, trailers=b"X:\r\n" * count)
        for count, status in ((99, SERVED), (100, SERVED), (101, 400))
    ],
    Case("trailers too long in many lines", _ended(*[_of_size(180)] * 92), 400, _TRAILER),
]
