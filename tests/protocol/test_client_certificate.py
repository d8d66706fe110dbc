from __future__ import annotations

from typing import Any

import pytest

from greenproxy.protocol.client_certificate import certificate_lines, distinguished_name

Name = tuple[tuple[tuple[str, str], ...], ...]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ((), ""),
        (((("countryName", "DE"),), (("organizationName", "Example"),), (("commonName", "Alice"),)), "CN=Alice,O=Example,C=DE"),
        (((("commonName", "a"), ("userId", "1")),), "CN=a+UID=1"),
        (((("commonName", "a, b+c=d"),),), r"CN=a\, b\+c\=d"),
        (((("commonName", '"<\\>";'),),), r"CN=\"\<\\\>\"\;"),
        (((("commonName", "# x "),),), r"CN=\# x\ "),
        (((("commonName", "Älice"),),), r"CN=\C3\84lice"),
        (((("commonName", "x\r\nX-Admin: 1\x00"),),), r"CN=x\0D\0AX-Admin: 1\00"),
        (((("commonName", "x\ud800"),),), "CN=x\\3F"),
        (((("1.2.3.4", "x"),),), "1.2.3.4=x"),
    ],
)
def test_names_are_written_as_rfc_4514_says_in_ascii(name: Name, written: str) -> None:
    assert distinguished_name(name) == written


def test_lines_tell_of_the_certificate() -> None:
    told: dict[str, Any] = {"subject": ((("commonName", "a"),),), "issuer": ((("commonName", "b"),),), "serialNumber": "0A"}
    assert certificate_lines(told, b"der").split(b"\r\n") == [
        b"X-SSL-Client-Verify: SUCCESS",
        b"X-SSL-Client-S-DN: CN=a",
        b"X-SSL-Client-I-DN: CN=b",
        b"X-SSL-Client-Serial: 0A",
        b"X-SSL-Client-Fingerprint: 5050d80d22ecd471ea55df7034042c1e041341ff4066e7f6ff38e20b720df8ea",
        b"",
    ]
