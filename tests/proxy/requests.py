"""Requests as the server makes them, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from greenproxy.messages import NO_BODY, ClientAddress, Request
from greenproxy.protocol.http1 import parse_request_head
from greenproxy.protocol.target import parse_target

PEER = ClientAddress("192.0.2.7", 4711)
#: What a backend is told about PEER and the host of `head`.
OWN_LINES = (
    b"X-Forwarded-For: 192.0.2.7\r\n"
    b"X-Forwarded-Proto: http\r\n"
    b"X-Forwarded-Host: shop.example.com\r\n"
    b"X-Real-IP: 192.0.2.7\r\n"
    b"Forwarded: for=192.0.2.7;host=shop.example.com;proto=http\r\n"
)
VIA = b"Via: 1.1 greenproxy\r\n"


def head(*lines: str, method: str = "GET", target: str = "/", version: str = "1.1", host: str = "shop.example.com") -> bytes:
    """Return a request head; without a host, no Host field."""
    fields = [f"Host: {host}"] if host else []
    return "\r\n".join([f"{method} {target} HTTP/{version}", *fields, *lines, "", ""]).encode("latin-1")


def request(data: bytes, body: Any = NO_BODY) -> Request:
    """Return the request that a client at PEER makes with a head."""
    raw = parse_request_head(data)
    target = parse_target(raw.target, raw.method)
    return Request(
        raw.method.decode(),
        target.origin_form.decode(),
        path=target.path,
        query=target.query,
        version=f"1.{raw.minor}",
        host=(target.authority or raw.host).decode(),
        client=PEER,
        raw=raw,
        body=body,
    )


class ComingBody:
    """A client's body: what is `at_hand`, and `later` pieces. An exception among those is raised in its place."""

    def __init__(
        self,
        at_hand: bytes = b"",
        later: Sequence[bytes | BaseException] = (),
        *,
        trailers: bytes = b"",
        expects_continue: bool = False,
    ) -> None:
        self._at_hand = at_hand
        self._later = later
        self._expects_continue = expects_continue
        self.trailers = trailers
        self.cancelled = 0
        self.taken = 0  # later pieces that were asked for

    @property
    def is_complete(self) -> bool:
        return not self._later

    def take_buffered(self) -> bytes:
        return self._at_hand

    def expect_continue_from_backend(self, gone_on: Callable[[], None] = lambda: None) -> bool:  # noqa: ARG002
        expects, self._expects_continue = self._expects_continue, False
        return expects

    def set_limit(self, max_bytes: int) -> None:
        """Everything is short enough."""

    def cancel(self) -> None:
        self.cancelled += 1

    def when_cancelled(self, told: Callable[[], None]) -> None:
        """Nobody cares."""

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._later:
            self.taken += 1
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def read(self) -> bytes:
        return self._at_hand + b"".join(self)
