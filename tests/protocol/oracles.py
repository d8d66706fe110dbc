"""Two other parsers, asked the same question: what does this message say, where does it end, and may another one follow?"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import h11
import httptools

from greenproxy.errors import ProxyError
from greenproxy.protocol.body import EofDecoder, Malformed
from greenproxy.protocol.http1 import (
    RequestHead,
    ResponseHead,
    find_response_head_end,
    parse_response_head,
    response_body_kind,
)
from greenproxy.protocol.target import authority_of, parse_target
from tests.protocol.reading import Message, read_request, response_decoder

_PLENTY = 1 << 20

Fields: TypeAlias = list[tuple[bytes, bytes]]


class Reading(NamedTuple):
    """What somebody reads in the bytes: the first line's parts, the fields, the payload and the trailer fields.

    `excess` is what follows the message, `keeps_alive` whether another one may. `interim`: the statuses of 1xx before it.
    """

    first_line: tuple[bytes, ...]
    fields: Fields
    payload: bytes
    trailers: Fields
    excess: bytes
    keeps_alive: bool
    interim: tuple[bytes, ...] = ()


class Verdict(Enum):
    """What somebody says who reads no message there."""

    REFUSES = "it is no message"
    WANTS_MORE = "it has not ended"


Judgement: TypeAlias = Reading | Verdict


def fields_of(block: bytes) -> Fields:
    """Return (lower-case name, value) of each line of a block."""
    lines = [line.partition(b":") for line in block.split(b"\r\n") if line]
    return [field_of(name, value) for name, _, value in lines]


def field_of(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a field as it is compared. h11 reports the transfer coding in lower case, so all do."""
    name, value = name.lower(), value.strip(b" \t")
    return name, value.lower() if name == b"transfer-encoding" else value


def as_proxy(reading: Reading) -> Reading:
    """Return a request as a proxy must take it: the authority of the target is its Host (RFC 9112 section 3.2.2)."""
    authority = authority_of(reading.first_line[1])
    if not authority:
        return reading
    if not any(name == b"host" for name, _ in reading.fields):
        return reading._replace(fields=[(b"host", authority), *reading.fields])
    return reading._replace(fields=[(name, authority if name == b"host" else value) for name, value in reading.fields])


# ------------------------------------------------------------------ ourselves


def our_reading(message: Message[RequestHead]) -> Reading:
    """Return what we read in a whole request."""
    head = message.head
    assert head is not None
    first_line = (head.method, head.target, b"1.%d" % head.minor)
    trailers = fields_of(message.trailers)
    return Reading(first_line, fields_of(head.block), message.payload, trailers, message.excess, head.keep_alive)


def we_read_request(data: bytes) -> Judgement:
    """Return what we read in the request at the beginning of `data`."""
    try:
        message = read_request([data])
        if message.head is None or not message.is_done:
            return Verdict.WANTS_MORE
        parse_target(message.head.target, message.head.method)
    except (ProxyError, Malformed):
        return Verdict.REFUSES
    return our_reading(message)


def we_read_response(data: bytes, method: bytes) -> Judgement:
    """Return what we read in the answer to `method` at the beginning of `data`; the connection ends behind `data`."""
    interim: list[bytes] = []
    try:
        while True:
            end = find_response_head_end(data)
            if end < 0:
                return Verdict.WANTS_MORE
            head, data = parse_response_head(data[:end]), data[end:]
            if head.status == 101:
                return Verdict.REFUSES  # nobody asked for it
            if head.status >= 200:
                return _answer_of_ours(head, data, method, interim)
            interim.append(b"%d" % head.status)
    except (ProxyError, Malformed):
        return Verdict.REFUSES


def _answer_of_ours(head: ResponseHead, data: bytes, method: bytes, interim: list[bytes]) -> Judgement:
    message: Message[ResponseHead] = Message()
    decoder = response_decoder(head, method)
    message.take(decoder, data)
    if isinstance(decoder, EofDecoder):
        decoder.finish()
    if not decoder.is_done:
        return Verdict.WANTS_MORE
    first_line = (b"%d" % head.status, head.reason, b"1.%d" % head.minor)
    keeps_alive = head.keep_alive and response_body_kind(head, method) != "eof"
    trailers = fields_of(message.trailers)
    return Reading(
        first_line, fields_of(head.block), message.payload, trailers, message.excess, keeps_alive, tuple(interim)
    )  # fmt: skip


# ------------------------------------------------------------------ h11


def h11_reads_request(data: bytes) -> Judgement:
    """Return what h11 reads in the request at the beginning of `data`."""
    connection = h11.Connection(h11.SERVER, _PLENTY)
    reading = _h11_reads(connection, data, ends=False)
    if isinstance(reading, Verdict):
        return reading
    # Only an answer shows whether it would go on: until then an upgrade or CONNECT may still happen.
    connection.send(h11.Response(status_code=400, headers=[("Content-Length", "0")]))
    return as_proxy(reading._replace(keeps_alive=connection.their_state is h11.DONE))


