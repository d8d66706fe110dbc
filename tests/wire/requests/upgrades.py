"""Upgrade: only `websocket`, only in HTTP/1.1, only without a body; everything else is an ordinary request."""

from __future__ import annotations

from tests.wire.cases import END, HELLO, SERVED, Case, head, post, sized

_UPGRADE = "RFC 9110 section 7.8"
_WEBSOCKET = "RFC 6455 section 4.1"
_H2C = "h2c smuggling"
_SETTINGS = b"HTTP2-Settings: AAMAAABkAAQAAP__"
_NO = (b"Upgrade", b"Connection", b"HTTP2-Settings")
_YES = (b"Connection: upgrade", b"Upgrade: websocket")
_KEY = (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13")


def _asking(protocol: bytes, *lines: bytes, option: bytes = b"Upgrade") -> bytes:
    return head(b"Connection: " + option, b"Upgrade: " + protocol, *lines)


CASES = [
    Case("an upgrade to WebSocket", _asking(b"websocket", *_KEY), SERVED, _WEBSOCKET, has=(*_YES, *_KEY)),
    Case(
        "an upgrade in other letters",
        _asking(b"WebSocket", option=b"keep-alive, UPGRADE"),
        SERVED,
        _WEBSOCKET,
        has=(b"Upgrade: WebSocket",),
    ),
    Case(
        "an upgrade and trailers",
        head(b"Connection: upgrade, TE", b"Upgrade: websocket", b"TE: trailers"),
        SERVED,
        _UPGRADE,
        has=(b"Connection: upgrade, TE", b"TE: trailers"),
    ),
    Case("an upgrade that Connection does not name", head(b"Upgrade: websocket"), SERVED, _UPGRADE, lacks=_NO),
    Case("an upgrade in name only", head(b"Connection: upgrade"), SERVED, _UPGRADE, lacks=_NO),
    Case(
        "an upgrade in HTTP/1.0",
        head(b"Connection: upgrade", b"Upgrade: websocket", start=b"GET / HTTP/1.0"),
        SERVED,
        _UPGRADE,
        lacks=_NO,
        closes=True,
    ),
    Case(
        "an upgrade in HTTP/1.0 that keeps alive",
        head(b"Connection: upgrade, keep-alive", b"Upgrade: websocket", start=b"GET / HTTP/1.0"),
        SERVED,
        _UPGRADE,
        lacks=_NO,
    ),
    Case("an empty upgrade", _asking(b""), SERVED, _UPGRADE, lacks=_NO),
    Case("an upgrade to nonsense", _asking(b"web socket"), SERVED, _UPGRADE, lacks=_NO),
    Case("an upgrade with a version", _asking(b"websocket/13"), SERVED, _UPGRADE, lacks=_NO),
    # ---- a body in front of an upgrade: some servers take it for bytes of the new protocol already
    Case(
        "an upgrade with a length",
        sized(b"5", b"Connection: upgrade", b"Upgrade: websocket"),
        SERVED,
        "upgrade with a body",
        HELLO,
        lacks=_NO,
    ),
    Case(
        "an upgrade with a length of 0",
        sized(b"0", b"Connection: upgrade", b"Upgrade: websocket", body=b""),
        SERVED,
        _UPGRADE,
        has=_YES,
    ),
    Case(
        "an upgrade with chunks",
        post(b"Transfer-Encoding: chunked", b"Connection: upgrade", b"Upgrade: websocket", body=END),
        SERVED,
        "upgrade with a body",
        lacks=_NO,
    ),
    Case(
        "an upgrade that expects a 100",
        sized(b"5", b"Expect: 100-continue", b"Connection: upgrade", b"Upgrade: websocket"),
        SERVED,
        "upgrade with a body",
        HELLO,
        lacks=_NO,
    ),
    # ---- lists: what a backend chose of them could be another one than we tunnel
    *[
        Case(f"an upgrade to {tokens.decode()}", _asking(tokens), SERVED, _UPGRADE, lacks=_NO)
        for tokens in (
            b"h2c, websocket",
            b"websocket, h2c",
            b"websocket, websocket",
            b"websocket,",
            b"TLS/1.0",
            b"TLS/1.0, HTTP/1.1",
            b"HTTP/2.0",
            b"HTTP/3",
            b"IRC/6.9",
            b"*",
        )
    ],
    Case("two Upgrades", _asking(b"websocket", b"Upgrade: h2c"), SERVED, _UPGRADE, lacks=_NO),
    Case("two Upgrades, WebSocket last", _asking(b"h2c", b"Upgrade: websocket"), SERVED, _UPGRADE, lacks=_NO),
    # ---- h2c: never spoken, never passed on (RFC 9113 section 3.1 took it back)
    Case("h2c", _asking(b"h2c", _SETTINGS, option=b"Upgrade, HTTP2-Settings"), SERVED, _H2C, lacks=_NO),
    Case("h2c without nominated settings", _asking(b"h2c", _SETTINGS), SERVED, _H2C, lacks=_NO),
    Case("h2c without an option", head(b"Upgrade: h2c", _SETTINGS), SERVED, _H2C, lacks=_NO),
    Case("h2c in capitals", _asking(b"H2C", _SETTINGS, option=b"upgrade,http2-settings"), SERVED, _H2C, lacks=_NO),
    Case(
        "h2c beside keep-alive",
        _asking(b"h2c", _SETTINGS, option=b"keep-alive, Upgrade, HTTP2-Settings"),
        SERVED,
        _H2C,
        lacks=_NO,
    ),
    Case(
        "h2c with two Connections",
        head(b"Connection: Upgrade", b"Connection: HTTP2-Settings", b"Upgrade: h2c", _SETTINGS),
        SERVED,
        _H2C,
        lacks=_NO,
    ),
    Case(
        "h2c with a body",
        sized(b"5", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _SETTINGS),
        SERVED,
        _H2C,
        HELLO,
        lacks=_NO,
    ),
    Case("h2 over plain text", _asking(b"h2", _SETTINGS), SERVED, _H2C, lacks=_NO),
    Case("h2c behind other tokens", _asking(b"x, h2c", _SETTINGS), SERVED, _H2C, lacks=_NO),
    Case(
        "settings of HTTP/2 beside WebSocket",
        _asking(b"websocket", _SETTINGS, option=b"Upgrade, HTTP2-Settings"),
        SERVED,
        _H2C,
        has=_YES,
        lacks=(b"HTTP2-Settings",),
    ),
    Case("settings of HTTP/2 alone", head(_SETTINGS), SERVED, _H2C, lacks=_NO),
    Case(
        "h2c in HTTP/1.0",
        head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", _SETTINGS, start=b"GET / HTTP/1.0"),
        SERVED,
        _H2C,
        lacks=_NO,
        closes=True,
    ),
]
