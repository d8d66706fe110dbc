"""Who asks: the client's address behind trusted proxies, from X-Forwarded-For, Forwarded or X-Real-IP.

Such fields grow from left to right, so they are read from the right, and only as far as each hop is trusted: what stands
further left was written by somebody whom nobody vouches for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from greenproxy.protocol.fields import QUOTED, TOKEN, list_items

Address: TypeAlias = IPv4Address | IPv6Address
Networks: TypeAlias = Sequence[IPv4Network | IPv6Network]

# Possessive, so that a long run of blanks is not tried in every way.
_pair = re.compile(rb"[ \t]*+(?:(" + TOKEN + rb")=(" + TOKEN + rb"|" + QUOTED + rb"))?[ \t]*+([;,]|\Z)").match
_unescape = re.compile(rb"\\(.)").sub
_node = re.compile(rb"\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\](?::[0-9]{1,5})?|([0-9.]+)(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)").fullmatch

_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_MAX_NODE_BYTES = 64


def effective_client(peer_ip: str, special: Mapping[bytes, list[bytes]], trusted: Networks) -> tuple[str, str]:
    """Return (ip of the client, scheme it used or "" if nobody trusted said so).

    The chain is X-Forwarded-For, or else Forwarded, or else X-Real-IP, walked from the right past trusted addresses; the
    leftmost when all are. A peer on a Unix socket (`unix:`) has no address to look up: the caller vouches for it.
    """
    if not peer_ip.startswith("unix:") and not is_trusted(peer_ip, trusted):
        return peer_ip, ""
    elements = forwarded_elements(special.get(b"forwarded", []))
    chain = list_items(special.get(b"x-forwarded-for", []))
    chain = chain or [element.get(b"for", b"") for element in elements] or special.get(b"x-real-ip", [])
    schemes = list_items(special.get(b"x-forwarded-proto", []))
    schemes = schemes or [element.get(b"proto", b"").lower() for element in elements]
    ip, depth = _walk(peer_ip, chain, trusted)
    if not schemes:
        return ip, ""
    # One scheme per hop where proxies append them; a single one where they replace it.
    return ip, _SCHEMES.get(schemes[-min(max(depth, 1), len(schemes))], "")


def _walk(peer_ip: str, chain: Sequence[bytes], trusted: Networks) -> tuple[str, int]:
    """Return the first address from the right that is not trusted, and how many were read for it."""
    ip, depth = peer_ip, 0
    for node in reversed(chain):
        address = address_of(node)
        if address is None:  # `unknown`, or nonsense: nothing further left can be vouched for
            break
        ip = str(address)
        depth += 1
        if not any(address in network for network in trusted):
            break
    return ip, depth


def is_trusted(ip: str, trusted: Networks) -> bool:
    """Tell whether an address lies in one of the networks; IPv4 in IPv6 counts as IPv4."""
    if not trusted:
        return False
    address = address_of(ip.partition("%")[0].encode("latin-1"))
    return address is not None and any(address in network for network in trusted)


@lru_cache(maxsize=4096)  # the same proxies and clients come again: 0.1 us instead of 2
def _parse_node(node: bytes) -> Address | None:
    match = _node(node)
    if match is None:
        return None
    try:
        address = ip_address((match[1] or match[2] or match[3]).decode("ascii"))
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def address_of(node: bytes) -> Address | None:
    """Return the address of one member of a chain, its port dropped; None for anything else."""
    return _parse_node(node) if len(node) <= _MAX_NODE_BYTES else None


def forwarded_elements(values: Sequence[bytes]) -> list[dict[bytes, bytes]]:
    """Return the elements of Forwarded, each with unquoted values by lower-case name (RFC 7239 section 4).

    Empty if any of it is malformed, or a parameter stands twice in an element: half a statement is none.
    """
    elements: list[dict[bytes, bytes]] = []
    text = b", ".join(values)  # as it is sent on: a value that is quoted over two lines must be the same there
    element: dict[bytes, bytes] = {}
    at = 0
    while match := _pair(text, at):
        name, value, end = match.groups()
        if name is not None:
            if name.lower() in element:
                return []
            element[name.lower()] = _unescape(rb"\1", value[1:-1]) if value[:1] == b'"' else value
        if end != b";" and element:
            elements.append(element)
            element = {}
        if not end:
            return elements
        at = match.end()
    return []
