"""Field lines: their grammar, which of them matter to a proxy, and which never travel on.

One table per direction says what a name is to us. `sort_fields` reads every line once: what the other side
gets unchanged is `kept`, what a proxy must understand or replace is `special`.
"""

from __future__ import annotations

import re
from typing import TypeAlias

TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
VALUE = rb"[\t\x20-\x7e\x80-\xff]*"  # RFC 9110 section 5.5: no control but the tab
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'  # RFC 9110 section 5.6.4
#: No white space before the colon, no folded line, CRLF and nothing else (RFC 9112 sections 5.1, 5.2 and 2.2).
FIELD = TOKEN + rb":" + VALUE + rb"\r\n"
#: Many field lines. Possessive: linear in its length, whatever a client thinks of.
BLOCK = rb"(?:" + FIELD + rb")*+"

is_token = re.compile(TOKEN).fullmatch

Special: TypeAlias = dict[bytes, list[bytes]]

# For one hop only, whether or not Connection names them (RFC 9110 section 7.6.1, RFC 9112 appendix C.2.2). HTTP2-Settings
# went with `Upgrade: h2c` (RFC 7540 section 3.2.1): a backend that finds it might speak HTTP/2 behind our back.
HOP_BY_HOP = frozenset(
    {b"connection", b"http2-settings", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
)
# Who asked before us, every X-Forwarded-* (RFC 7239 section 4, RFC 9110 section 7.6.3) and whose certificate was verified,
# X-SSL-Client-*: see `forwarding`.
FORWARDING = frozenset({b"forwarded", b"via", b"x-real-ip"})

_ONLY_SEEN = frozenset({b"host", b"content-length", b"date"})  # special, but they travel on in their place
# Beside those: Expect is answered or passed on anew (section 10.1.1), Max-Forwards counted down (section 7.6.2).
_REQUEST_SPECIAL = HOP_BY_HOP | FORWARDING | {b"expect", b"max-forwards", b"host", b"content-length"}
_RESPONSE_SPECIAL = HOP_BY_HOP | {b"content-length", b"date"}

# A connection option that names one of these is ignored: they are meant for all recipients (RFC 9110 section 7.6.1),
# and a message that lost them would mean something else.
_NOT_NOMINABLE = {
    b"host", b"content-length", b"content-type", b"content-encoding", b"content-range", b"authorization",
    b"cookie", b"set-cookie", b"cache-control", b"vary", b"date",
}  # fmt: skip

_MAX_KNOWN_NAMES = 2048
_MAX_KNOWN_NAME_BYTES = 64
_DROPPED = b""  # the role of a name that nobody wants to see


def is_forwarding(name: bytes) -> bool:
    """Tell whether a lower-case name, dashes for underscores, is one that only trusted proxies may set."""
    return name in FORWARDING or name.startswith((b"x-forwarded-", b"x-ssl-client-"))


class Roles(dict[bytes, bytes | None]):
    """What a field is to us, by its name as spelt: None for an ordinary one, its lower-case name, or _DROPPED.

    A dict that remembers: `lower` and the search for X-Forwarded-* become one look-up for every name seen before (nine
    fields: 1.2 us instead of 2.7). It is bounded, so that invented names cost time, not memory.
    """

    def __init__(self, special: frozenset[bytes], *, is_request: bool) -> None:
        super().__init__()
        self._special = special
        self._is_request = is_request

    def __missing__(self, name: bytes) -> bytes | None:
        role = self._classify(name.lower())
        if len(self) < _MAX_KNOWN_NAMES and len(name) <= _MAX_KNOWN_NAME_BYTES:
            self[name] = role
        return role

    def _classify(self, name: bytes) -> bytes | None:
        if name in self._special:
            return name
        if not self._is_request:
            return None
        dashed = name.replace(b"_", b"-")
        if name != dashed and (dashed in self._special or is_forwarding(dashed)):
            # CGI and WSGI read both spellings as HTTP_X_FORWARDED_FOR (RFC 3875 section 4.1.18): the twin is believed from
            # nobody.
            return _DROPPED
        return name if is_forwarding(name) else None


REQUEST = Roles(_REQUEST_SPECIAL, is_request=True)
RESPONSE = Roles(_RESPONSE_SPECIAL, is_request=False)


def sort_fields(lines: list[bytes], roles: Roles) -> tuple[list[bytes], Special]:
    """Return (kept, special) of valid field lines without their CRLF.

    `kept` are the lines that travel on unchanged, in order; `special` are stripped values by lower-case name. Host,
    Content-Length and Date are in both. What Connection names is still in `kept`: see `without_nominated`.
    """
    kept: list[bytes] = []
    special: Special = {}
    for line in lines:
        name, _, value = line.partition(b":")
        role = roles[name]
        if role is None:
            kept.append(line)
        elif role is not _DROPPED:
            if role in special:
                special[role].append(value.strip(b" \t"))
            else:
                special[role] = [value.strip(b" \t")]
            if role in _ONLY_SEEN:
                kept.append(line)
    return kept, special


def list_items(values: list[bytes]) -> list[bytes]:
    """Return the lower-case members of a comma-separated field given as its lines' values (RFC 9110 section 5.6.1).

    Empty members are left out.
    """
    return [item for each in b",".join(values).lower().split(b",") if (item := each.strip(b" \t"))]


def without_nominated(kept: list[bytes], options: list[bytes]) -> list[bytes]:
    """Return the lines that the connection options do not name (RFC 9110 section 7.6.1)."""
    nominated = {option for option in options if option not in _NOT_NOMINABLE}
    return [line for line in kept if line.partition(b":")[0].lower() not in nominated]
