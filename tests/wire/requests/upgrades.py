"""Upgrade: only `websocket`, only in HTTP/1.1, only without a body; everything else is an ordinary request."""

from __future__ import annotations

from tests.wire.cases import END, HELLO, SERVED, Case, head, post, sized

_UPGRADE = "RFC 9110 section 7.8"
_WEBSOCKET = "RFC 6455 section 4.1"
_H2C = "h2c smuggling"
_BODY = "upgrade with a body"
_TEN = b"GET / HTTP/1.0"
_OTHERS = [
    b"h2c, websocket", b"websocket, h2c", b"websocket, websocket", b"websocket,", b"TLS/1.0", b"TLS/1.0, HTTP/1.1", b"HTTP/2.0",
    b"HTTP/3", b"IRC/6.9", b"*",
]  # fmt: skip
_SETTINGS = b"HTTP2-Settings: AAMAAABkAAQAAP__"
_YES = (b"Connection: upgrade", b"Upgrade: websocket")
_KEY = (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13")


def _asking(protocol: bytes, *lines: bytes, option: bytes = b"Upgrade") -> bytes:
    return head(b"Connection: " + option, b"Upgrade: " + protocol, *lines)


def _declined(name: str, data: bytes, rule: str = _UPGRADE, body: bytes = b"", *, closes: bool = False) -> Case:
    """An ordinary request is left: the backend hears nothing of the upgrade."""
    return Case(name, data, SERVED, rule, body, lacks=(b"Upgrade", b"Connection", b"HTTP2-Settings"), closes=closes)


CASES = [
    Case("an upgrade to WebSocket", _asking(b"websocket", *_KEY), SERVED, _WEBSOCKET, has=(*_YES, *_KEY)),
    Case(
        "an upgrade in other letters",
        _asking(b"WebSocket", option=b"x, UPGRADE"),
        SERVED,
        _WEBSOCKET,
        has=(b"Upgrade: WebSocket",),
    ),
    Case("an upgrade and trailers", _asking(b"websocket", b"TE: trailers"), SERVED, _UPGRADE, has=(b"Connection: upgrade, TE",)),
    Case("an upgrade with a length of 0", sized(b"0", *_YES, body=b""), SERVED, _UPGRADE, has=_YES),
    _declined("an upgrade that Connection does not name", head(b"Upgrade: websocket")),
    _declined("an upgrade in name only", head(b"Connection: upgrade")),
    _declined("an upgrade in HTTP/1.0", head(*_YES, start=_TEN), closes=True),
    _declined("an upgrade in HTTP/1.0 that keeps alive", head(*_YES, b"Connection: keep-alive", start=_TEN)),
    _declined("an empty upgrade", _asking(b"")),
    _declined("an upgrade to nonsense", _asking(b"web socket")),
    _declined("an upgrade with a version", _asking(b"websocket/13")),
    # ---- a body in front of an upgrade: some servers take it for bytes of the new protocol already
    _declined("an upgrade with a length", sized(b"5", *_YES), _BODY, HELLO),
    _declined("an upgrade with chunks", post(b"Transfer-Encoding: chunked", *_YES, body=END), _BODY),
    _declined("an upgrade that expects a 100", sized(b"5", b"Expect: 100-continue", *_YES), _BODY, HELLO),
    # ---- lists: what a backend chose of them could be another one than we tunnel
    *[_declined(f"an upgrade to {tokens.decode()}", _asking(tokens)) for tokens in _OTHERS],
    _declined("two Upgrades", _asking(b"websocket", b"Upgrade: h2c")),
    _declined("two Upgrades, WebSocket last", _asking(b"h2c", b"Upgrade: websocket")),
    # ---- h2c: never spoken, never passed on (RFC 9113 section 3.1 took it back)
    _declined("h2c", _asking(b"h2c", _SETTINGS, option=b"Upgrade, HTTP2-Settings"), _H2C),
    _declined("h2c without nominated settings", _asking(b"h2c", _SETTINGS), _H2C),
    _declined("h2c without an option", head(b"Upgrade: h2c", _SETTINGS), _H2C),
    _declined("h2c in capitals", _asking(b"H2C", _SETTINGS, option=b"upgrade,http2-settings"), _H2C),
    _declined("h2c beside keep-alive", _asking(b"h2c", _SETTINGS, option=b"keep-alive, Upgrade, HTTP2-Settings"), _H2C),
    _declined("h2c with two Connections", _asking(b"h2c", b"Connection: HTTP2-Settings", _SETTINGS), _H2C),
    _declined("h2c with a body", sized(b"5", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _SETTINGS), _H2C, HELLO),
    _declined("h2 over plain text", _asking(b"h2", _SETTINGS), _H2C),
    _declined("h2c behind other tokens", _asking(b"x, h2c", _SETTINGS), _H2C),
    _declined(
        "h2c in HTTP/1.0", head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _SETTINGS, start=_TEN), _H2C, closes=True
    ),
    _declined("settings of HTTP/2 alone", head(_SETTINGS), _H2C),
    Case(
        "settings of HTTP/2 beside WebSocket",
        _asking(b"websocket", _SETTINGS, option=b"Upgrade, HTTP2-Settings"),
        SERVED,
        _H2C,
        has=_YES,
        lacks=(b"HTTP2-Settings",),
    ),
]
