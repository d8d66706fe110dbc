"""Target `heads`: the head of a request. Whole, byte by byte or in pieces, it means the same; h11 reads what we accept."""

from __future__ import annotations

from typing import NamedTuple

from fuzz import checks
from fuzz.case import Case, agreed, forget, require
from fuzz.peers import Fields, Seen, fields_of, request_in
from greenproxy.errors import HeadTooLarge, ProxyError, UriTooLong
from greenproxy.protocol.body import last_chunk
from greenproxy.protocol.forwarding import Hop, connection_lines, forwarding_lines, max_forwards
from greenproxy.protocol.http1 import NO_LIMITS, HeadLimits, RequestHead, find_head_end, parse_request_head
from greenproxy.protocol.target import Target, parse_target

LIMITS = (NO_LIMITS, HeadLimits(32 * 1024, 100, 8 * 1024), HeadLimits(96, 4, 16), HeadLimits(0, 3, 12), HeadLimits(64, 0, 0))
_MOST_BODY_BYTES = 4096
_TOO_LARGE = (UriTooLong, HeadTooLarge)


class Read(NamedTuple):
    """What came of the bytes: a refusal, or a head and how many bytes it takes; neither while it is incomplete."""

    refusal: type[ProxyError] | None = None
    consumed: int = 0
    values: tuple[object, ...] = ()


def read(split: list[bytes], limits: HeadLimits) -> Read:
    """Return what a connection makes of bytes that come in these pieces."""
    buffer = b""
    try:
        for piece in split:
            searched = len(buffer)
            buffer += piece
            end = find_head_end(buffer, limits, searched)
            if end >= 0:
                head = parse_request_head(buffer[:end], limits)
                return Read(None, end, (_values(head), parse_target(head.target, head.method)))
    except ProxyError as error:
        return Read(type(error))
    return Read()


def _values(head: RequestHead) -> tuple[object, ...]:
    return tuple(getattr(head, name) for name in RequestHead.__slots__)


def _both_refuse(one: Read, other: Read) -> bool:
    """Explained: of a head that is too large and wrong besides, whichever shows first in the bytes that are here is told."""
    both = (one.refusal, other.refusal)
    return None not in both and any(refusal in _TOO_LARGE for refusal in both)


def one_input(raw: bytes) -> None:
    """Ask one question. Raises Disagreement."""
    case = Case.of(raw)
    limits = LIMITS[case.kind % len(LIMITS)]
    outcome = agreed(case, lambda split: read(split, limits), _both_refuse)
    if not outcome.consumed:
        return
    data = case.data[: outcome.consumed]
    forget()
    head = parse_request_head(data, limits)
    target = parse_target(head.target, head.method)
    _holds_limits(head, outcome.consumed, limits)
    _is_safe(head, target)
    _others_agree(data, head)
    _is_forwarded(head, is_trusted=bool(case.mode & 1))


def _holds_limits(head: RequestHead, size: int, limits: HeadLimits) -> None:
    require(not limits.max_head_bytes or size <= limits.max_head_bytes, "a head over its limit", size)
    require(not limits.max_uri_bytes or len(head.target) <= limits.max_uri_bytes, "a target over its limit", head.target)
    count = head.block.count(b"\n")
    require(not limits.max_fields or count <= limits.max_fields, "too many fields", count)


def _is_safe(head: RequestHead, target: Target) -> None:
    lines = checks.field_lines(head.block)
    checks.framed_once(lines)
    checks.travels(checks.field_lines(head.forwarded), is_request=True)
    require(b"\r\n".join([*head.kept, b""]) == head.forwarded, "two opinions on what is forwarded", head.kept, head.forwarded)
    require(set(head.kept) <= set(lines), "a line that nobody sent", head.kept)
    require(not (head.is_chunked and head.content_length is not None), "two framings", head.block)
    require(checks.names(lines).count(b"host") <= 1, "more than one Host", lines)
    require(head.minor == 0 or bool(head.host), "no Host", head.block)
    require(not (head.upgrade and head.has_body), "an upgrade with a body", head.block)
    if target.path not in ("", "*"):
        raw_path = target.origin_form.partition(b"?")[0]
        checks.resolved(target.path, raw_path)
        require(target.query == target.origin_form.partition(b"?")[2].decode("latin-1"), "another query", target)
    is_tunnel = head.method == b"CONNECT"  # never forwarded, so its Host counts for nothing
    require(is_tunnel or not target.authority or target.authority == head.host, "two hosts", target, head.host)


def _body(head: RequestHead) -> bytes | None:
    """Return a body that fits, None for one that is too long to make."""
    if head.is_chunked:
        return last_chunk()
    length = head.content_length or 0
    return b"b" * length if length <= _MOST_BODY_BYTES else None


def _others_agree(data: bytes, head: RequestHead) -> None:
    """Fail unless h11 reads the same head."""
    body = _body(head)
    if body is not None:
        theirs = request_in(data + body)
        _is_read(theirs, (head.method, head.target, b"1.%d" % head.minor), b"" if head.is_chunked else body)
        require(_less_host(theirs.fields) == _less_host(fields_of(head.block)), "h11 reads other fields", theirs, head.block)


def _is_read(theirs: Seen, first: tuple[bytes, ...], payload: bytes) -> None:
    require(theirs.is_whole, "h11 refuses what we accept, or waits for more", theirs)
    require(theirs.first == first, "h11 reads another first line", theirs, first)
    require(theirs.payload == payload, "h11 reads another payload", theirs, payload)
    require(not theirs.rest, "h11 ends the request elsewhere", theirs)


def _less_host(fields: Fields) -> Fields:
    """Explained: beside an absolute-form target Host does not count, and we write its authority there; h11 leaves it."""
    return [field for field in fields if field[0] != b"host"]


def _is_forwarded(head: RequestHead, *, is_trusted: bool) -> None:
    """Fail unless what a backend gets is read, by us and by h11, as what came."""
    body = _body(head)
    if body is None:
        return
    if not head.host:
        head.replace_host(b"fallback")
    hop = Hop("192.0.2.1", "192.0.2.1", "http", head.host, head.minor, is_trusted)
    own = connection_lines(head.special, head.upgrade) + forwarding_lines(head.special, hop)
    hops = max_forwards(head.method, head.special)
    framing = b"Transfer-Encoding: chunked\r\n" if head.is_chunked else b""
    block = head.forwarded + own + framing
    lines = checks.field_lines(block)
    checks.framed_once(lines)
    require(checks.names(lines).count(b"host") == 1, "not one Host", block)
    for name in (b"x-forwarded-for", b"x-forwarded-proto", b"forwarded", b"via"):
        require(checks.names(lines).count(name) == 1, "a claim that does not stand alone", name, block)
    forwarded = b"%b %b HTTP/1.1\r\n%b\r\n" % (head.method, head.target, block)
    again = parse_request_head(forwarded)
    for attribute in ("method", "target", "host", "content_length", "is_chunked", "has_body", "upgrade"):
        now, before = getattr(again, attribute), getattr(head, attribute)
        require(now == before, f"another {attribute} behind us", now, before)
    require(hops is None or hops >= 0, "hops below zero", hops)
    theirs = request_in(forwarded + body)
    _is_read(theirs, (head.method, head.target, b"1.1"), b"" if head.is_chunked else body)
    require(theirs.fields == fields_of(block), "h11 reads other fields behind us", theirs, block)
