"""Connection and the fields of one hop: what they take away, what they may not take away, and whether the connection stays."""

from __future__ import annotations

from tests.wire.cases import HELLO, SERVED, Case, chunked, head, post, sized

_HOP = "RFC 9110 section 7.6.1"
_PERSISTENCE = "RFC 9112 section 9.3"
_TEN = b"GET / HTTP/1.0"


def _nominating(option: bytes, *lines: bytes) -> bytes:
    return head(b"Connection: " + option, *lines)


# What all recipients need stays, whoever names it.
_PROTECTED = [
    b"Cookie: a=b", b"Authorization: Basic eA==", b"Content-Type: a/b", b"Content-Encoding: x", b"Content-Range: x",
    b"Cache-Control: no-cache", b"Date: x", b"Vary: x", b"Set-Cookie: x",
]  # fmt: skip
# We say these ourselves, behind everything else: nobody names them away. A Via that came is a part of ours.
_OURS = {
    b"X-Forwarded-For": b"127.0.0.1", b"X-Forwarded-Proto": b"http", b"X-Forwarded-Host": b"a", b"X-Real-IP": b"127.0.0.1",
    b"Forwarded": b"for=127.0.0.1;host=a;proto=http", b"Via": b"6.6.6.6, 1.1 greenproxy",
}  # fmt: skip
_OF_ONE_HOP = [
    b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Connection: close", b"TE: gzip", b"Upgrade: x",
    b"Upgrade: h2c",
]  # fmt: skip

