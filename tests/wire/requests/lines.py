"""Lines: how they end, how fields are spelt, and what no line may hold."""

from __future__ import annotations

from tests.wire.cases import HELLO, SERVED, Case, get, head, post

_ENDS = "RFC 9112 section 2.2"  # a bare LF may be taken for a line end, so somebody does; we do not
_COLON = "RFC 9112 section 5.1"
_FOLD = "RFC 9112 section 5.2"
_NAME = "RFC 9110 section 5.1"
_VALUE = "RFC 9110 section 5.5"

CASES = [
    # ---- line ends
    Case("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400, _ENDS),
    Case("bare LF after the first line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, _ENDS),
    Case("bare LF after one field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, _ENDS),
    Case("bare LF after the last field", b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, _ENDS),
    Case("bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, _ENDS),
    Case("bare LF as the empty line and more", b"GET / HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n", 400, _ENDS),
    Case("bare CR as line end", b"GET / HTTP/1.1\rHost: a\r\r", 400, _ENDS),
    Case("CR CR LF after the first line", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, _ENDS),
    Case("CR CR LF after a field", head(b"X: a\r"), 400, _ENDS),
    Case("CR LF CR and then a field", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", 400, _ENDS),
    Case("LF CR after a field", b"GET / HTTP/1.1\r\nHost: a\n\rX: y\r\n\r\n", 400, _ENDS),
    Case("CR CR LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", 400, _ENDS),
    # ---- before the request; section 2.2 would let us skip an empty line, a strict reader does not
    Case("a leading empty line", b"\r\n" + head(), 400, _ENDS),
    Case("two leading empty lines", b"\r\n\r\n" + head(), 400, _ENDS),
    Case("a leading LF", b"\n" + head(), 400, _ENDS),
    Case("a leading NUL", b"\x00" + head(), 400, _ENDS),
    Case("only an empty head", b"\r\n\r\n", 400, _ENDS),
    Case("a byte order mark", b"\xef\xbb\xbf" + head(), 400, _ENDS),
    Case("TLS instead of HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, _ENDS),
    Case("an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, _ENDS),
    Case("a PROXY line that nobody expects", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + head(), 400, _ENDS),
    Case("a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, _ENDS),
    # ---- folded lines
    Case("folded line", head(b"X: a\r\n b"), 400, _FOLD),
    Case("folded line with a tab", head(b"X: a\r\n\tb"), 400, _FOLD),
    Case("fold after an empty value", head(b"X:\r\n a"), 400, _FOLD),
    Case("fold that hides a length", post(b"X: a\r\n Content-Length: 5", body=HELLO), 400, _FOLD),
    Case("fold inside a length", post(b"Content-Length:\r\n 5", body=HELLO), 400, _FOLD),
    Case("fold inside a Host", head(b"Host: a\r\n b", has_host=False), 400, _FOLD),
    Case("fold of only white space", head(b"X: a\r\n \t "), 400, _FOLD),
    Case("fold with a bare LF", head(b"X: a\n b"), 400, _FOLD),
    Case("first field begins with a space", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, _ENDS),
    Case("first field begins with a tab", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", 400, _ENDS),
    Case("a line of white space between first line and fields", b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", 400, _ENDS),
    # ---- names
    Case("space before the colon", post(b"Content-Length : 5", body=HELLO), 400, _COLON),
    Case("tab before the colon", post(b"Content-Length\t: 5", body=HELLO), 400, _COLON),
    Case("space before the colon of any field", head(b"X : y"), 400, _COLON),
    Case("space before the colon of Host", head(b"Host : a", has_host=False), 400, _COLON),
    Case("empty name", head(b": a"), 400, _NAME),
    Case("only a colon", head(b":"), 400, _NAME),
    Case("no colon", head(b"Xa"), 400, _COLON),
    Case("space in a name", head(b"X Y: a"), 400, _NAME),
    Case("obs-text in a name", head(b"X\xff: a"), 400, _NAME),
    Case("UTF-8 in a name", head("Länge: a".encode()), 400, _NAME),
    *[Case(f"{sign} in a name", head(b"X%bY: a" % sign.encode()), 400, _NAME) for sign in '(),/;<=>?@[\\]{}"'],
    Case("every sign that a name may have", head(b"!#$%&'*+-.^_`|~09azAZ: a"), SERVED, _NAME, has=(b"!#$%&'*+-.^_`|~09azAZ: a",)),
    Case("a second colon belongs to the value", head(b"X:: a"), SERVED, _COLON, has=(b"X:: a",)),
    Case("the spelling of a name is kept", head(b"x-OWN-nAmE: a"), SERVED, _NAME, has=(b"x-OWN-nAmE: a",)),
    # ---- values
    Case("obs-text in a value", head(b"X: a\xffb"), SERVED, _VALUE, has=(b"X: a\xffb",)),
    Case("tab in a value", head(b"X: a\tb"), SERVED, _VALUE, has=(b"X: a\tb",)),
    Case("no space behind the colon", head(b"X:a"), SERVED, _VALUE, has=(b"X:a",)),
    Case("empty value", head(b"X:"), SERVED, _VALUE, has=(b"X:",)),
    Case("only white space in a value", head(b"X:  \t "), SERVED, _VALUE),
    Case("white space around a value", head(b"X: \t a \t"), SERVED, _VALUE),
    Case("the same field twice", head(b"X: a", b"X: b"), SERVED, "RFC 9110 section 5.3", has=(b"X: a", b"X: b")),
    Case("a value that looks like a request", head(b"X: GET /smuggled HTTP/1.1"), SERVED, _VALUE),
    Case("a long value", get(b"/", b"X: " + b"y" * 8000), SERVED, _VALUE),
]
