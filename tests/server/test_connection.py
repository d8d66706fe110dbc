"""Connection: one request after the other."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from greenproxy.messages import Request, Response
from greenproxy.server.http1 import MOST_REMEMBERED_BYTES
from tests.client import get, post
from tests.fronts import MakeFront
from tests.hub import poll, turns, until


def say_target(request: Request) -> Response:
    """A handler that answers with what was asked for."""
    return Response(body=request.target.encode())


# ------------------------------------------------------------------ keep-alive


def test_a_connection_serves_one_request_after_the_other(front: MakeFront) -> None:
    client = front(say_target).connect()
    assert [client.ask(get(f"/{n}")).body for n in range(3)] == [b"/0", b"/1", b"/2"]


@pytest.mark.parametrize(
    ("version", "line", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: keep-alive", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: Keep-Alive, Close", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive", True),
        ("1.0", "Connection: close", False),
    ],
)
def test_the_client_says_whether_the_connection_stays(front: MakeFront, version: str, line: str, stays: bool) -> None:
    client = front(say_target).connect()
    answer = client.ask(get("/", *([line] if line else []), version=version))
    if stays:
        assert client.ask(get("/again")).body == b"/again"
    else:
        assert (answer.says_close, client.is_closed()) == (True, True)


def test_a_client_of_http_10_is_told_that_the_connection_stays(front: MakeFront) -> None:
    answer = front(say_target).connect().ask(get("/", "Connection: keep-alive", version="1.0"))
    assert answer.get("connection") == "keep-alive"


def test_the_last_of_keepalive_requests_says_close(front: MakeFront) -> None:
    client = front(say_target, keepalive_requests=2).connect()
    answers = [client.ask(get()) for _ in range(2)]
    assert ([each.says_close for each in answers], client.is_closed()) == ([False, True], True)


def test_a_draining_front_says_close(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(get())
    it.front.is_draining = True
    assert (client.ask(get()).says_close, client.is_closed()) == (True, True)


def test_a_drain_that_begins_during_a_request_says_close_in_its_answer(front: MakeFront) -> None:
    def handler(_request: Request) -> Response:
        it.front.is_draining = True
        return Response()

    it = front(handler)
    client = it.connect()
    assert (client.ask(get()).says_close, client.is_closed()) == (True, True)


def test_every_connection_is_closed_once(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(get("/", "Connection: close"))
    client.leave()
    until(lambda: it.closed)
    poll()
    assert (it.closed, it.connections) == (1, 0)


def test_requests_are_counted(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    for _ in range(3):
        client.ask(get())
    assert it.front.requests == 3


# ------------------------------------------------------------------ heads that come again


def test_heads_of_one_length_are_not_taken_for_each_other(front: MakeFront) -> None:
    it = front(say_target)
    clients = [it.connect(), it.connect()]
    targets = [f"/{n}" for n in (1, 2, 1, 2, 2)]
    assert [client.ask(get(target)).body for target in targets for client in clients] == [
        target.encode() for target in targets for _ in clients
    ]


def test_what_was_done_to_the_fields_of_a_head_is_not_seen_when_it_comes_again(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        seen = request.headers.get("x-user") or "nobody"
        request.headers["x-user"] = "alice"
        return Response(body=seen.encode())

    client = front(handler).connect()
    assert [client.ask(get()).body for _ in range(3)] == [b"nobody"] * 3


def test_a_head_that_comes_again_without_its_body_waits_for_that(front: MakeFront) -> None:
    it = front(lambda request: Response(body=request.body.read()))
    client = it.connect()
    answers = []
    for body in (b"one", b"two", b"six"):
        head = post("/", body)[: -len(body)]
        client.send(head)
        until(lambda: it.front.connections == 1 and not it.front.idle)
        client.send(body)
        answers.append(client.answer().body)
    assert answers == [b"one", b"two", b"six"]


def test_long_heads_are_not_remembered(front: MakeFront) -> None:
    it = front(say_target)
    it.connect().ask(get("/", "X-Long: " + "x" * MOST_REMEMBERED_BYTES))
    assert it.front.recent == {}


def test_what_was_remembered_goes_when_nobody_is_there_any_more(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(get())
    it.front.sweep()
    assert it.front.recent
    client.leave()
    until(lambda: not it.front.connections)
    it.front.sweep()
    assert it.front.recent == {}


# ------------------------------------------------------------------ pipelining


def test_pipelined_requests_are_answered_in_their_order(front: MakeFront) -> None:
    client = front(say_target).connect()
    client.send(b"".join(get(f"/{n}") for n in range(5)))
    assert [client.answer().body for _ in range(5)] == [b"/%d" % n for n in range(5)]


def test_pipelined_requests_are_served_one_at_a_time(front: MakeFront) -> None:
    running = most = 0

    def handler(request: Request) -> Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        gevent.sleep(0)
        running -= 1
        return say_target(request)

    client = front(handler).connect()
    client.send(get() * 5)
    for _ in range(5):
        client.answer()
    assert most == 1


def test_a_request_that_comes_during_another_waits_for_it(front: MakeFront) -> None:
    gate = Event()

    def handler(request: Request) -> Response:
        if request.path == "/slow":
            gate.wait()
        return say_target(request)

    client = front(handler).connect()
    client.send(get("/slow"))
    poll()
    client.send(get("/next"))
    poll()
    gate.set()
    assert [client.answer().body for _ in range(2)] == [b"/slow", b"/next"]


def test_a_pipelined_request_does_not_spin_the_loop(front: MakeFront) -> None:
    gate = Event()

    def handler(request: Request) -> Response:
        gate.wait()
        return say_target(request)

    client = front(handler).connect()
    client.send(get())
    poll()
    client.send(get())
    poll()
    spins = turns()
    gate.set()
    for _ in range(2):
        client.answer()
    assert spins < 10


def test_a_body_is_no_part_of_the_next_request(front: MakeFront) -> None:
    client = front(lambda request: Response(body=request.body.read())).connect()
    client.send(post("/", b"GET /not-a-request HTTP/1.1\r\n\r\n") + post("/", b"second"))
    assert [client.answer().body for _ in range(2)] == [b"GET /not-a-request HTTP/1.1\r\n\r\n", b"second"]


def test_what_follows_a_request_that_says_close_is_not_served(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.send(get("/last", "Connection: close") + get("/never"))
    assert (client.answer().body, client.until_closed(), len(it.endings)) == (b"/last", b"", 1)


def test_a_client_that_says_close_and_sends_on_can_read_its_whole_answer(front: MakeFront) -> None:
    gate = Event()

    def handler(_request: Request) -> Response:
        gate.wait()
        return Response(body=b"x" * 100_000)

    client = front(handler).connect()
    client.send(get("/", "Connection: close"))
    poll()
    client.send(b"y" * 100_000)
    poll()
    gate.set()
    poll()
    assert (len(client.answer().body), client.until_closed()) == (100_000, b"")


def test_a_pipelined_head_in_two_pieces_is_served(front: MakeFront) -> None:
    client = front(say_target).connect()
    whole = get("/0") + get("/1")
    client.send(whole[:-10])
    first = client.answer().body
    client.send(whole[-10:])
    assert (first, client.answer().body) == (b"/0", b"/1")


# ------------------------------------------------------------------ what is no request


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "version"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 33000, 431, "head-too-large"),
        (get("/", *["X: y"] * 101), 431, "head-too-large"),
        (get("/", "Transfer-Encoding: chunked, gzip"), 400, "bad-request"),
        (get("/", "Transfer-Encoding: gzip"), 501, "transfer-coding"),
        (get("/", "Content-Length: 1", "Expect: tea"), 417, "expectation"),
        (get("/%00"), 400, "bad-request"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_what_is_no_request_is_refused_and_ends_the_connection(front: MakeFront, data: bytes, status: int, reason: str) -> None:
    it = front(say_target)
    client = it.connect()
    answer = client.ask(data, "GET")
    assert (answer.status, answer.says_close, client.is_closed(), it.reasons) == (status, True, True, [reason])


def test_a_refusal_is_counted_and_logged_once(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(b"nonsense\r\n\r\n", "GET")
    client.leave()
    until(lambda: not it.connections)
    assert (len(it.endings), it.logged) == (1, 1)


def test_a_refusal_is_logged_with_the_line_that_came(front: MakeFront) -> None:
    it = front(say_target)
    it.connect().ask(b"nonsense with a tail\r\n\r\n", "GET")
    assert it.endings[0].first_line == b"nonsense with a tail"


def test_connect_is_no_method_here_and_the_answer_says_which_are(front: MakeFront) -> None:
    answer = front(say_target).connect().ask(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "GET")
    assert (answer.status, "GET" in (answer.get("allow") or "")) == (405, True)


def test_whatever_a_refused_client_goes_on_to_send_it_can_read_why(front: MakeFront) -> None:
    client = front(say_target).connect()
    client.send(b"nonsense\r\n\r\n")
    poll()
    for _ in range(20):
        client.send(b"x" * 50_000)
        poll()
    client.half_close()
    assert (client.answer().status, client.until_closed()) == (400, b"")
