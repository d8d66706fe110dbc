from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.config.addresses import parse_backend, parse_bind, parse_host, parse_host_port, parse_network
from greenproxy.config.errors import BadValue
from greenproxy.config.settings import Address, BackendSettings
from tests.config.verdicts import is_read_or_refused

FOLDER = Path("/etc/greenproxy")


def bind(text: str) -> Address:
    return parse_bind(text, FOLDER)


def backend(text: str) -> BackendSettings:
    return parse_backend(text, FOLDER)


def refusal(parse: Callable[[str], Any], text: str) -> tuple[str, str]:
    with pytest.raises(BadValue) as refused:
        parse(text)
    return str(refused.value), refused.value.suggestion


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address(host="127.0.0.1", port=8080)),
        (":8080", Address(port=8080)),
        (":0", Address(port=0)),
        ("[::1]:0", Address(host="::1", port=0)),
        ("[0:0:0:0:0:0:0:1]:80", Address(host="::1", port=80)),
        ("Localhost:65535", Address(host="localhost", port=65535)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
        ("unix:x.sock", Address(path="/etc/greenproxy/x.sock")),
    ],
)
def test_listeners_bind_hosts_ports_and_unix_sockets(text: str, address: Address) -> None:
    assert bind(text) == address


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("8080", ("'8080' is not an address to listen on", ":8080")),
        ("*:8080", ("'*:8080' is not an address to listen on", ":8080")),
        ("http://127.0.0.1:80/", ("'http://127.0.0.1:80/' is an address with a scheme", "127.0.0.1:80")),
        ("127.0.0.1", ("'127.0.0.1' is not host:port", "")),
        ("::1:80", ("'::1:80' is not host:port: an IPv6 address stands in brackets", "")),
        ("[::1]", ("'[::1]' is not host:port", "")),
        ("[::x]:80", ("'[::x]' is not an IPv6 address", "")),
        ("1.2.3:80", ("'1.2.3' is not an IPv4 address", "")),
        ("256.1.1.1:80", ("'256.1.1.1' is not an IPv4 address", "")),
        ("a b:80", ("'a b' is not a host name or address", "")),
        ("b\u00fccher.example:80", ("'b\u00fccher.example' is not ASCII: write the host's xn-- form", "")),
        ("a:65536", ("'65536' is not a port: 0 to 65535", "")),
        ("a:", ("'' is not a port: 0 to 65535", "")),
        (":http", ("'http' is not a port: 0 to 65535", "")),
        ("unix:", ("'unix:' is not unix:/path", "")),
        ("unix://run/x", ("'unix://run/x' is not unix:/path", "unix:/run/x")),
        (f"unix:/{'x' * 107}", ("the path of a Unix socket has at most 107 bytes", "")),
    ],
)
def test_other_addresses_are_refused_with_what_may_be_meant(text: str, refused: tuple[str, str]) -> None:
    assert refusal(bind, text) == refused


def test_only_what_listens_may_have_port_0() -> None:
    assert refusal(parse_host_port, "127.0.0.1:0") == ("'0' is not a port: 1 to 65535", "")
    assert refusal(backend, "http://127.0.0.1:0") == ("'0' is not a port: 1 to 65535", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://10.0.0.1:8000", BackendSettings(address=Address(host="10.0.0.1", port=8000))),
        ("http://shop.example", BackendSettings(address=Address(host="shop.example", port=80))),
        ("http://shop.example/", BackendSettings(address=Address(host="shop.example", port=80))),
        ("HTTP://[::1]", BackendSettings(address=Address(host="::1", port=80))),
        ("http://[::1]:81", BackendSettings(address=Address(host="::1", port=81))),
        ("unix:/run/a.sock backup", BackendSettings(address=Address(path="/run/a.sock"), is_backup=True)),
        ("unix:a.sock", BackendSettings(address=Address(path="/etc/greenproxy/a.sock"))),
        (
            "http://a:1 name=blue  weight=3\tbackup",
            BackendSettings(address=Address(host="a", port=1), name="blue", weight=3, is_backup=True),
        ),
    ],
)
def test_a_backend_is_an_address_and_a_few_words(text: str, expected: BackendSettings) -> None:
    assert backend(text) == expected


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("10.0.0.1:80", ("'10.0.0.1:80' is not http://host:port or unix:/path", "http://10.0.0.1:80")),
        ("shop", ("'shop' is not http://host:port or unix:/path", "")),
        ("https://a", ("https:// is not available in this version", "")),
        ("tcp://a:1", ("tcp:// is not available in this version", "")),
        ("tls://a:1", ("tls:// is not available in this version", "")),
        ("ftp://a", ("unknown scheme ftp://", "")),
        ("htp://a", ("unknown scheme htp://", "http://")),
        ("http://", ("'' is not a host name or address", "")),
        ("http://a:2/b", ("'http://a:2/b': a backend is a host and a port, without a path", "http://a:2")),
        ("http://a?b", ("'http://a?b': a backend is a host and a port, without a path", "http://a")),
        ("http:///b", ("'http:///b': a backend is a host and a port, without a path", "")),
        ("http://u:p@a", ("a backend has no user and password", "")),
        ("http://a weight=0", ("weight: 0 is too small: at least 1", "")),
        ("http://a weight=1001", ("weight: 1001 is too large: at most 1000", "")),
        ("http://a weight", ("'weight' is not weight=N, name=NAME or backup", "weight=")),
        ("http://a wieght=3", ("'wieght=3' is not weight=N, name=NAME or backup", "weight=3")),
        ("http://a down", ("'down' is not weight=N, name=NAME or backup", "")),
        ("http://a backup backup", ("backup stands here twice", "")),
        ("http://a weight=1 weight=2", ("weight stands here twice", "")),
        ("http://a, http://b", ("'a,' is not a host name or address", "")),
    ],
)
def test_other_backends_are_refused_with_what_may_be_meant(text: str, refused: tuple[str, str]) -> None:
    assert refusal(backend, text) == refused


def test_an_address_is_a_network_of_one() -> None:
    assert parse_network("10.0.0.1") == ipaddress.ip_network("10.0.0.1/32")
    assert parse_network("2001:db8::/32") == ipaddress.ip_network("2001:db8::/32")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("10.0.0.1/8", ("'10.0.0.1/8' has bits behind its network", "10.0.0.0/8")),
        ("localhost", ("'localhost' is not a network or address", "")),
        ("10.0.0.0/33", ("'10.0.0.0/33' is not a network or address", "")),
        ("", ("'' is not a network or address", "")),
    ],
)
def test_a_network_has_no_bits_behind_it(text: str, refused: tuple[str, str]) -> None:
    assert refusal(parse_network, text) == refused


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(), st.sampled_from(["a.example", "x-y", ""])), st.integers(0, 65535))
def test_what_is_shown_of_an_address_is_read_as_the_same(host: object, port: int) -> None:
    address = Address(host=str(host), port=port)
    assert bind(str(address)) == address


@settings(deadline=None)
@given(
    st.one_of(st.text(), st.text("[]:/.0123ab@?#=unixhtp ")), st.sampled_from([bind, parse_host_port, parse_network, parse_host])
)
def test_any_text_is_an_address_or_a_bad_value(text: str, parse: Callable[[str], Any]) -> None:
    assert is_read_or_refused(parse, text)


@settings(deadline=None)
@given(st.one_of(st.text("[]:/.0123ab@?#= "), st.text()).map(lambda text: f"http://{text}"))
def test_any_text_is_a_backend_or_a_bad_value(text: str) -> None:
    assert is_read_or_refused(backend, text)
