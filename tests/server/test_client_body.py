"""ClientBody: a request's body as handlers read it, and what happens to one that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from greenproxy.deadline import Patience
from greenproxy.errors import BodyTimeout, BodyTooLarge, ClientGone, ProxyError
from greenproxy.exchange import Exchange
from greenproxy.messages import ClientAddress, Request, Response
from greenproxy.server.body import ClientBody
from tests.client import get, post
from tests.fronts import MakeFront, answering
from tests.hub import poll, until

CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")
HELLO = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


def read(request: Request) -> Response:
    """A handler that answers with the body that came."""
    return Response(body=request.body.read())


def iterate(request: Request) -> Response:
    """A handler that answers with the body's pieces, joined."""
    return Response(body=b"".join(request.body))


def read_twice(request: Request) -> Response:
    return Response(body=request.body.read() + b"|" + request.body.read())


def read_then_iterate(request: Request) -> Response:
    return Response(body=request.body.read() + b"|" + b"".join(request.body))


every_reader = pytest.mark.parametrize("reader", [read, iterate])
BODIES = {"length": post("/", b"hello world"), "chunked": CHUNKED + HELLO, "none": get(), "length of zero": post("/", b"")}


# ------------------------------------------------------------------ reading


@every_reader
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_read(front: MakeFront, reader: object, kind: str) -> None:
    expected = b"hello world" if kind in ("length", "chunked") else b""
    assert front(reader).connect().ask(BODIES[kind]).body == expected


@every_reader
@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_body_that_comes_byte_by_byte_is_waited_for(front: MakeFront, reader: object, kind: str) -> None:
    client = front(reader).connect()
    for byte in BODIES[kind]:
        client.send(bytes((byte,)))
        poll()
    assert client.answer().body == b"hello world"


@every_reader
@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_the_next_request_follows_a_body(front: MakeFront, reader: object, kind: str) -> None:
    client = front(reader).connect()
    client.send(BODIES[kind] * 2)
    assert [client.answer().body for _ in range(2)] == [b"hello world"] * 2


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_body_may_be_read_twice(front: MakeFront, kind: str) -> None:
    assert front(read_twice).connect().ask(BODIES[kind]).body == b"hello world|hello world"


def test_a_body_that_was_read_can_still_be_iterated(front: MakeFront) -> None:
    assert front(read_then_iterate).connect().ask(BODIES["length"]).body == b"hello world|hello world"


