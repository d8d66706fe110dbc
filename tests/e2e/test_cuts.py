"""Section 5, last row: once a head was sent, a failure cuts the connection and the client sees an incomplete message."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.client import Cut, RawClient, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.scripts import Step, close, expect_head, expect_request, hang, reset, send

Token = Callable[[], str]

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


class Case(NamedTuple):
    """How the backend's message ends, and the reason that is logged. The last step waits until the client has `hello`."""

    name: str
    path: str
    begin: bytes
    end: tuple[Step, ...]
    reason: str
    version: str = "1.1"
    must_reset: bool = False


CASES = [
    Case("a length, then silence", "/hasty", LENGTH, (hang,), "read-timeout"),
    Case("chunks, then silence", "/hasty", CHUNKED, (hang,), "read-timeout"),
    Case("a length, then a reset", "/any", LENGTH, (hang, reset), "backend-reset"),
    Case("chunks, then a reset", "/any", CHUNKED, (hang, reset), "backend-reset"),
    Case("a length, then a close", "/any", LENGTH, (hang, close), "backend-reset"),
    Case("chunks, then a close", "/any", CHUNKED, (hang, close), "backend-reset"),
    Case("chunks, then nonsense", "/any", CHUNKED, (hang, send(b"nonsense\r\n"), close), "backend-invalid"),
    Case("no length to an HTTP/1.0 client, then a reset", "/any", UNTIL_CLOSE, (hang, reset), "backend-reset", "1.0", True),
    Case("chunks to an HTTP/1.0 client, then a close", "/any", CHUNKED, (hang, close), "backend-reset", "1.0", True),
    Case("no length to an HTTP/1.0 client, then silence", "/hasty", UNTIL_CLOSE, (hang,), "read-timeout", "1.0", True),
    Case("the whole deadline passes", "/limited", LENGTH, (hang,), "request-timeout"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_truncated_answer_is_never_passed_off_as_complete(house: House, token: Token, case: Case) -> None:
    word = token()
    house.backend.play([expect_request, send(case.begin), *case.end])
    with house.client() as client:
        client.send(get(f"{case.path}/{word}", version=case.version))
        while b"hello" not in client.buffer:
            assert client.more()
        if len(case.end) > 1:
            house.backend.release()
        with pytest.raises(Cut) as cut:
            client.answer()
    assert cut.value.was_reset or not case.must_reset
    entry = house.proxy.entry(word)
    assert (entry["status"], entry["reason"]) == (200, case.reason)


def test_a_client_that_does_not_read_is_cut(house: House, token: Token) -> None:
    word = token()
    size = 64 * 1024 * 1024
    house.backend.play([expect_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))])
    with house.client("hasty", receive_buffer=4096) as client:
        client.send(get(f"/{word}"))
        client.sock.recv(1)
        entry = house.proxy.entry(word)

    assert (entry["status"], entry["reason"]) == (200, "send-timeout")
    assert entry["bytes_out"] < size


def test_a_cut_backend_is_not_used_again(house: House, client: RawClient) -> None:
    house.backend.play([expect_request, send(CHUNKED), hang, send(b"nonsense\r\n"), lambda conn: conn.wait_until_gone()])
    client.send(get())
    client.take_until(b"hello")
    house.backend.release()
    house.backend.wait_for(lambda: house.backend.gone == 1)
    house.backend.play()
    with house.client() as second:
        assert second.ask(get()).status == 200


def test_nonsense_that_comes_with_the_head_may_still_become_a_502(house: House, client: RawClient) -> None:
    """No byte went to the client yet, or some did: either an honest error or a cut, never a whole answer."""
    house.backend.play([expect_request, send(CHUNKED + b"nonsense\r\n"), hang])
    try:
        told = client.ask(get())
    except Cut:
        return
    assert told.status == 502


def test_what_is_left_at_the_end_of_graceful_timeout_is_cut(proxy: StartProxy, scripted: MakeBackend, token: Token) -> None:
    word = token()
    backend = scripted([expect_head, send(LENGTH), hang])
    running = proxy(
        f"""
        [greenproxy]
        graceful-timeout = 500ms
        [listener:web]
        bind = 127.0.0.1:0
        [upstream:shop]
        backends = {backend.url}
        health-interval = 0
        """.replace("        ", "")
    )
    with RawClient(running.address()) as client:
        client.send(get(f"/{word}"))
        client.take_until(b"hello")
        running.send(signal.SIGTERM)
        with pytest.raises(Cut):
            client.take(5)

    assert running.wait() == 0
    assert running.entry(word)["reason"] == "stopped"
