"""What we accept, h11 and httptools accept and read the same; where they differ, it is on a list that says why.

This is the proof that no message passes us that somebody else would read in another way (request smuggling).
"""

from __future__ import annotations

import httptools
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from greenproxy.errors import ProxyError
from greenproxy.protocol.body import Malformed, encode_chunk, last_chunk
from greenproxy.protocol.forwarding import Hop, connection_lines, forwarding_lines
from greenproxy.protocol.http1 import find_head_end, parse_request_head
from greenproxy.protocol.target import parse_target
from tests.protocol.cases import ACCEPTED_CHUNKS, ACCEPTED_REQUESTS, ACCEPTED_RESPONSES, Accepted, request
from tests.protocol.messages import requests, responses
from tests.protocol.oracles import (
    Reading,
    fields_of,
    h11_reads_request,
    h11_reads_response,
    httptools_reads_request,
    httptools_reads_response,
    our_reading,
)
from tests.protocol.reading import NEXT, read_request, read_response

EXAMPLES = 400


def read_by_us(data: bytes) -> Reading | None:
    """Return what we read in the one request at the beginning of `data`, None if we refuse it or want more."""
    try:
        message = read_request([data])
        if message.head is None or not message.is_done:
            return None
        parse_target(message.head.target, message.head.method)
    except (ProxyError, Malformed):
        return None
    return our_reading(message)


def answer_read_by_us(data: bytes, method: bytes) -> Reading | None:
    """Return what we read in the one response at the beginning of `data`, None if we refuse it or want more."""
    try:
        message = read_response([data], method)
    except (ProxyError, Malformed):
        return None
    if message.head is None or not message.is_done or message.head.status < 200:
        return None
    return our_reading(message)


# What llhttp knows of what chance makes of the methods in `messages`; it refuses private methods (RFC 9110 section 9.1
# does not: backends may well serve them).
HTTPTOOLS_METHODS = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"CONNECT", b"M-SEARCH")


def is_unknown_to_httptools(ours: Reading) -> bool:
    """Explained: a method that httptools does not know. It refuses the request, so it reads nothing else in it."""
    return ours.first_line[0] not in HTTPTOOLS_METHODS


def ends_http_for_httptools(ours: Reading) -> bool:
    """Explained: behind CONNECT or the head of an upgrade httptools stops.

    With a body that would be a difference that matters: we refuse the one, and pass the other on without its Upgrade.
    """
    asks = any(name == b"connection" and b"upgrade" in value.lower() for name, value in ours.fields)
    return ours.first_line[0] == b"CONNECT" or (asks and b"upgrade" in dict(ours.fields))


@settings(max_examples=EXAMPLES, deadline=None)
@given(requests())
def test_h11_reads_every_request_that_we_accept_in_the_same_way(data: bytes) -> None:
    ours = read_by_us(data + NEXT)
    event("accepted" if ours else "refused")
    if ours is not None:
        assert h11_reads_request(data + NEXT) == ours


def assert_httptools_agrees(data: bytes, ours: Reading) -> None:
    """Fail unless httptools reads the same in exactly the bytes that are the request for us, or the list says why."""
    exactly = data[: len(data) - len(ours.excess)]
    if is_unknown_to_httptools(ours):
        with pytest.raises((httptools.HttpParserError, EOFError)):
            httptools_reads_request(exactly)
        return
    try:
        theirs = httptools_reads_request(exactly)
    except httptools.HttpParserUpgrade:
        assert ends_http_for_httptools(ours)
        assert not ours.payload or parse_request_head(data[: find_head_end(data)]).upgrade == b""
        return
    assert theirs.first_line == ours.first_line
    assert theirs.payload == ours.payload
    assert theirs.fields == ours.fields + ours.trailers


@settings(max_examples=EXAMPLES, deadline=None)
@given(requests())
def test_httptools_reads_every_request_that_we_accept_in_the_same_way(data: bytes) -> None:
    ours = read_by_us(data)
    if ours is not None:
        assert_httptools_agrees(data, ours)


@settings(max_examples=EXAMPLES, deadline=None)
@given(responses(), st.sampled_from(["GET", "HEAD"]))
def test_h11_reads_every_response_that_we_accept_in_the_same_way(data: bytes, method: str) -> None:
    ours = answer_read_by_us(data, method.encode())
    event("accepted" if ours else "refused")
    if ours is not None:
        assert h11_reads_response(data, method) == ours


@settings(max_examples=EXAMPLES, deadline=None)
@given(responses())
def test_httptools_reads_every_response_that_we_accept_in_the_same_way(data: bytes) -> None:
    ours = answer_read_by_us(data, b"GET")
    if ours is not None:
        theirs = httptools_reads_response(data[: len(data) - len(ours.excess)])
        assert (theirs.first_line[0], theirs.first_line[2]) == (ours.first_line[0], ours.first_line[2])
        assert (theirs.payload, theirs.fields) == (ours.payload, ours.fields + ours.trailers)


@settings(max_examples=EXAMPLES, deadline=None)
@given(requests(), st.booleans())
def test_what_we_forward_is_what_we_read(data: bytes, is_trusted: bool) -> None:
    try:
        message = read_request([data])
    except (ProxyError, Malformed):
        return
    head = message.head
    if head is None or not message.is_done:
        return
    if not head.host:
        head.replace_host(b"fallback")
    hop = Hop("10.0.0.1", "10.0.0.1", "http", head.host, head.minor, is_trusted)
    framing = b"Transfer-Encoding: chunked\r\n" if head.is_chunked else b""
    body = encode_chunk(message.payload) + last_chunk(message.trailers) if head.is_chunked else message.payload
    lines = connection_lines(head.special) + forwarding_lines(head.special, hop) + framing
    fields = b"\r\n".join(head.kept) + b"\r\n" + lines
    forwarded = h11_reads_request(b"%b %b HTTP/1.1\r\n%b\r\n%b%b" % (head.method, head.target, fields, body, NEXT))
    assert forwarded.first_line == (head.method, head.target, b"1.1")
    assert forwarded.fields == fields_of(fields)
    assert (forwarded.payload, forwarded.trailers) == (message.payload, fields_of(message.trailers))
    assert forwarded.excess == NEXT


@pytest.mark.parametrize("row", ACCEPTED_REQUESTS, ids=[row.name for row in ACCEPTED_REQUESTS])
def test_both_read_the_accepted_rows_in_the_same_way(row: Accepted) -> None:
    ours = our_reading(read_request([row.data]))
    assert h11_reads_request(row.data) == ours
    assert_httptools_agrees(row.data, ours)


@pytest.mark.parametrize("row", ACCEPTED_CHUNKS, ids=[row.name for row in ACCEPTED_CHUNKS])
def test_both_read_the_accepted_chunks_in_the_same_way(row: Accepted) -> None:
    data = request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1", body=row.data)
    ours = our_reading(read_request([data]))
    assert h11_reads_request(data) == ours
    assert_httptools_agrees(data, ours)


@pytest.mark.parametrize("row", ACCEPTED_RESPONSES, ids=[row.name for row in ACCEPTED_RESPONSES])
def test_h11_reads_the_accepted_responses_in_the_same_way(row: Accepted) -> None:
    assert h11_reads_response(row.data, "GET") == our_reading(read_response([row.data]))
