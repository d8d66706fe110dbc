"""Target `answers`: what a backend says: interim heads, the head, the body in its framing, as `proxy.attempt` reads them."""

from __future__ import annotations

from typing import NamedTuple

from fuzz import checks
from fuzz.case import Case, agreed, require
from fuzz.peers import answer_in, fields_of
from greenproxy.errors import BackendInvalid
from greenproxy.protocol.body import BodyDecoder, ChunkedDecoder, EofDecoder, LengthDecoder, Malformed
from greenproxy.protocol.http1 import ResponseHead, find_response_head_end, parse_response_head, response_body_kind
from greenproxy.proxy.attempt import MAX_HEAD_BYTES, MAX_TRAILER_BYTES

METHODS = (b"GET", b"HEAD", b"POST", b"CONNECT", b"OPTIONS")
LIMITS = (MAX_HEAD_BYTES, 0, 48)


class Read(NamedTuple):
    """What came of the bytes: `state` is refused, headless, malformed, truncated, complete or switched (behind a 101)."""

    state: str
    interim: tuple[int, ...] = ()
    head: ResponseHead | None = None
    kind: str = ""
    payload: bytes = b""
    trailers: bytes = b""
    excess: bytes = b""

    @property
    def is_reusable(self) -> bool:
        """Whether a connection is good for another request behind it."""
        return (
            self.state == "complete" and self.kind != "eof" and not self.excess and self.head is not None and self.head.keep_alive
        )


def read(split: list[bytes], method: bytes, limit: int = MAX_HEAD_BYTES) -> Read:
    """Return what comes of an answer to `method` whose bytes come in these pieces and end then."""
    buffer, searched = b"", 0
    interim: list[int] = []
    coming = iter(split)
    for piece in coming:
        buffer += piece
        try:
            while (end := find_response_head_end(buffer, limit, searched)) >= 0:
                head = parse_response_head(buffer[:end])
                buffer, searched = buffer[end:], 0
                if head.status == 101:
                    return Read("switched", tuple(interim), head, excess=buffer + b"".join(coming))
                if head.status >= 200:
                    return _with_body([buffer, *coming], tuple(interim), head, response_body_kind(head, method))
                interim.append(head.status)
        except BackendInvalid:
            return Read("refused", tuple(interim))
        searched = len(buffer)
    return Read("headless", tuple(interim))


def _with_body(split: list[bytes], interim: tuple[int, ...], head: ResponseHead, kind: str) -> Read:
    decoder = _decoder(head, kind)
    payload = b""
    try:
        for piece in split:
            payload += decoder.feed(piece)
    except Malformed:
        return Read("malformed", interim, head, kind)
    if isinstance(decoder, EofDecoder):
        decoder.finish()
    state = "complete" if decoder.is_done else "truncated"
    trailers = decoder.trailers if isinstance(decoder, ChunkedDecoder) and decoder.is_done else b""
    return Read(state, interim, head, kind, payload, trailers, decoder.excess)


def _decoder(head: ResponseHead, kind: str) -> BodyDecoder:
    if kind == "chunked":
        return ChunkedDecoder(MAX_TRAILER_BYTES)
    return EofDecoder() if kind == "eof" else LengthDecoder(head.content_length or 0 if kind == "length" else 0)


def one_input(raw: bytes) -> None:
    """Ask one question. Raises Disagreement."""
    case = Case.of(raw)
    method, limit = METHODS[case.kind % len(METHODS)], LIMITS[case.mode % len(LIMITS)]
    outcome = agreed(case, lambda split: _comparable(read(split, method, limit)))
    ours = read([case.data], method, limit)
    require(_comparable(ours) == outcome, "another answer the next time", outcome)
    if ours.head is not None:
        _is_safe(ours.head)
    if ours.state == "complete" and method != b"CONNECT":
        _others_agree(case.data, method, ours)


def _comparable(outcome: Read) -> tuple[object, ...]:
    head = outcome.head
    values = None if head is None else tuple(getattr(head, name) for name in ResponseHead.__slots__)
    return (*outcome._replace(head=None), values)


def _is_safe(head: ResponseHead) -> None:
    lines = checks.field_lines(head.block)
    checks.framed_once(lines)
    checks.travels(head.kept, is_request=False)
    require(set(head.kept) <= set(lines), "a line that nobody sent", head.kept)
    first, _, block = head.forwarded.partition(b"\r\n")
    require(checks.field_lines(block) == head.kept, "two opinions on what is forwarded", head.kept, block)
    require(first == b"HTTP/1.1 %d %b" % (head.status, head.reason), "another first line", first)
    has_length = b"content-length" in checks.names(head.kept)
    require(not (has_length and (head.status < 200 or head.status == 204)), "a length where none may be", head.kept)


def _others_agree(data: bytes, method: bytes, ours: Read) -> None:
    """Fail unless h11 reads the same answer."""
    head = ours.head
    assert head is not None
    theirs = answer_in(data, method, is_ended=ours.kind == "eof")
    require(theirs.is_whole, "h11 refuses an answer that we accept, or waits for more", theirs, ours)
    require(tuple(status for status, _ in theirs.interim) == ours.interim, "h11 reads other interim heads", theirs, ours)
    require(theirs.first == (head.status, head.reason), "h11 reads another status", theirs, ours)
    require(theirs.fields == fields_of(head.block), "h11 reads other fields", theirs, head.block)
    require(theirs.payload == ours.payload, "h11 reads another payload", theirs, ours)
    require(theirs.trailers == fields_of(ours.trailers), "h11 reads other trailers", theirs, ours)
    require(theirs.rest == ours.excess, "h11 ends the answer elsewhere", theirs, ours)
