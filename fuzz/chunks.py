"""Target `chunks`: chunked bodies. However they come they hold the same payload, trailers and rest; h11 agrees."""

from __future__ import annotations

from typing import NamedTuple

from fuzz import checks
from fuzz.case import Case, agreed, require
from fuzz.peers import Seen, fields_of, request_in
from greenproxy.protocol.body import ChunkedDecoder, Malformed, encode_chunk, is_forbidden_trailer, last_chunk

MOST_TRAILER_BYTES = (8192, 0, 40, 7)
_HEX = frozenset(b"0123456789abcdefABCDEF")
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    """What came of the bytes. Of a body that is malformed nothing else counts."""

    state: str
    payload: bytes = b""
    trailers: bytes = b""
    excess: bytes = b""


def read(split: list[bytes], most_trailer_bytes: int) -> Read:
    """Return what a decoder makes of bytes that come in these pieces."""
    decoder = ChunkedDecoder(most_trailer_bytes)
    payload = b""
    try:
        for piece in split:
            payload += decoder.feed(piece)
    except Malformed:
        require(not decoder.is_done, "malformed behind the end")
        return Read("malformed")
    return Read("done" if decoder.is_done else "more", payload, decoder.trailers if decoder.is_done else b"", decoder.excess)


def one_input(raw: bytes) -> None:
    """Ask one question. Raises Disagreement."""
    case = Case.of(raw)
    limit = MOST_TRAILER_BYTES[case.kind % len(MOST_TRAILER_BYTES)]
    outcome = agreed(case, lambda split: read(split, limit))
    if outcome.state != "done":
        require(not outcome.excess, "bytes behind a body that has not ended", outcome)
        return
    require(case.data.endswith(outcome.excess), "the rest is not the end of what came", outcome)
    require(not limit or len(outcome.trailers) <= limit, "trailers over their limit", outcome.trailers)
    for name in checks.names(checks.field_lines(outcome.trailers)):
        require(not is_forbidden_trailer(name), "a trailer that is forbidden", name)
    again = read([encode_chunk(outcome.payload) + last_chunk(outcome.trailers) + outcome.excess], limit)
    require(again == outcome, "another body behind us", again, outcome)
    _others_agree(case.data, outcome)


def _others_agree(data: bytes, ours: Read) -> None:
    plain, has_blanks = without_extensions(data)
    _is_read(request_in(HEAD + plain), ours)
    if not has_blanks:
        _is_read(request_in(HEAD + data), ours)


def _is_read(theirs: Seen, ours: Read) -> None:
    require(theirs.is_whole, "h11 refuses a body that we accept, or waits for more", theirs, ours)
    require(theirs.payload == ours.payload, "h11 reads another payload", theirs, ours)
    require(theirs.trailers == fields_of(ours.trailers), "h11 reads other trailers", theirs, ours)
    require(theirs.rest == ours.excess, "h11 ends the body elsewhere", theirs, ours)


def without_extensions(data: bytes) -> tuple[bytes, bool]:
    """Return an accepted body without its chunk extensions, and whether one of them had blanks around.

    Explained: h11 does not know the blanks that RFC 9112 section 7.1.1 lets recipients read there.
    """
    plain, at, has_blanks = b"", 0, False
    while True:
        end = data.index(b"\r\n", at) + 2
        line, at = data[at:end], end
        size, semicolon, _ = line.partition(b";")
        has_blanks |= bool(semicolon) and size != size.rstrip(b" \t")
        size = size.rstrip(b" \t\r\n") if semicolon else size.removesuffix(b"\r\n")
        require(0 < len(size) < 16 and set(size) <= _HEX, "a chunk size that is no number", line)
        plain += size + b"\r\n"
        count = int(size, 16)
        if not count:
            return plain + data[at:], has_blanks
        plain += data[at : at + count + 2]
        at += count + 2
