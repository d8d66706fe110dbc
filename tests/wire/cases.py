"""Raw requests and what the proxy says to them: data only.

0 stands for "served" (the backend saw one request with this body), a status for a refusal that no backend hears of.
Strict: what two parsers could read differently is refused.
"""

from __future__ import annotations

from typing import NamedTuple

SERVED = 0
HELLO = b"hello"
END = b"0\r\n\r\n"


class Wire(NamedTuple):
    """One raw request. `is_partial`: the refusal must come although the head has not ended yet."""

    name: str
    data: bytes
    status: int
    body: bytes = b""
    is_partial: bool = False


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bool = True, body: bytes = b"") -> bytes:
    """Return a head with a Host field, unless told otherwise, and what follows it."""
    return b"\r\n".join([start, *([b"Host: a"] if host else []), *lines, b"", b""]) + body


def post(*lines: bytes, body: bytes = b"", start: bytes = b"POST / HTTP/1.1") -> bytes:
    """Return a POST."""
    return head(*lines, start=start, body=body)


def chunked(body: bytes) -> bytes:
    """Return a chunked POST."""
    return post(b"Transfer-Encoding: chunked", body=body)


LINES = [
    Wire("plain", head(), SERVED),
    Wire("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", 400, is_partial=True),
    Wire("bare LF after the first line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    Wire("bare LF after one field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    Wire("bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n", 400),
    Wire("bare CR in a value", head(b"X: a\rb"), 400),
    Wire("bare CR as line end", b"GET / HTTP/1.1\rHost: a\r\r", 400, is_partial=True),
    Wire("space before the colon", post(b"Content-Length : 5", body=HELLO), 400),
    Wire("tab before the colon", post(b"Content-Length\t: 5", body=HELLO), 400),
    Wire("folded line", head(b"X: a\r\n b"), 400),
    Wire("folded line with a tab", head(b"X: a\r\n\tb"), 400),
    Wire("first field begins with a space", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    Wire("NUL in a value", head(b"X: a\x00b"), 400),
    Wire("control in a value", head(b"X: a\x01b"), 400),
    Wire("vertical tab in a value", head(b"X: a\x0bb"), 400),
    Wire("DEL in a value", head(b"X: a\x7fb"), 400),
    Wire("obs-text in a value", head(b"X: a\xffb"), SERVED),
    Wire("tab in a value", head(b"X: a\tb"), SERVED),
    Wire("empty value", head(b"X:"), SERVED),
    Wire("only space in a value", head(b"X:  \t "), SERVED),
    Wire("NUL in a name", head(b"X\x00: a"), 400),
    Wire("empty name", head(b": a"), 400),
    Wire("no colon", head(b"Xa"), 400),
    Wire("parenthesis in a name", head(b"X(: a"), 400),
    Wire("obs-text in a name", head(b"X\xff: a"), 400),
    Wire("space in a name", head(b"X Y: a"), 400),
    Wire("underscore in a name", head(b"Content_Length: 5"), SERVED),
    Wire("every sign that a name may have", head(b"!#$%&'*+-.^_`|~09azAZ: a"), SERVED),
]

FIRST_LINES = [
    Wire("space in the target", head(start=b"GET /a b HTTP/1.1"), 400),
    Wire("two spaces after the method", head(start=b"GET  / HTTP/1.1"), 400),
    Wire("two spaces before the version", head(start=b"GET /  HTTP/1.1"), 400),
    Wire("tab after the method", head(start=b"GET\t/ HTTP/1.1"), 400),
    Wire("space before the method", head(start=b" GET / HTTP/1.1"), 400),
    Wire("space after the version", head(start=b"GET / HTTP/1.1 "), 400),
    Wire("a leading empty line", b"\r\n" + head(), 400),
    Wire("NUL in the target", head(start=b"GET /\x00 HTTP/1.1"), 400),
    Wire("control in the target", head(start=b"GET /\x01 HTTP/1.1"), 400),
    Wire("DEL in the target", head(start=b"GET /\x7f HTTP/1.1"), 400),
    Wire("obs-text in the target", head(start=b"GET /\xff HTTP/1.1"), 400),
    Wire("fragment in the target", head(start=b"GET /a#b HTTP/1.1"), 400),
    Wire("empty target", head(start=b"GET  HTTP/1.1"), 400),
    Wire("target without a slash", head(start=b"GET index.html HTTP/1.1"), 400),
    Wire("asterisk with GET", head(start=b"GET * HTTP/1.1"), 400),
    Wire("asterisk with OPTIONS", head(start=b"OPTIONS * HTTP/1.1"), SERVED),
    Wire("absolute form", head(start=b"GET http://b/ HTTP/1.1"), SERVED),
    Wire("absolute form of another scheme", head(start=b"GET ftp://b/ HTTP/1.1"), 400),
    Wire("absolute form without a host", head(start=b"GET http:/// HTTP/1.1"), 400),
    Wire("absolute form with a password", head(start=b"GET http://user:secret@b/ HTTP/1.1"), 400),
    Wire("CONNECT", head(start=b"CONNECT a:443 HTTP/1.1"), 405),
    Wire("encoded NUL", head(start=b"GET /a%00b HTTP/1.1"), 400),
    Wire("encoded slash", head(start=b"GET /a%2fb HTTP/1.1"), 400),
    Wire("encoded dots", head(start=b"GET /a/%2e%2e/b HTTP/1.1"), 400),
    Wire("above the root", head(start=b"GET /../b HTTP/1.1"), 400),
    Wire("percent without digits", head(start=b"GET /%zz HTTP/1.1"), 400),
    Wire("percent at the end", head(start=b"GET /% HTTP/1.1"), 400),
    Wire("dots that stay below the root", head(start=b"GET /a/../b HTTP/1.1"), SERVED),
    Wire("lower case method", head(start=b"get / HTTP/1.1"), SERVED),
    Wire("unknown method", head(start=b"FOOBAR / HTTP/1.1"), SERVED),
    Wire("parenthesis in the method", head(start=b"GE(T / HTTP/1.1"), 400),
    Wire("HTTP/0.9", b"GET /\r\n\r\n", 400),
    Wire("HTTP/0.9 by name", head(start=b"GET / HTTP/0.9"), 400),
    Wire("HTTP/1.2", head(start=b"GET / HTTP/1.2"), 505),
    Wire("HTTP/2.0", head(start=b"GET / HTTP/2.0"), 505),
    Wire("HTTP/3.0", head(start=b"GET / HTTP/3.0"), 505),
    Wire("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Wire("HTTP/01.1", head(start=b"GET / HTTP/01.1"), 400),
    Wire("HTTP/1", head(start=b"GET / HTTP/1"), 400),
    Wire("HTTP/1.1x", head(start=b"GET / HTTP/1.1x"), 400),
    Wire("http/1.1", head(start=b"GET / http/1.1"), 400),
    Wire("nonsense", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
]

HOSTS = [
    Wire("no Host in HTTP/1.1", head(host=False), 400),
    Wire("no Host in HTTP/1.0", head(b"X: y", start=b"GET / HTTP/1.0", host=False), SERVED),
    Wire("no Host beside an absolute form", head(start=b"GET http://b/ HTTP/1.1", host=False), 400),
    Wire("two Hosts", head(b"Host: b"), 400),
    Wire("two equal Hosts", head(b"Host: a"), 400),
    Wire("two Hosts in HTTP/1.0", head(b"Host: b", start=b"GET / HTTP/1.0"), 400),
    Wire("a list in Host", head(b"Host: a, b", host=False), 400),
    Wire("space in Host", head(b"Host: a b", host=False), 400),
    Wire("slash in Host", head(b"Host: a/b", host=False), 400),
    Wire("user in Host", head(b"Host: user@a", host=False), 400),
    Wire("letters as port", head(b"Host: a:b", host=False), 400),
    Wire("a port", head(b"Host: a:8080", host=False), SERVED),
    Wire("an IPv6 address", head(b"Host: [::1]:8080", host=False), SERVED),
    Wire("half an IPv6 address", head(b"Host: [::1", host=False), 400),
]

LENGTHS = [
    Wire("length 5", post(b"Content-Length: 5", body=HELLO), SERVED, HELLO),
    Wire("length 5 with zeros", post(b"Content-Length: 0005", body=HELLO), SERVED, HELLO),
    Wire("length +5", post(b"Content-Length: +5", body=HELLO), 400),
    Wire("length -5", post(b"Content-Length: -5", body=HELLO), 400),
    Wire("length 5,5", post(b"Content-Length: 5,5", body=HELLO), 400),
    Wire("length 5 twice", post(b"Content-Length: 5", b"Content-Length: 5", body=HELLO), 400),
    Wire("length 5 and 6", post(b"Content-Length: 5", b"Content-Length: 6", body=HELLO), 400),
    Wire("length 0x5", post(b"Content-Length: 0x5", body=HELLO), 400),
    Wire("length 5 6", post(b"Content-Length: 5 6", body=HELLO), 400),
    Wire("length 5_0", post(b"Content-Length: 5_0", body=HELLO), 400),
    Wire("length 5.0", post(b"Content-Length: 5.0", body=HELLO), 400),
    Wire("empty length", post(b"Content-Length:", body=HELLO), 400),
    Wire("length of 20 digits", post(b"Content-Length: 99999999999999999999", body=HELLO), 400),
    Wire("length 2^64 + 5", post(b"Content-Length: 18446744073709551621", body=HELLO), 400),
    Wire("length in Arabic digits", post(b"Content-Length: \xd9\xa5", body=HELLO), 400),
]

CODINGS = [
    Wire("chunked", chunked(b"5\r\nhello\r\n" + END), SERVED, HELLO),
    Wire("Chunked", post(b"Transfer-Encoding: ChunKED", body=b"5\r\nhello\r\n" + END), SERVED, HELLO),
    Wire("chunked, then a length", post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=END), 400),
    Wire("a length, then chunked", post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=END), 400),
    Wire("xchunked", post(b"Transfer-Encoding: xchunked", body=END), 501),
    Wire("chunked, identity", post(b"Transfer-Encoding: chunked, identity", body=END), 400),
    Wire("identity", post(b"Transfer-Encoding: identity", body=END), 501),
    Wire("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=END), 501),
    Wire("gzip", post(b"Transfer-Encoding: gzip", body=END), 501),
    Wire("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked", body=END), 400),
    Wire("chunked twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=END), 400),
    Wire("chunked, then another field with x", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=END), 400),
    Wire("quoted chunked", post(b'Transfer-Encoding: "chunked"', body=END), 400),
    Wire("vertical tab before chunked", post(b"Transfer-Encoding: \x0bchunked", body=END), 400),
    Wire("chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=END), 400),
    Wire("empty coding", post(b"Transfer-Encoding:", body=END), 400),
    Wire("chunked in HTTP/1.0", post(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0", body=END), 400),
]

CHUNKS = [
    Wire("extension", chunked(b"5;a=b\r\nhello\r\n" + END), SERVED, HELLO),
    Wire("extension with LF", chunked(b"5;a\nb\r\nhello\r\n" + END), 400),
    Wire("extension with CR", chunked(b"5;a\rb\r\nhello\r\n" + END), 400),
    Wire("LF after the size", chunked(b"5\nhello\r\n" + END), 400),
    Wire("LF after the data", chunked(b"5\r\nhello\n" + END), 400),
    Wire("data without CRLF", chunked(b"5\r\nhelloXX" + END), 400),
    Wire("more data than stated", chunked(b"5\r\nhello!\r\n" + END), 400),
    Wire("size 0x5", chunked(b"0x5\r\nhello\r\n" + END), 400),
    Wire("size +5", chunked(b"+5\r\nhello\r\n" + END), 400),
    Wire("size -1", chunked(b"-1\r\nhello\r\n" + END), 400),
    Wire("space after the size", chunked(b"5 \r\nhello\r\n" + END), 400),
    Wire("space before the size", chunked(b" 5\r\nhello\r\n" + END), 400),
    Wire("size 5_", chunked(b"5_\r\nhello\r\n" + END), 400),
    Wire("size 00005", chunked(b"00005\r\nhello\r\n" + END), SERVED, HELLO),
    Wire("size in capitals", chunked(b"A\r\nhellohello\r\n" + END), SERVED, HELLO * 2),
    Wire("size 2^64 + 5", chunked(b"10000000000000005\r\nhello\r\n" + END), 400),
    Wire("size of 17 digits", chunked(b"fffffffffffffffff\r\nhello\r\n" + END), 400),
    Wire("empty size", chunked(b"\r\nhello\r\n" + END), 400),
    Wire("trailer", chunked(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"), SERVED, HELLO),
    Wire("trailer Content-Length", chunked(b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"), 400),
    Wire("trailer Transfer-Encoding", chunked(b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
    Wire("trailer Host", chunked(b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n"), 400),
    Wire("trailer without a colon", chunked(b"5\r\nhello\r\n0\r\nX y\r\n\r\n"), 400),
    Wire("trailer with a bare LF", chunked(b"5\r\nhello\r\n0\r\nX: y\n\r\n"), 400),
]

EXPECTATIONS = [
    Wire("100-Continue in capitals", post(b"Expect: 100-Continue", b"Content-Length: 5", body=HELLO), SERVED, HELLO),
    Wire("another expectation", head(b"Expect: gold"), 417),
    Wire("100-continue and another", head(b"Expect: 100-continue, gold"), 417),
]

HEADS = [*LINES, *FIRST_LINES, *HOSTS, *LENGTHS, *CODINGS, *EXPECTATIONS]
BODIES = CHUNKS
ALL = [*HEADS, *BODIES]
