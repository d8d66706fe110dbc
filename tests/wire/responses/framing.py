"""How long a response is: Content-Length, Transfer-Encoding, the end of the connection. Every doubt is a 502.

A backend that states two lengths may have been made to by a client (response splitting): whoever takes the other one takes
the rest of one client's answer for the answer to the next.
"""

from __future__ import annotations

from tests.wire.response_cases import (
    CHUNKED,
    END,
    FIN,
    HELLO,
    LENGTH,
    OK,
    ONE_CHUNK,
    RST,
    Case,
    Cut,
    Whole,
    all_bad,
    bad,
    good,
    head,
)

_LENGTH = "RFC 9110 section 8.6"
_BOTH = "RFC 9112 section 6.1"
_KIND = "RFC 9112 section 6.3"
_PARTIAL = "RFC 9112 section 8"
_CHUNKED_BODY = ONE_CHUNK + END

_LENGTHS = [
    b"+5", b"-5", b"-0", b"5,5", b"5, 5", b"5,", b",5", b"5;", b"5 6", b"5 5", b"0x5", b"0X5", b"5h", b"5_0", b"5.0", b"5e0",
    b'"5"', b"'5'", b"", b" ",
    b"five", b"5\xa0", b"\xb5", b"\xd9\xa5", b"18446744073709551621", b"99999999999999999999", b"9223372036854775808",
    b"0000000000000000005",
    b"1" + b"0" * 400, b"5\x0b",
]  # fmt: skip
_TWO_LENGTHS = {
    "length 5 twice": [LENGTH, LENGTH],
    "length 5 and 6": [LENGTH, b"Content-Length: 6"],
    "length 6 and 5": [b"Content-Length: 6", LENGTH],
    "length 5 and 0": [LENGTH, b"Content-Length: 0"],
    "length 5 and an empty one": [LENGTH, b"Content-Length:"],
    "length 5 and 5 in other spelling": [LENGTH, b"content-length: 5"],
    "length 5 and 05": [LENGTH, b"Content-Length: 05"],
}
_TWO_FRAMINGS = {
    "chunked, then a length": [CHUNKED, LENGTH],
    "a length, then chunked": [LENGTH, CHUNKED],
    "chunked, then a length of 0": [CHUNKED, b"Content-Length: 0"],
    "chunked, then the length of its chunks": [CHUNKED, b"Content-Length: 15"],
    "chunked, then a length in other spelling": [b"transfer-encoding: chunked", b"CONTENT-LENGTH: 5"],
    "identity beside a length": [b"Transfer-Encoding: identity", LENGTH],
    "gzip beside a length": [b"Transfer-Encoding: gzip", LENGTH],
    "an empty coding beside a length": [b"Transfer-Encoding:", LENGTH],
    "nonsense as coding beside a length": [b"Transfer-Encoding: \x0bchunked", LENGTH],
}
_CODINGS = [
    b"xchunked", b"chunkedx", b"chunke", b"identity", b"gzip", b"deflate", b"gzip, chunked", b"chunked, gzip",
    b"chunked, identity",
    b"identity, chunked", b"chunked, chunked", b"chunked,", b", chunked", b"chunked;q=1", b"chunked;", b'"chunked"',
    b"chunked chunked",
    b"chun ked", b"\x0bchunked", b"chunked\x00", b"", b",", b"trailers, chunked", b"Chunked; a=b", b"chunked\xa0",
]  # fmt: skip
_TWO_CODINGS = {
    "chunked twice": [CHUNKED, CHUNKED],
    "gzip, then chunked, in two fields": [b"Transfer-Encoding: gzip", CHUNKED],
    "chunked, then gzip, in two fields": [CHUNKED, b"Transfer-Encoding: gzip"],
    "chunked, then nothing": [CHUNKED, b"Transfer-Encoding:"],
    "chunked, then identity": [CHUNKED, b"Transfer-Encoding: identity"],
}

