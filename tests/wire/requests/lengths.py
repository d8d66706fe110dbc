"""Content-Length: one decimal number of at most 18 digits, in one line."""

from __future__ import annotations

from tests.wire.cases import HELLO, SERVED, UNFINISHED, Case, head, post, sized

_LENGTH = "RFC 9110 section 8.6"
_FRAMING = "RFC 9112 section 6.3"
_OVERFLOW = "length overflow"

_NO_NUMBERS = [
    b"+5", b"-5", b"-0", b"5;5", b"5 6", b"5 5", b"5\t6", b"0x5", b"0X5", b"0b101", b"0o5", b"5h", b"5_0", b"5.0", b"5e0",
    b"5L", b"A",
    b"five", b"", b'"5"', b"5%20", b"5\x0b", b"\x0c5", b"NaN", b"null", b"(5)", b"\xb2", b"5\xa0", b"\xa05", b"5:", b"=5", b"~0",
    "\u0665".encode(), "\uff15".encode(),
]  # fmt: skip
_LISTS = [b"5,5", b"5, 5", b"5,", b",5", b"5,6", b"6,5", b"5,chunked", b",", b"5,5,5"]
# What fits in 18 digits is a length: the body is then not there yet. Nobody may take the low bits of it.
_HUGE = {"2^31 + 5": 2**31 + 5, "2^32": 2**32, "2^32 + 5": 2**32 + 5, "2^53 + 5": 2**53 + 5, "18 nines": 10**18 - 1}
_TOO_HUGE = {
    "10^18": 10**18, "2^63 - 1": 2**63 - 1, "2^63": 2**63, "2^63 + 5": 2**63 + 5, "2^64": 2**64, "2^64 + 5": 2**64 + 5,
    "2^65 + 5": 2**65 + 5, "2^128 + 5": 2**128 + 5, "20 nines": 10**20 - 1, "200 digits": 10**199,
}  # fmt: skip

CASES = [
    Case("length 5", sized(b"5"), SERVED, _LENGTH, HELLO, has=(b"Content-Length: 5",)),
    Case("length 0", sized(b"0", body=b""), SERVED, _LENGTH),
    Case("length 5 with zeros", sized(b"0005"), SERVED, _LENGTH, HELLO),
    Case("length 5 in 18 digits", sized(b"5".rjust(18, b"0")), SERVED, _LENGTH, HELLO),
    Case("length 5 in 19 digits", sized(b"5".rjust(19, b"0")), 400, _OVERFLOW),
    Case("white space around a length", sized(b"\t 5 \t"), SERVED, _LENGTH, HELLO),
    Case("no space before a length", post(b"Content-Length:5", body=HELLO), SERVED, _LENGTH, HELLO),
    Case("a length in odd case", post(b"cOnTeNt-LeNgTh: 5", body=HELLO), SERVED, _LENGTH, HELLO),
    Case("a GET with a length", head(b"Content-Length: 5", body=HELLO), SERVED, _LENGTH, HELLO),
    Case("an OPTIONS with a length", head(b"Content-Length: 5", start=b"OPTIONS / HTTP/1.1", body=HELLO), SERVED, _LENGTH, HELLO),
    Case("a HEAD with a length", head(b"Content-Length: 5", start=b"HEAD / HTTP/1.1", body=HELLO), SERVED, _LENGTH, HELLO),
    Case("a DELETE with a length", head(b"Content-Length: 5", start=b"DELETE / HTTP/1.1", body=HELLO), SERVED, _LENGTH, HELLO),
    Case("a POST without a length", post(), SERVED, _FRAMING),
    Case(
        "a length in HTTP/1.0",
        post(b"Content-Length: 5", body=HELLO, start=b"POST / HTTP/1.0"),
        SERVED,
        _FRAMING,
        HELLO,
        closes=True,
    ),
    Case("a body of any bytes", sized(b"9", body=b"\x00\r\n\r\n\xff\n0\r"), SERVED, _FRAMING, b"\x00\r\n\r\n\xff\n0\r"),
    *[Case(f"length {value!r}", sized(value), 400, _LENGTH) for value in _NO_NUMBERS],
    *[Case(f"length {value!r}, a list", sized(value), 400, _FRAMING) for value in _LISTS],
    *[Case(f"length {name}", sized(b"%d" % value), UNFINISHED, _OVERFLOW) for name, value in _HUGE.items()],
    *[Case(f"length {name}", sized(b"%d" % value), 400, _OVERFLOW) for name, value in _TOO_HUGE.items()],
    # ---- twice
    Case("length 5 twice", sized(b"5", b"Content-Length: 5"), 400, _FRAMING),
    Case("length 5 and 6", sized(b"5", b"Content-Length: 6"), 400, _FRAMING),
    Case("length 6 and 5", sized(b"6", b"Content-Length: 5"), 400, _FRAMING),
    Case("length 0 and 5", sized(b"0", b"Content-Length: 5"), 400, _FRAMING),
    Case("length 5 and 05", sized(b"5", b"Content-Length: 05"), 400, _FRAMING),
    Case("length 5 and an empty one", sized(b"5", b"Content-Length:"), 400, _FRAMING),
    Case("length 5 twice in odd case", sized(b"5", b"content-length: 5"), 400, _FRAMING),
    Case("length 5 twice, far apart", sized(b"5", *[b"X: y"] * 20, b"Content-Length: 5"), 400, _FRAMING),
    Case(
        "length 5 twice in HTTP/1.0",
        post(b"Content-Length: 5", b"Content-Length: 5", body=HELLO, start=b"POST / HTTP/1.0"),
        400,
        _FRAMING,
    ),
    # ---- more and less than there is
    Case("length 500 of five bytes", sized(b"500"), UNFINISHED, _FRAMING),
    Case("a length and nothing", sized(b"500", body=b""), UNFINISHED, _FRAMING),
]
