"""The request target and the host: which resource is meant (RFC 9112 section 3.2, RFC 3986).

The backend gets the raw target, routes see `path`: decoded, dot segments resolved, duplicate slashes merged. So
whatever could make the two differ in meaning is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from greenproxy.errors import BadRequest

_MAX_REMEMBERED_BYTES = 256
_MAX_HOST_BYTES = 262  # a name of 255, a colon, a port; longer ones are not worth remembering either

# RFC 3986 sections 3.2.2 and 3.2.3, less what readers differ on: see `valid_host`.
_LABEL = rb"[-_~!$&'()*+;=0-9A-Za-z]+"
_host = re.compile(rb"(?:" + _LABEL + rb"(?:\." + _LABEL + rb")*\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?").fullmatch
_absolute = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL).fullmatch
# What a raw path may not hold, since readers differ on what it is.
_ambiguous = re.compile(
    rb"""
      %(?![0-9A-Fa-f]{2})                               # no escape                               (RFC 3986 section 2.1)
    | %00                                               # some end the path at a NUL
    | %2[Ff]                                            # a slash, or a part of a segment         (section 2.2)
    | \\ | %5[Cc]                                       # no sign of a URI; to some it is a slash (section 3.3)
    | %[Cc][01]%[89AaBb] | %[Ee]0%[89] | %[Ff]0%8       # more bytes of UTF-8 than it takes: to some a dot or a slash
                                                        #                                         (RFC 3629 section 3)
    | /(?: %2[Ee]\.? | \.%2[Ee] | %2[Ee]%2[Ee] )(?= [/;] | %3[Bb] | \Z )
                                                        # `.` or `..` once decoded, but not before (section 6.2.2.3)
    """,
    re.VERBOSE,
).search
# A folder that is nothing but a parameter, `/;x/`: servers that cut parameters off (RFC 3986 section 3.3) have an empty segment
# there. (`/;x` at the end is a session's id.)
_parameter_folder = re.compile("/;[^/]*/").search


class Target(NamedTuple):
    """What a request asks for.

    `path` is for matching (bytes that are no UTF-8 are surrogate escapes, as in `os.fsdecode`), `query` is raw and without
    its `?`. `origin_form` goes to the backend, and is `text`. `authority` is empty unless the target has one.
    """

    path: str
    query: str
    origin_form: bytes
    authority: bytes = b""
    text: str = ""


def parse_target(target: bytes, method: bytes) -> Target:
    """Return what `target` means (RFC 9112 sections 3.2.1 to 3.2.4).

    That is origin-form, absolute-form (http, https), authority-form (CONNECT) or asterisk-form (OPTIONS).

    Raises BadRequest for any other form and for a path that could be read in two ways.
    """
    if target[:1] == b"/" and method != b"CONNECT":
        return _remembered_path(target) if len(target) <= _MAX_REMEMBERED_BYTES else _origin_form(target)
    if b"#" in target:  # never sent (RFC 9110 section 7.1)
        raise BadRequest("The request target has a fragment.")
    if method == b"CONNECT":
        if not _has_port(target) or not valid_host(target):
            raise BadRequest
        return Target("", "", target, target, target.decode("ascii"))
    if target == b"*" and method == b"OPTIONS":
        return Target("*", "", target, text="*")
    absolute = _absolute_form(target)
    if absolute is None:
        raise BadRequest("The request target has no form that is served here.")
    authority, rest = absolute
    if not rest and method == b"OPTIONS":  # about the server, as `*` is (RFC 9112 section 3.2.4)
        return Target("*", "", b"*", authority, "*")
    origin_form = rest if rest[:1] == b"/" else b"/" + rest
    raw_path, _, query = origin_form.partition(b"?")
    return Target(_resolved(raw_path), query.decode("latin-1"), origin_form, authority, origin_form.decode("latin-1"))


def _origin_form(target: bytes) -> Target:
    if b"#" in target:
        raise BadRequest("The request target has a fragment.")
    raw_path, _, query = target.partition(b"?")
    return Target(_resolved(raw_path), query.decode("latin-1"), target, text=target.decode("latin-1"))


_remembered_path = lru_cache(maxsize=1024)(_origin_form)  # what is asked for is asked for again: 0.1 us instead of 0.8


def authority_of(target: bytes) -> bytes:
    """Return the authority of an absolute-form target, b"" for any other form. Raises BadRequest if it is not valid."""
    absolute = _absolute_form(target)
    return b"" if absolute is None else absolute[0]


def _absolute_form(target: bytes) -> tuple[bytes, bytes] | None:
    """Return (authority, path and query) of an absolute-form target."""
    match = _absolute(target)
    if match is None:
        return None
    if not valid_host(match[1]):  # user information is not either (RFC 9110 section 4.2.4)
        raise BadRequest("The host of the request target is not valid.")
    return match[1], match[2]


def _has_port(authority: bytes) -> bool:
    return authority.rpartition(b":")[2].isdigit() and b":" in authority


def _resolved(raw_path: bytes) -> str:
    """Return the path that routes see: decoded (RFC 3986 section 6.2.2.2), without dots. Raises BadRequest."""
    if (b"%" in raw_path or b"\\" in raw_path) and _ambiguous(raw_path):
        raise BadRequest("The path of the request is not valid.")
    path = (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode("utf-8", "surrogateescape")
    if "/;" in path and _parameter_folder(path):
        raise BadRequest("The path of the request is not valid.")
    if "/." in path or "//" in path:
        return _without_dots(path)
    return path


def _without_dots(path: str) -> str:
    """Return `path` with dot segments resolved (RFC 3986 section 5.2.4) and empty segments merged.

    Raises BadRequest for `..` above the root, for one that removes an empty segment (merging first would give another
    path), and for dots with a parameter, `/..;x/`, which some servers take for dots.
    """
    parts = path.split("/")[1:]
    segments: list[str] = []
    for part in parts:
        if part == "..":
            if not segments or not segments.pop():
                raise BadRequest("The path of the request is not valid.")
        elif part.startswith((".;", "..;")):
            raise BadRequest("The path of the request is not valid.")
        elif part != ".":
            segments.append(part)
    resolved = "/".join(filter(None, segments))
    is_folder = resolved and parts[-1] in ("", ".", "..")
    return f"/{resolved}/" if is_folder else f"/{resolved}"


def valid_host(host: bytes) -> bool:
    """Tell whether `host` is a name, an IPv4 address or a bracketed IPv6 address, with an optional port up to 65535.

    Stricter than RFC 3986 section 3.2.2: no percent-encoding, which only some decode before they compare; no comma, which
    may join two hosts; no empty labels, no other literals than IPv6. The port may be empty (section 3.2.3).
    """
    return len(host) <= _MAX_HOST_BYTES and _is_host(host)


@lru_cache(maxsize=1024)  # a site has few hosts: 60 ns instead of 500
def _is_host(host: bytes) -> bool:
    match = _host(host)
    if match is None or (match[2] and int(match[2]) > 65535):
        return False
    if match[1]:
        try:
            IPv6Address(match[1].decode("ascii"))
        except ValueError:
            return False
    return True
