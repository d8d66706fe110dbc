"""Target `connection`: whatever a client sends on one connection, backends get those requests and no others.

The requests that a slow and simple reader finds in the bytes, one after the other, are the ones that backends must be sent,
in their order; every one gets its own answer; and nothing is served behind bytes that were refused. `kind` says how
the client ends, whether it is trusted, whether it stops reading, and whether a middleware touches the fields; `mode` is
where the backends' answers begin.
"""

from __future__ import annotations

from typing import NamedTuple

from fuzz import checks
from fuzz.case import Case, forget, require
from fuzz.fed import End, Errands, FedStream
from fuzz.house import house
from fuzz.peers import Seen, answer_in, fields_of, request_in
from greenproxy.errors import MethodNotAllowed, ProxyError
from greenproxy.protocol.body import BodyDecoder, ChunkedDecoder, LengthDecoder, Malformed
from greenproxy.protocol.forwarding import max_forwards
from greenproxy.protocol.http1 import HeadLimits, RequestHead, find_head_end, parse_request_head
from greenproxy.protocol.target import parse_target
from greenproxy.server.body import MAX_TRAILER_BYTES

_LIMITS = HeadLimits(32 * 1024, 100, 8 * 1024)


class Wanted(NamedTuple):
    """A request that the bytes hold. `payload`: None when its body does not end, or is malformed."""

    head: RequestHead
    origin_form: bytes
    payload: bytes | None
    trailers: bytes = b""

    @property
    def is_for_backend(self) -> bool:
        if self.head.method == b"CONNECT":
            return False
        return max_forwards(self.head.method, self.head.special) != 0


class Reading(NamedTuple):
    """All requests of the bytes, and the status of the refusal at their end, 0 for none."""

    wanted: list[Wanted]
    refusal: int = 0


def read(data: bytes) -> Reading:
    """Return what is asked in `data`, read slowly and whole."""
    wanted: list[Wanted] = []
    while data:
        try:
            end = find_head_end(data, _LIMITS)
            if end < 0:
                break
            head = parse_request_head(data[:end], _LIMITS)
            is_tunnel = head.method == b"CONNECT"  # refused whatever it asks for
            origin_form = head.target if is_tunnel else parse_target(head.target, head.method).origin_form
        except ProxyError as error:
            return Reading(wanted, error.status)
        decoder: BodyDecoder = ChunkedDecoder(MAX_TRAILER_BYTES) if head.is_chunked else LengthDecoder(head.content_length or 0)
        try:
            payload = decoder.feed(data[end:])
        except Malformed:
            return Reading([*wanted, Wanted(head, origin_form, None)], 400)
        if not decoder.is_done:
            return Reading([*wanted, Wanted(head, origin_form, None)])
        trailers = decoder.trailers if isinstance(decoder, ChunkedDecoder) else b""
        wanted.append(Wanted(head, origin_form, payload, trailers))
        if not head.keep_alive:
            break
        data = decoder.excess
    return Reading(wanted)


