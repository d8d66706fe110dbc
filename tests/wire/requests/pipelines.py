"""Pipelines: several requests in one go. Answers come in order; behind a refusal nothing is read any more."""

from __future__ import annotations

from tests.wire.cases import END, HELLO, Pipeline, chunked, get, head, sized

_PIPELINE = "RFC 9112 section 9.3.2"
_REFUSAL = "RFC 9112 section 9.6"  # a connection whose framing is in doubt ends
_BLANK = "RFC 9112 section 2.2"
_ONE, _TWO, _THREE = get(b"/1"), get(b"/2"), get(b"/3")
_BAD = head(b"X : y")
_POST = sized(b"5").replace(b"POST /", b"POST /p")
_CHUNKED = chunked(b"5\r\nhello\r\n" + END).replace(b"POST /", b"POST /c")
_HEAD = head(start=b"HEAD /h HTTP/1.1")
_CLOSE = get(b"/last", b"Connection: close")
_G, _P, _H = "GET 200", "POST 200", "HEAD 200"
_400 = "GET 400"

PIPELINES = [
    Pipeline("two requests", _ONE + _TWO, (_G, _G), ("/1", "/2"), _PIPELINE),
    Pipeline(
        "ten requests", b"".join([get(b"/%d" % n) for n in range(10)]), (_G,) * 10, tuple(f"/{n}" for n in range(10)), _PIPELINE
    ),
    Pipeline("the same request three times", _ONE * 3, (_G,) * 3, ("/1",) * 3, _PIPELINE),
    Pipeline("a HEAD, then a GET", _HEAD + _ONE, (_H, _G), ("/h", "/1"), _PIPELINE),
    Pipeline("a GET between two HEADs", _HEAD + _ONE + _HEAD, (_H, _G, _H), ("/h", "/1", "/h"), _PIPELINE),
    Pipeline("a POST, then a GET", _POST + _ONE, (_P, _G), ("/p", "/1"), _PIPELINE),
    Pipeline("a GET, then a POST", _ONE + _POST, (_G, _P), ("/1", "/p"), _PIPELINE),
    Pipeline("chunks, then a GET", _CHUNKED + _ONE, (_P, _G), ("/c", "/1"), _PIPELINE),
    Pipeline("both framings in turn", _POST + _CHUNKED + _POST + _CHUNKED, (_P,) * 4, ("/p", "/c", "/p", "/c"), _PIPELINE),
    Pipeline("a trailer, then a GET", chunked(b"0\r\nX: y\r\n\r\n") + _ONE, (_P, _G), ("/", "/1"), _PIPELINE),
    Pipeline("a body that is a request", sized(b"%d" % len(_TWO), body=_TWO) + _ONE, (_P, _G), ("/", "/1"), "CL.0"),
    Pipeline(
        "unlike methods", _ONE + head(start=b"DELETE /d HTTP/1.1") + _POST, (_G, "DELETE 200", _P), ("/1", "/d", "/p"), _PIPELINE
    ),
    Pipeline(
        "an expectation in the middle",
        _ONE + sized(b"5", b"Expect: 100-continue") + _TWO,
        (_G, _P, _G),
        ("/1", "/", "/2"),
        "RFC 9110 section 10.1.1",
    ),
    Pipeline(
        "an upgrade that is declined",
        get(b"/u", b"Connection: upgrade", b"Upgrade: websocket") + _ONE,
        (_G, _G),
        ("/u", "/1"),
        "RFC 9110 section 7.8",
    ),
    Pipeline(
        "h2c, then a GET",
        get(b"/u", b"Connection: upgrade, HTTP2-Settings", b"Upgrade: h2c") + _ONE,
        (_G, _G),
        ("/u", "/1"),
        "h2c smuggling",
    ),
    Pipeline(
        "HTTP/1.0 that keeps alive",
        head(b"Connection: keep-alive", start=b"GET /0 HTTP/1.0") + _ONE,
        (_G, _G),
        ("/0", "/1"),
        "RFC 9112 section 9.3",
    ),
    # ---- answers that we give ourselves keep their place
    Pipeline(
        "a CONNECT in the middle",
        _ONE + head(start=b"CONNECT a:1 HTTP/1.1") + _TWO,
        (_G, "CONNECT 405", _G),
        ("/1", "/2"),
        _PIPELINE,
    ),
    Pipeline(
        "a Max-Forwards of 0 in the middle",
        _ONE + head(b"Max-Forwards: 0", start=b"OPTIONS * HTTP/1.1") + _TWO,
        (_G, "OPTIONS 200", _G),
        ("/1", "/2"),
        "RFC 9110 section 7.6.2",
    ),
    # ---- bad ones: what was good before is answered, what comes behind is never read
    Pipeline("good, then bad", _ONE + _BAD, (_G, _400), ("/1",), _REFUSAL, closes=True),
    Pipeline("bad, then good", _BAD + _ONE, (_400,), (), _REFUSAL, closes=True),
    Pipeline("bad in the middle", _ONE + _TWO + _BAD + _THREE, (_G, _G, _400), ("/1", "/2"), _REFUSAL, closes=True),
    Pipeline("bad twice", _BAD + _BAD, (_400,), (), _REFUSAL, closes=True),
    Pipeline("a bad path in the middle", _ONE + get(b"/%00") + _TWO, (_G, _400), ("/1",), _REFUSAL, closes=True),
    Pipeline("no Host in the middle", _ONE + head(has_host=False) + _TWO, (_G, _400), ("/1",), _REFUSAL, closes=True),
    Pipeline(
        "an expectation that nobody knows in the middle",
        _ONE + head(b"Expect: gold") + _TWO,
        (_G, "GET 417"),
        ("/1",),
        _REFUSAL,
        closes=True,
    ),
    Pipeline(
        "another version in the middle",
        _ONE + head(start=b"GET / HTTP/1.2") + _TWO,
        (_G, "GET 505"),
        ("/1",),
        _REFUSAL,
        closes=True,
    ),
    Pipeline(
        "another coding in the middle",
        _ONE + sized(b"5").replace(b"Content-Length: 5", b"Transfer-Encoding: gzip") + _TWO,
        (_G, "POST 501"),
        ("/1",),
        _REFUSAL,
        closes=True,
    ),
    Pipeline(
        "CL.TE in the middle",
        _ONE + sized(b"5", b"Transfer-Encoding: chunked", body=END) + _TWO,
        (_G, "POST 400"),
        ("/1",),
        "CL.TE",
        closes=True,
    ),
    Pipeline(
        "a bad chunk in the middle",
        _ONE + chunked(b"5\r\nhelloXX" + END) + _TWO,
        (_G, "POST 400"),
        ("/1",),
        _REFUSAL,
        closes=True,
    ),
    Pipeline(
        "a bad trailer in the middle",
        _ONE + chunked(b"0\r\nHost: b\r\n\r\n") + _TWO,
        (_G, "POST 400"),
        ("/1",),
        _REFUSAL,
        closes=True,
    ),
    Pipeline("a body behind a GET", _ONE + HELLO + b"\r\n\r\n", (_G, _400), ("/1",), "RFC 9112 section 6.3", closes=True),
    Pipeline("a length that is too short", sized(b"3") + _ONE, (_P, "loGET 200"), ("/", "/1"), "client-side desync"),
    Pipeline(
        "a length that is too short by a line end",
        sized(b"3", body=b"hel\r\n") + _ONE,
        (_P, _400),
        ("/",),
        "client-side desync",
        closes=True,
    ),
    Pipeline("chunks behind a length", sized(b"5") + END + _ONE, (_P, _400), ("/",), "TE.CL", closes=True),
    Pipeline("more behind the last chunk", chunked(END) + b"X: y\r\n\r\n" + _ONE, (_P, _400), ("/",), "TERM.EXT", closes=True),
    Pipeline("a NUL behind a body", sized(b"5") + b"\x00", (_P, _400), ("/",), _REFUSAL, closes=True),
    # ---- an empty line between requests: section 2.2 would let us skip it, a strict reader does not
    Pipeline("CRLF between requests", _ONE + b"\r\n" + _TWO, (_G, _400), ("/1",), _BLANK, closes=True),
    Pipeline("CRLF behind a body", _POST + b"\r\n" + _ONE, (_P, _400), ("/p",), _BLANK, closes=True),
    Pipeline("CRLF behind chunks", _CHUNKED + b"\r\n" + _ONE, (_P, _400), ("/c",), _BLANK, closes=True),
    Pipeline("LF between requests", _ONE + b"\n" + _TWO, (_G, _400), ("/1",), _BLANK, closes=True),
    Pipeline("a space between requests", _ONE + b" " + _TWO, (_G, _400), ("/1",), _BLANK, closes=True),
    # ---- the last one: nothing behind it is a request
    Pipeline("close, then another", _CLOSE + _ONE, (_G,), ("/last",), "RFC 9112 section 9.6", closes=True),
    Pipeline("close in the middle", _ONE + _CLOSE + _TWO, (_G, _G), ("/1", "/last"), "RFC 9112 section 9.6", closes=True),
    Pipeline("close, then bad", _CLOSE + _BAD, (_G,), ("/last",), "RFC 9112 section 9.6", closes=True),
    Pipeline(
        "HTTP/1.0, then another", head(start=b"GET /0 HTTP/1.0") + _ONE, (_G,), ("/0",), "RFC 9112 section 9.6", closes=True
    ),
    Pipeline(
        "a POST that closes, then another",
        sized(b"5", b"Connection: close") + _ONE,
        (_P,),
        ("/",),
        "RFC 9112 section 9.6",
        closes=True,
    ),
]
