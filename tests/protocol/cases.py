"""Rows for the tests of single parsers: those rows of the wire corpus that a parser alone can judge."""

from __future__ import annotations

from typing import NamedTuple

from greenproxy.errors import BackendInvalid, ProxyError
from greenproxy.protocol.body import Malformed
from tests.wire import response_cases
from tests.wire.cases import SERVED, Case, head
from tests.wire.requests import BODIES, HEADS
from tests.wire.response_cases import Whole
from tests.wire.responses import chunks, framing, lines, starts

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

_RESPONSE_HEADS = [*lines.CASES, *starts.CASES, *framing.CASES]
_MOST_BYTES = 8192  # of trailers, for a decoder by itself; the proxy has a higher limit
ACCEPTED_RESPONSES = [
    Accepted(case.name, case.data, case.told.body)
    for case in [*_RESPONSE_HEADS, *chunks.CASES]
    if isinstance(case.told, Whole) and case.is_kept and case.method == "GET" and len(case.data) < _MOST_BYTES
]
REFUSED_RESPONSES = [
    Refused(case.name, case.data, BackendInvalid)
    for case in _RESPONSE_HEADS
    if case.told == response_cases.Refused() and case.method == "GET"
]