CASES = [
    # ---- does the connection stay
    Case("Connection: keep-alive", _nominating(b"keep-alive"), SERVED, _PERSISTENCE, lacks=(b"Connection",)),
    Case("Connection: close", _nominating(b"close"), SERVED, _PERSISTENCE, lacks=(b"Connection",), closes=True),
    Case("Connection: Close", _nominating(b"Close"), SERVED, _PERSISTENCE, closes=True),
    Case("close in a list", _nominating(b"keep-alive , close"), SERVED, _PERSISTENCE, closes=True),
    Case("close in a second line", head(b"Connection: keep-alive", b"Connection: close"), SERVED, _PERSISTENCE, closes=True),
    Case("close that is quoted", _nominating(b'"close"'), SERVED, _PERSISTENCE),
    Case("close as a part of a word", _nominating(b"closed, x-close"), SERVED, _PERSISTENCE),
    Case("close and an upgrade", _nominating(b"close, upgrade", b"Upgrade: x"), SERVED, _PERSISTENCE, closes=True),
    Case("empty Connection", _nominating(b""), SERVED, _HOP),
    Case("a Connection of commas", _nominating(b",, ,"), SERVED, _HOP),
    Case("a Connection that is no list of tokens", _nominating(b'=;"\xff'), SERVED, _HOP),
    Case("close behind a body", sized(b"5", b"Connection: close"), SERVED, _PERSISTENCE, HELLO, closes=True),
    Case(
        "close behind chunks",
        post(b"Transfer-Encoding: chunked", b"Connection: close", body=b"5\r\nhello\r\n0\r\n\r\n"),
        SERVED,
        _PERSISTENCE,
        HELLO,
        closes=True,
    ),
    Case("HTTP/1.0 that keeps alive", head(b"Connection: keep-alive", start=_TEN), SERVED, _PERSISTENCE),
    Case("HTTP/1.0 that keeps alive in capitals", head(b"Connection: x, Keep-Alive", start=_TEN), SERVED, _PERSISTENCE),
    Case("HTTP/1.0 that closes", head(b"Connection: close", start=_TEN), SERVED, _PERSISTENCE, closes=True),
    Case("HTTP/1.0 with another option", head(b"Connection: x", start=_TEN), SERVED, _PERSISTENCE, closes=True),
    Case("HTTP/1.0 with only Keep-Alive", head(b"Keep-Alive: 5", start=_TEN), SERVED, _PERSISTENCE, closes=True),
    Case(
        "HTTP/1.0 with Proxy-Connection",
        head(b"Proxy-Connection: keep-alive", start=_TEN),
        SERVED,
        "RFC 9112 appendix C.2.2",
        closes=True,
    ),
    # ---- what goes
    *[
        Case(f"of one hop: {line.decode()}", head(line), SERVED, _HOP, lacks=(line.partition(b":")[0], b"Connection"))
        for line in _OF_ONE_HOP
    ],
    Case(
        "a nominated field",
        _nominating(b"x-hop", b"X-Hop: a", b"X-Kept: b"),
        SERVED,
        _HOP,
        has=(b"X-Kept: b",),
        lacks=(b"X-Hop", b"Connection"),
    ),
    Case("a field that is nominated behind it", head(b"X-Hop: a", b"Connection: X-HOP"), SERVED, _HOP, lacks=(b"X-Hop",)),
    Case(
        "a field that is nominated and stands twice",
        _nominating(b"x-hop", b"X-Hop: a", b"X-Hop: b"),
        SERVED,
        _HOP,
        lacks=(b"X-Hop",),
    ),
    Case(
        "several nominated in two lines",
        head(b"Connection: a,, B", b"A: 1", b"B: 2", b"C: 3", b"Connection: c"),
        SERVED,
        _HOP,
        lacks=(b"A", b"B", b"C"),
    ),
    Case("nominated beside close", _nominating(b"close, x-hop", b"X-Hop: a"), SERVED, _HOP, lacks=(b"X-Hop",), closes=True),
    Case(
        "nominated in HTTP/1.0", head(b"Connection: x-hop", b"X-Hop: a", start=_TEN), SERVED, _HOP, lacks=(b"X-Hop",), closes=True
    ),
    Case("half of a name is nominated", _nominating(b"x-hop", b"X-Hop-2: a"), SERVED, _HOP, has=(b"X-Hop-2: a",)),
    Case(
        "Trailer stays",
        chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n").replace(b"Host: a", b"Host: a\r\nTrailer: X"),
        SERVED,
        "RFC 9110 section 6.6.2",
        HELLO,
        b"X: y\r\n",
        has=(b"Trailer: X",),
    ),
    Case("TE: trailers", head(b"TE: trailers"), SERVED, "RFC 9110 section 10.1.4", has=(b"TE: trailers", b"Connection: TE")),
    Case(
        "TE: trailers among others",
        head(b"TE: gzip;q=1, Trailers, deflate", b"Connection: TE"),
        SERVED,
        "RFC 9110 section 10.1.4",
        has=(b"TE: trailers", b"Connection: TE"),
    ),
    Case("TE: chunked", head(b"TE: chunked", b"Connection: TE"), SERVED, "RFC 9110 section 10.1.4", lacks=(b"TE", b"Connection")),
    # ---- what nobody can take away
    Case("close, Host", _nominating(b"close, Host"), SERVED, _HOP, has=(b"Host: a",), closes=True),
    Case("nominates Host", _nominating(b"host"), SERVED, _HOP, has=(b"Host: a",)),
    Case(
        "nominates Content-Length", sized(b"5", b"Connection: content-length"), SERVED, _HOP, HELLO, has=(b"Content-Length: 5",)
    ),
    Case(
        "nominates Content-Length beside close",
        sized(b"5", b"Connection: close, Content-Length"),
        SERVED,
        _HOP,
        HELLO,
        has=(b"Content-Length: 5",),
        closes=True,
    ),
    Case(
        "nominates Transfer-Encoding",
        post(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
        SERVED,
        _HOP,
        HELLO,
        has=(b"Transfer-Encoding: chunked",),
    ),
    *[
        Case(f"nominates {(name := line.partition(b':')[0]).decode()}", _nominating(name, line), SERVED, _HOP, has=(line,))
        for line in _PROTECTED
    ],
    *[
        Case(f"nominates our {name.decode()}", _nominating(name, name + b": 6.6.6.6"), SERVED, _HOP, has=(name + b": " + ours,))
        for name, ours in _OURS.items()
    ],
    Case(
        "nominates everything of ours at once",
        _nominating(b", ".join([b"close", *_OURS])),
        SERVED,
        _HOP,
        has=(b"X-Real-IP: 127.0.0.1", b"Via: 1.1 greenproxy"),
        closes=True,
    ),
    Case("nominates Expect", sized(b"5", b"Expect: 100-continue", b"Connection: expect"), SERVED, _HOP, HELLO),
    Case("nominates Connection", _nominating(b"connection, close"), SERVED, _HOP, closes=True),
]
