"""What is accepted and what is refused, as data: every row is one way in which two parsers might differ."""

from __future__ import annotations

from typing import NamedTuple

from greenproxy.errors import (
    BackendInvalid,
    BadRequest,
    ProxyError,
    UnknownExpectation,
    UnsupportedTransferCoding,
    UnsupportedVersion,
)
from greenproxy.protocol.body import Malformed


class Accepted(NamedTuple):
    """A message that is read, and the payload that its body has."""

    name: str
    data: bytes
    payload: bytes = b""


class Refused(NamedTuple):
    """A message that is not, and the error."""

    name: str
    data: bytes
    error: type[ProxyError | Malformed]


def request(
    *lines: bytes, start: bytes = b"GET / HTTP/1.1", has_host: bool = True, body: bytes = b"", end: bytes = b"\r\n"
) -> bytes:
    """Return a request of these lines."""
    return end.join([start, *([b"Host: a"] if has_host else []), *lines]) + end + end + body


def coded(coding: bytes, *more: bytes, start: bytes = b"POST / HTTP/1.1") -> bytes:
    """Return a request with a Transfer-Encoding and an empty chunked body."""
    return request(b"Transfer-Encoding: " + coding, *more, start=start, body=b"0\r\n\r\n")


def sized(length: bytes, *more: bytes) -> bytes:
    """Return a request with a Content-Length and five bytes of body."""
    return request(b"Content-Length: " + length, *more, start=b"POST / HTTP/1.1", body=b"hello")


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"hello") -> bytes:
    """Return a response of these lines."""
    return b"\r\n".join([start, *lines]) + b"\r\n\r\n" + body


ACCEPTED_REQUESTS = [
    Accepted("plain", request()),
    Accepted("obs-text in value", request(b"X: a\xffb")),
    Accepted("tab in value", request(b"X: a\tb")),
    Accepted("empty value", request(b"X:")),
    Accepted("no space behind the colon", request(b"X:a")),
    Accepted("underscore in name", request(b"Content_Length: 5")),
    Accepted("every token character in name", request(b"!#$%&'*+-.^_`|~09azAZ: a")),
    Accepted("lower-case method", request(start=b"get / HTTP/1.1")),
    Accepted("unknown method", request(start=b"FOOBAR / HTTP/1.1")),
    Accepted("HTTP/1.0 without Host", request(start=b"GET / HTTP/1.0", has_host=False)),
    Accepted("HTTP/1.0 with Host", request(start=b"GET / HTTP/1.0")),
    Accepted("absolute-form", request(start=b"GET http://b/ HTTP/1.1")),
    Accepted("CONNECT authority", request(start=b"CONNECT a:443 HTTP/1.1")),
    Accepted("OPTIONS asterisk", request(start=b"OPTIONS * HTTP/1.1")),
    Accepted("Host with port", request(b"Host: a:8080", has_host=False)),
    Accepted("Host IPv6", request(b"Host: [::1]:8080", has_host=False)),
    Accepted("CL 5", sized(b"5"), b"hello"),
    Accepted("CL 0", request(b"Content-Length: 0")),
    Accepted("CL with leading zeros", sized(b"0005"), b"hello"),
    Accepted("CL and white space around", sized(b"\t 5 \t"), b"hello"),
    Accepted("TE chunked", coded(b"chunked")),
    Accepted("TE Chunked", coded(b"ChUnKeD")),
    Accepted("Expect", request(b"Expect: 100-Continue")),
    Accepted("unknown Expect in HTTP/1.0", request(b"Expect: something", start=b"GET / HTTP/1.0")),
]

