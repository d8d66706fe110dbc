"""Every control character in every part of a head. Only a tab in a value is allowed; nothing is cut off, nothing repaired."""

from __future__ import annotations

from tests.wire.cases import SERVED, Case, head

_CONTROLS = [*range(0x20), 0x7F]
_TAB = 0x09

# Where, a head with `%` there, and the grammar that has no place for it.
_PLACES = [
    ("the method", head(start=b"GE%T / HTTP/1.1"), "RFC 9110 section 5.6.2"),
    ("the target", head(start=b"GET /a%b HTTP/1.1"), "RFC 9112 section 3.2"),
    ("the version", head(start=b"GET / HTTP/1%.1"), "RFC 9112 section 2.3"),
    ("a name", head(b"X%Y: a"), "RFC 9110 section 5.6.2"),
    ("a value", head(b"X: a%b"), "RFC 9110 section 5.5"),
]
_NAMED = [b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Expect", b"Upgrade"]

CASES = [
    *[
        Case(f"control 0x{code:02x} in {place}", data.replace(b"%", bytes([code])), 400, rule)
        for place, data, rule in _PLACES
        for code in _CONTROLS
        if (place, code) != ("a value", _TAB)
    ],
    Case("a tab at the end of a value", head(b"X: a\t"), SERVED, "RFC 9110 section 5.5"),
    # A reader of C strings ends the value there.
    *[Case(f"NUL behind the value of {name.decode()}", head(name + b": 5\x00"), 400, "RFC 9110 section 5.5") for name in _NAMED],
    Case("NUL behind the head's last line", b"GET / HTTP/1.1\r\nHost: a\r\n\x00\r\n\r\n", 400, "RFC 9112 section 2.2"),
]
