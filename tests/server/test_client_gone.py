"""Clients that leave, and exchanges that are stopped, while a handler waits."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event

from greenproxy.errors import ClientGone, Stopped
from greenproxy.messages import Request, Response
from tests.client import Cut, get, post
from tests.fakes import ClosingBody
from tests.fronts import LoneFront, MakeFront
from tests.hub import poll, until


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever only ended its side is in test_half_closed.py."""
    monkeypatch.setattr("greenproxy.server.http1.HALF_CLOSED_GRACE_S", 0.02)


class Waiting:
    """A handler that waits until it is let go, and notes how its wait ended."""

    def __init__(self, response: Callable[[], Response] = Response) -> None:
        self.gate = Event()
        self.begun = 0
        self.ended: list[str] = []
        self._response = response

    def __call__(self, _request: Request) -> Response:
        self.begun += 1
        try:
            self.gate.wait()
            self.ended.append("let go")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        return self._response()


@pytest.fixture
def waiting(front: MakeFront) -> tuple[LoneFront, Waiting]:
    """A front whose handler waits."""
    handler = Waiting()
    return front(handler), handler


# ------------------------------------------------------------------ gone


@pytest.mark.parametrize("how", ["leave", "reset", "half_close"])
def test_a_handler_that_waits_is_told_that_the_client_is_gone(waiting: tuple[LoneFront, Waiting], how: str) -> None:
    it, handler = waiting
    client = it.connect()
    client.send(get())
    until(lambda: handler.begun)
    getattr(client, how)()
    it.ended()
    assert handler.ended == ["ClientGone"]


def test_an_exchange_whose_client_is_gone_is_counted_and_logged_once_as_499(waiting: tuple[LoneFront, Waiting]) -> None:
    it, handler = waiting
    client = it.connect()
    client.send(get())
    until(lambda: handler.begun)
    client.leave()
    until(lambda: not it.connections)
    assert ([(each.status, each.reason) for each in it.endings], it.logged) == ([(499, "client-gone")], 1)


def test_a_client_that_left_before_its_request_was_read_is_gone(waiting: tuple[LoneFront, Waiting]) -> None:
    it, _ = waiting
    client = it.connect()
    client.send(get())
    client.leave()
    assert it.ended()[0].status == 499


def test_a_client_that_leaves_behind_a_body_that_was_read_is_gone(front: MakeFront) -> None:
    waiting = Waiting()

    def handler(request: Request) -> Response:
        request.body.read()
        return waiting(request)

    it = front(handler)
    client = it.connect()
    client.send(post("/", b"hello"))
    until(lambda: waiting.begun)
    client.leave()
    assert it.ended()[0].status == 499


def test_a_client_is_watched_again_when_a_body_that_came_meanwhile_was_read(front: MakeFront) -> None:
    first, second = Waiting(), Waiting()

    def handler(request: Request) -> Response:
        first(request)
        request.body.read()
        return second(request)

    it = front(handler)
    client = it.connect()
    client.send(get("/", "Content-Length: 5", method="POST"))
    until(lambda: first.begun)
    client.send(b"hello")
    poll()
    first.gate.set()
    until(lambda: second.begun)
    client.leave()
    assert it.ended()[0].status == 499


