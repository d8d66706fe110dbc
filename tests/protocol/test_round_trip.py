"""Parse, forward, parse again: the same message, less what must go, plus what must come.

What goes and comes stands in `forwarded`, an own model. The bytes that leave are read by our parser, h11 and httptools. What
was forwarded can be forwarded again, be the next proxy's peer trusted or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st

from greenproxy.deadline import Patience
from greenproxy.errors import ClientGone, ProxyError
from greenproxy.exchange import Exchange
from greenproxy.messages import NO_BODY, ClientAddress, Request, Response
from greenproxy.net.relay import RelayBody
from greenproxy.protocol.body import ChunkedDecoder, encode_chunk, last_chunk
from greenproxy.protocol.forwarding import effective_client
from greenproxy.protocol.http1 import find_head_end, find_response_head_end, parse_request_head, parse_response_head
from greenproxy.protocol.target import parse_target
from greenproxy.proxy.outgoing import Outgoing
from greenproxy.proxy.upload import Upload
from greenproxy.server.reply import Reply
from tests.examples import examples
from tests.protocol import forwarded
from tests.protocol.differences import HTTPTOOLS_REQUESTS, HTTPTOOLS_RESPONSES, explained
from tests.protocol.forwarded import OWN_HOST, Answered, Asked
from tests.protocol.messages import Framed, Meant, canonical_requests, canonical_responses, chunked_bodies, near_misses
from tests.protocol.oracles import (
    Fields,
    Reading,
    fields_of,
    h11_reads_request,
    h11_reads_response,
    httptools_reads_request,
    httptools_reads_response,
    we_read_request,
    we_read_response,
)
from tests.protocol.reading import NEXT
from tests.proxy.requests import ComingBody

PEERS = st.sampled_from(["10.1.1.1", "192.0.2.7", "2001:db8::7"])
CUTS = st.lists(st.integers(0, 60), max_size=4).map(sorted)
PATIENCE = Patience(1.0, ClientGone)


class Wire:
    """A stream that keeps what is sent, and a recycler that runs what it is given at once."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes, _: object = None) -> None:
        self.sent += data

    def end_with_next_send(self) -> None:
        """Nothing ends here but the test."""

    def spawn(self, run: Callable[[], None]) -> None:
        run()


def pieces_of(payload: bytes, cuts: list[int]) -> list[bytes]:
    """Return the payload cut at these places; pieces may be empty."""
    places = [0, *[min(cut, len(payload)) for cut in cuts], len(payload)]
    return [payload[begin:end] for begin, end in itertools.pairwise(places)]


# ------------------------------------------------------------------ requests


def asked_in(data: bytes, reading: Reading, *, peer: str, has_rest: bool) -> Asked:
    """Return the request in `data` as the model takes it."""
    _, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    has_body = any(name == b"transfer-encoding" for name, _ in reading.fields) or bool(reading.payload)
    method, target, version = reading.first_line
    return Asked(method, target, version, lines, has_body, has_body and has_rest, peer)


def forward(data: bytes, reading: Reading, asked: Asked, cuts: list[int]) -> bytes:
    """Return what the backend gets: the request goes through the proxy's own hands, its body in pieces."""
    head = parse_request_head(data[: find_head_end(data)])
    target = parse_target(head.target, head.method)
    first, *later = pieces_of(reading.payload, cuts)
    later = [piece for piece in later if piece] or [b""]
    expects = head.expects_continue
    trailers = b"".join([b"%b: %b\r\n" % field for field in reading.trailers])
    if not asked.has_rest:
        first, later = reading.payload, []
    body = ComingBody(first, later, trailers=trailers, expects_continue=expects) if head.has_body else NO_BODY
    host = (target.authority or head.host).decode()
    request = Request(head.method.decode(), target.origin_form.decode(), path=target.path, host=host, raw=head, body=body)
    request.peer, request.is_peer_trusted = ClientAddress(asked.peer, 1), asked.is_trusted
    ip, scheme = effective_client(asked.peer, head.special, [ip_network("10.0.0.0/8")])
    request.client, request.scheme = ClientAddress(ip, 1), scheme or "http"
    outgoing = Outgoing(request, head, via=True, hops=forwarded.hops_left(asked))
    wire: Any = Wire()
    wire.send(outgoing.head(OWN_HOST, replaces_host=False))
    if outgoing.held is not None:
        wire.send(outgoing.held)
    else:
        chunked = outgoing.is_chunked
        ended: list[bool] = []
        Upload(
            outgoing.first, outgoing.rest(), lambda: trailers, wire, PATIENCE, ended.append, is_chunked=chunked
        ).start(wire)  # fmt: skip
        assert ended == [True]
    return bytes(wire.sent)


