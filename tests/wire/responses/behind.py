"""What comes behind an answer, or as the body of one that has none: it must never become the answer to the next request.

Response queue poisoning: who gets a backend to send two answers to one request gives the second one to somebody else.
"""

from __future__ import annotations

from tests.wire.response_cases import CHUNKED, END, FIN, HELLO, LENGTH, ONE_CHUNK, RST, Case, Whole, chunked, good, head, sized

_BODY = "RFC 9112 section 6.3"
_EXTRA = "RFC 9112 section 9.3"
_NO_CONTENT = "RFC 9110 section 15.3.5"
_NOT_MODIFIED = "RFC 9110 section 15.4.5"
_HEAD = "RFC 9110 section 9.3.2"
_RESET_CONTENT = "RFC 9110 section 15.3.6"

NO_CONTENT, NOT_MODIFIED = b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"
POISON = sized(b"poison", b"Set-Cookie: admin=1")

_BEHIND = {
    "a whole answer": POISON,
    "two whole answers": POISON * 2,
    "half an answer": POISON[:20],
    "an interim answer": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "an answer that it times out": sized(b"", b"Connection: close", start=b"HTTP/1.1 408 Request Timeout"),
    "an empty line": b"\r\n",
    "a line feed": b"\n",
    "a NUL": b"\x00",
    "one byte": b"x",
    "a chunk": ONE_CHUNK,
    "the end of chunks": END,
    "much": b"x" * 100_000,
}
_ANSWERS: dict[str, tuple[bytes, Whole, str]] = {
    "a length": (sized(), Whole(HELLO), "GET"),
    "a length of 0": (sized(b""), Whole(), "GET"),
    "chunks": (chunked(ONE_CHUNK + END), Whole(HELLO), "GET"),
    "chunks with a trailer": (chunked(ONE_CHUNK + b"0\r\nX: y\r\n\r\n"), Whole(HELLO, trailers=("X: y",)), "GET"),
    "a 204": (head(start=NO_CONTENT), Whole(status=204), "GET"),
    "a 304": (head(LENGTH, start=NOT_MODIFIED), Whole(status=304), "GET"),
    "an answer to HEAD": (head(LENGTH), Whole(), "HEAD"),
}


def _204(*lines: bytes, body: bytes = b"") -> bytes:
    return head(*lines, start=NO_CONTENT) + body


def _304(*lines: bytes, body: bytes = b"") -> bytes:
    return head(*lines, start=NOT_MODIFIED) + body


#: A 204 that announces a body may send one a moment later, when somebody else's request is on its way.
_ANNOUNCED = {
    "a 204 with a length": _204(LENGTH),
    "a 204 with a body of that length": _204(LENGTH, body=HELLO),
    "a 204 with chunks announced": _204(CHUNKED),
    "a 204 with chunks": _204(CHUNKED, body=ONE_CHUNK + END),
}

CASES: list[Case] = [
    *(
        Case(f"{behind} behind {name}", data + extra, told, _EXTRA, method=method)
        for name, (data, told, method) in _ANSWERS.items()
        for behind, extra in _BEHIND.items()
    ),
    *(
        Case(name, data, Whole(status=204, lacks=("Content-Length", "Transfer-Encoding")), _NO_CONTENT)
        for name, data in _ANNOUNCED.items()
    ),
    good("a 204", _204(), _NO_CONTENT, b"", status=204, lacks=("Content-Length",)),
    good("a 204 with a length of 0", _204(b"Content-Length: 0"), _NO_CONTENT, b"", status=204, lacks=("Content-Length",)),
    Case("a 204, then the end", _204(), Whole(status=204), _NO_CONTENT, FIN),
    Case("a 204, then a reset", _204(), Whole(status=204), _NO_CONTENT, RST),
    good("a 304", _304(), _NOT_MODIFIED, b"", status=304),
    good("a 304 with the length of what is not sent", _304(LENGTH), _NOT_MODIFIED, b"", status=304, has=("Content-Length: 5",)),
    good("a 304 that would be chunked", _304(CHUNKED), _NOT_MODIFIED, b"", status=304, lacks=("Transfer-Encoding",)),
    Case("a 304 with a body", _304(LENGTH, body=HELLO), Whole(status=304), _NOT_MODIFIED),
    Case("a 304 with chunks", _304(CHUNKED, body=ONE_CHUNK + END), Whole(status=304), _NOT_MODIFIED),
    good("an answer to HEAD with a length", head(LENGTH), _HEAD, b"", method="HEAD", has=("Content-Length: 5",)),
    good("an answer to HEAD with a length of 0", head(b"Content-Length: 0"), _HEAD, b"", method="HEAD"),
    good("an answer to HEAD that would be chunked", head(CHUNKED), _HEAD, b"", method="HEAD"),
    good("an answer to HEAD of no known length", head(b"X: y"), _HEAD, b"", method="HEAD", has=("X: y",)),
    good("a 404 to HEAD", head(LENGTH, start=b"HTTP/1.1 404 Not Found"), _HEAD, b"", method="HEAD", status=404),
    Case("an answer to HEAD with a body", head(LENGTH) + HELLO, Whole(), _HEAD, method="HEAD"),
    Case("an answer to HEAD with chunks", chunked(ONE_CHUNK + END), Whole(), _HEAD, method="HEAD"),
    good("a 205 with a length of 0", sized(b"", start=b"HTTP/1.1 205 Reset Content"), _RESET_CONTENT, b"", status=205),
    good("a 205 with a body all the same", sized(start=b"HTTP/1.1 205 Reset Content"), _BODY, status=205),
    Case("a 205 of no length", head(start=b"HTTP/1.1 205 Reset Content"), Whole(status=205), _BODY, FIN),
    good("an answer to OPTIONS", sized(), _BODY, method="OPTIONS"),
    good("an answer to DELETE", sized(), _BODY, method="DELETE"),
    good("an answer to a method that nobody knows", sized(), _BODY, method="FROB"),
    good("an answer to head in lower case, which is another method", sized(), _BODY, method="head"),
]
