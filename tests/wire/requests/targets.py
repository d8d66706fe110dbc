"""Targets: the four forms, and what is none of them. Tricks with paths are in `paths`."""

from __future__ import annotations

from tests.wire.cases import HELLO, SERVED, Case, get, head, post

_FORM = "RFC 9112 section 3.2"
_ABSOLUTE = "RFC 9112 section 3.2.2"
_AUTHORITY = "RFC 9112 section 3.2.3"
_ASTERISK = "RFC 9112 section 3.2.4"


def _absolute(target: bytes, *lines: bytes, method: bytes = b"GET") -> bytes:
    return head(*lines, start=b"%b %b HTTP/1.1" % (method, target))


def _meant(name: str, absolute: bytes, target: bytes, host: bytes, method: bytes = b"GET") -> Case:
    """The backend is asked for `target` of `host`."""
    return Case(name, _absolute(absolute, method=method), SERVED, _ABSOLUTE, target=target, has=(b"Host: " + host,))


CASES = [
    # ---- origin-form
    Case("a query", get(b"/a?b=c&d=%2F"), SERVED, "RFC 9112 section 3.2.1"),
    Case("an empty query", get(b"/a?"), SERVED, "RFC 9112 section 3.2.1"),
    Case("a query of anything", get(b"/a?../../b//?\\|^%00%zz"), SERVED, "RFC 3986 section 3.4"),
    Case("fragment in the target", get(b"/a#b"), 400, "RFC 9110 section 7.1"),
    Case("fragment behind a query", get(b"/a?b#c"), 400, "RFC 9110 section 7.1"),
    Case("only a fragment", get(b"#"), 400, _FORM),
    Case("obs-text in the target", get(b"/\xff"), 400, _FORM),
    Case("UTF-8 in the target", get("/\u00e9".encode()), 400, _FORM),
    Case("target without a slash", get(b"index.html"), 400, _FORM),
    Case("only a query", get(b"?a"), 400, _FORM),
    Case("only a host", get(b"a.example"), 400, _FORM),
    Case("a backslash instead of a slash", get(b"\\"), 400, _FORM),
    Case("percent without digits", get(b"/%zz"), 400, "RFC 3986 section 2.1"),
    Case("percent with one digit", get(b"/a%1"), 400, "RFC 3986 section 2.1"),
    Case("percent at the end", get(b"/%"), 400, "RFC 3986 section 2.1"),
    Case("percent and a Unicode escape", get(b"/%u002e"), 400, "RFC 3986 section 2.1"),
    # ---- asterisk-form
    Case("asterisk with OPTIONS", head(start=b"OPTIONS * HTTP/1.1"), SERVED, _ASTERISK),
    Case("asterisk with GET", get(b"*"), 400, _ASTERISK),
    Case("asterisk with a query", head(start=b"OPTIONS *?a HTTP/1.1"), 400, _ASTERISK),
    Case("asterisk with a path", head(start=b"OPTIONS */a HTTP/1.1"), 400, _ASTERISK),
    Case("two asterisks", head(start=b"OPTIONS ** HTTP/1.1"), 400, _ASTERISK),
    # ---- authority-form
    Case("CONNECT", head(start=b"CONNECT a:443 HTTP/1.1"), 405, _AUTHORITY),
    Case("CONNECT with a path", head(start=b"CONNECT /a HTTP/1.1"), 405, _AUTHORITY),
    Case("CONNECT with an absolute form", head(start=b"CONNECT http://b/ HTTP/1.1"), 405, _AUTHORITY),
    Case("CONNECT without a port", head(start=b"CONNECT a HTTP/1.1"), 405, _AUTHORITY),
    Case(
        "CONNECT with a length", post(b"Content-Length: 5", body=HELLO, start=b"CONNECT a:443 HTTP/1.1"), 400, "CONNECT smuggling"
    ),
    Case(
        "CONNECT with chunks",
        post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", start=b"CONNECT a:443 HTTP/1.1"),
        400,
        "CONNECT smuggling",
    ),
    Case("authority-form with GET", get(b"a:443"), 400, _AUTHORITY),
    Case("authority-form with a path", get(b"a:443/b"), 400, _AUTHORITY),
    Case("lower case connect", head(start=b"connect a:443 HTTP/1.1"), 400, _AUTHORITY),
    # ---- absolute-form: its authority counts, what Host says is replaced
    Case("absolute form", _absolute(b"http://b/"), SERVED, _ABSOLUTE, target=b"/", has=(b"Host: b", b"X-Forwarded-Host: b")),
    _meant("absolute form with the same Host", b"http://a/x", b"/x", b"a"),
    _meant("absolute form of https", b"https://b/x?y", b"/x?y", b"b"),
    _meant("absolute form in capitals", b"HTTP://b/x", b"/x", b"b"),
    _meant("absolute form with a port", b"http://b:81/x", b"/x", b"b:81"),
    _meant("absolute form with an empty port", b"http://b:/", b"/", b"b:"),
    _meant("absolute form of an IPv6 address", b"http://[::1]:81/x", b"/x", b"[::1]:81"),
    _meant("absolute form without a path", b"http://b", b"/", b"b"),
    _meant("absolute form with only a query", b"http://b?c", b"/?c", b"b"),
    _meant("a slash in the query of an absolute form", b"http://b?/c/d", b"/?/c/d", b"b"),
    _meant("OPTIONS of an absolute form without a path", b"http://b", b"*", b"b", method=b"OPTIONS"),
    _meant("OPTIONS of an absolute form with a path", b"http://b/", b"/", b"b", method=b"OPTIONS"),
    Case(
        "absolute form in HTTP/1.0 without a Host",
        head(start=b"GET http://b/x HTTP/1.0", has_host=False),
        SERVED,
        _ABSOLUTE,
        target=b"/x",
        has=(b"Host: b",),
        closes=True,
    ),
    Case("absolute form without a Host", head(start=b"GET http://b/ HTTP/1.1", has_host=False), 400, "RFC 9112 section 3.2"),
    Case("absolute form with two Hosts", _absolute(b"http://b/", b"Host: b"), 400, "RFC 9112 section 3.2"),
    Case(
        "absolute form with a Host that is none", head(b"Host: a/b", start=b"GET http://b/ HTTP/1.1", has_host=False), 400, _FORM
    ),
    Case("absolute form of another scheme", _absolute(b"ftp://b/"), 400, _ABSOLUTE),
    Case("absolute form of a file", _absolute(b"file:///etc/passwd"), 400, _ABSOLUTE),
    Case("absolute form of gopher", _absolute(b"gopher://b/_x"), 400, _ABSOLUTE),
    Case("absolute form of ws", _absolute(b"ws://b/"), 400, _ABSOLUTE),
    Case("absolute form without a host", _absolute(b"http:///"), 400, "RFC 9110 section 4.2.1"),
    Case("absolute form without slashes", _absolute(b"http:a"), 400, _ABSOLUTE),
    Case("absolute form with one slash", _absolute(b"http:/a"), 400, _ABSOLUTE),
    Case("absolute form with backslashes", _absolute(b"http:\\\\b\\"), 400, _ABSOLUTE),
    Case("absolute form with a user", _absolute(b"http://user@b/"), 400, "RFC 9110 section 4.2.4"),
    Case("absolute form with a password", _absolute(b"http://user:secret@b/"), 400, "RFC 9110 section 4.2.4"),
    Case("absolute form with a host behind the user", _absolute(b"http://a@b@c/"), 400, "RFC 9110 section 4.2.4"),
    Case("absolute form with letters as port", _absolute(b"http://b:c/"), 400, _ABSOLUTE),
    Case("absolute form with a port above 65535", _absolute(b"http://b:65536/"), 400, _ABSOLUTE),
    Case("absolute form with a backslash behind the host", _absolute(b"http://b\\@a/"), 400, "host confusion"),
    Case("absolute form with a fragment", _absolute(b"http://b/#c"), 400, "RFC 9110 section 7.1"),
    Case("absolute form with a fragment behind the host", _absolute(b"http://b#@a/"), 400, "host confusion"),
    Case("absolute form with an encoded host", _absolute(b"http://%61/"), 400, "host confusion"),
    Case("absolute form inside a path", get(b"/http://b/"), SERVED, "RFC 9112 section 3.2.1"),
]