CASES: list[Case] = [
    *all_bad(_LENGTH, ((f"length {value!r}"[:60], head(b"Content-Length: " + value) + HELLO) for value in _LENGTHS)),
    *all_bad(_LENGTH, ((name, head(*lines) + HELLO) for name, lines in _TWO_LENGTHS.items())),
    *all_bad(_BOTH, ((name, head(*lines) + _CHUNKED_BODY) for name, lines in _TWO_FRAMINGS.items())),
    *all_bad(_BOTH, ((f"coding {value!r}", head(b"Transfer-Encoding: " + value) + _CHUNKED_BODY) for value in _CODINGS)),
    *all_bad(_BOTH, ((name, head(*lines) + _CHUNKED_BODY) for name, lines in _TWO_CODINGS.items())),
    bad("chunked in HTTP/1.0", head(CHUNKED, start=b"HTTP/1.0 200 OK") + _CHUNKED_BODY, _BOTH),
    bad("chunked and a length in HTTP/1.0", head(CHUNKED, LENGTH, start=b"HTTP/1.0 200 OK") + _CHUNKED_BODY, _BOTH),
    bad(
        "chunked in HTTP/1.0 that stays",
        head(CHUNKED, b"Connection: keep-alive", start=b"HTTP/1.0 200 OK") + _CHUNKED_BODY,
        _BOTH,
    ),
    bad("two framings of an answer to HEAD", head(CHUNKED, LENGTH), _BOTH, method="HEAD"),
    bad("two framings of a 304", head(CHUNKED, LENGTH, start=b"HTTP/1.1 304 Not Modified"), _BOTH),
    bad("two lengths of a 204", head(LENGTH, LENGTH, start=b"HTTP/1.1 204 No Content"), _LENGTH),
    bad("a bad length of an answer to HEAD", head(b"Content-Length: -1"), _LENGTH, method="HEAD"),
    good("length 5", head(LENGTH) + HELLO, _LENGTH, has=("Content-Length: 5",)),
    good("length 0", head(b"Content-Length: 0"), _LENGTH, b"", has=("Content-Length: 0",)),
    good("length 00", head(b"Content-Length: 00"), _LENGTH, b""),
    good("length 0005", head(b"Content-Length: 0005") + HELLO, _LENGTH),
    good("length with spaces around", head(b"Content-Length: \t 5 \t") + HELLO, _LENGTH),
    good("length in capitals", head(b"CONTENT-LENGTH: 5") + HELLO, _LENGTH),
    good("a twin of Content-Length", head(LENGTH, b"Content_Length: 9") + HELLO, _LENGTH, has=("Content_Length: 9",)),
    good(
        "a twin of Transfer-Encoding",
        head(LENGTH, b"Transfer_Encoding: chunked") + HELLO,
        _BOTH,
        has=("Transfer_Encoding: chunked",),
    ),
    good("chunked", head(CHUNKED) + _CHUNKED_BODY, _BOTH, lacks=("Content-Length",)),
    good("ChunKED", head(b"Transfer-Encoding: ChunKED") + _CHUNKED_BODY, _BOTH),
    good("chunked with spaces around", head(b"Transfer-Encoding: \t chunked \t") + _CHUNKED_BODY, _BOTH),
    good("chunked to HTTP/1.0", head(CHUNKED) + _CHUNKED_BODY, _BOTH, lacks=("Transfer-Encoding",), version="1.0", is_alone=True),
    Case("a length of 18 digits", head(b"Content-Length: 999999999999999999") + HELLO, Cut(HELLO), _PARTIAL, FIN),
    Case("a length, and one byte too few", head(b"Content-Length: 6") + HELLO, Cut(HELLO), _PARTIAL, FIN),
    Case("a length, and a reset one byte too early", head(b"Content-Length: 6") + HELLO, Cut(HELLO), _PARTIAL, RST),
    Case("a length, and nothing of it", head(LENGTH), Cut(), _PARTIAL, FIN),
    Case(
        "a length, and a close to HTTP/1.0",
        head(b"Content-Length: 6") + HELLO,
        Cut(HELLO, by_reset=True),
        _PARTIAL,
        FIN,
        version="1.0",
    ),
    Case("no length, until the end", head(b"X: y") + HELLO, Whole(HELLO), _KIND, FIN),
    Case("no field at all, until the end", OK + b"\r\n\r\n" + HELLO, Whole(HELLO), _KIND, FIN),
    Case("no length and no body", head(b"X: y"), Whole(), _KIND, FIN),
    Case("no length, until the end, to HTTP/1.0", head(b"X: y") + HELLO, Whole(HELLO, is_alone=True), _KIND, FIN, version="1.0"),
    Case("no length, until a reset", head(b"X: y") + HELLO, Cut(HELLO), _PARTIAL, RST),
    Case("no length, until a reset, to HTTP/1.0", head(b"X: y") + HELLO, Cut(HELLO, by_reset=True), _PARTIAL, RST, version="1.0"),
    Case("what looks like chunks, until the end", head(b"X: y") + _CHUNKED_BODY, Whole(_CHUNKED_BODY), _KIND, FIN),
    Case("what looks like a second answer, until the end", head(b"X: y") + OK + b"\r\n\r\n", Whole(OK + b"\r\n\r\n"), _KIND, FIN),
]
