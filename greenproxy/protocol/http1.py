"""HTTP/1.x heads: bytes in, RequestHead and ResponseHead out (RFC 9112).

Strict on purpose: a head that two parsers could read differently is refused, never repaired. One possessive regular
expression validates the whole head, so everything behind it may trust the bytes and forward lines as they came.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, TypeVar

from greenproxy.errors import BackendInvalid, BadRequest, HeadTooLarge, ProxyError, UnsupportedVersion, UriTooLong
from greenproxy.protocol.fields import (
    BLOCK,
    HOP_BY_HOP,
    REQUEST,
    RESPONSE,
    TOKEN,
    VALUE,
    Special,
    list_items,
    sort_fields,
    without_nominated,
)
from greenproxy.protocol.framing import content_length, is_chunked_request, is_chunked_response, is_continue_expected
from greenproxy.protocol.head_end import NO_LIMITS, HeadLimits, find_head_end, find_response_head_end, first_fault
from greenproxy.protocol.target import Target, authority_of, valid_host

__all__ = [
    "NO_LIMITS",
    "BodyKind",
    "HeadLimits",
    "RequestHead",
    "ResponseHead",
    "find_head_end",
    "find_response_head_end",
    "parse_request_head",
    "parse_response_head",
    "response_body_kind",
]

# method SP request-target SP HTTP-version CRLF (RFC 9112 section 3). The target is printable ASCII without a fragment: what it
# means is for `target`.
_request_line = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n").match
# *( field-line CRLF ) CRLF (RFC 9112 section 2.1)
_request_fields = re.compile(BLOCK + rb"\r\n").fullmatch
# HTTP-version SP status-code [ SP [ reason-phrase ] ] CRLF, and the fields (section 4)
_response = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + VALUE + rb"))?\r\n(" + BLOCK + rb")\r\n").fullmatch
# A version that is spelt as one (section 2.3), but not ours
_other_version = re.compile(TOKEN + rb" [\x21\x22\x24-\x7e]+ HTTP/([0-9]\.[0-9])\r\n").match

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")}
_PLAIN = {b"host", b"content-length", b"connection"}  # special fields that change nothing of what a backend is told

BodyKind: TypeAlias = Literal["none", "length", "chunked", "eof"]


class RequestHead:
    """One valid request head.

    `block` are all field lines as they came, each with its CRLF (save Host beside an absolute-form target, whose authority
    counts: RFC 9112 section 3.2.2). `seen` is what of it routes and middleware see: not what Connection names, else a client
    could take away what a middleware sets. `kept` are the lines that go to the backend unchanged
    (no CRLF): without hop-by-hop fields, what Connection names, Expect, Max-Forwards and everything that tells of
    forwarding; `forwarded` is the same as bytes, each with its CRLF. `special` has the stripped values of those, and of
    Host and Content-Length, by lower-case name; with `is_plain` there is none that a backend must be told of in another way.
    `host` is the authority of an absolute-form target, else Host; b"" when an HTTP/1.0 request has neither; `host_text` and
    `method_text` are the same as text. `upgrade` is
    the protocol asked for, b"" also when there is a body in front of it. Several heads may share these values: replace, never
    change them. A head may serve several requests that are the same: `resource` is for whoever finds out what its target means,
    `sent` for whoever sends it on, to note what came of it; both are None at first.
    """

    __slots__ = (
        "block", "content_length", "expects_continue", "forwarded", "host", "host_text", "is_chunked", "is_plain", "keep_alive",
        "kept", "method", "method_text", "minor", "resource", "seen", "sent", "special", "target", "upgrade",
    )  # fmt: skip

    block: bytes
    content_length: int | None
    expects_continue: bool
    forwarded: bytes
    host: bytes
    host_text: str
    is_chunked: bool
    is_plain: bool
    keep_alive: bool
    kept: list[bytes]
    method: bytes
    method_text: str
    minor: int
    resource: Target | None
    seen: bytes
    sent: dict[Any, Any] | None
    special: Special
    target: bytes
    upgrade: bytes

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow this head (RFC 9112 section 6.3)."""
        return self.is_chunked or bool(self.content_length)

    def replace_host(self, host: bytes) -> None:
        """Make `host` the Host of this request, in the place of the one that came or before all other fields."""
        self.host = host
        self.host_text = host.decode("latin-1")
        self.kept = _with_host(self.kept, host)
        self.forwarded = _joined(self.kept)
        self.block = b"\r\n".join(_with_host(self.block.split(b"\r\n"), host))
        self.seen = b"\r\n".join(_with_host(self.seen.split(b"\r\n"), host))


def _joined(lines: list[bytes]) -> bytes:
    return b"\r\n".join([*lines, b""])


def _with_host(lines: list[bytes], host: bytes) -> list[bytes]:
    line = b"Host: " + host
    if any(each[:5].lower() == b"host:" for each in lines):
        return [line if each[:5].lower() == b"host:" else each for each in lines]
    return [line, *lines]