REFUSED_REQUESTS = [
    Refused("bare LF everywhere", request(end=b"\n"), BadRequest),
    Refused("bare LF after one header", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", BadRequest),
    Refused("bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", BadRequest),
    Refused("bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", BadRequest),
    Refused("LF CR LF at the end", b"GET / HTTP/1.1\r\nHost: a\n\r\n", BadRequest),
    Refused("bare CR in value", request(b"X: a\rb"), BadRequest),
    Refused("bare CR as line end", b"GET / HTTP/1.1\rHost: a\r\r", BadRequest),
    Refused("CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BadRequest),
    Refused("space before colon", request(b"Content-Length : 5", body=b"hello"), BadRequest),
    Refused("tab before colon", request(b"Content-Length\t: 5", body=b"hello"), BadRequest),
    Refused("obs-fold", request(b"X: a\r\n b"), BadRequest),
    Refused("obs-fold with tab", request(b"X: a\r\n\tb"), BadRequest),
    Refused("first header starts with space", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", BadRequest),
    Refused("space in target", request(start=b"GET /a b HTTP/1.1"), BadRequest),
    Refused("two spaces after method", request(start=b"GET  / HTTP/1.1"), BadRequest),
    Refused("two spaces before version", request(start=b"GET /  HTTP/1.1"), BadRequest),
    Refused("tab between method and target", request(start=b"GET\t/ HTTP/1.1"), BadRequest),
    Refused("trailing space after version", request(start=b"GET / HTTP/1.1 "), BadRequest),
    Refused("leading space", b" " + request(), BadRequest),
    Refused("leading CRLF", b"\r\n" + request(), BadRequest),
    Refused("leading LF", b"\n" + request(), BadRequest),
    Refused("only an empty head", b"\r\n\r\n", BadRequest),
    Refused("NUL in target", request(start=b"GET /\x00 HTTP/1.1"), BadRequest),
    Refused("control 0x01 in target", request(start=b"GET /\x01 HTTP/1.1"), BadRequest),
    Refused("DEL in target", request(start=b"GET /\x7f HTTP/1.1"), BadRequest),
    Refused("byte above 0x7f in target", request(start=b"GET /\xff HTTP/1.1"), BadRequest),
    Refused("fragment in target", request(start=b"GET /a#b HTTP/1.1"), BadRequest),
    Refused("NUL in value", request(b"X: a\x00b"), BadRequest),
    Refused("control 0x01 in value", request(b"X: a\x01b"), BadRequest),
    Refused("DEL in value", request(b"X: a\x7fb"), BadRequest),
    Refused("vertical tab in value", request(b"X: a\x0bb"), BadRequest),
    Refused("NUL in name", request(b"X\x00: a"), BadRequest),
    Refused("empty name", request(b": a"), BadRequest),
    Refused("no colon", request(b"Xa"), BadRequest),
    Refused("bad char ( in name", request(b"X(: a"), BadRequest),
    Refused("byte above 0x7f in name", request(b"X\xff: a"), BadRequest),
    Refused("method with bad char", request(start=b"GE(T / HTTP/1.1"), BadRequest),
    Refused("empty method", request(start=b" / HTTP/1.1"), BadRequest),
    Refused("HTTP/0.9 line", b"GET /\r\n\r\n", BadRequest),
    Refused("HTTP/0.9 spelt out", request(start=b"GET / HTTP/0.9"), BadRequest),
    Refused("HTTP/1.2", request(start=b"GET / HTTP/1.2"), UnsupportedVersion),
    Refused("HTTP/2.0", request(start=b"GET / HTTP/2.0"), UnsupportedVersion),
    Refused("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
    Refused("HTTP/2", request(start=b"GET / HTTP/2"), BadRequest),
    Refused("HTTP/01.1", request(start=b"GET / HTTP/01.1"), BadRequest),
    Refused("HTTP/1.10", request(start=b"GET / HTTP/1.10"), BadRequest),
    Refused("HTTP/1,1", request(start=b"GET / HTTP/1,1"), BadRequest),
    Refused("http/1.1 lower case", request(start=b"GET / http/1.1"), BadRequest),
    Refused("missing Host (1.1)", request(has_host=False), BadRequest),
    Refused("two Hosts", request(b"Host: b"), BadRequest),
    Refused("two equal Hosts", request(b"Host: a"), BadRequest),
    Refused("two Hosts (1.0)", request(b"Host: b", start=b"GET / HTTP/1.0"), BadRequest),
    Refused("empty Host", request(b"Host:", has_host=False), BadRequest),
    Refused("list in Host", request(b"Host: a, b", has_host=False), BadRequest),
    Refused("path in Host", request(b"Host: a/b", has_host=False), BadRequest),
    Refused("user in Host", request(b"Host: u@a", has_host=False), BadRequest),
    Refused("port in Host too large", request(b"Host: a:65536", has_host=False), BadRequest),
    Refused("absolute-form with user", request(start=b"GET http://u@b/ HTTP/1.1"), BadRequest),
    Refused("CONNECT with length", request(b"Content-Length: 5", start=b"CONNECT a:443 HTTP/1.1", body=b"hello"), BadRequest),
    Refused("CONNECT with chunks", coded(b"chunked", start=b"CONNECT a:443 HTTP/1.1"), BadRequest),
    Refused("empty target", request(start=b"GET  HTTP/1.1"), BadRequest),
    Refused("no target", request(start=b"GET HTTP/1.1"), BadRequest),
    Refused("TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BadRequest),
    Refused("CL +5", sized(b"+5"), BadRequest),
    Refused("CL -5", sized(b"-5"), BadRequest),
    Refused("CL 5,5", sized(b"5,5"), BadRequest),
    Refused("CL 5 twice equal", sized(b"5", b"Content-Length: 5"), BadRequest),
    Refused("CL 5 and 6", sized(b"5", b"Content-Length: 6"), BadRequest),
    Refused("CL 0x5", sized(b"0x5"), BadRequest),
    Refused('CL "5 6"', sized(b"5 6"), BadRequest),
    Refused("CL 5_0", sized(b"5_0"), BadRequest),
    Refused("CL empty", sized(b""), BadRequest),
    Refused("CL superscript", sized(b"\xb2"), BadRequest),
    Refused("CL 19 digits", sized(b"0" * 18 + b"5"), BadRequest),
    Refused("CL 20 digits", sized(b"9" * 20), BadRequest),
    Refused("CL 2^64+5", sized(b"18446744073709551621"), BadRequest),
    Refused("TE + CL", coded(b"chunked", b"Content-Length: 5"), BadRequest),
    Refused("CL + TE", request(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), BadRequest),
    Refused("unknown TE + CL", coded(b"x", b"Content-Length: 5"), BadRequest),
    Refused("TE xchunked", coded(b"xchunked"), UnsupportedTransferCoding),
    Refused("TE chunked, identity", coded(b"chunked, identity"), BadRequest),
    Refused("TE identity", coded(b"identity"), UnsupportedTransferCoding),
    Refused("TE gzip", coded(b"gzip"), UnsupportedTransferCoding),
    Refused("TE gzip, chunked", coded(b"gzip, chunked"), UnsupportedTransferCoding),
    Refused("TE gzip, chunked in two lines", coded(b"gzip", b"Transfer-Encoding: chunked"), UnsupportedTransferCoding),
    Refused("TE gzip with parameter, chunked", coded(b"gzip;q=1, chunked"), UnsupportedTransferCoding),
    Refused("TE chunked, gzip", coded(b"chunked, gzip"), BadRequest),
    Refused("TE chunked, chunked", coded(b"chunked, chunked"), BadRequest),
    Refused("TE twice", coded(b"chunked", b"Transfer-Encoding: chunked"), BadRequest),
    Refused("TE twice chunked+x", coded(b"chunked", b"Transfer-Encoding: x"), BadRequest),
    Refused('TE "chunked"', coded(b'"chunked"'), BadRequest),
    Refused("TE \\x0bchunked", coded(b"\x0bchunked"), BadRequest),
    Refused("TE chunked;q=1", coded(b"chunked;q=1"), BadRequest),
    Refused("TE chunked ; q=1", coded(b"chunked ; q=1"), BadRequest),
    Refused("TE chunked,", coded(b"chunked,"), BadRequest),
    Refused("TE ,chunked", coded(b",chunked"), BadRequest),
    Refused("TE empty", coded(b""), BadRequest),
    Refused("TE chunked chunked", coded(b"chunked chunked"), BadRequest),
    Refused("TE in HTTP/1.0", coded(b"chunked", start=b"POST / HTTP/1.0"), BadRequest),
    Refused("unknown TE in HTTP/1.0", coded(b"gzip", start=b"POST / HTTP/1.0"), BadRequest),
    Refused("unknown Expect", request(b"Expect: 200-ok"), UnknownExpectation),
    Refused("Expect with more", request(b"Expect: 100-continue, more"), UnknownExpectation),
    Refused("empty Expect", request(b"Expect:"), UnknownExpectation),
]

LENGTH_5 = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"

ACCEPTED_RESPONSES = [
    Accepted("plain", response(LENGTH_5), b"hello"),
    Accepted("no reason, no space", response(LENGTH_5, start=b"HTTP/1.1 200"), b"hello"),
    Accepted("empty reason", response(LENGTH_5, start=b"HTTP/1.1 200 "), b"hello"),
    Accepted("obs-text in reason", response(LENGTH_5, start=b"HTTP/1.1 200 gr\xfcn"), b"hello"),
    Accepted("unknown status", response(LENGTH_5, start=b"HTTP/1.1 599 Odd"), b"hello"),
    Accepted("HTTP/1.0", response(LENGTH_5, start=b"HTTP/1.0 200 OK"), b"hello"),
    Accepted("chunked", response(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), b"hello"),
    Accepted("204", response(start=b"HTTP/1.1 204 No Content", body=b"")),
    Accepted("304 with length", response(LENGTH_5, start=b"HTTP/1.1 304 Not Modified", body=b"")),
]

REFUSED_RESPONSES = [
    Refused("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BackendInvalid),
    Refused("status 20", response(LENGTH_5, start=b"HTTP/1.1 20 OK"), BackendInvalid),
    Refused("status 2000", response(LENGTH_5, start=b"HTTP/1.1 2000 OK"), BackendInvalid),
    Refused("status 099", response(LENGTH_5, start=b"HTTP/1.1 099 OK"), BackendInvalid),
    Refused("status 600", response(LENGTH_5, start=b"HTTP/1.1 600 OK"), BackendInvalid),
    Refused("status 2x0", response(LENGTH_5, start=b"HTTP/1.1 2x0 OK"), BackendInvalid),
    Refused("status +20", response(LENGTH_5, start=b"HTTP/1.1 +20 OK"), BackendInvalid),
    Refused("two spaces before status", response(LENGTH_5, start=b"HTTP/1.1  200 OK"), BackendInvalid),
    Refused("HTTP/1.2", response(LENGTH_5, start=b"HTTP/1.2 200 OK"), BackendInvalid),
    Refused("HTTP/2.0", response(LENGTH_5, start=b"HTTP/2.0 200 OK"), BackendInvalid),
    Refused("ICY", response(LENGTH_5, start=b"ICY 200 OK"), BackendInvalid),
    Refused("leading CRLF", b"\r\n" + response(LENGTH_5), BackendInvalid),
    Refused("CL 5,5", response(b"Content-Length: 5,5"), BackendInvalid),
    Refused("CL 5 twice equal", response(LENGTH_5, LENGTH_5), BackendInvalid),
    Refused("CL 5 and 6", response(LENGTH_5, b"Content-Length: 6"), BackendInvalid),
    Refused("CL +5", response(b"Content-Length: +5"), BackendInvalid),
    Refused("CL 20 digits", response(b"Content-Length: " + b"9" * 20), BackendInvalid),
    Refused("TE+CL", response(CHUNKED, LENGTH_5, body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE gzip, chunked", response(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE identity", response(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE twice", response(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE in HTTP/1.0", response(CHUNKED, start=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"), BackendInvalid),
    Refused("obs-fold", response(b"X: a\r\n b", LENGTH_5), BackendInvalid),
    Refused("space before colon", response(b"Content-Length : 5"), BackendInvalid),
    Refused("NUL in reason", response(LENGTH_5, start=b"HTTP/1.1 200 O\x00K"), BackendInvalid),
    Refused("CR in value", response(b"X: a\rb", LENGTH_5), BackendInvalid),
    Refused("LF CR LF", b"HTTP/1.1 200 OK\r\nX: a\n\r\nContent-Length: 5\r\n\r\nhello", BackendInvalid),
]

ACCEPTED_CHUNKS = [
    Accepted("plain", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    Accepted("two chunks", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    Accepted("empty", b"0\r\n\r\n"),
    Accepted("payload that looks like chunks", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    Accepted("extension", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    Accepted("extension without value", b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello"),
    Accepted("two extensions", b"5;a=b;c=d\r\nhello\r\n0\r\n\r\n", b"hello"),
    Accepted("quoted extension", b'5;a="b;\\"c"\r\nhello\r\n0\r\n\r\n', b"hello"),
    Accepted("size 00005", b"00005\r\nhello\r\n0\r\n\r\n", b"hello"),
    Accepted("size 15 digits", b"000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    Accepted("hex in both cases", b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    Accepted("last chunk of many zeros", b"5\r\nhello\r\n000\r\n\r\n", b"hello"),
    Accepted("trailer", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"hello"),
    Accepted("digest as trailer", b"5\r\nhello\r\n0\r\nContent-Digest: sha-256=:x:\r\nETag: a\r\n\r\n", b"hello"),
]


def _trailer(line: bytes) -> bytes:
    return b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n"


REFUSED_CHUNKS = [
    Refused("extension with LF", b"5;a\nb\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("extension with CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("extension with NUL", b"5;a\x00b\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("extension without name", b"5;\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("extension with an open quote", b'5;a="b\r\nhello\r\n0\r\n\r\n', Malformed),
    Refused("white space before extension", b"5 ;a=b\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("bare LF after size", b"5\nhello\r\n0\r\n\r\n", Malformed),
    Refused("bare LF after data", b"5\r\nhello\n0\r\n\r\n", Malformed),
    Refused("bare LF after last chunk", b"5\r\nhello\r\n0\n\r\n", Malformed),
    Refused("bare LF at the end", b"5\r\nhello\r\n0\r\n\n", Malformed),
    Refused("CR CR LF after size", b"5\r\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("data without CRLF", b"5\r\nhelloXX0\r\n\r\n", Malformed),
    Refused("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n", Malformed),
    Refused("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size 0x5", b"0x5\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size +5", b"+5\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size -1", b"-1\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused('size "5 "', b"5 \r\nhello\r\n0\r\n\r\n", Malformed),
    Refused('size " 5"', b" 5\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size 5_", b"5_\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size g", b"g\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size 16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size 2^64+5", b"10000000000000005\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size 17 hex digits", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("size empty", b"\r\nhello\r\n0\r\n\r\n", Malformed),
    Refused("trailer without colon", _trailer(b"X y"), Malformed),
    Refused("trailer folded", _trailer(b"X: y\r\n z"), Malformed),
    Refused("trailer with control", _trailer(b"X: \x01"), Malformed),
    Refused("trailer with bare LF", _trailer(b"X: y\nZ: z"), Malformed),
    Refused("trailer with space before colon", _trailer(b"X : y"), Malformed),
    *[
        Refused(f"trailer {name.decode()}", _trailer(name + b": 9"), Malformed)
        for name in (
            b"Content-Length", b"Transfer-Encoding", b"Host", b"Content-Type", b"Content-Encoding", b"Content-Range",
            b"Authorization", b"Cookie", b"Set-Cookie", b"Connection", b"Keep-Alive", b"Upgrade", b"TE", b"Trailer", b"Expect",
            b"Max-Forwards", b"Cache-Control", b"If-Match", b"Range", b"X-Forwarded-For", b"X_Forwarded_For", b"X-Forwarded-Any",
            b"X-Real-IP", b"Forwarded", b"Via", b"content-LENGTH", b"Content_Length", b"Proxy-Authorization", b"Location",
        )
    ],
]  # fmt: skip
