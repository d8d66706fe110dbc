"""Chunked responses: every error of a chunk breaks the answer off, and never becomes its end. Trailers travel on."""

from __future__ import annotations

from tests.wire.response_cases import END, FIN, HELLO, ONE_CHUNK, RST, Broken, Case, Cut, chunked, good

_CHUNK = "RFC 9112 section 7.1"
_EXTENSION = "RFC 9112 section 7.1.1"
_TRAILER = "RFC 9110 section 6.5.1"
_PARTIAL = "RFC 9112 section 8"
_LINE_BYTES = 4096  # the longest chunk line, its CRLF included
_TRAILER_BYTES = 16 * 1024
_TRAILERS = 100

_BAD_SIZES = [
    b"0x5", b"+5", b"-5", b"-0", b"5 ", b" 5", b"5\t", b"\t5", b"5\x00", b"5_", b"5h", b"g", b"5.0", b"5,5", b'"5"', b"",
    b" ", b"\xb2", b"five",
    b"5\x0b", b"%x" % (2**64 + 5), b"%x" % 2**64, b"%x" % 2**60, b"f" * 17, b"0" * 15 + b"5", b"0" * 4999 + b"5",
]  # fmt: skip
_BAD_EXTENSIONS = {
    "LF": b";a\nb",
    "CR": b";a\rb",
    "NUL": b";a\x00b",
    "LF in quotes": b';a="b\nc"',
    "half a quoted value": b';a="b',
    "no name": b";",
    "no value": b";a=",
    "white space before all of them": b" ;a",
    "white space behind all of them": b";a=b ",
    "one that is too long": b";a=" + b"b" * 4096,
}
_BROKEN = {
    "LF behind the size": b"5\nhello\r\n" + END,
    "CR behind the size": b"5\rhello\r\n" + END,
    "LF behind the data": b"5\r\nhello\n" + END,
    "CR behind the data": b"5\r\nhello\r" + END,
    "nothing behind the data": b"5\r\nhello" + END,
    "two bytes in the place of CRLF": b"5\r\nhelloXX" + END,
    "LF CR behind the data": b"5\r\nhello\n\r" + END,
    "more data than said": b"5\r\nhello!\r\n" + END,
    "less data than said": b"7\r\nhello\r\n" + END,
    "an empty line more": b"5\r\nhello\r\n\r\n" + END,
    "a space in front of the data's end": b"5\r\nhello \r\n" + END,
    "no chunk at all": b"\r\n",
    "text in the place of chunks": b"hello, world\r\n",
    "LF behind the last chunk": ONE_CHUNK + b"0\n\r\n",
    "LF behind the trailers": ONE_CHUNK + b"0\r\n\n",
    "a last chunk of minus zero": ONE_CHUNK + b"-0\r\n\r\n",
}
_GOOD = {
    "two chunks": (b"2\r\nhe\r\n3\r\nllo\r\n" + END, HELLO),
    "a chunk for each byte": (b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + END, HELLO),
    "no data": (END, b""),
    "data that looks like the end": (b"5\r\n" + END + b"\r\n" + END, END),
    "data that looks like an answer": (b"13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n" + END, b"HTTP/1.1 200 OK\r\n\r\n"),
    "size 00005": (b"00005\r\nhello\r\n" + END, HELLO),
    "size of 15 digits": (b"0" * 14 + b"5\r\nhello\r\n" + END, HELLO),
    "sizes in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END, b"0123456789" * 2),
    "a last chunk of many zeros": (ONE_CHUNK + b"000\r\n\r\n", HELLO),
    "an extension": (b"5;a\r\nhello\r\n" + END, HELLO),
    "an extension with a value": (b"5;a=b;c=d\r\nhello\r\n" + END, HELLO),
    "an extension with a quoted value": (b'5;a="b;c=\\"d\\""\r\nhello\r\n' + END, HELLO),
    "white space in extensions": (b"5; a = b\t;\tc\r\nhello\r\n" + END, HELLO),
    "an extension of the last chunk": (ONE_CHUNK + b"0;a=b\r\n\r\n", HELLO),
    "a line as long as may be": (b"5;a=" + b"b" * (_LINE_BYTES - 6) + b"\r\nhello\r\n" + END, HELLO),
}
_FORBIDDEN = [
    b"Content-Length: 9", b"Transfer-Encoding: chunked", b"Connection: close", b"Keep-Alive: timeout=5", b"Upgrade: h2c",
    b"TE: trailers", b"Host: a", b"Trailer: X", b"Set-Cookie: a=1", b"Location: /x", b"Content-Type: text/html",
    b"Content-Encoding: gzip", b"Content-Range: bytes 0-4/5", b"Cache-Control: no-store", b"Expires: 0", b"Age: 1", b"Date: now",
    b"Vary: *", b"Retry-After: 1", b"WWW-Authenticate: Basic", b"Authorization: x", b"X-Forwarded-For: 1.1.1.1", b"Via: 1.1 x",
    b"Content_Length: 9", b"content-length: 9",
]  # fmt: skip
_BAD_TRAILERS = {
    "without a colon": b"X y",
    "with an empty name": b": y",
    "with a space before the colon": b"X : y",
    "that is folded": b"X: a\r\n b",
    "with a NUL": b"X: \x00",
    "with a bare LF": b"X: a\nY: b",
    "with a bare CR": b"X: a\rY: b",
    "with a parenthesis in its name": b"X(: y",
    "that is too long": b"X: " + b"y" * _TRAILER_BYTES,
    "of too many": b"\r\n".join([b"X: y"] * (_TRAILERS + 1)),
}
_GOOD_TRAILERS = {
    "one trailer": [b"X-Sum: 5"],
    "two trailers": [b"X-Sum: 5", b"Server-Timing: a;dur=1"],
    "a digest": [b"Content-Digest: sha-256=:AA==:"],
    "a trailer without a value": [b"X-Sum:"],
    "trailers as long as may be": [b"X: " + b"y" * (_TRAILER_BYTES - 5)],
    "as many trailers as may be": [b"X: y"] * _TRAILERS,
}
_ENDS_EARLY = {
    "in a size": b"5\r\nhello\r\n5",
    "behind a size": b"5\r\nhello\r\n5\r\n",
    "in the data": b"5\r\nhello\r\n5\r\nwor",
    "behind the data": b"5\r\nhello\r\n5\r\nworld",
    "in the data's CRLF": b"5\r\nhello\r",
    "behind a chunk": ONE_CHUNK,
    "behind the last size": ONE_CHUNK + b"0",
    "behind the last chunk": ONE_CHUNK + b"0\r\n",
    "in the last CRLF": ONE_CHUNK + b"0\r\n\r",
    "in a trailer": ONE_CHUNK + b"0\r\nX: y",
    "behind a trailer": ONE_CHUNK + b"0\r\nX: y\r\n",
}


