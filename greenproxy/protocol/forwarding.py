"""What a proxy says about the hop before it, and what it believes of what was said to it.

X-Forwarded-For, -Proto and -Host, X-Real-IP, Forwarded (RFC 7239), Via and Max-Forwards (RFC 9110 section 7.6). Only peers
that `trusted-proxies` names are believed; what others say of earlier hops is dropped. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from greenproxy.messages import Headers
from greenproxy.protocol.clients import effective_client, forwarded_elements
from greenproxy.protocol.fields import REQUEST, RESPONSE, Roles, Special, is_token, list_items, sort_fields

__all__ = [
    "Hop",
    "connection_lines",
    "effective_client",
    "forwarding_lines",
    "max_forwards",
    "request_lines",
    "response_block",
]

PSEUDONYM = b"greenproxy"  # in Via (RFC 9110 section 7.6.3)
_SET_BY_US = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_MAX_FORWARDS_DIGITS = 9
_MOST_KNOWN_BYTES = 2048  # of a block of fields; what is made of longer ones is not remembered

Said = Mapping[bytes, list[bytes]]


class Hop(NamedTuple):
    """Who asked us for what, and how.

    `peer_ip` is the socket's other end (`unix:` for a Unix socket), `client_ip` and `scheme` what `effective_client` made of
    it. `host` is b"" when the request had none. `is_trusted`: what the peer says of earlier hops goes on. `certificate` are the
    field lines about the certificate of the client, where this hop has asked for one.
    """

    peer_ip: str
    client_ip: str
    scheme: str
    host: bytes
    minor: int = 1
    is_trusted: bool = False
    adds_via: bool = True
    certificate: bytes = b""


def forwarding_lines(special: Said, hop: Hop) -> bytes:
    """Return the field lines, each with its CRLF, that tell the backend about `hop` and the hops before it.

    `special` is the request head's: with a trusted peer its X-Forwarded-For, Forwarded and Via are appended to and its
    other X-Forwarded-* go on, and so do its X-SSL-Client-* unless this hop knows better; else only Via does, since it is no
    statement about the client.
    """
    lines = _extended_lines(special, hop) if hop.is_trusted else _own_lines(hop.peer_ip, hop.scheme, hop.host)
    if hop.certificate:
        lines += hop.certificate
    via = special.get(b"via")
    if via is None:
        return lines + (b"Via: 1.%d %b\r\n" % (hop.minor, PSEUDONYM)) if hop.adds_via else lines
    if hop.adds_via:
        via = [*via, b"1.%d %b" % (hop.minor, PSEUDONYM)]
    return lines + b"Via: " + b", ".join(via) + b"\r\n"


@lru_cache(maxsize=1024)
def plain_forwarding_lines(peer_ip: str, scheme: str, host: str, minor: int, adds_via: bool) -> bytes:
    """Return `forwarding_lines` for a peer that is not trusted and a request without Via: the common case, remembered."""
    return forwarding_lines({}, Hop(peer_ip, peer_ip, scheme, host.encode("latin-1"), minor, False, adds_via))


@lru_cache(maxsize=1024)  # many requests come over one connection for one host: 0.1 us instead of 1.5
def _own_lines(peer_ip: str, scheme: str, host: bytes) -> bytes:
    """Return the fields of a request that no proxy in front of us is believed about."""
    ip = _plain_ip(peer_ip)
    return _lines(
        forwarded_for=ip or b"unknown",
        proto=scheme.encode("ascii"),
        host=host,
        real_ip=ip,
        forwarded=_element(peer_ip, scheme, host),
    )


def _extended_lines(special: Said, hop: Hop) -> bytes:
    """Return the fields of a request from a trusted peer: what it said, and the peer itself."""
    chain = [value for value in special.get(b"x-forwarded-for", ()) if value]
    if not chain and hop.client_ip != hop.peer_ip:
        chain = [_plain_ip(hop.client_ip)]  # the peer told of its client in another way
    if peer := _plain_ip(hop.peer_ip):  # a Unix socket has no address that could join a list of addresses
        chain.append(peer)
    own = _lines(
        forwarded_for=b", ".join(chain) or b"unknown",
        proto=hop.scheme.encode("ascii"),
        host=_last_member(special.get(b"x-forwarded-host", [])) or hop.host,
        real_ip=_plain_ip(hop.client_ip),
        forwarded=_extended_forwarded(special, hop),
    )
    others = [
        b"%b: %b\r\n" % (name.title(), value)
        for name, values in special.items()
        if name.startswith(b"x-forwarded-" if hop.certificate else (b"x-forwarded-", b"x-ssl-client-")) and name not in _SET_BY_US
        for value in values
    ]
    return own + b"".join(others)


def _extended_forwarded(special: Said, hop: Hop) -> bytes:
    said = special.get(b"forwarded", [])
    if said and forwarded_elements(said):  # what is not valid could swallow what we append
        return b", ".join(said) + b", for=" + _node(hop.peer_ip)
    first = _element(hop.client_ip, hop.scheme, hop.host)
    return first if hop.client_ip == hop.peer_ip else first + b", for=" + _node(hop.peer_ip)


def _lines(*, forwarded_for: bytes, proto: bytes, host: bytes, real_ip: bytes, forwarded: bytes) -> bytes:
    return b"".join(
        (
            b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (forwarded_for, proto),
            b"X-Forwarded-Host: %b\r\n" % host if host else b"",
            b"X-Real-IP: %b\r\n" % real_ip if real_ip else b"",
            b"Forwarded: %b\r\n" % forwarded,
        )
    )


def _element(ip: str, scheme: str, host: bytes) -> bytes:
    """Return one forwarded-element (RFC 7239 section 4)."""
    element = b"for=%b" % _node(ip)
    if host:
        element += b";host=%b" % (host if is_token(host) else b'"%b"' % host)  # a valid host has nothing to escape
    return element + b";proto=" + scheme.encode("ascii")


def _node(ip: str) -> bytes:
    """Return an address as a node (RFC 7239 section 6): IPv6 quoted and in brackets, none is `unknown`."""
    plain = _plain_ip(ip)
    return b'"[%b]"' % plain if b":" in plain else plain or b"unknown"


def _plain_ip(ip: str) -> bytes:
    """Return an address without its zone, which means nothing to others; b"" for a Unix socket."""
    return b"" if ip.startswith("unix:") else ip.partition("%")[0].encode("ascii")


def _last_member(values: list[bytes]) -> bytes:
    return b",".join(values).rpartition(b",")[2].strip(b" \t")


# ------------------------------------------------------------------ fields between neighbours


def connection_lines(special: Said, upgrade: bytes = b"") -> bytes:
    """Return our own Connection for the backend, with the fields that it names, each with its CRLF; often nothing.

    A client that takes trailers (`TE: trailers`) is told of to the backend, because we keep them; `TE` must then be
    nominated (RFC 9110 section 10.1.4), whether or not the client did so. `upgrade` is the protocol asked for, if any.
    """
    takes_trailers = b"te" in special and b"trailers" in list_items(special[b"te"])
    if upgrade:
        lines = b"Connection: upgrade, TE\r\n" if takes_trailers else b"Connection: upgrade\r\n"
        lines += b"Upgrade: %b\r\n" % upgrade
    else:
        lines = b"Connection: TE\r\n" if takes_trailers else b""
    return lines + b"TE: trailers\r\n" if takes_trailers else lines


def max_forwards(method: bytes, special: Said) -> int | None:
    """Return how often an OPTIONS or TRACE may still be forwarded, None for any number (RFC 9110 section 7.6.2).

    With 0 the proxy answers itself; else the backend gets `Max-Forwards` less one. Other methods, and values that
    are not one number, count for nothing.
    """
    values = special.get(b"max-forwards")
    if values is None or method not in (b"OPTIONS", b"TRACE") or len(values) != 1:
        return None
    value = values[0]
    return int(value) if value.isdigit() and len(value) <= _MAX_FORWARDS_DIGITS else None


def request_lines(headers: Headers) -> list[bytes]:
    """Return the request fields of a head that middleware touched as lines, less the ones that `RequestHead.kept` lacks.

    Where a field stands there with dashes, another spelling of it with underscores goes too: to CGI and WSGI both are one
    variable, and what a middleware says of a user (X-User) must not meet what the client said (X_User).
    """
    block = headers.to_block()
    return _known_request_lines(block) if len(block) <= _MOST_KNOWN_BYTES else _request_lines(block)


def _request_lines(block: bytes) -> list[bytes]:
    lines, _ = _sorted(block, REQUEST)
    if any(b"_" in line.partition(b":")[0] for line in lines):
        names = {line.partition(b":")[0].lower() for line in lines}
        lines = [line for line in lines if not _is_twin(line.partition(b":")[0].lower(), names)]
    return lines


def _is_twin(name: bytes, names: set[bytes]) -> bool:
    dashed = name.replace(b"_", b"-")
    return dashed != name and dashed in names


def response_block(headers: Headers, *, keeps_length: bool) -> tuple[bytes, bool, bool]:
    """Return the response fields of a head that middleware touched as they go out, each with its CRLF, less the ones that
    `ResponseHead.kept` lacks, and whether Date and Content-Length are among them. The latter never is unless `keeps_length`.
    """
    block = headers.to_block()
    return (_known_response_block if len(block) <= _MOST_KNOWN_BYTES else _response_block)(block, keeps_length)


def _response_block(block: bytes, keeps_length: bool) -> tuple[bytes, bool, bool]:
    lines, special = _sorted(block, RESPONSE)
    has_length = keeps_length and b"content-length" in special
    if not has_length and b"content-length" in special:
        lines = [line for line in lines if line[:15].lower() != b"content-length:"]
    return b"\r\n".join([*lines, b""]), b"date" in special, has_length


# What middleware adds is often the same for many: a fifth of what a request with one costs. Nobody may change what they return.
_known_request_lines = lru_cache(maxsize=512)(_request_lines)
_known_response_block = lru_cache(maxsize=512)(_response_block)


def _sorted(block: bytes, roles: Roles) -> tuple[list[bytes], Special]:
    lines = block.split(b"\r\n")
    lines.pop()
    # What Connection names is gone already, before anybody touched the fields: see `RequestHead.block`.
    return sort_fields(lines, roles)