def _length(number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nContent-Length: 4\r\n\r\n%04d" % (number, number)


def _chunked(number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n%04d\r\n0\r\n\r\n" % (number, number)


def _with_trailers(number: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nX-Number: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % number
    return head + b"2\r\n%02d\r\n2\r\n%02d\r\n0\r\nX-Sum: 1\r\n\r\n" % divmod(number, 100)


def _until_the_end(number: int) -> bytes:
    return b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nX-Number: %d\r\n\r\n%04d" % (number, number)


def _nothing(number: int) -> bytes:
    return b"HTTP/1.1 204 No\r\nX-Number: %d\r\n\r\n" % number


def _interim(number: int) -> bytes:
    return b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + _length(number)


ANSWERS = (_length, _chunked, _with_trailers, _until_the_end, _nothing, _interim)


class _Backends:
    """The backend's side: every exchange gets the answer with its number, in the framing whose turn it is."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.exchanges: list[bytearray] = []

    def answer(self, method: bytes) -> tuple[list[bytes], End]:
        """Return the answer to the latest exchange, and how the connection goes on."""
        number = len(self.exchanges)
        make = ANSWERS[(self._first + number) % len(ANSWERS)]
        said = make(number)
        if method == b"HEAD":
            said = said[: said.index(b"\r\n\r\n", said.index(b"X-Number")) + 4]
        is_last = make is _until_the_end and method != b"HEAD"
        return [said], End.CLOSE if is_last else End.SILENCE


class _Numbered(FedStream):
    """One connection to the backend: a new exchange begins with what is sent first after it was opened or lent again."""

    def __init__(self, backends: _Backends, errands: Errands) -> None:
        super().__init__([], End.SILENCE, errands)
        self._backends = backends
        self._is_new = True

    def unpark(self) -> None:
        super().unpark()
        self._is_new = True

    def send_now(self, data: bytes | memoryview) -> int:
        if self._is_new:
            self._is_new = False
            self._backends.exchanges.append(bytearray())
            self.feed(*self._backends.answer(bytes(data).partition(b" ")[0]))
        self._backends.exchanges[-1] += data
        return super().send_now(data)


def one_input(raw: bytes) -> None:
    """Ask one question. Raises Disagreement."""
    case = Case.of(raw)
    forget()
    reading = read(case.data)
    for split in case.splits().values():
        forget()
        _judge(case, reading, split)


def _judge(case: Case, reading: Reading, split: list[bytes]) -> None:
    it = house(is_trusted=bool(case.kind & 4), touches=bool(case.kind & 16))
    backends = _Backends(case.mode)
    room = case.sizes[0] * 2 if case.kind & 8 else None  # the client breaks the connection behind so many bytes
    client = FedStream(split, tuple(End)[case.kind % 3], it.errands, room)
    it.serve(client, lambda _before: _Numbered(backends, it.errands))
    for sent in backends.exchanges:
        require(b"\r\n\r\n" in sent, "half a head for a backend", sent)
    told = _answers(bytes(client.sent), client, reading)
    _the_same_requests(reading, backends.exchanges, told, is_broken=room is not None)
    if room is None:
        _one_answer_each(reading, told, client)


def _answers(sent: bytes, client: FedStream, reading: Reading) -> list[Seen]:
    """Return the answers that the client read, one for each request and one more for a refusal."""
    methods = [each.head.method for each in reading.wanted] + [b"GET"]
    is_ended = (client.is_closed and not client.was_reset) or client.was_shut
    told = []
    for method in methods:
        if not sent:
            break
        if method == b"CONNECT":
            method = b"GET"  # refused, so what follows is HTTP still
        seen = answer_in(sent, method, is_ended=is_ended)
        require(not seen.is_broken, "what a client is sent is no answer", sent)
        require(seen.is_whole or client.is_closed, "a client waits for the rest of an answer for ever", sent)
        told.append(seen)
        sent = seen.rest if seen.is_whole else b""
    require(not sent, "more answers than requests", sent)
    return told


def _is_ours(seen: Seen) -> bool:
    """Whether an answer is an error page of ours, or the final recipient's."""
    return not seen.values(b"x-number")


def _the_same_requests(reading: Reading, exchanges: list[bytearray], told: list[Seen], *, is_broken: bool) -> None:
    """Fail unless the backends got the requests that were asked, in order; fewer only when the connection ended on the way."""
    expected = [each for each in reading.wanted if each.is_for_backend]
    require(len(exchanges) <= len(expected), "a backend was asked more than the client asked", exchanges, reading)
    for wanted, sent in zip(expected, exchanges, strict=False):
        _is_request(wanted, bytes(sent))
    if len(exchanges) < len(expected) and not is_broken:
        is_closing = bool(told) and any(b"close" in value for value in told[-1].values(b"connection"))
        is_last_cut = expected[len(exchanges)].payload is None  # refused before a backend heard of it
        require(is_closing or is_last_cut, "a request was lost", exchanges, reading)


def _is_request(wanted: Wanted, sent: bytes) -> None:
    seen = request_in(sent)
    head = wanted.head
    require(not seen.is_broken, "what a backend is sent is no request", sent)
    require(bool(seen.first), "half a head for a backend", sent)
    require(seen.first == (head.method, wanted.origin_form, b"1.1"), "another request", seen, wanted)
    checks.framed_once([b"%b: %b" % field for field in seen.fields])
    if wanted.payload is None:
        require(not seen.is_whole, "a part of a request passed off as the whole", sent)
        return
    require(seen.is_whole and not seen.rest, "a request that does not end where it should", sent)
    require(seen.payload == wanted.payload, "another payload", seen, wanted)
    if head.is_chunked:
        require(seen.trailers == fields_of(wanted.trailers), "other trailers", seen, wanted)
    theirs = [field for field in fields_of(head.forwarded) if field[0] not in _CHANGED and not _is_twin(field[0], seen)]
    require([field for field in seen.fields if field in theirs][: len(theirs)] == theirs, "other fields", seen.fields, theirs)


_CHANGED = (b"content-length", b"transfer-encoding", b"expect", b"x-touched")


def _is_twin(name: bytes, seen: Seen) -> bool:
    """Explained: what a middleware touched goes on without fields that are spelt like another one, save for underscores."""
    dashed = name.replace(b"_", b"-")
    return dashed != name and bool(seen.values(b"x-touched")) and bool(seen.values(dashed))


def _one_answer_each(reading: Reading, told: list[Seen], client: FedStream) -> None:
    """Fail unless the answers belong to their requests: the n-th that went to a backend has that one's number."""
    number = 0
    for wanted, seen in zip(reading.wanted, told, strict=False):
        if wanted.head.method == b"CONNECT":
            require(seen.first[0] == MethodNotAllowed.status, "a CONNECT that was not refused", seen)
            continue
        if not wanted.is_for_backend:
            require(_is_ours(seen) and seen.first[0] == 200, "the final recipient did not answer", seen)
            continue
        number += 1
        if wanted.payload is not None:
            require(seen.is_whole, "a cut in an answer that is whole", client.sent)
            require(seen.values(b"x-number") == [b"%d" % number], "an answer to somebody else", seen, number)
            body = b"" if wanted.head.method == b"HEAD" or seen.first[0] == 204 else b"%04d" % number
            require(seen.payload == body, "another answer", seen, number)
    is_refused = bool(reading.refusal) and len(told) > len(reading.wanted)
    if is_refused:
        require(told[-1].first[0] in (reading.refusal, 400, 414, 431), "another refusal", told[-1], reading.refusal)
        require(b"close" in told[-1].values(b"connection"), "a refusal that does not close", told[-1])
    if told and b"close" in told[-1].values(b"connection"):
        require(client.is_closed or client.was_shut, "a connection that was to close is open", client.sent)
