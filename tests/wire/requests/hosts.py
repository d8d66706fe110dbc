"""Hosts: exactly one in HTTP/1.1, and valid."""

from __future__ import annotations

from tests.wire.cases import SERVED, Case, head

_HOST = "RFC 9112 section 3.2"
_SYNTAX = "RFC 3986 section 3.2.2"


def _named(host: bytes) -> bytes:
    return head(b"Host: " + host, has_host=False)


_GOOD = [
    b"a", b"a.b", b"A-b_c~d.e", b"example.com.", b"a:8080", b"a:65535", b"127.0.0.1:8080", b"[::1]", b"[::1]:8080",
    b"[::ffff:1.2.3.4]", b"xn--bcher-kva.example", b"a" * 255, b"a:", b"[::1]:", b"a!$&'()*+;=b", b"*",
]  # fmt: skip
_BAD = [
    b"", b".", b".a", b"a..b", b"a, b", b"a,b", b"a b", b"a/b", b"/", b"a\\b", b"user@a", b"a:b", b":80", b"a:65536",
    b"a:123456", b"a:+1", b"a:-1", b"a:8 0", b"a:80:80", b"a:80a", b"a%20b", b"a%2eb", b"a?b", b"a#b", b"::1", b"[::1", b"::1]",
    b"[::1]a", b"[:::1]", b"[1.2.3.4]", b"[::1%25eth0]", b"[v1.a]", b"[]", b"\xe9", b'"a"', b"<a>", b"a" * 300,
    b"http://a", b"a\tb",
]  # fmt: skip

CASES = [
    Case("no Host in HTTP/1.1", head(has_host=False), 400, _HOST),
    Case("no Host in HTTP/1.0", head(b"X: y", start=b"GET / HTTP/1.0", has_host=False), SERVED, _HOST, closes=True),
    Case("an empty Host in HTTP/1.0", head(b"Host:", start=b"GET / HTTP/1.0", has_host=False), 400, _HOST),
    Case("two Hosts", head(b"Host: b"), 400, _HOST),
    Case("two equal Hosts", head(b"Host: a"), 400, _HOST),
    Case("two Hosts of different spelling", head(b"hOsT: b"), 400, _HOST),
    Case("two Hosts in HTTP/1.0", head(b"Host: b", start=b"GET / HTTP/1.0"), 400, _HOST),
    Case("two Hosts far apart", head(*[b"X: y"] * 20, b"Host: b"), 400, _HOST),
    Case("a Host and an empty one", head(b"Host:"), 400, _HOST),
    Case("Host in lower case", head(b"host: a", has_host=False), SERVED, _HOST, has=(b"host: a",)),
    Case("Host behind other fields", head(b"X: y", b"Host: a", has_host=False), SERVED, _HOST, has=(b"X: y", b"Host: a")),
    Case("white space around Host", head(b"Host: \ta \t", has_host=False), SERVED, _HOST),
    *[Case(f"Host {host.decode()[:40]}", _named(host), SERVED, _SYNTAX) for host in _GOOD[1:]],
    *[Case(f"Host {host[:40]!r} is none", _named(host), 400, _SYNTAX) for host in _BAD],
]