def test_read_returns_the_rest_of_a_body_that_was_begun(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        first = next(iter(request.body))
        return Response(body=first + b"|" + request.body.read())

    client = front(handler).connect()
    client.send(CHUNKED + b"5\r\nhello\r\n")
    poll()
    client.send(b"6\r\n world\r\n0\r\n\r\n")
    assert client.answer().body == b"hello| world"


def test_pieces_are_handed_on_as_they_come(front: MakeFront) -> None:
    pieces: list[bytes] = []

    def handler(request: Request) -> Response:
        pieces.extend(request.body)
        return Response()

    client = front(handler).connect()
    client.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    until(lambda: pieces == [b"hello"])
    client.send(b"world")
    client.answer()
    assert pieces == [b"hello", b"world"]


def test_a_large_body_is_counted(front: MakeFront) -> None:
    it = front(lambda request: Response(body=b"%d" % sum(map(len, request.body))))
    client = it.connect()
    assert (client.ask(post("/", b"x" * 3_000_000)).body, it.endings[0].bytes_in) == (b"3000000", 3_000_000)


def test_the_framing_of_chunks_does_not_count_as_body(front: MakeFront) -> None:
    it = front(read)
    it.connect().ask(CHUNKED + HELLO)
    assert it.endings[0].bytes_in == 11


def test_trailers_are_known_behind_the_body(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        request.body.read()
        return Response(body=request.body.trailers)

    assert front(handler).connect().ask(CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n").body == b"X-Sum: 1\r\n"


@pytest.mark.parametrize(("data", "complete"), [(get(), True), (post("/", b"whole"), False)])
def test_a_body_tells_whether_there_is_anything_to_read(front: MakeFront, data: bytes, complete: bool) -> None:
    answer = front(lambda request: Response(body=str(request.body.is_complete).encode())).connect().ask(data)
    assert answer.body == str(complete).encode()


# ------------------------------------------------------------------ what the client did wrong

WRONG = {
    "a size that is none": (CHUNKED + b"zz\r\n", 400, "bad-request"),
    "a chunk longer than its size": (CHUNKED + b"1\r\nxyz\r\n", 400, "bad-request"),
    "a bare line feed": (CHUNKED + b"1\nx\n0\n\n", 400, "bad-request"),
    "a forbidden trailer": (CHUNKED + b"0\r\nHost: evil\r\n\r\n", 400, "bad-request"),
}


@every_reader
@pytest.mark.parametrize(("data", "status", "reason"), WRONG.values(), ids=WRONG)
def test_a_malformed_body_is_refused_and_ends_the_connection(
    front: MakeFront, reader: object, data: bytes, status: int, reason: str
) -> None:
    it = front(reader)
    client = it.connect()
    answer = client.ask(data)
    assert (answer.status, answer.says_close, client.is_closed(), it.reasons) == (status, True, True, [reason])


def test_a_body_that_stops_gets_a_408_at_body_timeout(front: MakeFront) -> None:
    it = front(read, body_timeout_s=0.05)
    client = it.connect()
    client.send(get("/", "Content-Length: 10", method="POST") + b"hel")
    answer = client.answer()
    assert (answer.status, client.is_closed(), it.reasons) == (408, True, ["body-timeout"])


def test_body_timeout_begins_anew_with_each_piece(front: MakeFront) -> None:
    client = front(read, body_timeout_s=0.3).connect()
    client.send(get("/", "Content-Length: 5", method="POST"))
    for byte in b"hello":
        gevent.sleep(0.1)
        client.send(bytes((byte,)))
    assert client.answer().body == b"hello"


@pytest.mark.parametrize("how", ["leave", "reset", "half_close"])
def test_a_client_that_ends_in_the_middle_of_its_body_is_gone(front: MakeFront, how: str) -> None:
    it = front(read)
    client = it.connect()
    client.send(get("/", "Content-Length: 10", method="POST") + b"hel")
    poll()
    getattr(client, how)()
    assert (it.ended()[0].status, it.reasons) == (499, ["client-gone"])


# ------------------------------------------------------------------ limits


@every_reader
@pytest.mark.parametrize("kind", ["length", "chunked"])
@pytest.mark.parametrize(("limit", "status"), [(10, 413), (11, 200), (0, 200)])
def test_a_body_may_be_as_long_as_max_body(front: MakeFront, reader: object, kind: str, limit: int, status: int) -> None:
    def limited(request: Request) -> Response:
        set_limit = getattr(request.body, "set_limit", None)  # as assembly does it
        if set_limit is not None and limit:
            set_limit(limit)
        return reader(request)  # type: ignore[operator,no-any-return]

    it = front(limited, max_body_bytes=limit)
    client = it.connect()
    assert client.ask(BODIES[kind]).status == status


def test_a_body_announced_as_too_long_is_refused_before_it_comes(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        request.body.set_limit(10)
        raise AssertionError("it was let in")

    it = front(handler)
    client = it.connect()
    client.send(get("/", "Content-Length: 11", method="POST"))
    assert (client.answer().status, it.reasons) == (413, ["body-too-large"])


def test_a_refused_body_that_is_still_sent_does_not_hide_the_answer(front: MakeFront) -> None:
    def handler(_request: Request) -> Response:
        raise BodyTooLarge

    client = front(handler).connect()
    body = b"x" * 500_000
    client.send(get("/", f"Content-Length: {len(body)}", method="POST"))
    gevent.spawn(client.send, body).join()
    assert client.answer().status == 413


def test_a_route_may_take_longer_bodies_than_its_listener(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        request.body.set_limit(100)
        return read(request)

    assert front(handler, max_body_bytes=5).connect().ask(BODIES["length"]).body == b"hello world"


# ------------------------------------------------------------------ 100 (Continue)

EXPECTING = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")


def test_a_client_that_waits_is_told_to_go_on_when_its_body_is_read(front: MakeFront) -> None:
    client = front(read).connect()
    client.send(EXPECTING)
    interim = client.head()
    client.send(b"hello")
    assert (interim.status, client.answer().body) == (100, b"hello")


def test_a_client_that_waits_is_told_to_go_on_once(front: MakeFront) -> None:
    client = front(read).connect()
    client.send(EXPECTING)
    client.head()
    for byte in b"hello":
        client.send(bytes((byte,)))
        poll()
    assert client.answer().interim == []


def test_a_body_that_is_not_read_is_not_asked_for(front: MakeFront) -> None:
    answer = front(answering(Response(403))).connect().ask(EXPECTING)
    assert (answer.status, answer.interim, answer.says_close) == (403, [], True)


def test_a_body_that_came_without_waiting_needs_no_100(front: MakeFront) -> None:
    assert front(read).connect().ask(EXPECTING + b"hello").interim == []


def test_a_client_of_http_10_is_never_told_to_go_on(front: MakeFront) -> None:
    client = front(read).connect()
    client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST", version="1.0"))
    poll()
    client.send(b"hello")
    assert client.answer("POST").interim == []


# ------------------------------------------------------------------ bodies that nobody reads


def test_a_short_body_that_nobody_read_costs_no_connection(front: MakeFront) -> None:
    client = front(answering(Response(body=b"ok"))).connect()
    client.send(post("/", b"ignored") * 2)
    assert [client.answer().body for _ in range(2)] == [b"ok", b"ok"]


def test_a_body_that_has_not_come_when_the_answer_goes_ends_the_connection(front: MakeFront) -> None:
    client = front(answering(Response(body=b"ok"))).connect()
    answer = client.ask(get("/", "Content-Length: 5", method="POST"))
    assert (answer.says_close, client.is_closed()) == (True, True)


def test_a_body_read_in_part_ends_the_connection(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        return Response(body=next(iter(request.body)))

    client = front(handler).connect()
    answer = client.ask(get("/", "Content-Length: 10", method="POST") + b"hello")
    assert (answer.body, answer.says_close, client.is_closed()) == (b"hello", True, True)


def test_a_malformed_body_that_nobody_read_does_not_change_the_answer(front: MakeFront) -> None:
    client = front(answering(Response(body=b"ok"))).connect()
    answer = client.ask(CHUNKED + b"zz\r\n")
    assert (answer.status, answer.says_close) == (200, True)


def test_a_reader_that_never_stops_does_not_hold_the_connection(front: MakeFront) -> None:
    kept: list[Iterator[bytes]] = []

    def handler(request: Request) -> Response:
        kept.append(iter(request.body))
        next(kept[0])
        return Response(body=b"ok")

    it = front(handler, body_timeout_s=0.05)
    client = it.connect()
    client.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    client.answer()
    client.half_close()
    until(lambda: not it.connections)


@every_reader
def test_a_chunked_body_without_a_byte_is_read_at_once(front: MakeFront, reader: object) -> None:
    assert front(reader).connect().ask(CHUNKED + b"0\r\n\r\n").status == 200


# ------------------------------------------------------------------ read by somebody else


def test_the_connection_goes_on_when_a_body_that_was_read_elsewhere_has_ended(front: MakeFront) -> None:
    got: list[bytes] = []

    def handler(request: Request) -> Response:
        gevent.spawn(lambda: got.append(request.body.read()))
        gevent.sleep(0)
        return Response(body=b"early")

    client = front(handler).connect()
    client.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    early = client.answer()
    client.send(b"world" + get("/next"))
    assert (early.body, early.says_close, client.answer().body, got[0]) == (b"early", False, b"early", b"helloworld")


def test_a_body_that_is_cancelled_stops_its_reader(front: MakeFront) -> None:
    told: list[BaseException] = []
    reading = Event()

    def read_it(request: Request) -> None:
        reading.set()
        try:
            request.body.read()
        except ProxyError as error:
            told.append(error)

    def handler(request: Request) -> Response:
        gevent.spawn(read_it, request)
        reading.wait()
        request.body.cancel()
        gevent.sleep(0)
        return Response(body=b"enough")

    client = front(handler).connect()
    answer = client.ask(get("/", "Content-Length: 10", method="POST") + b"hello")
    assert (answer.body, answer.says_close, [isinstance(each, ClientGone) for each in told]) == (b"enough", True, [True])


# ------------------------------------------------------------------ a client that breaks off


class Broken:
    """A connection whose client has reset it."""

    buffer = b"hel"

    class stream:  # noqa: N801
        @staticmethod
        def recv_now(_max_bytes: int) -> bytes:
            raise ConnectionResetError

    def watch(self) -> None:
        """Nobody leaves twice."""


def test_a_reset_behind_a_body_that_nobody_wants_is_a_client_that_left() -> None:
    exchange = Exchange("web", ClientAddress("127.0.0.1", 1))
    body = ClientBody(Broken(), exchange, 5, Patience(1, BodyTimeout), 0, None)  # type: ignore[arg-type]
    with pytest.raises(ClientGone):
        body.receive_now()
