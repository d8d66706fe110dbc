"""Whole attacks, as they are published: two messages for one reader, one for another."""

from __future__ import annotations

from tests.wire.cases import END, HELLO, SERVED, Case, chunked, coded, head, post, sized

_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
_IN_A_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_SMUGGLED), _SMUGGLED)
_SIZE = b"%d" % len(_SMUGGLED)
_LENGTH = b"Content-Length: " + _SIZE

CASES = [
    Case("CL.TE", sized(b"%d" % (5 + len(_SMUGGLED)), b"Transfer-Encoding: chunked", body=END + _SMUGGLED), 400, "CL.TE"),
    Case("CL.TE with the coding first", coded(b"chunked", b"Content-Length: 6", body=END + b"G"), 400, "CL.TE"),
    Case("CL.TE with a length of 0", sized(b"0", b"Transfer-Encoding: chunked", body=END), 400, "CL.TE"),
    Case("CL.TE with a bad length", sized(b"x", b"Transfer-Encoding: chunked", body=END), 400, "CL.TE"),
    Case("CL.TE with an empty length", sized(b"", b"Transfer-Encoding: chunked", body=END), 400, "CL.TE"),
    Case("TE.CL", coded(b"chunked", b"Content-Length: 4", body=_IN_A_CHUNK), 400, "TE.CL"),
    Case(
        "TE.CL that is Connection's to remove",
        coded(b"chunked", b"Content-Length: 4", b"Connection: Content-Length"),
        400,
        "TE.CL",
    ),
    Case(
        "CL.TE that is Connection's to remove",
        coded(b"chunked", b"Content-Length: 4", b"Connection: Transfer-Encoding"),
        400,
        "CL.TE",
    ),
    Case(
        "a length and a coding in HTTP/1.0",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=END, start=b"POST / HTTP/1.0"),
        400,
        "CL.TE",
    ),
    # ---- CL.0: a backend that thinks a request has no body; ours gets the body as one, and never as a request
    Case("CL.0 with a GET", head(_LENGTH, body=_SMUGGLED), SERVED, "CL.0", _SMUGGLED, has=(_LENGTH,)),
    Case("CL.0 with a POST", sized(_SIZE, body=_SMUGGLED), SERVED, "CL.0", _SMUGGLED, has=(_LENGTH,)),
    Case("CL.0 with a HEAD", head(_LENGTH, body=_SMUGGLED, start=b"HEAD / HTTP/1.1"), SERVED, "CL.0", _SMUGGLED),
    Case(
        "CL.0 with an upgrade",
        sized(_SIZE, b"Connection: upgrade", b"Upgrade: websocket", body=_SMUGGLED),
        SERVED,
        "CL.0",
        _SMUGGLED,
        lacks=(b"Upgrade",),
    ),
    Case(
        "CL.0 that Connection hides",
        sized(_SIZE, b"Connection: Content-Length", body=_SMUGGLED),
        SERVED,
        "CL.0",
        _SMUGGLED,
        has=(_LENGTH,),
    ),
    Case("TE.0", chunked(_IN_A_CHUNK), SERVED, "TE.0", _SMUGGLED),
    Case("TE.0 with OPTIONS", coded(b"chunked", body=_IN_A_CHUNK, start=b"OPTIONS / HTTP/1.1"), SERVED, "TE.0", _SMUGGLED),
    Case(
        "TE.0 that Connection hides",
        chunked(b"5\r\nhello\r\n" + END).replace(b"Host: a", b"Host: a\r\nConnection: Transfer-Encoding"),
        SERVED,
        "TE.0",
        HELLO,
    ),
    # ---- 0.CL: a length that only the backend would see
    Case("0.CL with a space before the name", head(b"X: y\r\n Content-Length: 5", body=HELLO), 400, "0.CL"),
    Case("0.CL with a space before the colon", head(b"Content-Length : 5", body=HELLO), 400, "0.CL"),
    Case("0.CL with a NUL in the name", head(b"Content-Length\x00: 5", body=HELLO), 400, "0.CL"),
    Case("0.CL behind a bare LF", head(b"X: y\nContent-Length: 5", body=HELLO), 400, "0.CL"),
    Case("0.CL behind a bare CR", head(b"X: y\rContent-Length: 5", body=HELLO), 400, "0.CL"),
    Case("0.CL folded", head(b"Content-Length:\r\n 5", body=HELLO), 400, "0.CL"),
    Case("0.CL with an underscore", head(b"Content_Length: 5"), SERVED, "0.CL", lacks=(b"Content_Length", b"Content-Length")),
    Case("0.CL with a word behind the name", head(b"Content-Length abcd: 5", body=HELLO), 400, "0.CL"),
    Case("0.CL with a semicolon for the colon", head(b"Content-Length; 5", body=HELLO), 400, "0.CL"),
    Case("0.CL by an expectation", head(b"Expect: y 100-continue", b"Content-Length: 5", body=HELLO), 417, "Expect desync"),
    Case(
        "0.CL by a folded expectation", head(b"Expect:\r\n 100-continue", b"Content-Length: 5", body=HELLO), 400, "Expect desync"
    ),
    Case(
        "0.CL by an expectation behind a space",
        head(b"X: y\r\n Expect: 100-continue", b"Content-Length: 5", body=HELLO),
        400,
        "Expect desync",
    ),
]