def parse_request_head(head: bytes, limits: HeadLimits = NO_LIMITS) -> RequestHead:
    """Return the request whose whole head, CRLFCRLF included, is `head`.

    Raises BadRequest, UnsupportedVersion, UriTooLong, HeadTooLarge (too many fields), UnsupportedTransferCoding or
    UnknownExpectation.
    """
    line = _request_line(head)
    if line is None:
        raise _request_refusal(head, limits)
    request = RequestHead()
    request.resource = request.sent = None
    request.method, request.target, minor = line.groups()
    if limits.max_uri_bytes and len(request.target) > limits.max_uri_bytes:
        raise UriTooLong
    # The fields mean the same whenever they come behind the same version: clients repeat them with every request.
    text = head[line.end() - 3 :]
    known = _known_requests.get(text)
    if known is None:
        known = _read_fields(head, line.end(), minor)
        _known_requests.remember(text, known)
    (
        count, request.minor, request.block, request.seen, request.kept, request.forwarded, request.special, request.is_plain,
        request.content_length, request.is_chunked, request.expects_continue, request.keep_alive, request.upgrade, request.host,
        request.host_text,
    ) = known  # fmt: skip
    method = request.method
    request.method_text = _METHODS[method] if method in _METHODS else method.decode("ascii")
    if limits.max_fields and count > limits.max_fields:
        raise HeadTooLarge
    if request.target[:1] != b"/":
        _heed_target(request)
    return request


def _read_fields(head: bytes, at: int, version: bytes) -> _Fields:
    """Return what the fields behind `at` say, in the order in which `parse_request_head` takes it."""
    if not _request_fields(head, at):
        raise BadRequest
    request = RequestHead()
    request.minor = 1 if version == b"1" else 0
    request.block = head[at:-2]
    lines = request.block.split(b"\r\n")
    lines.pop()  # behind the last CRLF
    request.kept, request.special = sort_fields(lines, REQUEST)
    _frame_request(request)
    _connect_request(request)
    request.seen = _seen_block(request.block, lines, request.special)
    _address_request(request)
    is_plain = request.special.keys() <= _PLAIN and not request.upgrade
    return (
        len(lines), request.minor, request.block, request.seen, request.kept, _joined(request.kept), request.special, is_plain,
        request.content_length, request.is_chunked, request.expects_continue, request.keep_alive, request.upgrade, request.host,
        request.host.decode("latin-1"),
    )  # fmt: skip


def _frame_request(request: RequestHead) -> None:
    """Decide whether and how a body follows (RFC 9112 section 6)."""
    special = request.special
    lengths = special.get(b"content-length")
    codings = special.get(b"transfer-encoding")
    request.content_length = None if lengths is None else content_length(lengths, BadRequest)
    request.is_chunked = codings is not None and is_chunked_request(codings, request.minor, lengths is not None)
    expectations = special.get(b"expect")
    request.expects_continue = expectations is not None and is_continue_expected(expectations, request.minor) and request.has_body


def _connect_request(request: RequestHead) -> None:
    """Read Connection: may the connection stay, which fields go, is an upgrade wanted (RFC 9110 section 7.6.1)."""
    request.upgrade = b""
    request.keep_alive = request.minor == 1
    values = request.special.get(b"connection")
    if values is not None:
        request.keep_alive, request.kept, request.upgrade = _connection(values, request.minor, request.kept, request.special)
        if request.has_body:
            request.upgrade = b""  # some servers take the body for bytes of the new protocol already


def _address_request(request: RequestHead) -> None:
    """Find the host: exactly one Host in HTTP/1.1, at most one in HTTP/1.0, and valid (RFC 9112 section 3.2)."""
    hosts = request.special.get(b"host")
    if hosts is None:
        if request.minor:
            raise BadRequest("The request has no Host.")
        request.host = b""
    else:
        request.host = host = hosts[0]
        if len(hosts) > 1 or not valid_host(host):
            raise BadRequest("The Host of the request is not valid.")


def _heed_target(request: RequestHead) -> None:
    """A target that is no path may say more than the fields (RFC 9112 section 3.2)."""
    if request.method == b"CONNECT" and request.has_body:
        raise BadRequest("A CONNECT request has no body.")  # some readers take what follows for tunnelled bytes
    if authority := authority_of(request.target):
        request.replace_host(authority)


def _connection(values: list[bytes], minor: int, kept: list[bytes], special: Special) -> tuple[bool, list[bytes], bytes]:
    """Return (keep_alive, kept without what Connection names, upgrade) for the values of Connection.

    `close` beats `keep-alive`, which counts in HTTP/1.0 only (RFC 9112 section 9.3). An upgrade is asked for when Connection
    names it, and never in HTTP/1.0 (RFC 9110 section 7.8).
    """
    if len(values) == 1 and (option := values[0].lower()) in (b"keep-alive", b"close"):  # nearly always
        return option == b"keep-alive", kept, b""
    options = list_items(values)
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    upgrade = b", ".join(special.get(b"upgrade", ())) if minor and b"upgrade" in options else b""
    return keep_alive, without_nominated(kept, options), upgrade


