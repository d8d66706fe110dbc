"""Connection in a response: what is of this hop only, and whether the connection stays."""

from __future__ import annotations

from tests.wire.response_cases import FIN, HELLO, LENGTH, OK, Case, Whole, good, head

_HOP = "RFC 9110 section 7.6.1"
_PERSISTENCE = "RFC 9112 section 9.3"
_DATE = "RFC 9110 section 6.6.1"
_HTTP_10 = b"HTTP/1.0 200 OK"


def _with(*lines: bytes, start: bytes = OK) -> bytes:
    return head(*lines, LENGTH, start=start) + HELLO


_GO = {
    "Keep-Alive": b"Keep-Alive: timeout=5, max=100",
    "Proxy-Connection": b"Proxy-Connection: keep-alive",
    "Upgrade": b"Upgrade: h2c",
    "TE": b"TE: trailers",
    "keep-alive in lower case": b"keep-alive: timeout=5",
}
_STAY = {
    "Via": "Via: 1.1 other",
    "Server": "Server: other/1.0",
    "Trailer": "Trailer: X",
    "X-Forwarded-For": "X-Forwarded-For: 1.1.1.1",
    "Proxy-Authenticate": "Proxy-Authenticate: Basic",
    "Alt-Svc": 'Alt-Svc: h3=":443"',
    "Set-Cookie": "Set-Cookie: a=1; Secure",
    "X-Accel-Redirect": "X-Accel-Redirect: /secret",
    "Status": "Status: 500",
    "Age": "Age: 10",
}
_NOT_NOMINABLE = [
    "Content-Type: text/plain", "Content-Encoding: gzip", "Set-Cookie: a=1", "Cache-Control: private", "Vary: *",
    "Date: Sun, 06 Nov 1994 08:49:37 GMT",
]  # fmt: skip
_CLOSES = {
    "close": (b"Connection: close", OK),
    "Close": (b"Connection: Close", OK),
    "close among others": (b"Connection: keep-alive, close", OK),
    "close in a second field": (b"Connection: keep-alive\r\nConnection: close", OK),
    "close with empty members": (b"Connection: , close ,", OK),
    "HTTP/1.0": (b"X: y", _HTTP_10),
    "HTTP/1.0 and close": (b"Connection: close", _HTTP_10),
    "HTTP/1.0, keep-alive and close": (b"Connection: keep-alive, close", _HTTP_10),
    "HTTP/1.0 and Proxy-Connection": (b"Proxy-Connection: keep-alive", _HTTP_10),
    "HTTP/1.0 and Keep-Alive": (b"Keep-Alive: timeout=5", _HTTP_10),
}
_STAYS = {
    "keep-alive": (b"Connection: keep-alive", OK),
    "Keep-Alive in capitals": (b"Connection: Keep-Alive", OK),
    "an empty Connection": (b"Connection:", OK),
    "nothing but commas": (b"Connection: , ,", OK),
    "closed, which is another word": (b"Connection: closed", OK),
    "HTTP/1.0 and keep-alive": (b"Connection: keep-alive", _HTTP_10),
    "HTTP/1.0 and keep-alive among others": (b"Connection: x, Keep-Alive", _HTTP_10),
}

CASES: list[Case] = [
    *(good(f"{name} goes", _with(line), _HOP, lacks=(line.split(b":")[0].decode(),)) for name, line in _GO.items()),
    *(good(f"{name} stays", _with(line.encode()), _HOP, has=(line,)) for name, line in _STAY.items()),
    good(
        "a nominated field goes",
        _with(b"Connection: x-hop", b"X-Hop: 1", b"X-Other: 2"),
        _HOP,
        lacks=("X-Hop",),
        has=("X-Other: 2",),
    ),
    good("several nominated fields go", _with(b"Connection: x-a, X-B", b"X-A: 1", b"x-b: 2"), _HOP, lacks=("X-A", "X-B")),
    good("fields nominated twice go", _with(b"Connection: x-a", b"X-A: 1", b"Connection: x-a"), _HOP, lacks=("X-A",)),
    good("every line of a nominated field goes", _with(b"Connection: x-a", b"X-A: 1", b"X-A: 2"), _HOP, lacks=("X-A",)),
    good("a length cannot be nominated away", _with(b"Connection: content-length"), _HOP, has=("Content-Length: 5",)),
    good(
        "a coding cannot be nominated away",
        head(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        _HOP,
    ),
    *(
        good(
            f"{line.split(':')[0]} cannot be nominated away",
            _with(b"Connection: " + line.split(":")[0].encode(), line.encode()),
            _HOP,
            has=(line,),
        )
        for line in _NOT_NOMINABLE
    ),
    *(
        Case(f"closes: {name}", _with(line, start=start), Whole(HELLO, lacks=("Connection",)), _PERSISTENCE)
        for name, (line, start) in _CLOSES.items()
    ),
    *(
        good(f"stays: {name}", _with(line, start=start), _PERSISTENCE, lacks=("Connection",))
        for name, (line, start) in _STAYS.items()
    ),
    Case("HTTP/1.0 without a length", head(b"X: y", start=_HTTP_10) + HELLO, Whole(HELLO), _PERSISTENCE, FIN),
    Case(
        "HTTP/1.0 that says it stays, without a length",
        head(b"Connection: keep-alive", start=_HTTP_10) + HELLO,
        Whole(HELLO),
        _PERSISTENCE,
        FIN,
    ),
    Case(
        "close on a 204",
        head(b"Connection: close", start=b"HTTP/1.1 204 No Content"),
        Whole(status=204, lacks=("Connection",)),
        _PERSISTENCE,
    ),
    Case("close on chunks", head(b"Connection: close", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", Whole(), _PERSISTENCE),
    good(
        "an answer with a date keeps it",
        _with(b"Date: Sun, 06 Nov 1994 08:49:37 GMT"),
        _DATE,
        has=("Date: Sun, 06 Nov 1994 08:49:37 GMT",),
    ),
]
