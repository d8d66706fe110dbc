"""Messages by chance: mostly well-formed, often odd, sometimes broken in a place where parsers like to differ."""

from __future__ import annotations

from hypothesis import strategies as st

_NAMES = st.sampled_from(
    [b"X-A", b"x_b", b"Accept", b"Cookie", b"Connection", b"TE", b"Upgrade", b"Expect", b"Host", b"Content-Length",
     b"Transfer-Encoding", b"Via", b"!#$%&'*+-.^_`|~"]
)  # fmt: skip
_VALUES = st.one_of(
    st.sampled_from(
        [b"", b"1", b"a, b", b"chunked", b"close", b"keep-alive", b"\tx ", b'"q"', b"\xff", b"upgrade, x", b"100-continue"]
    ),
    st.binary(max_size=12).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F)),
)
_LINE = st.tuples(_NAMES, st.sampled_from([b":", b": ", b":\t"]), _VALUES).map(b"".join)
_FIELDS = st.lists(_LINE | _LINE | _LINE | st.just(b"Connection: Upgrade\r\nUpgrade: websocket"), max_size=4)
_ODD = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"\r\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b":", b";", b",", b"0", b"1", b"+", b"-", b"_",
     b"x", b"\xff", b"#", b'"', b"\r\n ", b"\r\nX: y", b"\r\nContent-Length: 1", b"\r\nTransfer-Encoding: chunked", b"HTTP/1.1",
     b""]
)  # fmt: skip
_CHUNKS = st.lists(st.binary(min_size=1, max_size=20), max_size=3)
_EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b"', b";a=b;c=d", b";1=2", b';a="\\""'])
_TRAILERS = st.sampled_from([b"", b"X: y\r\n", b"ETag: z\r\nServer-Timing:  a\r\n"])
_METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"CONNECT", b"get", b"FOOBAR", b"M-SEARCH", b"PRI"])
_TARGETS = st.one_of(
    st.sampled_from(
        [b"/", b"*", b"/a?b=c", b"//", b"http://b/x", b"http://b", b"http://b?x", b"https://b:81/", b"a:443", b"/%41"]
    ),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8).map(lambda text: b"/" + text.encode()),
)
_VERSIONS = st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"1.2", b"2.0", b"0.9"])
_STATUSES = st.sampled_from(
    [b"200 OK", b"200", b"200 ", b"204 No", b"304 Not", b"100 Go", b"404 \xff", b"599 x", b"99 x", b"205 R"]
)


@st.composite
def _framed(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return a framing field and the body that it announces."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "length":
        body = draw(st.binary(max_size=20))
        return b"Content-Length: %d\r\n" % len(body), body
    if kind == "none":
        return b"", b""
    chunks = b"".join([b"%x%b\r\n%b\r\n" % (len(chunk), draw(_EXTENSIONS), chunk) for chunk in draw(_CHUNKS)])
    return b"Transfer-Encoding: chunked\r\n", chunks + b"0%b\r\n%b\r\n" % (draw(_EXTENSIONS), draw(_TRAILERS))


@st.composite
def _mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Return `data` with up to two places changed."""
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(_ODD) + data[at + draw(st.integers(0, 2)) :]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return the bytes of one request, perhaps."""
    framing, body = draw(_framed())
    lines = [line + b"\r\n" for line in draw(_FIELDS)]
    lines.insert(draw(st.integers(0, len(lines))), framing)
    host = draw(st.sampled_from([b"Host: a\r\n"] * 4 + [b"Host: [::1]:80\r\n", b""]))
    first = b"%b %b HTTP/%b\r\n" % (draw(_METHODS), draw(_TARGETS), draw(_VERSIONS))
    return draw(_mutated(first + host + b"".join(lines) + b"\r\n" + body))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Return the bytes of one response, perhaps."""
    framing, body = draw(_framed())
    lines = [line + b"\r\n" for line in draw(_FIELDS)]
    lines.insert(draw(st.integers(0, len(lines))), framing)
    first = b"HTTP/%b %b\r\n" % (draw(_VERSIONS), draw(_STATUSES))
    return draw(_mutated(first + b"".join(lines) + b"\r\n" + body))
