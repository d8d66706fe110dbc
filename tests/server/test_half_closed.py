"""Clients that end their side and listen on, as `nc` does, and those that only look like it."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event
from gevent.lock import Semaphore

from greenproxy.errors import ProxyError
from greenproxy.messages import Duplex, Request, Response
from greenproxy.protocol.http1 import parse_response_head
from tests.client import Cut, get, post
from tests.fronts import LoneFront, MakeFront
from tests.hub import HubClient, poll, turns, until, watchers

GRACE_S = 0.12


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenproxy.server.http1.HALF_CLOSED_GRACE_S", GRACE_S)


class Work:
    """A handler that answers with the target as soon as `gate` is open; `/now` at once."""

    def __init__(self) -> None:
        self.gate = Event()
        self.begun: list[str] = []
        self.ended: list[str] = []

    def __call__(self, request: Request) -> Response:
        self.begun.append(request.target)
        try:
            if request.target != "/now":
                self.gate.wait()
            self.ended.append("done")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        return Response(body=request.target.encode())


@pytest.fixture
def work() -> Work:
    return Work()


def half_closed(front: MakeFront, work: Work, data: bytes) -> tuple[LoneFront, HubClient]:
    """Return a client that sent `data` and the end of its side, which were seen."""
    it = front(work)
    client = it.connect()
    client.send(data)
    until(lambda: work.begun)
    client.half_close()
    poll()
    return it, client


# ------------------------------------------------------------------ answered


@pytest.mark.parametrize(
    "request_", [get("/now"), post("/now", b"hello"), get("/now", version="1.0")], ids=["GET", "POST", "1.0"]
)
def test_a_quick_answer_arrives_and_the_connection_is_closed(front: MakeFront, work: Work, request_: bytes) -> None:
    client = front(work).connect()
    client.send(request_)
    client.half_close()
    assert (client.answer().body, client.until_closed()) == (b"/now", b"")


def test_an_answer_within_the_grace_arrives(front: MakeFront, work: Work) -> None:
    _, client = half_closed(front, work, get("/later"))
    gevent.sleep(GRACE_S / 3)
    work.gate.set()
    assert (client.answer().body, client.until_closed(), work.ended) == (b"/later", b"", ["done"])


def test_pipelined_requests_are_all_answered_in_order(front: MakeFront, work: Work) -> None:
    _, client = half_closed(front, work, get("/1") + post("/2", b"hello") + get("/3"))
    work.gate.set()
    bodies = [client.answer().body for _ in range(3)]
    assert (bodies, client.until_closed()) == ([b"/1", b"/2", b"/3"], b"")


def test_the_grace_is_each_requests_own(front: MakeFront) -> None:
    def handler(_request: Request) -> Response:
        gevent.sleep(GRACE_S * 0.6)
        return Response(body=b"ok")

    it = front(handler)
    client = it.connect()
    client.send(get("/1") + get("/2") + get("/3"))
    client.half_close()
    assert ([client.answer().status for _ in range(3)], client.until_closed()) == ([200, 200, 200], b"")


def test_an_answer_in_time_is_counted_as_it_is(front: MakeFront, work: Work) -> None:
    it, client = half_closed(front, work, get("/later"))
    work.gate.set()
    client.answer()
    assert [(each.status, each.reason) for each in it.ended()] == [(200, "")]


# ------------------------------------------------------------------ too late


def test_behind_the_grace_the_work_is_cancelled(front: MakeFront, work: Work) -> None:
    it, client = half_closed(front, work, get("/later"))
    assert (client.until_closed(), work.ended, it.ended()[0].status) == (b"", ["ClientGone"], 499)


def test_the_work_goes_on_until_then(front: MakeFront, work: Work) -> None:
    it, _ = half_closed(front, work, get("/later"))
    gevent.sleep(GRACE_S / 3)
    assert (work.ended, it.endings) == ([], [])


def test_a_reset_is_noticed_at_once(front: MakeFront, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenproxy.server.http1.HALF_CLOSED_GRACE_S", 60.0)
    it = front(work)
    client = it.connect()
    client.send(get("/later"))
    until(lambda: work.begun)
    client.reset()
    assert it.ended()[0].status == 499


def test_what_is_pipelined_behind_a_request_that_took_too_long_is_not_served(front: MakeFront, work: Work) -> None:
    it, client = half_closed(front, work, get("/1") + get("/2"))
    client.until_closed()
    until(lambda: not it.connections)
    assert (work.begun, it.reasons) == (["/1"], ["client-gone"])


# ------------------------------------------------------------------ an answer that has begun


class Drip:
    """A handler whose answer has begun; its pieces come when they are let go."""

    def __init__(self) -> None:
        self.more = Semaphore(0)
        self.ended: list[str] = []

    def __call__(self, _request: Request) -> Response:
        return Response(headers={"Content-Length": "10"}, body=self._body())

    def _body(self) -> Iterator[bytes]:
        try:
            for piece in (b"he", b"ll", b"ow", b"or", b"ld"):
                yield piece
                self.more.acquire()
            self.ended.append("done")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise


def test_an_answer_that_has_begun_goes_on_for_as_long_as_it_gets_on(front: MakeFront) -> None:
    drip = Drip()
    it = front(drip)
    client = it.connect()
    client.send(get())
    client.half_close()
    client.head()
    for _ in range(5):
        gevent.sleep(GRACE_S * 0.4)
        drip.more.release()
    assert (client.take(10), client.until_closed(), it.ended()[0].status) == (b"helloworld", b"", 200)


def test_an_answer_that_has_begun_ends_when_its_next_piece_does_not_come(front: MakeFront) -> None:
    """Who left, and has all that was sent so far, looks like that."""
    drip = Drip()
    it = front(drip)
    client = it.connect()
    client.send(get())
    client.head()
    client.leave()
    assert (it.ended()[0].reason, drip.ended) == ("client-gone", ["ClientGone"])


def test_a_client_that_reads_slowly_is_not_cut_for_having_ended_its_side(front: MakeFront) -> None:
    it = front(lambda _request: Response(body=b"x" * 200_000))
    client = it.connect(buffers=4096)
    client.send(get())
    client.half_close()
    client.head()
    gevent.sleep(GRACE_S * 2.5)
    assert (len(client.take(200_000)), client.until_closed(), it.ended()[0].status) == (200_000, b"", 200)


# ------------------------------------------------------------------ nothing is left


@pytest.mark.parametrize("how", ["answered", "cancelled", "stopped", "reset"])
def test_no_timer_is_left(front: MakeFront, work: Work, how: str) -> None:
    before = watchers()
    it, client = half_closed(front, work, get("/later"))
    if how == "answered":
        work.gate.set()
    elif how == "stopped":
        it.front.cut_all()
    elif how == "reset":
        client.reset()
    it.ended()
    client.leave()
    until(lambda: not it.connections)
    assert watchers() <= before


def test_a_stop_during_the_grace_ends_the_exchange_as_stopped(front: MakeFront, work: Work) -> None:
    it, client = half_closed(front, work, get("/later"))
    it.front.cut_all()
    assert (it.ended()[0].status, work.ended, client.answer().status) == (503, ["Stopped"], 503)


def test_the_loop_does_not_spin_during_the_grace(front: MakeFront, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenproxy.server.http1.HALF_CLOSED_GRACE_S", 60.0)
    half_closed(front, work, get("/later"))
    assert turns() < 10


def test_a_body_that_is_read_behind_the_end_of_its_client_begins_no_second_grace(front: MakeFront) -> None:
    """The body came with its head, and is read when the end was seen already; the exchange goes on behind both."""
    gates = [Event(), Event()]
    begun: list[str] = []

    def handler(request: Request) -> Response:
        begun.append(request.target)
        gates[0].wait()
        body = request.body.read()
        gates[1].wait()
        return Response(body=body)

    before = watchers()
    it = front(handler)
    client = it.connect()
    client.send(post("/", b"hello"))
    until(lambda: begun)
    client.half_close()
    poll()
    gates[0].set()
    poll()
    gates[1].set()
    assert (client.answer().body, client.until_closed()) == (b"hello", b"")
    until(lambda: not it.connections)
    client.leave()
    assert watchers() <= before


def test_a_tunnel_is_not_ended_by_a_grace_that_began_before_it(front: MakeFront) -> None:
    gate = Event()
    begun: list[str] = []

    def talk(duplex: Duplex) -> None:
        gevent.sleep(GRACE_S * 2)
        duplex.send(b"still here")

    def handler(request: Request) -> Response:
        begun.append(request.target)
        gate.wait()
        head = parse_response_head(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        response = Response(101, raw=head)
        response.takeover = talk
        return response

    client = front(handler).connect()
    client.send(get("/", "Connection: upgrade", "Upgrade: websocket"))
    until(lambda: begun)
    client.half_close()
    poll()
    gate.set()
    assert (client.head().status, client.take(10)) == (101, b"still here")


def test_an_error_within_the_grace_is_told(front: MakeFront) -> None:
    def handler(_request: Request) -> Response:
        gevent.sleep(GRACE_S / 4)
        raise ProxyError

    client = front(handler).connect()
    client.send(get())
    client.half_close()
    assert client.answer().status == 500


def test_a_body_that_ended_too_early_is_no_request(front: MakeFront) -> None:
    it = front(lambda request: Response(body=request.body.read()))
    client = it.connect()
    client.send(get("/", "Content-Length: 5", method="POST") + b"he")
    client.half_close()
    with pytest.raises(Cut):
        client.answer()
    assert it.ended()[0].reason == "client-gone"
