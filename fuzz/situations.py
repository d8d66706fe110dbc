"""Inputs that stand beside the committed ones, whatever they cover: a mistake may show in them and reach no new line of code.

A row is what an input is made of: kind, mode (see the targets), and data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SIZES = bytes((7, 1, 30))

Rows = list[tuple[int, int, bytes]]

_GET = b"GET /n HTTP/1.1\r\nHost: a\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
_LAST = b"0\r\n\r\n"
_TRAILERS = b"0\r\nX-Sum: 1\r\n\r\n"
_UNTIL_END = b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nhello"
_CLOSE, _RESET, _SILENCE, _TOUCHED, _WARM, _DEAF = 0, 1, 2, 32, 64, 128
_GET11, _HEAD11, _GET10, _KEPT10, _TE, _POST, _CHUNKS, _LATER, _LATE_CHUNKS, _EXPECT, _EXPECT_CHUNKS, _UPGRADE = range(12)
_GONE, _GONE_IN_CHUNKS, _HEAD10 = 13, 14, 15


def _switch(protocol: bytes) -> bytes:
    return b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\nraw" % protocol


_TOUCHABLE = (
    _OK,
    _CHUNKED + _TRAILERS,
    b"HTTP/1.1 304 Not\r\nConnection: X-A\r\nX-A: b\r\nETag:  x \r\n\r\n",
    b"HTTP/1.1 200\r\nX-A: b\r\nx-a: \xff\r\nContent-Length: 00002\r\n\r\nok",
)
RELAY: Rows = [
    *[(kind, end, _SHORT) for kind in (_GET11, _GET10, _KEPT10) for end in (_CLOSE, _RESET, _SILENCE)],
    *[(kind, end, _CHUNKED) for kind in (_GET11, _GET10, _KEPT10) for end in (_CLOSE, _RESET, _SILENCE)],
    *[(kind, end, _UNTIL_END) for kind in (_GET11, _HEAD11, _GET10, _KEPT10) for end in (_CLOSE, _RESET)],
    *[(kind, _SILENCE, _OK + _OK) for kind in (_GET11, _HEAD11, _POST, _LATER, _GET10, _HEAD10)],
    *[(kind, _SILENCE, _CHUNKED + _LAST) for kind in (_GET11, _GET10, _TE)],
    *[(kind, _SILENCE, _CHUNKED + _TRAILERS) for kind in (_GET11, _GET10, _TE)],
    (_GET11, _SILENCE, _CHUNKED + _LAST + _OK),
    (_GET11, _SILENCE, _CHUNKED + _TRAILERS + _OK),
    (_GET11, _CLOSE, _CHUNKED + b"x\r\n"),
    (_GET10, _CLOSE, _CHUNKED + b"x\r\n"),
    (_HEAD11, _SILENCE, _OK[:-5]),
    (_GET11, _SILENCE, b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n"),
    (_GET11, _SILENCE, b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n" + _OK),
    (_GET11, _SILENCE, b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n"),
    (_GET11, _SILENCE, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
    (_GET11, _SILENCE, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (_GET11, _SILENCE, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
    *[(kind, _SILENCE, b"HTTP/1.1 100 Go\r\n\r\n" + _OK) for kind in (_GET11, _GET10, _EXPECT, _EXPECT_CHUNKS)],
    *[(kind, _SILENCE, b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + _OK) for kind in (_GET11, _GET10, _EXPECT)],
    (_EXPECT, _SILENCE, b"HTTP/1.1 100 Go\r\n\r\n" * 2 + _OK),
    (_EXPECT, _SILENCE, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
    (_GET11, _SILENCE, b"HTTP/1.1 102 P\r\n\r\n" * 32 + _OK),
    (_GET11, _SILENCE, b"HTTP/1.1 102 P\r\n\r\n" * 33 + _OK),
    (_UPGRADE, _CLOSE, _switch(b"websocket")),
    (_UPGRADE, _RESET, _switch(b"websocket")),
    (_UPGRADE, _CLOSE, _switch(b"h2c")),
    (_GET11, _CLOSE, _switch(b"websocket")),
    (_GET11, _CLOSE, b"HTTP/1.1 101 S\r\n\r\n" + _OK),
    (_UPGRADE, _CLOSE, _OK),
    *[(kind, end, _OK) for kind in (_GONE, _GONE_IN_CHUNKS) for end in (_CLOSE, _SILENCE)],
    *[(kind, _DEAF | room, _OK) for kind in (_POST, _LATER, _LATE_CHUNKS) for room in (0, 12, 16, 20)],
    *[(kind, _TOUCHED | _SILENCE, data) for kind in (_GET11, _HEAD11, _GET10, _LATE_CHUNKS, _TE) for data in _TOUCHABLE],
    *[(kind, _WARM | end, b"") for kind in range(16) for end in (_CLOSE, _RESET)],
    *[(kind, _WARM, data) for kind in (_GET11, _POST) for data in (_OK, _OK + _OK, _SHORT, b"HTTP/1.1 2")],
    (_POST, _SILENCE, b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\nno"),
]

_ENDS = (_CLOSE, _RESET, _SILENCE)


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /a HTTP/1.1", b"Host: a", *lines, b"", b""]) + body


def _get(*lines: bytes, start: bytes = b"GET /a HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: a", *lines, b"", b""])


_CODED, _SIZED = b"Transfer-Encoding: chunked", b"Content-Length: 5"
_WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")
_SMUGGLING = _post(b"Content-Length: %d" % (len(_GET) + 5), body=_GET + b"hello")
_MIXED = _GET.replace(b"GET", b"HEAD") + _GET.replace(b"1.1", b"1.0") + _GET

CONNECTION: Rows = [
    *[(_CLOSE, answer, data) for answer in range(6) for data in (_SMUGGLING + _GET, _GET * 4, _MIXED)],
    *[
        (end, 0, data)
        for end in _ENDS
        for data in (
            _post(_CODED, body=b"5\r\nhello\r\n" + _TRAILERS) + _GET,
            _post(_CODED, body=b"5\r\nhello\r\n"),
            _post(b"Content-Length: 9", body=b"hello"),
            _GET + b"GET /half HT",
        )
    ],
    (_CLOSE, 0, _post(_CODED, body=b"5\r\nhello\r\nx\r\n") + _GET),
    (_CLOSE, 0, _post(_SIZED, _SIZED, body=b"hello") + _GET),
    (_CLOSE, 0, _post(_SIZED, _CODED, body=_LAST) + _GET),
    (_CLOSE, 0, _post(*_WEBSOCKET, _SIZED, body=b"hello") + _GET),
    (_CLOSE, 5, _post(b"Expect: 100-continue", _SIZED, body=b"hello") + _GET),
    (_CLOSE, 0, _get(b"Expect: gold") + _GET),
    (_CLOSE, 0, _get(b"Host: a") + _GET),
    (_CLOSE, 0, _get(start=b"CONNECT a:443 HTTP/1.1") + _GET),
    (_CLOSE, 0, _get(b"Max-Forwards: 0", start=b"OPTIONS * HTTP/1.1") + _GET),
    (_CLOSE, 0, _get(b"Max-Forwards: 1", start=b"TRACE /a HTTP/1.1") + _GET),
    (_CLOSE, 0, _get(b"Max-Forwards: 0", _SIZED, start=b"OPTIONS * HTTP/1.1") + b"hello" + _GET),
    (_CLOSE, 0, _get(b"Max-Forwards: 0", _CODED, start=b"OPTIONS * HTTP/1.1") + b"x\r\n" + _GET),
    *[(16, 0, data) for data in (_post(_CODED, body=b"5\r\nhello\r\n" + _TRAILERS) + _GET, _post(_SIZED, body=b"he"), _MIXED)],
    (20, 0, _get(b"X-Forwarded-Port: 1", b"X_A: 1", b"x-a: 2", b"Connection: X-B", b"X-B: 1", b"Via: 1.0 x") + _GET),
    *[(8, answer, _GET * 3) for answer in range(4)],
    (4, 0, _get(b"X-Forwarded-For: 192.0.2.9", b"X_Forwarded_For: x", start=b"GET http://b/x HTTP/1.1") + _GET),
    (_CLOSE, 0, _get(b"Connection: close, X-A, Host", b"X-A: b") + _GET),
]

_TARGETS = (
    b"/../x", b"/a/../x", b"/a//../x", b"/a/%2e%2e/x", b"/a/.%2E/x", b"/a/..%3bx/y", b"/a/..;x/y", b"/a/%2fb", b"/a%00",
    b"/a%", b"//a", b"/a/.", b"/a/..", b"/%25%2f", b"/a?/../b", b"/%c3%a9", b"/%ff", b"http://b/../x", b"http://b?x",
    b"/a\\..\\b",
)  # fmt: skip
_LINES = (
    (b"Host: a",),
    (_SIZED, _SIZED),
    (_SIZED, _CODED),
    (_CODED, _CODED),
    (b"Content_Length: 5",),
    (b"X_Forwarded_For: b",),
    (*_WEBSOCKET, _SIZED),
    (b"Connection: content-length, x", b"X: y", _SIZED),
    (b"Connection: TE", b"TE: trailers"),
    (b"Via: 1.1 x", b"X-Forwarded-For: 192.0.2.9", b"Forwarded: for=_x", b"X-Real-IP: y"),
)
HEADS: Rows = [
    *[(0, 0, _get(start=b"GET %b HTTP/1.1" % target)) for target in _TARGETS],
    *[(0, 1, _post(*lines)) for lines in _LINES],
    *[(limits, 0, _get(start=b"GET /%b HTTP/1.1" % (b"x" * size))) for limits in (2, 3, 4) for size in (10, 11, 14, 15, 16, 40)],
    *[(limits, 0, _get(*([b"X: y"] * count))) for limits in (2, 3) for count in (2, 3, 4)],
]

_BEGINS = (b"5;a", b'5;a="b"', b"5 ", b"5;", b"000000000000005", b"0000000000000005", b"+5", b"0x5")
_LASTS = (b"0\r\n", b"0\r\n\r", b"0\r\nX: y", b"00\r\n\r\n", b"0;a=b\r\n\r\n", b"0\r\nHost: a\r\n\r\n")
CHUNKS: Rows = [
    *[(2, 0, b"0\r\nX: %b\r\n\r\nrest" % (b"y" * size)) for size in (34, 35, 36)],
    *[(3, 0, b"0\r\nX: %b\r\n\r\n" % (b"y" * size)) for size in (1, 2, 3, 40)],
    *[(0, 0, b"5\r\nhello\r\n" + last) for last in _LASTS],
    *[(0, 0, begin + b"\r\nhello\r\n0\r\n\r\n") for begin in _BEGINS],
]

_STATUSES = (b"200 OK", b"204 No", b"304 Not", b"100 Go", b"101 S", b"600 X", b"099 X")
ANSWERS: Rows = [
    *[(kind, 0, b"HTTP/1.1 %b\r\nContent-Length: 5\r\n\r\nhello" % status) for kind in range(4) for status in _STATUSES],
    *[(kind, 0, b"HTTP/1.1 %b\r\n\r\nhello" % status) for kind in range(2) for status in _STATUSES],
    *[(kind, 0, _CHUNKED + end) for kind in range(2) for end in (_LAST, _TRAILERS, b"", b"x\r\n", _LAST + _OK)],
    (0, 0, b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" * 3 + _OK),
    (0, 2, _OK),
    (0, 2, b"HTTP/1.1 200 OK\r\nX-A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n"),
]

SITUATIONS: dict[str, Rows] = {
    "relay": RELAY, "connection": CONNECTION, "heads": HEADS, "chunks": CHUNKS, "answers": ANSWERS, "chain": [],
}  # fmt: skip


def situations(target: str) -> list[bytes]:
    """Return these inputs of a target."""
    return [bytes((kind, mode)) + SIZES + data for kind, mode, data in SITUATIONS[target]]


def write_situations(target: str, folder: Path) -> None:
    """Write them into a folder for libFuzzer."""
    for data in situations(target):
        (folder / name_of(data)).write_bytes(data)


def name_of(data: bytes) -> str:
    """Return the name of the file for an input."""
    return hashlib.sha256(data).hexdigest()[:16]
