"""The health probe's half of HTTP."""

from __future__ import annotations

import pytest

from greenproxy.errors import BackendInvalid
from greenproxy.protocol.http1 import parse_request_head
from greenproxy.protocol.probe import Probe
from tests.protocol.reading import byte_by_byte

ANSWER = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n"


def asked() -> Probe:
    probe = Probe("backend:8000", "/healthz?deep=1")
    probe.request()
    return probe


def test_the_request_is_one_that_we_would_accept() -> None:
    head = parse_request_head(Probe("backend:8000", "/healthz?deep=1").request())
    assert (head.method, head.target, head.host, head.keep_alive) == (b"GET", b"/healthz?deep=1", b"backend:8000", False)


def test_the_final_status_is_returned() -> None:
    assert asked().receive(ANSWER) == 204


def test_an_incomplete_answer_is_awaited() -> None:
    probe = asked()
    statuses = [probe.receive(piece) for piece in byte_by_byte(ANSWER)]
    assert statuses == [None] * (len(ANSWER) - 1) + [204]


def test_the_body_is_not_waited_for() -> None:
    assert asked().receive(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhel") == 200


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x0a"])
def test_what_is_no_http_is_invalid(data: bytes) -> None:
    with pytest.raises(BackendInvalid):
        asked().receive(data)


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_early_end_is_invalid(before: bytes) -> None:
    probe = asked()
    if before:
        assert probe.receive(before) is None
    with pytest.raises(BackendInvalid):
        probe.receive(b"")
