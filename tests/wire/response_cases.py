"""The shape of a case of the response side of the wire corpus, and the builders that keep the tables short.

A case says what a backend sends as the answer to one request and how its connection goes on, what the client must see of
it, and whether the connection to the backend may serve the next request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

HELLO = b"hello"
OK = b"HTTP/1.1 200 OK"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 5"
END = b"0\r\n\r\n"
ONE_CHUNK = b"5\r\nhello\r\n"
GET = b"GET"

#: How a connection goes on behind the bytes: it stays open and silent, or ends in order, or by a reset.
STAYS, FIN, RST = "stays", "FIN", "RST"


class Whole(NamedTuple):
    """A complete answer. `has` are lines of the head, in any order, that the client must see, `lacks` names that it must not.

    `interim` are the statuses of the interim responses before it. With `is_alone` the client's connection ends behind it.
    """

    body: bytes = b""
    status: int = 200
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    interim: tuple[int, ...] = ()
    trailers: tuple[str, ...] = ()
    is_alone: bool = False


class Refused(NamedTuple):
    """A page of our own in the place of the answer, with its reason; behind `interim`."""

    reason: str = "backend-invalid"
    status: int = 502
    interim: tuple[int, ...] = ()


class Cut(NamedTuple):
    """The head came, and the client sees that the body is not whole. `body` is what came of it; `by_reset` how it must end."""

    body: bytes = b""
    by_reset: bool = False


class Broken(NamedTuple):
    """Either of those, by whether the fault came together with the head: a page with this reason, or a cut."""

    reason: str = "backend-invalid"


class Switched(NamedTuple):
    """A 101: what the backend sends behind it is the new protocol's."""

    early: bytes = b""


Told = Whole | Refused | Cut | Broken | Switched


class Case(NamedTuple):
    """What a backend sends, and what comes of it.

    `end` is how its connection goes on, `is_kept` whether the next request is sent on it, `rule` where that is written.
    `method`, `version`, `lines` (further fields) and `sent` (its body) are what was asked, `listener` of whom: `hasty` has no
    patience with backends.
    """

    name: str
    data: bytes
    told: Told
    rule: str
    end: str = STAYS
    is_kept: bool = False
    method: str = "GET"
    version: str = "1.1"
    lines: tuple[str, ...] = ()
    sent: bytes = b""
    listener: str = "web"


def head(*lines: bytes, start: bytes = OK) -> bytes:
    """Return a response head."""
    return b"\r\n".join([start, *lines, b"", b""])


def sized(body: bytes = HELLO, *lines: bytes, start: bytes = OK) -> bytes:
    """Return a response with Content-Length."""
    return head(*lines, b"Content-Length: %d" % len(body), start=start) + body


def chunked(framed: bytes, *lines: bytes) -> bytes:
    """Return a response with this chunked body, which is given as it is."""
    return head(*lines, CHUNKED) + framed


def good(name: str, data: bytes, rule: str, body: bytes = HELLO, **rest: object) -> Case:
    """Return a case whose answer is passed on, and whose connection is kept."""
    about: dict[str, object] = {key: rest.pop(key) for key in list(rest) if key in Whole._fields}
    return Case(name, data, Whole(body, **about), rule, **{"is_kept": True, **rest})  # type: ignore[arg-type]


def bad(name: str, data: bytes, rule: str, **rest: object) -> Case:
    """Return a case whose answer is refused with 502, backend-invalid unless told otherwise."""
    return Case(name, data, Refused(), rule, **rest)  # type: ignore[arg-type]


def all_bad(rule: str, cases: Iterable[tuple[str, bytes]]) -> list[Case]:
    """Return refused cases by name and bytes."""
    return [bad(name, data, rule) for name, data in cases]
