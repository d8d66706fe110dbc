"""What a backend is told of a client's certificate: X-SSL-Client-* fields, as nginx's and HAProxy's users name them.

Nobody but this listener says them: what clients send under these names is dropped (`fields`), however it is spelt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: How RFC 4514 section 3 and OpenSSL abbreviate the types that OpenSSL spells out.
_SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_escaped = re.compile(r'[,+"\\<>;=]|^[ #]| $')
NOBODY = b"X-SSL-Client-Verify: NONE\r\n"


def certificate_lines(certificate: Mapping[str, Any], der: bytes) -> bytes:
    """Return the field lines, each with its CRLF, about a verified certificate: as `ssl.SSLSocket.getpeercert` says it, and DER.

    Names are written as RFC 4514 says, in ASCII.
    """
    fields = (
        ("Verify", "SUCCESS"),
        ("S-DN", distinguished_name(certificate.get("subject", ()))),
        ("I-DN", distinguished_name(certificate.get("issuer", ()))),
        ("Serial", str(certificate.get("serialNumber", ""))),
        ("Fingerprint", hashlib.sha256(der).hexdigest()),
    )
    return "".join(f"X-SSL-Client-{name}: {value}\r\n" for name, value in fields).encode("ascii")


def distinguished_name(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a name in the manner of RFC 4514, the last part first: `CN=Alice,O=Example`."""
    parts = ["+".join(f"{_SHORT.get(kind, kind)}={_value(value)}" for kind, value in part) for part in name]
    return ",".join(reversed(parts))


def _value(text: str) -> str:
    r"""Return a value with what could be mistaken escaped, and all that is no printable ASCII as bytes of UTF-8 (`\C3\A4`)."""
    text = _escaped.sub(lambda match: "\\" + match[0], text)
    return "".join(
        sign if " " <= sign <= "~" else "".join(f"\\{byte:02X}" for byte in sign.encode("utf-8", "replace")) for sign in text
    )