def _seen_block(block: bytes, lines: list[bytes], special: Special) -> bytes:
    """Return `block` without what Connection names, save the fields that are about the connection themselves."""
    if b"connection" not in special:
        return block
    options = [option for option in list_items(special[b"connection"]) if option not in HOP_BY_HOP]
    seen = without_nominated(lines, options)
    return block if len(seen) == len(lines) else _joined(seen)


def _request_refusal(head: bytes, limits: HeadLimits) -> ProxyError:
    """Return why a head that is not valid is refused: another version has a status of its own (RFC 9110 section 15.6.6)."""
    if fault := first_fault(head, limits):
        return fault
    other = _other_version(head)
    if other and other[1] not in (b"1.0", b"1.1", b"0.9"):
        return UnsupportedVersion()
    return BadRequest()


# ------------------------------------------------------------------ what was read before

_Fields: TypeAlias = tuple[
    int, int, bytes, bytes, list[bytes], bytes, Special, bool, int | None, bool, bool, bool, bytes, bytes, str
]
_Read = TypeVar("_Read")


class _Known(dict[bytes, _Read]):
    """What valid bytes mean, for bytes that come again: a look-up instead of 2 to 4 us.

    Bounded in entries and in bytes of each, so that heads that never come again cost time, not memory.
    """

    _MOST, _MOST_BYTES = 512, 2048

    def remember(self, text: bytes, meaning: _Read) -> None:
        if len(text) <= self._MOST_BYTES:
            if len(self) >= self._MOST:
                self.clear()
            self[text] = meaning


_known_requests: _Known[_Fields] = _Known()
_known_responses: _Known[ResponseHead] = _Known()


# ------------------------------------------------------------------ responses


class ResponseHead:
    """One valid response head. `kept` are the lines that go to the client unchanged (no CRLF), Content-Length included.

    `forwarded` is how the head begins as a client gets it: the status line and those lines, each with its CRLF. Several
    responses may share one object: never change it. `body_kind` is what `response_body_kind` says of it behind a GET.
    """

    __slots__ = (
        "block", "body_kind", "content_length", "forwarded", "has_date", "is_chunked", "keep_alive", "kept", "minor", "reason",
        "seen", "special", "status", "upgrade",
    )  # fmt: skip

    block: bytes
    body_kind: BodyKind
    content_length: int | None
    forwarded: bytes
    has_date: bool
    is_chunked: bool
    keep_alive: bool
    kept: list[bytes]
    minor: int
    reason: bytes
    seen: bytes
    special: Special
    status: int
    upgrade: bytes


def parse_response_head(head: bytes) -> ResponseHead:
    """Return the response whose whole head, CRLFCRLF included, is `head`. Raises BackendInvalid."""
    known = _known_responses.get(head)
    if known is None:
        known = _read_response(head)
        _known_responses.remember(head, known)
    return known


def _read_response(head: bytes) -> ResponseHead:
    match = _response(head)
    if match is None:
        raise BackendInvalid
    response = ResponseHead()
    minor, status, reason, response.block = match.groups()
    response.minor = 1 if minor == b"1" else 0
    response.status = int(status)
    response.reason = reason or b""
    lines = response.block.split(b"\r\n")
    lines.pop()
    kept, special = sort_fields(lines, RESPONSE)
    response.special = special
    response.has_date = b"date" in special
    lengths = special.get(b"content-length")
    codings = special.get(b"transfer-encoding")
    response.content_length = None if lengths is None else content_length(lengths, BackendInvalid)
    response.is_chunked = codings is not None and is_chunked_response(codings, response.minor, lengths is not None)
    response.keep_alive, response.upgrade, response.seen = response.minor == 1, b"", response.block
    if b"connection" in special:
        response.keep_alive, kept, response.upgrade = _connection(special[b"connection"], response.minor, kept, special)
        response.seen = _seen_block(response.block, lines, special)
    if lengths is not None and (response.status < 200 or response.status == 204):
        # Not allowed there (RFC 9110 section 8.6), though servers do send it.
        kept = [line for line in kept if line[:15].lower() != b"content-length:"]
    if response.status == 204 and (response.content_length or response.is_chunked):
        response.keep_alive = False  # what was announced may come yet, and would be the answer to the next request
    response.kept = kept
    response.forwarded = b"HTTP/1.1 %d %b\r\n%b" % (response.status, response.reason, _joined(kept))
    response.body_kind = response_body_kind(response, b"GET")
    return response


def response_body_kind(head: ResponseHead, method: bytes) -> BodyKind:
    """Return how the body behind a response to `method` ends (RFC 9112 section 6.3)."""
    status = head.status
    if method == b"HEAD" or status < 200 or status in (204, 304) or (method == b"CONNECT" and status < 300):
        return "none"
    if head.is_chunked:
        return "chunked"
    return "eof" if head.content_length is None else "length"
