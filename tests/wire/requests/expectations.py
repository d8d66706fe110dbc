"""Expect: `100-continue`, or 417. HTTP/1.0 knows none."""

from __future__ import annotations

from tests.wire.cases import HELLO, SERVED, Case, chunked, head, post, sized

_EXPECT = "RFC 9110 section 10.1.1"
_LACKS = (b"Expect",)  # the body is at hand, or not wanted: there is nothing to wait for
_CONTINUE = b"Expect: 100-continue"

CASES = [
    Case("100-continue and the body at once", sized(b"5", _CONTINUE), SERVED, _EXPECT, HELLO),
    Case("100-Continue in odd case", sized(b"5", b"eXPECT: 100-Continue"), SERVED, _EXPECT, HELLO),
    Case("white space around 100-continue", sized(b"5", b"Expect: \t100-continue "), SERVED, _EXPECT, HELLO),
    Case("100-continue twice", sized(b"5", _CONTINUE, _CONTINUE), SERVED, _EXPECT, HELLO),
    Case(
        "100-continue with chunks",
        chunked(b"5\r\nhello\r\n0\r\n\r\n").replace(b"Host: a", b"Host: a\r\n" + _CONTINUE),
        SERVED,
        _EXPECT,
        HELLO,
    ),
    Case("100-continue without a body", head(_CONTINUE), SERVED, _EXPECT, lacks=_LACKS),
    Case("100-continue with a length of 0", sized(b"0", _CONTINUE, body=b""), SERVED, _EXPECT, lacks=_LACKS),
    Case("100-continue of a GET with a body", head(_CONTINUE, b"Content-Length: 5", body=HELLO), SERVED, _EXPECT, HELLO),
    Case("100-continue of a HEAD", head(_CONTINUE, start=b"HEAD / HTTP/1.1"), SERVED, _EXPECT, lacks=_LACKS),
    Case(
        "100-continue in HTTP/1.0",
        post(_CONTINUE, b"Content-Length: 5", body=HELLO, start=b"POST / HTTP/1.0"),
        SERVED,
        _EXPECT,
        HELLO,
        lacks=_LACKS,
        closes=True,
    ),
    Case(
        "another expectation in HTTP/1.0",
        head(b"Expect: gold", start=b"GET / HTTP/1.0"),
        SERVED,
        _EXPECT,
        lacks=_LACKS,
        closes=True,
    ),
    Case("100-continue that closes", sized(b"5", _CONTINUE, b"Connection: close"), SERVED, _EXPECT, HELLO, closes=True),
    *[
        Case(f"expectation {value!r}", sized(b"5", b"Expect: " + value), 417, _EXPECT)
        for value in (
            b"gold",
            b"200-ok",
            b"",
            b",",
            b"100",
            b"100 continue",
            b"100-continue, gold",
            b"gold, 100-continue",
            b"100-continue,",
            b"100-continue, 100-continue",
            b"100-continue;q=1",
            b"100-continue=1",
            b'"100-continue"',
            b"x100-continue",
            b"100-continuex",
            b"102-processing",
            b"y 100-continue",
            b"100-continue y",
            b"100_continue",
            b"\xa0100-continue",
        )
    ],
    Case("another expectation without a body", head(b"Expect: gold"), 417, _EXPECT),
    Case("100-continue, then another line", sized(b"5", _CONTINUE, b"Expect: gold"), 417, _EXPECT),
    Case("another line, then 100-continue", sized(b"5", b"Expect: gold", _CONTINUE), 417, _EXPECT),
    Case("space before the colon of Expect", sized(b"5", b"Expect : 100-continue"), 400, "RFC 9112 section 5.1"),
    Case("an expectation and a contradiction", sized(b"5", _CONTINUE, b"Transfer-Encoding: chunked"), 400, "CL.TE"),
]
