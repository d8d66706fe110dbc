"""Interim responses: which the client sees, how many are a flood, and 101, which only somebody gets who asked for it."""

from __future__ import annotations

from tests.wire.response_cases import (
    CHUNKED,
    FIN,
    HELLO,
    LENGTH,
    ONE_CHUNK,
    RST,
    Case,
    Refused,
    Switched,
    bad,
    good,
    head,
    sized,
)

_INTERIM = "RFC 9110 section 15.2"
_CONTINUE = "RFC 9110 section 15.2.1"
_SWITCH = "RFC 9110 section 15.2.2"
_UPGRADE = "RFC 9110 section 7.8"
_MOST = 32

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def _hints(*lines: bytes) -> bytes:
    return head(*lines, start=b"HTTP/1.1 103 Early Hints")


def _switch(*lines: bytes, start: bytes = b"HTTP/1.1 101 Switching Protocols") -> bytes:
    return head(*lines, start=start)


_ASKED = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
_PROPER = _switch(b"Connection: upgrade", b"Upgrade: websocket")

_RELAYED = {
    "a 103": (HINTS + sized(), (103,)),
    "a 102": (PROCESSING + sized(), (102,)),
    "a 104, which we do not know": (head(start=b"HTTP/1.1 104 New") + sized(), (104,)),
    "a 199": (head(start=b"HTTP/1.1 199 Odd") + sized(), (199,)),
    "a 103 without a reason": (head(start=b"HTTP/1.1 103") + sized(), (103,)),
    "several": (PROCESSING + HINTS + HINTS + sized(), (102, 103, 103)),
    "as many as may be": (HINTS * _MOST + sized(), (103,) * _MOST),
    "a 100 that nobody waits for": (CONTINUE + sized(), ()),
    "many of those": (CONTINUE * _MOST + sized(), ()),
    "a 100 between others": (HINTS + CONTINUE + HINTS + sized(), (103, 103)),
    "a 103 with a length": (_hints(b"Content-Length: 0") + sized(), (103,)),
    "a 103 with a coding": (_hints(CHUNKED) + sized(), (103,)),
    "a 103 of HTTP/1.0": (head(start=b"HTTP/1.0 103 Early Hints") + sized(), (103,)),
    "a 103 before a chunked answer": (HINTS + head(CHUNKED) + ONE_CHUNK + b"0\r\n\r\n", (103,)),
}
_NOT_HTTP_10 = ["a 103", "a 102", "several", "as many as may be", "a 100 that nobody waits for"]
_FLOODS = {
    "one 103 too many": (HINTS * (_MOST + 1) + sized(), (103,) * _MOST),
    "one 100 too many": (CONTINUE * (_MOST + 1) + sized(), ()),
    "a thousand of them": (PROCESSING * 1000 + sized(), (102,) * _MOST),
}
_MALFORMED = {
    "with a bare LF": b"HTTP/1.1 103 Early Hints\nLink: </x>\n\n",
    "with an injected field": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\nSet-Cookie: a=1\r\n\r\n",
    "with two lengths": _hints(LENGTH, b"Content-Length: 6"),
    "with two framings": _hints(LENGTH, CHUNKED),
    "with a folded line": _hints(b"Link: </x>\r\n </y>"),
    "with a body": _hints(LENGTH) + HELLO,
    "of another version": head(start=b"HTTP/1.2 103 Early Hints"),
    "of two digits": head(start=b"HTTP/1.1 10 Continue"),
}
_BAD_SWITCHES = {
    "to another protocol": _switch(b"Connection: upgrade", b"Upgrade: h2c"),
    "to one of two protocols": _switch(b"Connection: upgrade", b"Upgrade: websocket, h2c"),
    "without Connection": _switch(b"Upgrade: websocket"),
    "without upgrade in Connection": _switch(b"Connection: keep-alive", b"Upgrade: websocket"),
    "without Upgrade": _switch(b"Connection: upgrade"),
    "without a field": _switch(),
    "of HTTP/1.0": _switch(b"Connection: upgrade", b"Upgrade: websocket", start=b"HTTP/1.0 101 Switching Protocols"),
}

CASES: list[Case] = [
    *(good(f"interim: {name}", data, _INTERIM, interim=seen) for name, (data, seen) in _RELAYED.items()),
    *(
        good(f"interim: {name}, to HTTP/1.0", _RELAYED[name][0], _INTERIM, interim=(), version="1.0", is_alone=True)
        for name in _NOT_HTTP_10
    ),
    good(
        "a 100 to who has sent its body already",
        CONTINUE + sized(),
        _CONTINUE,
        interim=(),
        method="POST",
        lines=("Expect: 100-continue",),
        sent=HELLO,
    ),
    *(Case(f"flood: {name}", data, Refused(interim=seen), _INTERIM) for name, (data, seen) in _FLOODS.items()),
    *(bad(f"a 103 {name}", data + sized(), _INTERIM) for name, data in _MALFORMED.items() if name != "with a body"),
    Case("a 103 with a body", _MALFORMED["with a body"] + sized(), Refused(interim=(103,)), _INTERIM),
    Case("a 103, then the end", HINTS, Refused("backend-closed", interim=(103,)), _INTERIM, FIN),
    Case("a 103, then a reset", HINTS, Refused("backend-reset", interim=(103,)), _INTERIM, RST),
    Case("a 100, then the end", CONTINUE, Refused("backend-closed"), _INTERIM, FIN),
    Case("a 103, then nonsense", HINTS + b"nonsense\r\n\r\n", Refused(interim=(103,)), _INTERIM),
    Case("a 101 behind a 103 that nobody asked for", HINTS + _PROPER, Refused(interim=(103,)), _SWITCH),
    bad("a 101 that nobody asked for", _PROPER, _SWITCH),
    bad(
        "a 101 that nobody asked for, with a length",
        _switch(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 0"),
        _SWITCH,
    ),
    bad("a 101 to HEAD", _PROPER, _SWITCH, method="HEAD"),
    bad("a 101 to HTTP/1.0", _PROPER, _SWITCH, version="1.0", lines=_ASKED),
    bad(
        "a 101 to who asked for h2c",
        _switch(b"Connection: upgrade", b"Upgrade: h2c"),
        _UPGRADE,
        lines=("Connection: upgrade", "Upgrade: h2c"),
    ),
    bad("a 101 to Upgrade without Connection", _PROPER, _UPGRADE, lines=("Upgrade: websocket",)),
    *(bad(f"a 101 {name}", data, _SWITCH, lines=_ASKED) for name, data in _BAD_SWITCHES.items()),
    Case("a 101 to who asked for it", _PROPER, Switched(), _SWITCH, lines=_ASKED),
    Case("a 101 with bytes behind it", _PROPER + b"\x81\x05hello", Switched(b"\x81\x05hello"), _SWITCH, lines=_ASKED),
    Case(
        "a 101 in other spelling",
        _switch(b"connection: keep-alive, UPGRADE", b"upgrade: WebSocket"),
        Switched(),
        _SWITCH,
        lines=_ASKED,
    ),
    good("a 200 to who asked for an upgrade", sized(), _UPGRADE, lines=_ASKED),
]
