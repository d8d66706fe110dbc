"""Request targets and hosts: what routes see, and what is refused."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.errors import BadRequest
from greenproxy.protocol.target import Target, parse_target, valid_host


def told(path: str, query: str, origin_form: bytes, authority: bytes = b"") -> Target:
    """Return what is told of a target; it goes on as it came."""
    return Target(path, query, origin_form, authority, origin_form.decode("latin-1"))


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a/b", "/a/b", ""),
        (b"/a/b/", "/a/b/", ""),
        (b"/a?b=c&d=%2F", "/a", "b=c&d=%2F"),
        (b"/a?", "/a", ""),
        (b"/a??b", "/a", "?b"),
        (b"/a?b=%00%zz", "/a", "b=%00%zz"),
        (b"/a?../../b", "/a", "../../b"),
        (b"/a%20b", "/a b", ""),
        (b"/a%3Fb?c", "/a?b", "c"),
        (b"/caf%C3%A9", "/caf\u00e9", ""),
        (b"/%E9", os.fsdecode(b"/\xe9"), ""),
        (b"/%C0%20%E0", os.fsdecode(b"/\xc0 \xe0"), ""),
        (b"/%E0%A0%80", "/\u0800", ""),
        (b"/;x=1", "/;x=1", ""),
        (b"/%252e%252e/", "/%2e%2e/", ""),
        (b"/file%2etxt", "/file.txt", ""),
        (b"/.well-known/a", "/.well-known/a", ""),
        (b"/a/...", "/a/...", ""),
        (b"/%2e%2e%2e/a", "/.../a", ""),
        (b"/a/./b", "/a/b", ""),
        (b"/a/../b", "/b", ""),
        (b"/a/b/..", "/a/", ""),
        (b"/a/..", "/", ""),
        (b"/a/.", "/a/", ""),
        (b"/.", "/", ""),
        (b"//", "/", ""),
        (b"/a//b", "/a/b", ""),
        (b"//a///b//", "/a/b/", ""),
        (b"/a;x=1/b", "/a;x=1/b", ""),
    ],
)
def test_routes_see_the_resolved_path(target: bytes, path: str, query: str) -> None:
    assert parse_target(target, b"GET") == told(path, query, target, b"")


@pytest.mark.parametrize(
    "target",
    [
        b"/%00", b"/a%00b", b"/a%2Fb", b"/a%2fb", b"/%2e", b"/%2E/a", b"/a/%2e%2e/b", b"/a/.%2e/b", b"/a/%2e./b", b"/a/%2e%2e",
        b"/..", b"/../a", b"/a/../../b", b"/a/..;/b", b"/a/.;x/b", b"/a/%2e%2e;/b", b"/a/..%3b/b", b"/a/%2e%2e%3B/b",
        b"/a//../b", b"/a//./../b", b"/a/b//c/../../d", b"//..", b"/%", b"/%a", b"/%zz", b"/a%1", b"/a#b", b"/a?b#c", b"#",
        b"", b"a", b"?a", b"*", b"ftp://a/", b"http:/a", b"http://", b"http:///a", b"http://?a", b"http://u@a/", b"http://a:b/",
        b"http://a/../b", b"http://a/%00", b"/a\\b", b"/a%5Cb", b"/%c0%af", b"/%C1%81", b"/%e0%9f%bf", b"/%F0%8F%BF%BF",
        b"/;/a", b"/a/;x/b",
        b"//a/../../b", b"a:443", b"http://a b/",
    ],
)  # fmt: skip
def test_a_target_that_could_be_read_in_two_ways_is_refused(target: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_target(target, b"GET")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://b/", told("/", "", b"/", b"b")),
        (b"http://b", told("/", "", b"/", b"b")),
        (b"HTTPS://b:8443/a/../c?d", told("/c", "d", b"/a/../c?d", b"b:8443")),
        (b"http://b?d", told("/", "d", b"/?d", b"b")),
        (b"http://[::1]:80/a", told("/a", "", b"/a", b"[::1]:80")),
    ],
)
def test_an_absolute_target_has_an_authority(target: bytes, expected: Target) -> None:
    assert parse_target(target, b"GET") == expected


def test_an_asterisk_is_for_options_only() -> None:
    assert parse_target(b"*", b"OPTIONS") == told("*", "", b"*")
    assert parse_target(b"http://b", b"OPTIONS") == told("*", "", b"*", b"b")
    assert parse_target(b"http://b/", b"OPTIONS") == told("/", "", b"/", b"b")


def test_connect_has_an_authority_with_a_port() -> None:
    assert parse_target(b"a:443", b"CONNECT") == told("", "", b"a:443", b"a:443")
    assert parse_target(b"[::1]:443", b"CONNECT").authority == b"[::1]:443"


@pytest.mark.parametrize("target", [b"a", b"/", b"http://a/", b"[::1]", b"a:", b":443", b"*"])
def test_connect_takes_nothing_else(target: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_target(target, b"CONNECT")


@pytest.mark.parametrize(
    "host",
    [b"a", b"a.b", b"A-b_c~d.e", b"example.com.", b"a:80", b"a:65535", b"127.0.0.1:8080", b"[::1]", b"[::1]:80",
     b"[::ffff:1.2.3.4]", b"xn--bcher-kva.example", b"a" * 255, b"a:", b"[::1]:", b"a!$&'()*+;=b"],
)  # fmt: skip
def test_names_and_addresses_are_hosts(host: bytes) -> None:
    assert valid_host(host)


@pytest.mark.parametrize(
    "host",
    [b"", b".", b".a", b"a..b", b":", b":80", b"a:65536", b"a:123456", b"a:+1", b"a:8 0", b"a b", b"a,b", b"a/b", b"a\\b",
     b"u@a", b"a%20b", b"a?b", b"a#b", b"::1", b"[::1", b"::1]", b"[::1]a", b"[:::1]", b"[1.2.3.4]", b"[::1%25eth0]", b"[v1.a]",
     b"[]", b"\xe9", b"a\n", b"a\"b", b"a" * 300],
)  # fmt: skip
def test_anything_else_is_no_host(host: bytes) -> None:
    assert not valid_host(host)


segments = st.lists(st.sampled_from(["a", "b", ".", "..", "", "%2e", "c.d", "%20"]), max_size=7)


@given(segments)
def test_a_path_that_is_accepted_has_no_dots_or_double_slashes_left(parts: list[str]) -> None:
    target = ("/" + "/".join(parts)).encode()
    try:
        path = parse_target(target, b"GET").path
    except BadRequest:
        return
    assert path.startswith("/")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))


@given(segments)
def test_merging_slashes_first_or_last_gives_the_same_path(parts: list[str]) -> None:
    target = "/" + "/".join(parts)
    merged = "/" + "/".join([part for n, part in enumerate(parts) if part or n == len(parts) - 1])
    try:
        path = parse_target(target.encode(), b"GET").path
    except BadRequest:
        return
    assert parse_target(merged.encode(), b"GET").path == path


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30))
def test_every_target_has_one_meaning_or_none(text: str) -> None:
    target = "/" + text
    try:
        parsed = parse_target(target.encode(), b"GET")
    except BadRequest:
        return
    assert parsed.origin_form == target.encode()
    assert parsed.query == target.partition("?")[2]
