"""Target `chain`: what a trusted peer says of clients before it: X-Forwarded-For, Forwarded, X-Real-IP, and what becomes of it.

`kind` is the field, `data` its lines. A reader of single characters is the second opinion on Forwarded.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

from fuzz import checks
from fuzz.case import Case, forget, require
from greenproxy.protocol.clients import effective_client, forwarded_elements
from greenproxy.protocol.fields import REQUEST, Special, sort_fields
from greenproxy.protocol.forwarding import Hop, forwarding_lines

NAMES = (b"Forwarded", b"X-Forwarded-For", b"X-Real-IP", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Via")
PEER = "10.0.0.1"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
_STRANGER = "198.51.100.7"
_is_line = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

Elements = list[dict[bytes, bytes]]


def one_input(raw: bytes) -> None:
    """Ask one question. Raises Disagreement."""
    case = Case.of(raw)
    forget()
    lines = case.data.split(b"\n")
    if not all(map(_is_line, lines)):
        return
    name = NAMES[case.kind % len(NAMES)]
    _, special = sort_fields([name + b": " + line for line in lines], REQUEST)
    said = special.get(b"forwarded", [])
    elements = forwarded_elements(said)
    require(elements == slowly_read(b", ".join(said)), "two opinions on Forwarded", elements, said)
    _is_walked(special)
    _is_appended_to(special, elements, adds_via=bool(case.mode & 1))


def slowly_read(text: bytes) -> Elements:
    """Return the elements of Forwarded as RFC 7239 section 4 has them; empty when any of it is malformed."""
    elements: Elements = []
    for part in _split(text, b","):
        element: dict[bytes, bytes] = {}
        for pair in _split(part, b";"):
            name, equals, value = pair.strip(b" \t").partition(b"=")
            if not name and not equals:
                continue
            read = _value(value)
            if not name or not set(name) <= _TOKEN or read is None or name.lower() in element:
                return []
            element[name.lower()] = read
        if element:
            elements.append(element)
    return elements


def _split(text: bytes, separator: bytes) -> list[bytes]:
    """Return the parts between separators that stand in no quotes."""
    parts, part, is_quoted, is_escaped = [], bytearray(), False, False
    for byte in text:
        if is_escaped:
            is_escaped = False
        elif is_quoted and byte == 0x5C:
            is_escaped = True
        elif byte == 0x22:
            is_quoted = not is_quoted
        elif not is_quoted and byte == separator[0]:
            parts.append(bytes(part))
            part.clear()
            continue
        part.append(byte)
    return [*parts, bytes(part)]


def _value(value: bytes) -> bytes | None:
    """Return a token, or what stands in quotes; None when it is neither."""
    if value[:1] != b'"':
        return value if value and set(value) <= _TOKEN else None
    read, rest = bytearray(), iter(value[1:])
    for byte in rest:
        if byte == 0x22:
            return bytes(read) if next(rest, None) is None else None
        read.append(byte if byte != 0x5C else next(rest, 0x22))
    return None


def _is_walked(special: Special) -> None:
    """Fail unless the address is one, and what a stranger wrote further left changes nothing."""
    ip, scheme = effective_client(PEER, special, TRUSTED)
    address = ip_address(ip)
    require(str(address) == ip, "an address that is spelt in another way", ip)
    require(scheme in ("", "http", "https"), "another scheme", scheme)
    require(effective_client(_STRANGER, special, TRUSTED) == (_STRANGER, ""), "a stranger was believed", special)
    if any(address in network for network in TRUSTED):
        return
    for name in (b"x-forwarded-for", b"forwarded"):
        if name in special:
            forged = b"192.0.2.66" if name == b"x-forwarded-for" else b"for=192.0.2.66"
            longer = effective_client(PEER, {**special, name: [forged, *special[name]]}, TRUSTED)
            require(longer[0] == ip, "what stands further left counts", longer, ip)


def _is_appended_to(special: Special, elements: Elements, *, adds_via: bool) -> None:
    """Fail unless the peer is the last hop in what the backend is told, and what it said stands before."""
    ip, scheme = effective_client(PEER, special, TRUSTED)
    hop = Hop(PEER, ip, scheme or "http", b"a", 1, True, adds_via)
    _, told = sort_fields(checks.field_lines(forwarding_lines(special, hop)), REQUEST)
    for name in (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-real-ip"):
        require(len(told[name]) == 1, "a claim that does not stand alone", name, told)
    now = forwarded_elements(told[b"forwarded"])
    require(bool(now) and now[-1][b"for"] == PEER.encode(), "the last hop is not the peer", told)
    require(not elements or now[:-1] == elements, "other hops before the peer", now, elements)
    require(told[b"x-forwarded-for"][0].rpartition(b",")[2].strip() == PEER.encode(), "the last address is not the peer", told)
    require(told[b"x-real-ip"] == [ip.encode()], "another address", told, ip)
    require(adds_via <= told.get(b"via", [b""])[0].endswith(b"1.1 greenproxy"), "Via without us", told)