def _payload(framed: bytes) -> bytes:
    return b"hello" + (b"wor" if b"wor" in framed else b"") + (b"ld" if b"world" in framed else b"")


CASES: list[Case] = [
    *(good(name, chunked(framed), _CHUNK, body) for name, (framed, body) in _GOOD.items()),
    *(
        good(
            name,
            chunked(ONE_CHUNK + b"0\r\n" + b"\r\n".join([*lines, b"", b""])),
            _TRAILER,
            trailers=tuple(line.decode() for line in lines),
        )
        for name, lines in _GOOD_TRAILERS.items()
    ),
    good(
        "a trailer that was announced",
        chunked(ONE_CHUNK + b"0\r\nX-Sum: 5\r\n\r\n", b"Trailer: X-Sum"),
        _TRAILER,
        trailers=("X-Sum: 5",),
        has=("Trailer: X-Sum",),
    ),
    good(
        "a trailer to HTTP/1.0",
        chunked(ONE_CHUNK + b"0\r\nX-Sum: 5\r\n\r\n"),
        _TRAILER,
        lacks=("X-Sum",),
        version="1.0",
        is_alone=True,
    ),
    *(Case(f"size {size!r}"[:60], chunked(size + b"\r\nhello\r\n" + END), Broken(), _CHUNK) for size in _BAD_SIZES),
    *(
        Case(f"extension: {name}", chunked(b"5" + text + b"\r\nhello\r\n" + END), Broken(), _EXTENSION)
        for name, text in _BAD_EXTENSIONS.items()
    ),
    *(Case(name, chunked(framed), Broken(), _CHUNK, FIN) for name, framed in _BROKEN.items()),
    *(
        Case(f"forbidden trailer {line!r}", chunked(ONE_CHUNK + b"0\r\n" + line + b"\r\n\r\n"), Broken(), _TRAILER)
        for line in _FORBIDDEN
    ),
    *(
        Case(f"a trailer {name}", chunked(ONE_CHUNK + b"0\r\n" + line + b"\r\n\r\n"), Broken(), _TRAILER)
        for name, line in _BAD_TRAILERS.items()
    ),
    *(Case(f"the end {name}", chunked(framed), Cut(_payload(framed)), _PARTIAL, FIN) for name, framed in _ENDS_EARLY.items()),
    *(Case(f"a reset {name}", chunked(framed), Cut(_payload(framed)), _PARTIAL, RST) for name, framed in _ENDS_EARLY.items()),
    *(
        Case(f"the end {name}, to HTTP/1.0", chunked(framed), Cut(_payload(framed), by_reset=True), _PARTIAL, FIN, version="1.0")
        for name, framed in _ENDS_EARLY.items()
    ),
]