def test_a_client_that_sent_its_next_request_is_not_gone(waiting: tuple[LoneFront, Waiting]) -> None:
    it, handler = waiting
    client = it.connect()
    client.send(get())
    until(lambda: handler.begun)
    client.send(get())
    poll()
    handler.gate.set()
    assert [client.answer().status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("head", [get("/", "Connection: close"), get("/", version="1.0")], ids=["close", "HTTP/1.0"])
def test_a_client_that_sends_nothing_more_and_said_so_is_answered(waiting: tuple[LoneFront, Waiting], head: bytes) -> None:
    it, handler = waiting
    client = it.connect()
    client.send(head)
    client.half_close()
    until(lambda: handler.begun)
    poll()
    handler.gate.set()
    assert (client.answer().status, client.until_closed(), handler.ended) == (200, b"", ["let go"])


def test_a_handler_may_go_on_when_the_client_is_gone(front: MakeFront) -> None:
    begun = Event()

    def stubborn(_request: Request) -> Response:
        try:
            begun.set()
            Event().wait()
        except ClientGone:
            return Response(body=b"for nobody")
        raise AssertionError

    it = front(stubborn)
    client = it.connect()
    client.send(get())
    begun.wait()
    client.leave()
    it.ended()
    until(lambda: not it.connections)
    assert len(it.endings) == 1


# ------------------------------------------------------------------ gone while the answer is sent


def endless(piece: bytes = b"x" * 10_000) -> ClosingBody:
    """Return a body without an end that knows whether it was closed."""
    return ClosingBody(iter(lambda: piece, b""))


@pytest.mark.parametrize("how", ["leave", "reset"])
def test_a_body_is_closed_once_when_its_client_leaves(front: MakeFront, how: str) -> None:
    body = endless()
    it = front(lambda _request: Response(body=body))
    client = it.connect()
    client.send(get())
    client.head()
    getattr(client, how)()
    it.ended()
    assert (body.closed, it.reasons) == (1, ["client-gone"])


def test_an_answer_keeps_its_status_in_the_log_when_the_client_leaves_in_the_middle(front: MakeFront) -> None:
    it = front(lambda _request: Response(206, body=endless()))
    client = it.connect()
    client.send(get())
    client.head()
    client.leave()
    ending = it.ended()[0]
    assert (ending.status, ending.bytes_out > 0) == (206, True)


def test_a_body_that_waits_ends_when_the_client_leaves(front: MakeFront) -> None:
    def pieces() -> object:
        yield b"first"
        Event().wait()

    it = front(lambda _request: Response(body=pieces()))  # type: ignore[arg-type]
    client = it.connect()
    client.send(get())
    client.head()
    client.leave()
    assert it.ended()[0].reason == "client-gone"


def test_a_client_that_does_not_read_is_cut_at_send_timeout(front: MakeFront) -> None:
    body = endless()
    it = front(lambda _request: Response(body=body), send_timeout_s=0.05)
    it.connect(buffers=4096).send(get())
    it.ended()
    until(lambda: not it.connections)
    assert (it.reasons, body.closed) == (["send-timeout"], 1)


def test_a_client_that_reads_slowly_is_not_cut(front: MakeFront) -> None:
    it = front(lambda _request: Response(body=b"x" * 200_000), send_timeout_s=0.5)
    client = it.connect(buffers=4096)
    client.send(get())
    head = client.head()
    got = len(client.buffer)
    while got < 200_000:
        got += len(client.sock.recv(8192))
        gevent.sleep(0.001)
    assert (head.status, it.ended()[0].reason) == (200, "")


# ------------------------------------------------------------------ stopped


def test_a_handler_that_waits_is_told_that_it_is_stopped(waiting: tuple[LoneFront, Waiting]) -> None:
    it, handler = waiting
    client = it.connect()
    client.send(get())
    until(lambda: handler.begun)
    it.front.cut_all()
    it.ended()
    assert handler.ended == ["Stopped"]


def test_a_client_whose_request_is_stopped_is_told_and_closed(waiting: tuple[LoneFront, Waiting]) -> None:
    it, handler = waiting
    client = it.connect()
    client.send(get())
    until(lambda: handler.begun)
    it.front.cut_all()
    answer = client.answer()
    assert (answer.status, answer.says_close, client.is_closed(), it.reasons) == (503, True, True, [Stopped.reason])


def test_an_answer_that_is_stopped_in_the_middle_is_cut(front: MakeFront) -> None:
    def pieces() -> object:
        yield b"first"
        Event().wait()

    it = front(lambda _request: Response(body=pieces()))  # type: ignore[arg-type]
    client = it.connect()
    client.send(get())
    answer = client.head()
    it.front.cut_all()
    with pytest.raises(Cut):
        client.body_of(answer)
    assert it.reasons == [Stopped.reason]


def test_an_answer_that_nobody_reads_is_cut_when_it_is_stopped(front: MakeFront) -> None:
    body = endless()
    it = front(lambda _request: Response(body=body))
    it.connect(buffers=4096).send(get())
    until(lambda: it.front.requests == 0 and body)
    poll()
    it.front.cut_all()
    it.ended()
    until(lambda: not it.connections)
    assert (it.reasons, body.closed) == ([Stopped.reason], 1)


@pytest.mark.parametrize("data", [b"", get()[:-5]], ids=["idle", "half a head"])
def test_a_connection_that_serves_nothing_is_closed_without_a_word(waiting: tuple[LoneFront, Waiting], data: bytes) -> None:
    it, _ = waiting
    client = it.connect()
    if data:
        client.send(data)
        until(lambda: it.front.reading)
    it.front.cut_all()
    assert (client.until_closed(), it.endings) == (b"", [])
