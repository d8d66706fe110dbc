"""Two other parsers, asked the same question: what does this message say, and where does it end?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import h11
import httptools

from greenproxy.protocol.http1 import RequestHead, ResponseHead
from greenproxy.protocol.target import authority_of
from tests.protocol.reading import Message

_PLENTY = 1 << 20

Fields = list[tuple[bytes, bytes]]


class Reading(NamedTuple):
    """What somebody reads in the bytes: the first line's parts, the fields, the payload and the trailer fields."""

    first_line: tuple[bytes, ...]
    fields: Fields
    payload: bytes
    trailers: Fields
    excess: bytes


def fields_of(block: bytes) -> Fields:
    """Return (lower-case name, value) of each line of a block."""
    lines = [line.partition(b":") for line in block.split(b"\r\n") if line]
    return [_field(name, value) for name, _, value in lines]


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a field as it is compared. h11 reports the transfer coding in lower case, so all do."""
    name, value = name.lower(), value.strip(b" \t")
    return name, value.lower() if name == b"transfer-encoding" else value


def our_reading(message: Message[Any]) -> Reading:
    """Return what we read in a message that we accept."""
    head = message.head
    if isinstance(head, RequestHead):
        first_line = (head.method, head.target, b"1.%d" % head.minor)
    else:
        assert isinstance(head, ResponseHead)
        first_line = (b"%d" % head.status, head.reason, b"1.%d" % head.minor)
    return Reading(first_line, fields_of(head.block), message.payload, fields_of(message.trailers), message.excess)


def h11_reads_request(data: bytes) -> Reading:
    """Return what h11 reads. Raises h11.RemoteProtocolError, or EOFError when it wants more."""
    return _with_authority(_h11_reads(h11.Connection(h11.SERVER, _PLENTY), data))


def _with_authority(reading: Reading) -> Reading:
    """Return a request as a proxy must take it: the authority of the target is its Host (RFC 9112 section 3.2.2)."""
    authority = authority_of(reading.first_line[1])
    if not authority:
        return reading
    if not any(name == b"host" for name, _ in reading.fields):
        return reading._replace(fields=[(b"host", authority), *reading.fields])
    return reading._replace(fields=[(name, authority if name == b"host" else value) for name, value in reading.fields])


def h11_reads_response(data: bytes, method: str) -> Reading:
    """Return what h11 reads in the answer to `method`; interim responses are passed over."""
    connection = h11.Connection(h11.CLIENT, _PLENTY)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return _h11_reads(connection, data)


def _h11_reads(connection: h11.Connection, data: bytes) -> Reading:
    connection.receive_data(data)
    head: h11.Request | h11.Response | None = None
    payload = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request | h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            payload += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        elif event is h11.NEED_DATA:
            raise EOFError
    assert head is not None
    if isinstance(head, h11.Request):
        first_line = (head.method, head.target, head.http_version)
    else:
        first_line = (b"%d" % head.status_code, bytes(head.reason), head.http_version)
    excess = bytes(connection.trailing_data[0])
    return Reading(first_line, list(head.headers), payload, list(event.headers), excess)


@dataclass
class Heard:
    """What httptools calls back with, for the first message."""

    fields: Fields = field(default_factory=list)
    payload: bytes = b""
    url: bytes = b""
    complete: int = 0

    def on_url(self, url: bytes) -> None:
        self.url += url if not self.complete else b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.fields.append(_field(name, value))

    def on_body(self, body: bytes) -> None:
        self.payload += body if not self.complete else b""

    def on_message_complete(self) -> None:
        self.complete += 1


def httptools_reads_request(data: bytes) -> Reading:
    """Return what httptools reads in `data`, which must be exactly one request.

    Raises httptools.HttpParserError, or EOFError when it wants more, or when it wanted less.
    """
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    _feed_exactly(parser, heard, data)
    first_line = (parser.get_method(), heard.url, parser.get_http_version().encode())
    return _with_authority(Reading(first_line, heard.fields, heard.payload, [], b""))


def httptools_reads_response(data: bytes) -> Reading:
    """Return what httptools reads in `data`, which must be exactly one response to a GET."""
    heard = Heard()
    parser = httptools.HttpResponseParser(heard)
    _feed_exactly(parser, heard, data)
    first_line = (b"%d" % parser.get_status_code(), b"", parser.get_http_version().encode())
    return Reading(first_line, heard.fields, heard.payload, [], b"")


def _feed_exactly(parser: Any, heard: Heard, data: bytes) -> None:
    parser.feed_data(data[:-1])
    if heard.complete:
        raise EOFError("it ended the message earlier")
    parser.feed_data(data[-1:])
    if not heard.complete:
        raise EOFError("it wants more")
