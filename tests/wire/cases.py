"""The shape of a case of the wire corpus (see README.md), and the builders that keep the tables short."""

from __future__ import annotations

from typing import NamedTuple

SERVED = 0
UNFINISHED = -1
HELLO = b"hello"
END = b"0\r\n\r\n"

# What is said without a word about the connection: it can still be told where the next request begins (design: errors).
_KEEPING = (SERVED, 200, 403, 405)


class Case(NamedTuple):
    """One raw request and all that must come of it.

    `status` is SERVED (a backend answered 200) or what the proxy itself answers; then no backend hears of the request. It is
    UNFINISHED where more bytes belong to the message: whatever follows, and when the client leaves, no backend gets it whole.
    `rule` is the section that decides, or the name of the attack. The rest is about what a served request becomes:
    `body` and `trailers` as the backend gets them, `target` where it differs from the one that came, `has` the lines that
    the forwarded head holds exactly once, `lacks` the names that it does not hold. `closes` where a request that is
    otherwise fine ends the connection. `listener` is the door it comes through (see `house.py`).
    """

    name: str
    data: bytes
    status: int
    rule: str
    body: bytes = b""
    trailers: bytes = b""
    target: bytes | None = None
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()
    closes: bool = False
    listener: str = "web"

    @property
    def is_last(self) -> bool:
        """Whether the connection ends behind the answer."""
        return self.closes or self.status not in _KEEPING

    @property
    def method(self) -> str:
        """The method, as far as there is one: it decides whether the answer has a body."""
        return self.data.split(b" ", 1)[0].decode("latin-1")

    @property
    def forwarded_target(self) -> bytes:
        """What the backend must be asked for, if it is asked."""
        return self.data.split(b" ", 2)[1] if self.target is None else self.target


class Pipeline(NamedTuple):
    """Several requests in one go. `answers` are "METHOD STATUS", in the order in which they must come.

    `heard` are the targets that the backend must be asked for, in order, and nothing else. `closes`: the connection ends
    behind the last answer.
    """

    name: str
    data: bytes
    answers: tuple[str, ...]
    heard: tuple[str, ...]
    rule: str
    closes: bool = False


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1", has_host: bool = True, body: bytes = b"") -> bytes:
    """Return a request of these lines, with a Host unless told otherwise, and what follows the head."""
    return b"\r\n".join([start, *([b"Host: a"] if has_host else []), *lines, b"", b""]) + body


def get(target: bytes, *lines: bytes) -> bytes:
    """Return a GET."""
    return head(*lines, start=b"GET %b HTTP/1.1" % target)


def post(*lines: bytes, body: bytes = b"", start: bytes = b"POST / HTTP/1.1") -> bytes:
    """Return a POST."""
    return head(*lines, start=start, body=body)


def sized(length: bytes, *more: bytes, body: bytes = HELLO) -> bytes:
    """Return a POST with a Content-Length."""
    return post(b"Content-Length: " + length, *more, body=body)


def coded(coding: bytes, *more: bytes, body: bytes = END, start: bytes = b"POST / HTTP/1.1") -> bytes:
    """Return a POST with a Transfer-Encoding and, unless told otherwise, an empty chunked body."""
    return post(b"Transfer-Encoding: " + coding, *more, start=start, body=body)


def chunked(body: bytes) -> bytes:
    """Return a chunked POST."""
    return coded(b"chunked", body=body)


NEXT = head(start=b"GET /next HTTP/1.1")
