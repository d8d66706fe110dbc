"""What a proxy must make of a message that it forwards: an own little model, written from the RFCs and from the contract.

It knows nothing of the code that forwards. A field either stays as it was spelt, in its order; or it goes; what comes, comes
behind those that stay.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import NamedTuple

from tests.protocol.oracles import Fields

TRUSTED = ip_network("10.0.0.0/8")
OWN_HOST = b"backend.example.com:8000"

#: Between neighbours only (RFC 9110 section 7.6.1, RFC 9112 section 7.4 and appendix C.2.2).
_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
#: What is said of earlier hops is said anew, and an expectation is the next hop's matter (RFC 9110 sections 7.6.2, 10.1.1).
_SAID_ANEW = {b"forwarded", b"via", b"x-real-ip", b"max-forwards", b"expect"}
#: No connection option takes these away: the message would mean something else.
_FOR_EVERYBODY = {
    b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"authorization", b"cookie",
    b"set-cookie", b"cache-control", b"vary", b"date",
}  # fmt: skip


class Asked(NamedTuple):
    """A request as it came, and from whom. `lines` are its field lines, `has_rest`: some of its body is still to come."""

    method: bytes
    target: bytes
    version: bytes
    lines: list[bytes]
    has_body: bool
    has_rest: bool
    peer: str

    @property
    def is_trusted(self) -> bool:
        return ip_address(self.peer) in TRUSTED

    def said(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return values(self.lines, name)


def name_of(line: bytes) -> bytes:
    """Return a field's name as it compares."""
    return line.partition(b":")[0].lower()


def values(lines: list[bytes], name: bytes) -> list[bytes]:
    """Return the values of each line called `name`."""
    return [line.partition(b":")[2].strip(b" \t") for line in lines if name_of(line) == name]


def members(said: list[bytes]) -> list[bytes]:
    """Return the members of a list field that are not empty."""
    return [member for value in said for each in value.split(b",") if (member := each.strip(b" \t"))]


def _options(lines: list[bytes]) -> set[bytes]:
    return {option.lower() for option in members(values(lines, b"connection"))}


# ------------------------------------------------------------------ requests


def authority(target: bytes) -> bytes:
    """Return the host of an absolute-form target, b"" for another form."""
    scheme, mark, rest = target.partition(b"://")
    return rest.split(b"/")[0].split(b"?")[0] if mark and scheme.lower() in (b"http", b"https") else b""


def origin_form(target: bytes) -> bytes:
    """Return what of a target the backend is asked for (RFC 9112 section 3.2.1)."""
    host = authority(target)
    return target.partition(b"://")[2][len(host) :] if host else target


def _goes(line: bytes, options: set[bytes]) -> bool:
    name = name_of(line)
    dashed = name.replace(b"_", b"-")
    if name in (b"host", b"content-length"):
        return False
    # An underscore is as good as a dash for many backends: no twin of a field that counts gets through.
    counts = _HOP_BY_HOP | _SAID_ANEW | {b"host", b"content-length"}
    if dashed in counts or dashed.startswith(b"x-forwarded-"):
        return True
    return name in options and name not in _FOR_EVERYBODY


def staying(asked: Asked) -> list[bytes]:
    """Return the field lines that travel on, in order. An absolute-form target says the Host; HTTP/1.0 may lack one."""
    host = authority(asked.target)
    lines = [line for line in asked.lines if not _goes(line, _options(asked.lines))]
    if host:
        lines = [b"Host: " + host if name_of(line) == b"host" else line for line in lines]
    if not any(name_of(line) == b"host" for line in lines):
        lines.insert(0, b"Host: " + (host or OWN_HOST))
    return lines


def coming(asked: Asked) -> Fields:
    """Return the fields that the backend gets besides, in any order."""
    fields: Fields = []
    if asked.said(b"transfer-encoding"):
        fields.append((b"transfer-encoding", b"chunked"))
    if asked.has_rest and asked.version == b"1.1" and asked.said(b"expect"):
        fields.append((b"expect", b"100-continue"))
    options = []
    protocol = b", ".join(asked.said(b"upgrade"))
    if (
        asked.version == b"1.1"
        and b"upgrade" in _options(asked.lines)
        and protocol.lower() == b"websocket"
        and not asked.has_body
    ):
        options.append(b"upgrade")
        fields.append((b"upgrade", protocol))
    if b"trailers" in [member.lower() for member in members(asked.said(b"te"))]:
        options.append(b"TE")
        fields.append((b"te", b"trailers"))
    fields += [(b"connection", b", ".join(options))] if options else []
    hops = hops_left(asked)
    fields += [(b"max-forwards", b"%d" % (hops - 1))] if hops is not None else []
    fields.append((b"via", b", ".join([*asked.said(b"via"), b"%b greenproxy" % asked.version])))
    return fields + _about_the_client(asked)


