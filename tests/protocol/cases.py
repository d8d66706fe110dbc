"""Rows for the tests of single parsers: requests and chunked bodies are those of the wire corpus, responses stand here."""

from __future__ import annotations

from typing import NamedTuple

from greenproxy.errors import BackendInvalid, ProxyError
from greenproxy.protocol.body import Malformed
from tests.wire.cases import SERVED, Case, head
from tests.wire.requests import BODIES, HEADS

request = head


class Accepted(NamedTuple):
    """A message that is read, and the payload that its body has."""

    name: str
    data: bytes
    payload: bytes = b""


class Refused(NamedTuple):
    """A message that is not, and the error."""

    name: str
    data: bytes
    error: type[ProxyError | Malformed]


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"hello") -> bytes:
    """Return a response of these lines."""
    return b"\r\n".join([start, *lines]) + b"\r\n\r\n" + body


def _body_of(case: Case) -> bytes:
    return case.data.partition(b"\r\n\r\n")[2]


ACCEPTED_REQUESTS = [Accepted(case.name, case.data, case.body) for case in HEADS if case.status == SERVED]
ACCEPTED_CHUNKS = [Accepted(case.name, _body_of(case), case.body) for case in BODIES if case.status == SERVED]
REFUSED_CHUNKS = [Refused(case.name, _body_of(case), Malformed) for case in BODIES if case.status == 400]

LENGTH_5 = b"Content-Length: 5"
CHUNKED = b"Transfer-Encoding: chunked"

ACCEPTED_RESPONSES = [
    Accepted("plain", response(LENGTH_5), b"hello"),
    Accepted("no reason, no space", response(LENGTH_5, start=b"HTTP/1.1 200"), b"hello"),
    Accepted("empty reason", response(LENGTH_5, start=b"HTTP/1.1 200 "), b"hello"),
    Accepted("obs-text in reason", response(LENGTH_5, start=b"HTTP/1.1 200 gr\xfcn"), b"hello"),
    Accepted("unknown status", response(LENGTH_5, start=b"HTTP/1.1 599 Odd"), b"hello"),
    Accepted("HTTP/1.0", response(LENGTH_5, start=b"HTTP/1.0 200 OK"), b"hello"),
    Accepted("chunked", response(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), b"hello"),
    Accepted("204", response(start=b"HTTP/1.1 204 No Content", body=b"")),
    Accepted("304 with length", response(LENGTH_5, start=b"HTTP/1.1 304 Not Modified", body=b"")),
]

REFUSED_RESPONSES = [
    Refused("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", BackendInvalid),
    Refused("status 20", response(LENGTH_5, start=b"HTTP/1.1 20 OK"), BackendInvalid),
    Refused("status 2000", response(LENGTH_5, start=b"HTTP/1.1 2000 OK"), BackendInvalid),
    Refused("status 099", response(LENGTH_5, start=b"HTTP/1.1 099 OK"), BackendInvalid),
    Refused("status 600", response(LENGTH_5, start=b"HTTP/1.1 600 OK"), BackendInvalid),
    Refused("status 2x0", response(LENGTH_5, start=b"HTTP/1.1 2x0 OK"), BackendInvalid),
    Refused("status +20", response(LENGTH_5, start=b"HTTP/1.1 +20 OK"), BackendInvalid),
    Refused("two spaces before status", response(LENGTH_5, start=b"HTTP/1.1  200 OK"), BackendInvalid),
    Refused("HTTP/1.2", response(LENGTH_5, start=b"HTTP/1.2 200 OK"), BackendInvalid),
    Refused("HTTP/2.0", response(LENGTH_5, start=b"HTTP/2.0 200 OK"), BackendInvalid),
    Refused("ICY", response(LENGTH_5, start=b"ICY 200 OK"), BackendInvalid),
    Refused("leading CRLF", b"\r\n" + response(LENGTH_5), BackendInvalid),
    Refused("CL 5,5", response(b"Content-Length: 5,5"), BackendInvalid),
    Refused("CL 5 twice equal", response(LENGTH_5, LENGTH_5), BackendInvalid),
    Refused("CL 5 and 6", response(LENGTH_5, b"Content-Length: 6"), BackendInvalid),
    Refused("CL +5", response(b"Content-Length: +5"), BackendInvalid),
    Refused("CL 20 digits", response(b"Content-Length: " + b"9" * 20), BackendInvalid),
    Refused("TE+CL", response(CHUNKED, LENGTH_5, body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE gzip, chunked", response(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE identity", response(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE twice", response(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), BackendInvalid),
    Refused("TE in HTTP/1.0", response(CHUNKED, start=b"HTTP/1.0 200 OK", body=b"0\r\n\r\n"), BackendInvalid),
    Refused("obs-fold", response(b"X: a\r\n b", LENGTH_5), BackendInvalid),
    Refused("space before colon", response(b"Content-Length : 5"), BackendInvalid),
    Refused("NUL in reason", response(LENGTH_5, start=b"HTTP/1.1 200 O\x00K"), BackendInvalid),
    Refused("CR in value", response(b"X: a\rb", LENGTH_5), BackendInvalid),
    Refused("LF CR LF", b"HTTP/1.1 200 OK\r\nX: a\n\r\nContent-Length: 5\r\n\r\nhello", BackendInvalid),
]
