"""Takeovers: a connection that is handed over behind a 101 (Switching Protocols)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greenproxy.deadline import NEVER
from greenproxy.errors import BackendReset, ClientGone, ReadTimeout
from greenproxy.messages import Duplex, Request, Response
from greenproxy.protocol.http1 import parse_response_head
from tests.client import Cut, get
from tests.fakes import ClosingBody
from tests.fronts import LoneFront, MakeFront, answering
from tests.hub import poll, until

UPGRADE = get("/", "Connection: upgrade", "Upgrade: websocket")
SWITCH = parse_response_head(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Key: 1\r\n\r\n")


def switching(takeover: Callable[[Duplex], None]) -> Response:
    """Return a 101 as the proxy makes it."""
    response = Response(101, raw=SWITCH)
    response.takeover = takeover
    return response


def echo(client: Duplex) -> None:
    """A takeover that sends back what comes, up to the end."""
    while data := client.recv(100, NEVER):
        client.send(data, NEVER)
    client.shutdown_write()


def test_the_head_says_to_what_it_switches(front: MakeFront) -> None:
    answer = front(answering(switching(echo))).connect().ask(UPGRADE)
    assert (answer.status, answer.get("connection"), answer.get("upgrade"), answer.get("x-key")) == (
        101,
        "upgrade",
        "websocket",
        "1",
    )


def test_the_head_of_a_101_has_no_length(front: MakeFront) -> None:
    answer = front(answering(switching(echo))).connect().ask(UPGRADE)
    assert (answer.get("content-length"), answer.get("transfer-encoding")) == (None, None)


def test_bytes_pass_once_it_is_taken_over(front: MakeFront) -> None:
    client = front(answering(switching(echo))).connect()
    client.ask(UPGRADE)
    client.send(b"hello")
    assert client.take(5) == b"hello"


def test_bytes_that_came_behind_the_head_are_not_lost(front: MakeFront) -> None:
    client = front(answering(switching(echo))).connect()
    client.ask(UPGRADE + b"early")
    client.send(b"later")
    assert client.take(10) == b"earlylater"


def test_the_connection_ends_with_the_takeover(front: MakeFront) -> None:
    it = front(answering(switching(lambda _client: None)))
    client = it.connect()
    client.ask(UPGRADE)
    assert (client.until_closed(), len(it.ended())) == (b"", 1)


def test_a_half_close_reaches_the_takeover(front: MakeFront) -> None:
    client = front(answering(switching(echo))).connect()
    client.ask(UPGRADE)
    client.send(b"last")
    client.half_close()
    assert client.until_closed() == b"last"


def test_a_client_that_ends_its_side_is_not_gone(front: MakeFront) -> None:
    def drain_then_speak(client: Duplex) -> None:
        while client.recv(100, NEVER):
            pass
        poll()
        client.send(b"goodbye", NEVER)

    it = front(answering(switching(drain_then_speak)))
    client = it.connect()
    client.ask(UPGRADE)
    client.half_close()
    assert (client.until_closed(), it.ended()[0].reason) == (b"goodbye", "")


@pytest.mark.parametrize("error", [ClientGone, BackendReset, ReadTimeout, ValueError])
def test_a_takeover_that_fails_resets_the_connection_and_is_counted_once(front: MakeFront, error: type[Exception]) -> None:
    def fail(_client: Duplex) -> None:
        raise error

    it = front(answering(switching(fail)))
    client = it.connect()
    client.ask(UPGRADE)
    with pytest.raises(Cut) as cut:
        client.until_closed()
    until(lambda: not it.connections)
    assert cut.value.was_reset  # an orderly end would pass off a part of what was said as all of it
    assert [(each.status, each.reason) for each in it.endings] == [(101, getattr(error, "reason", "internal"))]


def test_a_takeover_is_told_when_it_is_stopped(front: MakeFront) -> None:
    it = front(answering(switching(echo)))
    client = it.connect()
    client.ask(UPGRADE)
    it.front.cut_all()
    assert it.ended()[0].reason == "stopped"


class Closable:
    """A takeover that owns something."""

    def __init__(self) -> None:
        self.called = self.closed = 0

    def __call__(self, _client: Duplex) -> None:
        self.called += 1

    def close(self) -> None:
        self.closed += 1


def handed_to(it: LoneFront, request: bytes) -> None:
    """Ask, and wait for the end of the exchange."""
    client = it.connect()
    client.send(request)
    client.leave()
    it.ended()


def test_a_takeover_that_ran_is_closed(front: MakeFront) -> None:
    takeover = Closable()
    it = front(answering(switching(takeover)))
    it.connect().ask(UPGRADE)
    it.ended()
    assert (takeover.called, takeover.closed) == (1, 1)


def test_a_takeover_that_never_ran_is_closed_too(front: MakeFront) -> None:
    takeover = Closable()
    it = front(answering(switching(takeover)))
    it.connect().ask(get())  # nobody asked for an upgrade
    it.ended()
    assert (takeover.called, takeover.closed) == (0, 1)


def test_the_body_of_a_101_is_closed(front: MakeFront) -> None:
    body = ClosingBody([])

    def handler(_request: Request) -> Response:
        response = switching(echo)
        response.body = body
        return response

    handed_to(front(handler), UPGRADE)
    assert body.closed == 1