def hops_left(asked: Asked) -> int | None:
    """Return Max-Forwards where it counts (RFC 9110 section 7.6.2)."""
    said = asked.said(b"max-forwards")
    counts = asked.method in (b"OPTIONS", b"TRACE") and len(said) == 1 and said[0].isdigit() and len(said[0]) < 10
    return int(said[0]) if counts else None


def _about_the_client(asked: Asked) -> Fields:
    host = authority(asked.target) or b"".join(asked.said(b"host"))
    client, scheme = _client(asked)
    peer = asked.peer.encode()
    forwarded_for, named, elements = [], host, []
    if asked.is_trusted:
        forwarded_for = [value for value in asked.said(b"x-forwarded-for") if value]
        forwarded_for = forwarded_for or ([client] if client != peer else [])
        named = b"".join(members(asked.said(b"x-forwarded-host"))[-1:]) or host
        elements = asked.said(b"forwarded")
    first = b"for=%b%b;proto=%b" % (_node(client), b";host=" + _quoted(host) if host else b"", scheme)
    hop = b"for=" + _node(peer)
    elements = [*elements, hop] if elements else [first] if client == peer else [first, hop]
    fields = [
        (b"x-forwarded-for", b", ".join([*forwarded_for, peer])),
        (b"x-forwarded-proto", scheme),
        (b"x-real-ip", client),
        (b"forwarded", b", ".join(elements)),
    ]
    fields += [(b"x-forwarded-host", named)] if named else []
    if asked.is_trusted:
        said_anew = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
        others = [line for line in asked.lines if name_of(line).startswith(b"x-forwarded-") and name_of(line) not in said_anew]
        fields += [(name_of(line), line.partition(b":")[2].strip(b" \t")) for line in others]
    return fields


def _client(asked: Asked) -> tuple[bytes, bytes]:
    """Return (address, scheme): the nearest address that is not one of ours, as far as ours vouch for it."""
    if not asked.is_trusted:
        return asked.peer.encode(), b"http"
    said = _elements(asked.said(b"forwarded"))
    chain = members(asked.said(b"x-forwarded-for")) or [element.get(b"for", b"") for element in said]
    chain = chain or asked.said(b"x-real-ip")
    client, depth = asked.peer, 0
    for node in reversed(chain):
        depth += 1
        client = node.decode().strip("[]")
        if ip_address(client) not in TRUSTED:
            break
    schemes = members(asked.said(b"x-forwarded-proto")) or [element.get(b"proto", b"") for element in said]
    scheme = schemes[-min(max(depth, 1), len(schemes))] if schemes else b"http"
    return client.encode(), scheme or b"http"


def _elements(said: list[bytes]) -> list[dict[bytes, bytes]]:
    """Return the elements of Forwarded, as far as canonical messages go: no comma or semicolon is quoted."""
    pairs = [[pair.partition(b"=") for pair in element.split(b";")] for element in members(said)]
    return [{name.strip().lower(): value.strip(b'"') for name, _, value in element} for element in pairs]


def _node(address: bytes) -> bytes:
    return b'"[%b]"' % address if b":" in address else address


def _quoted(host: bytes) -> bytes:
    return b'"%b"' % host if set(host) & set(b":[]();=,") else host  # what is no token is quoted (RFC 7239 section 4)


# ------------------------------------------------------------------ responses


class Answered(NamedTuple):
    """A response as it came, and whom it is for. `is_there`: all of its body came at once."""

    status: bytes
    lines: list[bytes]
    method: bytes
    version: bytes  # the client's
    keeps_alive: bool  # what the client wants
    is_there: bool


def staying_answer(answered: Answered) -> list[bytes]:
    """Return the field lines that the client gets unchanged, in order."""
    options = _options(answered.lines) - _FOR_EVERYBODY
    gone = _HOP_BY_HOP | options | ({b"content-length"} if answered.status == b"204" else set())
    return [line for line in answered.lines if name_of(line) not in gone]


def coming_answer(answered: Answered, payload: bytes) -> tuple[Fields, bool]:
    """Return (the fields that come besides but for Date, whether the connection is said to stay) (RFC 9112 section 6.3)."""
    is_bare = answered.method == b"HEAD" or answered.status in (b"204", b"304")
    has_length = bool(values(answered.lines, b"content-length"))
    keeps_alive = answered.keeps_alive
    fields: Fields = []
    if not is_bare and not has_length:
        if answered.version == b"1.1":
            fields.append((b"transfer-encoding", b"chunked"))
        elif answered.is_there:
            fields.append((b"content-length", b"%d" % len(payload)))
        else:
            keeps_alive = False
    if not keeps_alive:
        fields.append((b"connection", b"close"))
    elif answered.version == b"1.0":
        fields.append((b"connection", b"keep-alive"))
    return fields, keeps_alive
