"""What we accept, h11 and httptools accept and read the same; where they differ, a list says how and why.

This is the proof that no message passes us that somebody else would read in another way (request smuggling).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.protocol.cases import ACCEPTED_CHUNKS, ACCEPTED_REQUESTS, ACCEPTED_RESPONSES, Accepted, request
from tests.protocol.differences import (
    H11_REQUESTS,
    H11_RESPONSES,
    HTTPTOOLS_REQUESTS,
    HTTPTOOLS_RESPONSES,
    Difference,
    explained,
)
from tests.protocol.messages import Meant, canonical_requests, canonical_responses, near_misses
from tests.protocol.oracles import (
    Judgement,
    Reading,
    Verdict,
    as_proxy,
    h11_reads_request,
    h11_reads_response,
    httptools_reads_request,
    httptools_reads_response,
    we_read_request,
    we_read_response,
)
from tests.protocol.reading import NEXT
from tests.tables import for_each


class Reader(NamedTuple):
    """Another parser: what it reads in a message, and where it differs."""

    name: str
    reads: Callable[[bytes, bytes], Judgement]
    differences: list[Difference]


H11 = Reader("h11", lambda data, _: h11_reads_request(data), H11_REQUESTS)
HTTPTOOLS = Reader("httptools", lambda data, _: httptools_reads_request(data), HTTPTOOLS_REQUESTS)
H11_CLIENT = Reader("h11", h11_reads_response, H11_RESPONSES)
HTTPTOOLS_CLIENT = Reader("httptools", lambda data, _: httptools_reads_response(data), HTTPTOOLS_RESPONSES)

SERVERS, CLIENTS = (H11, HTTPTOOLS), (H11_CLIENT, HTTPTOOLS_CLIENT)

servers = pytest.mark.parametrize("reader", SERVERS, ids=lambda reader: reader.name)
clients = pytest.mark.parametrize("reader", CLIENTS, ids=lambda reader: reader.name)


def assert_agrees(reader: Reader, data: bytes, ours: Judgement, method: bytes = b"GET") -> None:
    """Fail unless `reader` reads in `data` what we read there, or what the list says. What we refuse, nobody needs to read."""
    if isinstance(ours, Reading) and not (reader is HTTPTOOLS_CLIENT and method == b"HEAD"):  # it cannot be told of HEAD
        assert reader.reads(data, method) == explained(reader.differences, data, ours), reader.name


# To make up messages takes longer than to read them: both other parsers read the same ones.


class TestCanonical:
    """Messages that are written from the grammar: everybody reads what was meant."""

    @examples(200)
    @given(canonical_requests())
    def test_we_read_a_request_as_it_was_meant(self, meant: Meant) -> None:
        assert we_read_request(meant.data + NEXT) == as_proxy(meant.reading)._replace(excess=NEXT)

    @examples(200)
    @given(canonical_responses())
    def test_we_read_a_response_as_it_was_meant(self, meant: Meant) -> None:
        assert we_read_response(meant.data, meant.method) == meant.reading

    @examples(200)
    @given(meant=canonical_requests())
    def test_other_servers_read_a_request_as_we_do(self, meant: Meant) -> None:
        for reader in SERVERS:
            assert_agrees(reader, meant.data + NEXT, we_read_request(meant.data + NEXT))

    @examples(200)
    @given(meant=canonical_responses())
    def test_other_clients_read_a_response_as_we_do(self, meant: Meant) -> None:
        for reader in CLIENTS:
            assert_agrees(reader, meant.data, we_read_response(meant.data, meant.method), meant.method)


class TestNearMisses:
    """Messages with a few bytes changed, and with more framing than they need: most are refused."""

    @examples(400)
    @given(message=near_misses(canonical_requests()))
    def test_other_servers_read_what_we_accept_as_we_do(self, message: tuple[bytes, bytes]) -> None:
        data = message[0] + NEXT
        for reader in SERVERS:
            assert_agrees(reader, data, we_read_request(data))

    @examples(400)
    @given(message=near_misses(canonical_responses()))
    def test_other_clients_read_what_we_accept_as_we_do(self, message: tuple[bytes, bytes]) -> None:
        for reader in CLIENTS:
            assert_agrees(reader, message[0], we_read_response(*message), message[1])

    @examples(100)
    @given(messages=st.lists(near_misses(canonical_requests()).map(lambda pair: pair[0]) | st.just(NEXT), min_size=2, max_size=3))
    def test_other_servers_see_the_requests_of_a_pipeline_where_we_see_them(self, messages: list[bytes]) -> None:
        data = b"".join(messages)
        while data:
            ours = we_read_request(data)
            for reader in SERVERS:
                assert_agrees(reader, data, ours)
            if isinstance(ours, Verdict) or not ours.keeps_alive:
                break
            data = ours.excess


# ------------------------------------------------------------------ one byte

PLAIN = b"POST /a?b HTTP/1.1\r\nHost: a:81\r\nConnection: close, x\r\nX: y\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nDate: 1\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED_ANSWER = b'HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\n\r\na;b="c"\r\n0123456789\r\n00\r\nX: y\r\n\r\n'
BYTES = [bytes((byte,)) for byte in b"\r\n \t\x0b\x00:,;0a-+\x7f\xff"]


def one_byte_off(data: bytes) -> Iterator[bytes]:
    """Yield `data` with one byte more, one less, another one, or two in the wrong order, at every place."""
    for at in range(len(data)):
        before, here, after = data[:at], data[at : at + 1], data[at + 1 :]
        yield before + after
        yield before + here + here + after
        yield before + after[:1] + here + after[1:]
        yield before + here.swapcase() + after
        for byte in BYTES:
            yield before + byte + after
            yield before + byte + here + after


@servers
@pytest.mark.parametrize("data", [PLAIN, CHUNKED, OLD], ids=["length", "chunked", "HTTP/1.0"])
def test_no_single_byte_makes_another_server_read_another_request(reader: Reader, data: bytes) -> None:
    for changed in set(one_byte_off(data)):
        assert_agrees(reader, changed + NEXT, we_read_request(changed + NEXT))


@clients
@pytest.mark.parametrize("data", [ANSWER, CHUNKED_ANSWER], ids=["length", "chunked"])
def test_no_single_byte_makes_another_client_read_another_response(reader: Reader, data: bytes) -> None:
    for changed in set(one_byte_off(data)):
        assert_agrees(reader, changed, we_read_response(changed, b"GET"))


# ------------------------------------------------------------------ the tables

ROWS = [
    *ACCEPTED_REQUESTS,
    *(
        row._replace(data=request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1", body=row.data))
        for row in ACCEPTED_CHUNKS
    ),
]


@servers
def test_another_server_reads_the_accepted_rows_as_we_do(reader: Reader) -> None:
    def agrees(row: Accepted) -> None:
        ours = we_read_request(row.data + NEXT)
        assert isinstance(ours, Reading)
        assert_agrees(reader, row.data + NEXT, ours)

    for_each(ROWS, agrees)


@clients
def test_another_client_reads_the_accepted_responses_as_we_do(reader: Reader) -> None:
    def agrees(row: Accepted) -> None:
        ours = we_read_response(row.data, b"GET")
        assert isinstance(ours, Reading)
        assert_agrees(reader, row.data, ours)

    for_each(ACCEPTED_RESPONSES, agrees)


# ------------------------------------------------------------------ the list

LISTED = [(reader, each) for reader in (H11, HTTPTOOLS, H11_CLIENT, HTTPTOOLS_CLIENT) for each in reader.differences]


@pytest.mark.parametrize(("reader", "difference"), LISTED, ids=[f"{reader.name}: {each.name}" for reader, each in LISTED])
def test_a_listed_difference_is_there(reader: Reader, difference: Difference) -> None:
    """When the other parser has changed its mind, its row must go."""
    is_request = reader in (H11, HTTPTOOLS)
    ours = we_read_request(difference.example) if is_request else we_read_response(difference.example, b"GET")
    assert isinstance(ours, Reading)
    theirs = reader.reads(difference.example, b"GET")
    assert theirs != ours
    assert theirs == difference.theirs(difference.example, ours)
