"""Messages by chance: canonical ones, which nobody may refuse, and near misses, in which parsers like to differ.

A canonical message is written from the grammar, together with what its writer meant by it. A near miss is one with more
framing than it needs, or with a few bytes changed where it matters: around line ends, colons, commas and digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from tests.protocol.oracles import Fields, Reading, field_of

Strategy = st.SearchStrategy


class Meant(NamedTuple):
    """A canonical message, and what its writer meant. `method` is that of the request, or of the one that is answered."""

    data: bytes
    reading: Reading
    method: bytes


# ------------------------------------------------------------------ field lines

_TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(str.encode)
_VISIBLE = bytes(range(0x21, 0x7F)) + bytes((0x80, 0xA0, 0xFF))
_INSIDE = st.lists(st.sampled_from(_VISIBLE + b' \t,;:"\\='), max_size=12).map(lambda each: bytes(each).strip(b" \t"))
_OWS = st.sampled_from([b"", b" ", b" ", b" ", b"\t", b" \t "])
_ORDINARY = st.one_of(
    st.tuples(_TOKEN.map(lambda token: b"X-" + token), _INSIDE),
    st.sampled_from(
        [(b"Accept", b"*/*"), (b"Cookie", b"a=b; c=d"), (b"x_forwarded_for", b"10.0.0.9"), (b"Content-Type", b'a/b; c="d,e"'),
         (b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"Content_Length", b"7"), (b"Trailer", b"X"), (b"Empty", b"")]
    ),
)  # fmt: skip
_TO_PROXIES = st.sampled_from(
    [(b"Via", b"1.1 first"), (b"X-Forwarded-For", b"10.0.0.1, ::1"), (b"Forwarded", b'for="[::1]";proto=https'),
     (b"X-Real-IP", b"10.0.0.2"), (b"X-Forwarded-Port", b"81"), (b"Max-Forwards", b"10"), (b"TE", b"trailers, deflate"),
     (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c, x/1"), (b"Keep-Alive", b"timeout=5"), (b"Proxy-Connection", b"keep-alive"),
     (b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", b"shop.example.com")]
)  # fmt: skip
_OPTIONS = st.lists(
    st.sampled_from([b"close", b"keep-alive", b"Keep-Alive", b"upgrade", b"TE", b"X-A", b"host", b"Via"]), min_size=1, max_size=3
)
_TRAILER_FIELDS = st.lists(
    st.tuples(st.sampled_from([b"ETag", b"X-Sum", b"Server-Timing", b"Content-Digest"]), _INSIDE), max_size=2
)


def _line(name: bytes, value: bytes, before: bytes = b" ", after: bytes = b"") -> bytes:
    return name + b":" + before + value + after + b"\r\n"


# ------------------------------------------------------------------ bodies

_QUOTED = st.sampled_from([b'"b"', b'""', b'"\\""', b'";,\xff"'])
_BLANK = st.sampled_from([b"", b"", b"", b"", b"", b" ", b"\t "])
_EXTENSION = st.tuples(_TOKEN, st.none() | _TOKEN | _QUOTED, _BLANK).map(
    lambda part: b";" + part[2] + part[0] + (b"" if part[1] is None else part[2] + b"=" + part[2] + part[1])
)
_EXTENSIONS = st.just(b"") | st.lists(_EXTENSION, max_size=2).map(b"".join)
_SIZES = st.sampled_from(["%x", "%X", "%04x", "%015X"])
_CHUNK = st.tuples(st.binary(min_size=1, max_size=20), _SIZES, _EXTENSIONS)


class Framed(NamedTuple):
    """A body, the field that announces it, and how it looks on the wire."""

    field: list[tuple[bytes, bytes]]
    wire: bytes
    payload: bytes
    trailers: Fields


_NO_BODY = Framed([], b"", b"", [])


def _in_chunks(parts: tuple[list[tuple[bytes, str, bytes]], bytes, bytes, list[tuple[bytes, bytes]]]) -> Framed:
    chunks, spelling, last, trailers = parts
    wire = b"".join([b"%b%b\r\n%b\r\n" % ((size % len(data)).encode(), more, data) for data, size, more in chunks])
    wire += b"0%b\r\n%b\r\n" % (last, b"".join([_line(*field) for field in trailers]))
    payload = b"".join([data for data, _, _ in chunks])
    return Framed([(b"Transfer-Encoding", spelling)], wire, payload, [field_of(*field) for field in trailers])


_LENGTH = st.tuples(st.binary(max_size=20), st.sampled_from(["%d", "%d", "%03d"])).map(
    lambda each: Framed([(b"Content-Length", (each[1] % len(each[0])).encode())], each[0], each[0], [])
)
_CHUNKED = st.tuples(
    st.lists(_CHUNK, max_size=3), st.sampled_from([b"chunked", b"chunked", b"Chunked"]), _EXTENSIONS, _TRAILER_FIELDS
).map(_in_chunks)


def chunked_bodies() -> Strategy[Framed]:
    """Return chunked bodies: any sizes, spelt in any way, with extensions and trailers."""
    return _CHUNKED


# ------------------------------------------------------------------ canonical requests

_HOSTS = st.sampled_from(
    [b"a", b"shop.example.com", b"a:8080", b"10.0.0.1", b"[::1]:80", b"[2001:db8::1]", b"a_b.c-d", b"a:", b"b;c=d"]
)
_PCHAR = st.text("aZ09-_~!$&'()*+,;=:@", max_size=6).map(str.encode)
_SEGMENT = st.tuples(_PCHAR, st.sampled_from([b"", b"", b"%41", b"%C3%BC", b"%25"])).map(b"".join)
_QUERY = st.just(b"") | st.text('a9?/%&=;.:@\\"|^`{}[]<>', max_size=8).map(lambda text: b"?" + text.encode())
# No empty segment, nor one that is nothing but a parameter, which servers that cut those off take for one: we refuse it.
_PATH = st.lists(_SEGMENT.filter(lambda each: each and each[:1] != b";"), max_size=3).map(
    lambda segments: b"/" + b"/".join(segments)
)
_METHODS = st.sampled_from([b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"M-SEARCH"])
_VERSIONS = st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"])


@st.composite
def _first_line(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """Return method, target and version."""
    method = draw(_METHODS | _METHODS | _METHODS | _TOKEN | st.just(b"CONNECT"))
    if method == b"CONNECT":
        return method, b"a:443", draw(_VERSIONS)
    path = draw(_PATH) + draw(_QUERY)
    forms = [path, path, path, b"http://b:81" + path, b"HTTPS://c" + path]
    return method, draw(st.sampled_from([*forms, b"*"] if method == b"OPTIONS" else forms)), draw(_VERSIONS)


@st.composite
def _fields(draw: st.DrawFn, needed: list[tuple[bytes, bytes]]) -> tuple[bytes, Fields, list[bytes]]:
    """Return (field lines, what they say, the connection options) with the needed ones somewhere among others."""
    fields = draw(st.lists(_ORDINARY | _ORDINARY | _TO_PROXIES, max_size=4))
    options: list[bytes] = []
    if draw(st.integers(0, 2)) == 0:
        options = draw(_OPTIONS)
        fields.insert(0, (b"Connection", draw(st.sampled_from([b",", b", ", b" ,"])).join(options)))
    for field in needed:
        fields.insert(draw(st.integers(0, len(fields))), field)
    block = b"".join([_line(*field, draw(_OWS), draw(_OWS)) for field in fields])
    return block, [field_of(*field) for field in fields], [option.lower() for option in options]


def _keeps_alive(version: bytes, options: list[bytes]) -> bool:
    return b"close" not in options and (version == b"1.1" or b"keep-alive" in options)


@st.composite
def canonical_requests(draw: st.DrawFn) -> Meant:
    """Return a request that every server must understand."""
    method, target, version = draw(_first_line())
    bodies = _LENGTH | _CHUNKED if version == b"1.1" else _LENGTH
    body = _NO_BODY if method == b"CONNECT" else draw(st.just(_NO_BODY) | bodies)
    host = [(b"Host", draw(_HOSTS))] if version == b"1.1" or draw(st.booleans()) else []
    expect = [(b"Expect", b"100-continue")] if draw(st.integers(0, 5)) == 0 else []
    block, fields, options = draw(_fields([*host, *body.field, *expect]))
    data = b"%b %b HTTP/%b\r\n%b\r\n%b" % (method, target, version, block, body.wire)
    kept = _keeps_alive(version, options)
    return Meant(data, Reading((method, target, version), fields, body.payload, body.trailers, b"", kept), method)


# ------------------------------------------------------------------ canonical responses

_INTERIM = st.sampled_from(
    [(b"100", b"Continue", b""), (b"103", b"Early Hints", b"Link: </a>\r\n"), (b"102", b"", b"X-P: 1\r\n")]
)
_STATUSES = st.sampled_from([b"200", b"200", b"204", b"206", b"304", b"404", b"500", b"599", b"205", b"299"])


@st.composite
def canonical_responses(draw: st.DrawFn) -> Meant:
    """Return a response that every client must understand: all of it, whoever sent it then closing if it says no length."""
    method, version, status = draw(st.sampled_from([b"GET", b"GET", b"HEAD"])), draw(_VERSIONS), draw(_STATUSES)
    reason = draw(st.none() | _INSIDE)
    is_empty = method == b"HEAD" or status in (b"204", b"304")
    until_close = st.binary(max_size=20).map(lambda data: Framed([], data, data, []))
    body = draw(until_close | _LENGTH | _CHUNKED if version == b"1.1" else until_close | _LENGTH)
    if is_empty:
        body = Framed(body.field if status != b"204" else [], b"", b"", [])
    block, fields, options = draw(_fields(body.field))
    interim = draw(st.lists(_INTERIM, max_size=2)) if version == b"1.1" else []
    before = b"".join([b"HTTP/1.1 %b %b\r\n%b\r\n" % each for each in interim])
    line = b"HTTP/%b %b%b\r\n" % (version, status, b"" if reason is None else b" " + reason)
    kept = _keeps_alive(version, options) and (is_empty or bool(body.field))
    heard = tuple(code for code, _, _ in interim)
    first_line = (status, reason or b"", version)
    reading = Reading(first_line, fields, body.payload, body.trailers, b"", kept, heard)
    return Meant(before + line + block + b"\r\n" + body.wire, reading, method)


# ------------------------------------------------------------------ near misses

_TROUBLE = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\x0b", b"\x0c", b"\x00", b"\x7f", b":", b",", b";", b"0", b"1", b"a", b"+", b"-", b"_",
     b"#", b'"', b"\\", b"=", b"\xff", b"x", b"\r\r\n", b"\n\r\n", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"0\r\n\r\n", b"0x",
     b" HTTP/1.1", b"\r\nX: y", b"\x85", b"\xa0", b"\xc2\xa0", b"%00", b"..", b"//", b"@"]
)  # fmt: skip
_MORE_FRAMING = st.sampled_from(
    [b"Content-Length: 1\r\n", b"Content-Length: 5\r\n", b"content-length: 0\r\n", b"Content-Length: 5, 5\r\n",
     b"Content-Length:\r\n", b"Content-Length: +5\r\n", b"Content-Length: 18446744073709551621\r\n",
     b"Transfer-Encoding: chunked\r\n", b"transfer-encoding: Chunked\r\n", b"Transfer-Encoding: identity\r\n",
     b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: chunked, identity\r\n",
     b"Transfer-Encoding:\x0bchunked\r\n", b"Transfer-Encoding: ,chunked\r\n", b"Transfer-Encoding : chunked\r\n",
     b"Transfer_Encoding: chunked\r\n", b"Transfer-Encoding: chunked;a=b\r\n", b"Host: b\r\n", b"Connection: close\r\n",
     b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"Connection: , keep-alive,\r\n",
     b"Connection: Content-Length, close;q=1\r\n", b" folded\r\n", b"Expect: 100-continue\r\n"]
)  # fmt: skip
_PLACES = frozenset(b'\r\n \t:,;="0123456789')

Change = Callable[[bytes, int], bytes]


def _swap(data: bytes, at: int) -> bytes:
    return data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]


def _twice(data: bytes, at: int) -> bytes:
    return data[: at + 1] + data[at:]


def _without(data: bytes, at: int) -> bytes:
    return data[:at] + data[at + 1 :]


def _other_case(data: bytes, at: int) -> bytes:
    return data[:at] + data[at : at + 4].swapcase() + data[at + 4 :]


def _line_twice(data: bytes, at: int) -> bytes:
    begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1
    return data[:end] + data[begin:] if end else data


def _line_again_in_front(data: bytes, at: int) -> bytes:
    """Put the line behind the first one: fields change their order."""
    begin, end, first = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1, data.find(b"\n") + 1
    return data[:first] + data[begin:end] + data[first:begin] + data[end:] if end and begin > first else data


def _next_digit(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(((data[at] + 1) & 0x7F,)) + data[at + 1 :] if at < len(data) else data


_CHANGES: list[Change] = [
    _swap, _twice, _without, _without, _other_case, _line_twice, _line_again_in_front, _next_digit
]  # fmt: skip


@st.composite
def near_misses(draw: st.DrawFn, meant: Strategy[Meant]) -> tuple[bytes, bytes]:
    """Return (data, method): a canonical message with up to three places changed, most of them where it matters."""
    message = draw(meant)
    data = message.data
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        kind = draw(st.integers(0, 9))
        places = [at for at, byte in enumerate(data) if byte in _PLACES] if kind else list(range(len(data)))
        at = draw(st.sampled_from(places or [0]))
        if kind <= 1:
            at = data.find(b"\n", at) + 1
            data = data[:at] + draw(_MORE_FRAMING) + data[at:]
        elif kind <= 5:
            at += draw(st.integers(0, 1))
            data = data[:at] + draw(_TROUBLE) + data[at + draw(st.integers(0, 1)) :]
        else:
            data = draw(st.sampled_from(_CHANGES))(data, at)
    return data, message.method


def requests() -> Strategy[bytes]:
    """Return the bytes of one request, perhaps."""
    return canonical_requests().map(lambda meant: meant.data) | near_misses(canonical_requests()).map(lambda pair: pair[0])