def h11_reads_response(data: bytes, method: bytes) -> Judgement:
    """Return what h11 reads in the answer to `method` at the beginning of `data`; the connection ends behind `data`."""
    connection = h11.Connection(h11.CLIENT, _PLENTY)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    reading = _h11_reads(connection, data, ends=True)
    if isinstance(reading, Verdict):
        return reading
    return reading._replace(keeps_alive=connection.their_state is h11.DONE and not has_no_end(reading, method))


def has_no_end(reading: Reading, method: bytes) -> bool:
    """Tell whether a response goes on until the connection ends (RFC 9112 section 6.3)."""
    if method == b"HEAD" or reading.first_line[0] in (b"204", b"304"):
        return False
    return not any(name in (b"content-length", b"transfer-encoding") for name, _ in reading.fields)


def _h11_reads(connection: h11.Connection, data: bytes, *, ends: bool) -> Judgement:
    heads: list[h11.Request | h11.Response | h11.InformationalResponse] = []
    payload = b""
    has_ended = False
    connection.receive_data(data)
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
                heads.append(event)
            elif isinstance(event, h11.Data):
                payload += bytes(event.data)
            elif event is h11.NEED_DATA and ends and not has_ended:
                has_ended = True
                connection.receive_data(b"")
            else:
                return Verdict.WANTS_MORE
    except h11.RemoteProtocolError:
        return Verdict.WANTS_MORE if has_ended else Verdict.REFUSES  # that it ended early is no mistake in the bytes
    *interim, head = heads
    return Reading(
        _h11_first_line(head),
        [field_of(*each) for each in head.headers],
        payload,
        [field_of(*each) for each in event.headers],
        bytes(connection.trailing_data[0]),
        False,
        tuple(b"%d" % each.status_code for each in interim),  # type: ignore[union-attr]  # a request has none before it
    )


def _h11_first_line(head: h11.Request | h11.Response | h11.InformationalResponse) -> tuple[bytes, ...]:
    if isinstance(head, h11.Request):
        return (bytes(head.method), bytes(head.target), bytes(head.http_version))
    return (b"%d" % head.status_code, bytes(head.reason), bytes(head.http_version))


# ------------------------------------------------------------------ httptools


@dataclass
class _Heard:
    """What httptools calls back with, up to the end of the first message that is no interim response."""

    parser: Any = None
    url: bytes = b""
    reason: bytes = b""
    fields: Fields = field(default_factory=list)
    payload: bytes = b""
    trailers: Fields = field(default_factory=list)
    has_head: bool = False
    has_length: bool = False
    is_complete: bool = False
    keeps_alive: bool = False
    interim: list[bytes] = field(default_factory=list)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.has_head else self.fields).append(field_of(name, value))

    def on_headers_complete(self) -> None:
        self.has_head = True
        self.has_length = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.fields)
        self.keeps_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.payload += body

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code() if isinstance(self.parser, httptools.HttpResponseParser) else 200
        if status < 200 and status != 101:
            self.interim.append(b"%d" % status)
            self.reason, self.fields, self.has_head = b"", [], False
        else:
            self.is_complete = True


def httptools_reads_request(data: bytes) -> Judgement:
    """Return what httptools reads in the request at the beginning of `data`."""
    heard = _Heard()
    heard.parser = parser = httptools.HttpRequestParser(heard)
    end = _feed(parser, heard, data)
    if isinstance(end, Verdict):
        return end
    first_line = (parser.get_method(), heard.url, parser.get_http_version().encode())
    return as_proxy(_what_was(heard, first_line, data[end:]))


def httptools_reads_response(data: bytes) -> Judgement:
    """Return what httptools reads in the answer to a GET at the beginning of `data`; the connection ends behind `data`."""
    heard = _Heard()
    heard.parser = parser = httptools.HttpResponseParser(heard)
    end = _feed(parser, heard, data)
    if isinstance(end, Verdict):
        if end is Verdict.REFUSES or not heard.has_head or heard.has_length:
            return end
        end = len(data)  # it cannot be told that the connection ends: what has no length is whole then
    first_line = (b"%d" % parser.get_status_code(), heard.reason, parser.get_http_version().encode())
    return _what_was(heard, first_line, data[end:])


def _what_was(heard: _Heard, first_line: tuple[bytes, ...], excess: bytes) -> Reading:
    return Reading(
        first_line, heard.fields, heard.payload, heard.trailers, excess, heard.keeps_alive, tuple(heard.interim)
    )  # fmt: skip


def _feed(parser: Any, heard: _Heard, data: bytes) -> int | Verdict:
    """Feed byte by byte, which shows where the message ends; return the index behind it."""
    for at in range(len(data)):
        try:
            parser.feed_data(data[at : at + 1])
        except httptools.HttpParserUpgrade:
            assert heard.is_complete
        except httptools.HttpParserError:
            return Verdict.REFUSES
        if heard.is_complete:
            return at + 1
    return Verdict.WANTS_MORE
