"""Response heads, line by line: what two parsers could read differently, or what could become another head, is no answer."""

from __future__ import annotations

from tests.wire.response_cases import FIN, HELLO, LENGTH, OK, Case, Refused, all_bad, bad, good, head, sized

_ENDS = "RFC 9112 section 2.2"
_LINE = "RFC 9112 section 5.1"
_VALUE = "RFC 9110 section 5.5"
_NAME = "RFC 9110 section 5.1"
_FOLD = "RFC 9112 section 5.2"
_START = "RFC 9112 section 4"

_LINE_ENDS = {
    "bare LF everywhere": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "bare LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
    "bare LF after a field": b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 5\r\n\r\nhello",
    "bare LF as the empty line": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
    "LF CR LF": b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello",
    "bare CR as line end": b"HTTP/1.1 200 OK\rContent-Length: 5\r\rhello",
    "CR CR LF": b"HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\n\r\nhello",
    "LF CR": b"HTTP/1.1 200 OK\n\rContent-Length: 5\n\r\n\rhello",
    "a leading empty line": b"\r\n" + sized(),
    "a leading LF": b"\n" + sized(),
    "a leading space": b" " + sized(),
    "a leading NUL": b"\x00" + sized(),
    "a byte order mark": b"\xef\xbb\xbf" + sized(),
}

_CONTROLS = {
    "NUL": b"\x00", "SOH": b"\x01", "backspace": b"\x08", "vertical tab": b"\x0b", "form feed": b"\x0c", "escape": b"\x1b",
    "unit separator": b"\x1f", "DEL": b"\x7f", "bare CR": b"\r", "bare LF": b"\n",
}  # fmt: skip

_INJECTED = {
    "a second head behind a bare LF": b"X: a\n\nHTTP/1.1 200 OK\nContent-Length: 0",
    "a second head behind bare CRs": b"X: a\r\rHTTP/1.1 200 OK\rContent-Length: 0",
    "Set-Cookie behind a bare LF": b"Location: /x\nSet-Cookie: admin=1",
    "Set-Cookie behind a bare CR": b"Location: /x\rSet-Cookie: admin=1",
    "Set-Cookie behind a NUL": b"Location: /x\x00Set-Cookie: admin=1",
    "Transfer-Encoding behind a form feed": b"X: a\x0cTransfer-Encoding: chunked",
    "Content-Length behind a bare CR": b"X: a\rContent-Length: 0",
}

_NAMES = {
    "space before the colon": b"X : y",
    "tab before the colon": b"X\t: y",
    "space before the colon of Content-Length": b"Content-Length : 5",
    "space before the colon of Transfer-Encoding": b"Transfer-Encoding : chunked",
    "space in a name": b"X Y: a",
    "empty name": b": y",
    "no colon": b"Xy",
    "NUL in a name": b"X\x00: y",
    "DEL in a name": b"X\x7f: y",
    "obs-text in a name": b"X\xe9: y",
    "parenthesis in a name": b"X(: y",
    "slash in a name": b"X/Y: a",
    "quotes around a name": b'"X": y',
    "at sign in a name": b"X@Y: a",
    "brackets in a name": b"X[0]: a",
}

_FOLDS = {
    "a folded line": head(b"X: a\r\n b", LENGTH) + HELLO,
    "a line folded with a tab": head(b"X: a\r\n\tb", LENGTH) + HELLO,
    "a folded line that is empty": head(b"X: a\r\n ", LENGTH) + HELLO,
    "a folded Content-Length": head(b"Content-Length:\r\n 5") + HELLO,
    "a folded Transfer-Encoding": head(b"Transfer-Encoding:\r\n chunked", LENGTH) + HELLO,
    "a first field that begins with a space": head(b" X: a", LENGTH) + HELLO,
    "a first field that begins with a tab": head(b"\tX: a", LENGTH) + HELLO,
}

_VALUES = {
    "an empty value": (b"X:", "X:"),
    "a value of spaces": (b"X:  \t ", "X:  \t "),
    "no space behind the colon": (b"X:y", "X:y"),
    "space around a value": (b"X: \t y \t", "X: \t y \t"),
    "a tab in a value": (b"X: a\tb", "X: a\tb"),
    "obs-text in a value": (b"X: \xe9\xff", "X: \xe9\xff"),
    "UTF-8 in a value": ("X: \u20ac".encode(), "X: \u20ac".encode().decode("latin-1")),
    "colons in a value": (b"X: a:b::c", "X: a:b::c"),
    "every sign that a name may have": (b"!#$%&'*+-.^_`|~09azAZ: y", "!#$%&'*+-.^_`|~09azAZ: y"),
    "an underscore in a name": (b"Content_Length: 9", "Content_Length: 9"),
    "a name of digits": (b"123: y", "123: y"),
}

CASES: list[Case] = [
    *all_bad(_ENDS, _LINE_ENDS.items()),
    *all_bad(_VALUE, ((f"{name} in a value", head(b"X: a" + sign + b"b", LENGTH) + HELLO) for name, sign in _CONTROLS.items())),
    *all_bad(
        _START, ((f"{name} in the reason", sized(start=b"HTTP/1.1 200 O" + sign + b"K")) for name, sign in _CONTROLS.items())
    ),
    *all_bad(_VALUE, ((f"injected: {name}", head(lines, LENGTH) + HELLO) for name, lines in _INJECTED.items())),
    *all_bad(_LINE, ((name, head(line, LENGTH) + HELLO) for name, line in _NAMES.items())),
    *all_bad(_FOLD, _FOLDS.items()),
    *(good(name, head(line, LENGTH) + HELLO, _VALUE, has=(seen,)) for name, (line, seen) in _VALUES.items()),
    good("the same field twice", head(b"X: 1", b"X: 2", LENGTH) + HELLO, _NAME, has=("X: 1", "X: 2")),
    good(
        "two cookies",
        head(b"Set-Cookie: a=1", b"Set-Cookie: b=2", LENGTH) + HELLO,
        _NAME,
        has=("Set-Cookie: a=1", "Set-Cookie: b=2"),
    ),
    good("spelling and order", head(b"x-LOW: 1", b"X-Up: 2", LENGTH) + HELLO, _NAME, has=("x-LOW: 1", "X-Up: 2")),
    Case("nothing", b"", Refused("backend-closed"), _START, FIN),
    Case("half a status line", b"HTTP/1.1 20", Refused("backend-closed"), _START, FIN),
    Case("a status line alone", b"HTTP/1.1 200 OK\r\n", Refused("backend-closed"), _START, FIN),
    Case("a head without its last line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Refused("backend-closed"), _START, FIN),
    Case("a last line that is a space", OK + b"\r\nContent-Length: 5\r\n \r\nhello", Refused("backend-closed"), _FOLD, FIN),
    Case("a mail server", b"220 mail.example.com ESMTP\r\n", Refused("backend-closed"), _START, FIN),
    bad("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x16", _START, end=FIN),
]
