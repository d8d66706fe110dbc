"""Drives the parsers as a connection does: pieces of bytes in, one message out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from greenproxy.protocol.body import BodyDecoder, ChunkedDecoder, EofDecoder, LengthDecoder
from greenproxy.protocol.http1 import (
    NO_LIMITS,
    HeadLimits,
    RequestHead,
    ResponseHead,
    find_head_end,
    find_response_head_end,
    parse_request_head,
    parse_response_head,
    response_body_kind,
)

NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"

Head = TypeVar("Head", RequestHead, ResponseHead)


@dataclass
class Message(Generic[Head]):
    """One message as far as it has come. `head` is None while it is incomplete."""

    head: Head | None = None
    payload: bytes = b""
    trailers: bytes = b""
    excess: bytes = b""
    is_done: bool = False

    def take(self, decoder: BodyDecoder, piece: bytes) -> None:
        self.payload += decoder.feed(piece)
        self.excess = decoder.excess
        self.is_done = decoder.is_done
        if isinstance(decoder, ChunkedDecoder):
            self.trailers = decoder.trailers


def whole(data: bytes) -> list[bytes]:
    """One piece."""
    return [data]


def byte_by_byte(data: bytes) -> Iterator[bytes]:
    """As many pieces as there are bytes."""
    return (data[at : at + 1] for at in range(len(data)))


def read_request(pieces: Iterable[bytes], limits: HeadLimits = NO_LIMITS) -> Message[RequestHead]:
    """Return the request that the pieces hold, as far as it goes."""
    message: Message[RequestHead] = Message()
    buffer = bytearray()
    decoder: BodyDecoder | None = None
    for piece in pieces:
        if decoder is not None:
            message.take(decoder, piece)
            continue
        searched = len(buffer)
        buffer += piece
        end = find_head_end(buffer, limits, searched)
        if end >= 0:
            message.head = head = parse_request_head(bytes(buffer[:end]), limits)
            decoder = ChunkedDecoder() if head.is_chunked else LengthDecoder(head.content_length or 0)
            message.take(decoder, bytes(buffer[end:]))
    return message


def read_response(pieces: Iterable[bytes], method: bytes = b"GET") -> Message[ResponseHead]:
    """Return the response that the pieces hold, as far as it goes; the connection does not end."""
    message: Message[ResponseHead] = Message()
    buffer = bytearray()
    decoder: BodyDecoder | None = None
    for piece in pieces:
        if decoder is not None:
            message.take(decoder, piece)
            continue
        searched = len(buffer)
        buffer += piece
        end = find_response_head_end(buffer, 0, searched)
        if end >= 0:
            message.head = head = parse_response_head(bytes(buffer[:end]))
            decoder = response_decoder(head, method)
            message.take(decoder, bytes(buffer[end:]))
    return message


def response_decoder(head: ResponseHead, method: bytes) -> BodyDecoder:
    """Return what reads the body behind `head`."""
    kind = response_body_kind(head, method)
    if kind == "chunked":
        return ChunkedDecoder()
    if kind == "eof":
        return EofDecoder()
    return LengthDecoder(head.content_length or 0 if kind == "length" else 0)