def assert_forwarded(data: bytes, reading: Reading, peer: str, cuts: list[int]) -> bytes:
    """Fail unless the request in `data` goes out as the model says, and everybody reads it so. Returns what goes out."""
    asked = asked_in(data, reading, peer=peer, has_rest=bool(cuts))
    sent = forward(data, reading, asked, cuts)
    line, *lines = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
    target = forwarded.origin_form(asked.target)
    staying = forwarded.staying(asked)
    assert line == b"%b %b HTTP/1.1" % (asked.method, target)
    assert spelt(lines[: len(staying)]) == spelt(staying)
    assert_same(lines[len(staying) :], forwarded.coming(asked))
    fields = fields_of(b"\r\n".join(lines))
    expected = Reading((asked.method, target, b"1.1"), fields, reading.payload, reading.trailers, NEXT, True)
    assert we_read_request(sent + NEXT) == expected
    assert h11_reads_request(sent + NEXT) == expected
    assert httptools_reads_request(sent + NEXT) == explained(HTTPTOOLS_REQUESTS, sent + NEXT, expected)
    return sent


def spelt(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return names and values as they are spelt; the white space between them is nobody's business."""
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


def assert_same(lines: list[bytes], fields: Fields) -> None:
    """Fail unless the lines say just these fields, in whatever order."""
    assert sorted(fields_of(b"\r\n".join(lines))) == sorted(fields)


def is_forwarded(reading: Reading) -> bool:
    """Whether a request goes on to a backend at all: CONNECT does not, nor what has no hops left."""
    return reading.first_line[0] != b"CONNECT" and (b"max-forwards", b"0") not in reading.fields


class TestRequests:
    @examples(200)
    @given(canonical_requests(), PEERS, CUTS)
    def test_a_request_is_the_same_less_what_goes_plus_what_comes(self, meant: Meant, peer: str, cuts: list[int]) -> None:
        assume(is_forwarded(meant.reading))
        assert_forwarded(meant.data, meant.reading, peer, cuts)

    @examples(200)
    @given(near_misses(canonical_requests()), CUTS)
    def test_a_request_that_is_only_just_accepted_too(self, message: tuple[bytes, bytes], cuts: list[int]) -> None:
        reading = we_read_request(message[0])
        if isinstance(reading, Reading) and is_forwarded(reading):
            assert_forwarded(message[0], reading, "192.0.2.7", cuts)

    @examples(80)
    @given(canonical_requests(), st.lists(st.tuples(PEERS, CUTS), min_size=2, max_size=3))
    def test_what_was_forwarded_can_be_forwarded_again(self, meant: Meant, hops: list[tuple[str, list[int]]]) -> None:
        assume(is_forwarded(meant.reading))
        data, reading = meant.data, meant.reading
        for peer, cuts in hops:
            data = assert_forwarded(data, reading, peer, cuts)
            again = we_read_request(data)
            assert isinstance(again, Reading)
            reading = again


# ------------------------------------------------------------------ responses


class Desk:
    """What a reply needs of its listener."""

    is_draining = False
    send_patience = PATIENCE

    def error_page(self, error: ProxyError, _: Request | None) -> Response:
        raise error


class Wish(NamedTuple):
    """What the client speaks, and whether it wants the connection to stay."""

    version: bytes
    keeps_alive: bool


WISHES = st.builds(Wish, st.sampled_from([b"1.1", b"1.1", b"1.0"]), st.booleans())


def reply(data: bytes, reading: Reading, method: bytes, wish: Wish, cuts: list[int]) -> bytes:
    """Return what the client gets: the response goes through the server's own hands, its body at once or in pieces."""
    head = parse_response_head(data[: find_response_head_end(data)])
    wire: Any = Wire()
    body: bytes | RelayBody = reading.payload
    if not is_there(reading, method, cuts):
        body = RelayBody(wire, Ended(reading), reading.payload, PATIENCE, lambda _: None, lambda _: None)
    exchange = Exchange("web", ClientAddress("192.0.2.7", 1))
    is_http11 = wish.version == b"1.1"
    Reply(Desk(), wire, exchange, is_http11, method == b"HEAD", wish.keeps_alive).send(Response(head.status, body=body, raw=head))
    return bytes(wire.sent)


class Ended:
    """A decoder that has come to the end of the body."""

    is_done = True
    excess = b""

    def __init__(self, reading: Reading) -> None:
        self.trailers = b"".join([b"%b: %b\r\n" % field for field in reading.trailers])

    def feed(self, data: bytes) -> bytes:
        raise AssertionError(f"nothing more comes: {data!r}")


def is_there(reading: Reading, method: bytes, cuts: list[int]) -> bool:
    """Whether the body is given as one piece of bytes: what has a known end, no trailers, and came with its head."""
    if method == b"HEAD" or reading.first_line[0] in (b"204", b"304"):
        return True
    has_end = any(name in (b"content-length", b"transfer-encoding") for name, _ in reading.fields)
    return has_end and not reading.trailers and not cuts


def assert_answered(data: bytes, reading: Reading, method: bytes, wish: Wish, cuts: list[int]) -> bytes:
    """Fail unless the response in `data` goes out as the model says, and everybody reads it so. Returns what goes out."""
    _, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    answered = Answered(reading.first_line[0], lines, method, *wish, is_there(reading, method, cuts))
    sent = reply(data, reading, method, wish, cuts)
    line, *lines = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
    staying = forwarded.staying_answer(answered)
    coming, keeps_alive = forwarded.coming_answer(answered, reading.payload)
    status, reason, _ = reading.first_line
    assert line == b"HTTP/1.1 %b %b" % (status, reason)
    assert spelt(lines[: len(staying)]) == spelt(staying)
    added = lines[len(staying) :]
    if not forwarded.values(staying, b"date"):
        assert [forwarded.name_of(each) for each in added].count(b"date") == 1  # RFC 9110 section 6.6.1
        added = [each for each in added if forwarded.name_of(each) != b"date"]
    assert_same(added, coming)
    trailers = reading.trailers if (b"transfer-encoding", b"chunked") in coming else []
    fields = fields_of(b"\r\n".join(lines))
    is_endless = not keeps_alive and wish.version == b"1.0"
    expected = Reading((status, reason, b"1.1"), fields, reading.payload, trailers, b"" if is_endless else NEXT, keeps_alive)
    assert_read(sent, expected, method)
    return sent


def assert_read(sent: bytes, expected: Reading, method: bytes) -> None:
    """Fail unless all three read `expected`; behind what has an end, the next message is left alone."""
    sent += expected.excess
    assert we_read_response(sent, method) == expected
    assert h11_reads_response(sent, method) == expected
    if method != b"HEAD":
        assert httptools_reads_response(sent) == explained(HTTPTOOLS_RESPONSES, sent, expected)


class TestResponses:
    @examples(200)
    @given(canonical_responses(), WISHES, CUTS)
    def test_a_response_is_the_same_less_what_goes_plus_what_comes(self, meant: Meant, wish: Wish, cuts: list[int]) -> None:
        assume(not meant.reading.interim)
        assert_answered(meant.data, meant.reading, meant.method, wish, cuts)

    @examples(200)
    @given(near_misses(canonical_responses()), WISHES, CUTS)
    def test_a_response_that_is_only_just_accepted_too(self, message: tuple[bytes, bytes], wish: Wish, cuts: list[int]) -> None:
        reading = we_read_response(*message)
        if isinstance(reading, Reading) and not reading.interim:
            assert_answered(message[0], reading, message[1], wish, cuts)

    @examples(80)
    @given(canonical_responses(), st.lists(st.tuples(st.booleans(), CUTS), min_size=2, max_size=3))
    def test_what_was_answered_can_be_answered_again(self, meant: Meant, hops: list[tuple[bool, list[int]]]) -> None:
        assume(not meant.reading.interim)
        data, reading = meant.data, meant.reading
        for keeps_alive, cuts in hops:
            data = assert_answered(data, reading, meant.method, Wish(b"1.1", keeps_alive), cuts)
            again = we_read_response(data, meant.method)
            assert isinstance(again, Reading)
            reading = again


# ------------------------------------------------------------------ bodies


@examples(200)
@given(chunked_bodies(), CUTS)
def test_a_chunked_body_is_the_same_decoded_and_encoded_again_however_it_was_cut(body: Framed, cuts: list[int]) -> None:
    decoder = ChunkedDecoder()
    chunks = [encode_chunk(decoder.feed(piece)) for piece in pieces_of(body.wire, cuts)]
    encoded = b"".join(chunks) + last_chunk(decoder.trailers)
    again = ChunkedDecoder()
    payload = b"".join([again.feed(encoded[at : at + 1]) for at in range(len(encoded))])
    assert (payload, fields_of(again.trailers)) == (body.payload, body.trailers)
    assert (again.is_done, again.excess) == (True, b"")
