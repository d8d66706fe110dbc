"""Uploads: request bodies that are streamed while the answer is awaited, and all that can come between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenproxy.errors import (
    AppError,
    BadRequest,
    BodyTimeout,
    BodyTooLarge,
    ClientGone,
    ProxyError,
    ResponseTimeout,
)
from greenproxy.messages import Request, Response
from tests.client import get, post
from tests.conftest import MakeBackend
from tests.fronts import MakeFront
from tests.hub import poll, until
from tests.proxy.edge import MakeEdge
from tests.proxy.requests import ComingBody, head, request
from tests.scripts import (
    Connection,
    always,
    answer,
    close,
    echo,
    expect_head,
    expect_request,
    hang,
    reset,
    send,
    wait_until_gone,
)

MANY = 20 << 20  # more than the kernel holds between two sockets
POST = head("Content-Length: 5", method="POST")
CHUNKED = head("Transfer-Encoding: chunked", method="POST")
CLOSING = b"HTTP/1.1 413 Enough\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"


def seen(body: bytes) -> dict[str, Any]:
    """Return what the backend `echo` says about a request."""
    facts: dict[str, Any] = json.loads(body)
    return facts


# ------------------------------------------------------------------ whole uploads

BODIES: dict[str, tuple[Callable[[], Request], str]] = {
    "streamed": (lambda: request(POST, ComingBody(b"he", [b"l", b"lo"])), "hello"),
    "chunked": (lambda: request(CHUNKED, ComingBody(b"he", [b"l", b"lo"])), "hello"),
    "chunked, nothing at hand": (lambda: request(CHUNKED, ComingBody(b"", [b"hello"])), "hello"),
    "held": (lambda: request(POST, ComingBody(b"hello")), "hello"),
    "none": (lambda: request(head(method="POST")), ""),
}


def with_body(body: Any) -> Request:
    """Return a request whose body a middleware replaced."""
    it = request(POST, ComingBody(b"", [b"old"]))
    it.body = body
    return it


MADE: dict[str, tuple[Callable[[], Request], str]] = {
    "bytes": (lambda: with_body(b"hello"), "hello"),
    "a list": (lambda: with_body([b"he", b"", b"llo"]), "hello"),
    "an empty list": (lambda: with_body([]), ""),
    "a generator": (lambda: with_body(each for each in [b"he", b"llo"]), "hello"),
}
every_body = pytest.mark.parametrize(("make", "body"), (BODIES | MADE).values(), ids=BODIES | MADE)


@every_body
def test_a_backend_gets_the_whole_body(scripted: MakeBackend, edge: MakeEdge, make: Callable[[], Request], body: str) -> None:
    assert seen(edge(scripted()).ask(make())[1])["body"] == body


@every_body
def test_a_connection_is_kept_behind_an_upload(
    scripted: MakeBackend, edge: MakeEdge, make: Callable[[], Request], body: str  # noqa: ARG001
) -> None:  # fmt: skip
    backend = scripted()
    it = edge(backend)
    it.ask(make())
    it.until_idle()
    it.ask()
    assert backend.accepted == 1


def test_trailers_of_the_client_reach_the_backend(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted()
    edge(backend).ask(request(CHUNKED, ComingBody(b"", [b"x"], trailers=b"X-Sum: 1\r\n")))
    assert backend.requests[0].trailers == b"X-Sum: 1\r\n"


def test_a_large_body_reaches_the_backend(scripted: MakeBackend, edge: MakeEdge) -> None:
    pieces = [bytes([n]) * (1 << 18) for n in range(20)]
    backend = scripted(always(answer()))
    edge(backend).ask(with_body(pieces))
    assert backend.requests[0].body == b"".join(pieces)


@pytest.mark.parametrize("size", [1, 100_000, MANY])
def test_bytes_of_any_size_reach_the_backend(scripted: MakeBackend, edge: MakeEdge, size: int) -> None:
    backend = scripted(always(answer()))
    edge(backend).ask(with_body(b"x" * size))
    assert len(backend.requests[0].body) == size


def test_the_head_goes_out_before_the_body_has_come(scripted: MakeBackend, edge: MakeEdge) -> None:
    gate = Event()

    def pieces() -> Iterator[bytes]:
        gate.wait()
        yield b"hello"

    backend = scripted([expect_head, hang, send(answer()), wait_until_gone])
    it = edge(backend)
    asking = it.spawn(with_body(pieces()))
    until(lambda: backend.requests)
    gate.set()
    backend.release()
    assert asking.get()[1] == b"ok"


# ------------------------------------------------------------------ answers that come early


def reading_client(front: MakeFront, handler: Callable[[Request], Response]) -> Any:
    """Return a client of a front, and the front."""
    it = front(handler)
    return it.connect(), it


def test_an_early_answer_does_not_end_the_upload(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    def early(conn: Connection) -> None:
        whole = conn.head()
        conn.send(answer(b"early"))
        conn.rest_of(whole)
        conn.request()
        conn.send(answer(b"next"))
        conn.wait_until_gone()

    backend = scripted(early)
    it = edge(backend)
    client, _ = reading_client(front, it.proxy)
    client.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    first = client.answer()
    held = it.in_flight
    client.send(b"world" + get("/next"))
    assert (first.body, held, client.answer().body, backend.requests[0].body) == (b"early", 1, b"next", b"helloworld")


def test_an_early_answer_with_a_body_passes_while_the_upload_goes_on(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront
) -> None:
    def echo_pieces(conn: Connection) -> None:
        conn.head()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(2):
            conn.send(conn.take(5))
        conn.wait_until_gone()

    client, _ = reading_client(front, edge(scripted(echo_pieces)).proxy)
    client.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    answered = client.head()
    first = client.take(5)
    client.send(b"world")
    assert (answered.status, first, client.take(5)) == (200, b"hello", b"world")


def test_a_backend_that_refuses_early_and_closes_is_heard(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    it = edge(scripted([expect_head, send(CLOSING), wait_until_gone]))
    client, _ = reading_client(front, it.proxy)
    client.send(get("/", f"Content-Length: {MANY}", method="POST") + b"some")
    answered = client.answer()
    assert (answered.status, answered.body, answered.says_close, it.in_flight) == (413, b"no", True, 0)


def test_an_upload_whose_backend_has_closed_is_read_no_more(scripted: MakeBackend, edge: MakeEdge) -> None:
    body = ComingBody(b"", [b"x" * (1 << 20)] * 200)
    it = edge(scripted([expect_head, send(CLOSING), close]))
    it.ask(request(head(f"Content-Length: {200 << 20}", method="POST"), body))
    it.until_idle()
    assert body.taken < 200


def test_an_early_answer_to_bytes_that_do_not_fit_is_heard(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_head, send(CLOSING), wait_until_gone]))
    assert (it.ask(with_body(b"x" * MANY))[0].status, it.in_flight) == (413, 0)


@pytest.mark.parametrize("body", [b"x" * MANY, [b"x" * (1 << 20)] * 20], ids=["bytes", "an iterable"])
def test_a_body_of_a_middleware_is_given_up_with_its_connection(scripted: MakeBackend, edge: MakeEdge, body: object) -> None:
    it = edge(scripted([expect_head, send(CLOSING), hang]))
    assert (it.ask(with_body(body))[0].status, it.in_flight) == (413, 0)


# ------------------------------------------------------------------ the client fails


@pytest.mark.parametrize("error", [BodyTimeout, BodyTooLarge, BadRequest, ClientGone])
def test_an_error_of_the_clients_body_ends_the_wait_for_the_answer(
    scripted: MakeBackend, edge: MakeEdge, error: type[ProxyError]
) -> None:
    it = edge(scripted([expect_head, hang]))
    with pytest.raises(error):
        it.ask(request(POST, ComingBody(b"he", [error()])))
    assert (it.in_flight, it.idle) == (0, 0)


@pytest.mark.parametrize("error", [BodyTimeout, BodyTooLarge, BadRequest, ClientGone])
def test_an_error_of_the_clients_body_is_neither_tried_again_nor_the_backends_fault(
    scripted: MakeBackend, edge: MakeEdge, error: type[ProxyError]
) -> None:
    backends = [scripted([expect_head, hang], name=name) for name in ("one", "two")]
    it = edge(*backends)
    with pytest.raises(error):
        it.ask(request(head("Content-Length: 5", method="PUT"), ComingBody(b"he", [error()])))
    until(lambda: sum(each.accepted for each in backends))
    assert (sum(each.accepted for each in backends), it.failures) == (1, 0)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n", 408),
        (get("/", "Content-Length: 10", method="POST") + b"hello", 408),
    ],
)
def test_a_client_that_stops_in_its_body_is_told(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, data: bytes, status: int
) -> None:
    it = edge(scripted([expect_head, hang]))
    doors = front(it.proxy, body_timeout_s=0.05)
    client = doors.connect()
    assert (client.ask(data).status, doors.reasons, it.in_flight) == (status, ["body-timeout"], 0)


def test_a_malformed_body_is_told(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    backend = scripted([expect_head, hang])
    it = edge(backend)
    doors = front(it.proxy)
    client = doors.connect()
    client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
    until(lambda: backend.requests)
    client.send(b"zz\r\n")
    assert (client.answer().status, doors.reasons, it.in_flight) == (400, ["bad-request"], 0)


@pytest.mark.parametrize("how", ["leave", "reset"])
def test_a_client_that_leaves_in_its_body_ends_the_exchange(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, how: str
) -> None:
    backend = scripted([expect_head, hang])
    it = edge(backend)
    doors = front(it.proxy)
    client = doors.connect()
    client.send(get("/", "Content-Length: 10", method="POST") + b"hello")
    until(lambda: backend.requests)
    getattr(client, how)()
    assert (doors.ended()[0].status, it.in_flight) == (499, 0)


# ------------------------------------------------------------------ the backend fails


def test_a_backend_that_reads_nothing_is_told_at_response_timeout(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_head, hang]), response_timeout_s=0.05)
    with pytest.raises(ResponseTimeout):
        it.ask(with_body(b"x" * MANY))
    assert (it.in_flight, it.failures) == (0, 1)


def test_response_timeout_does_not_count_while_the_client_sends(scripted: MakeBackend, edge: MakeEdge) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(5):
            gevent.sleep(0.05)
            yield b"x"

    it = edge(scripted(), response_timeout_s=0.15)
    assert it.ask(with_body(slowly()))[0].status == 200


def test_response_timeout_counts_from_the_end_of_the_upload(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, hang]), response_timeout_s=0.05)
    with pytest.raises(ResponseTimeout):
        it.ask(request(POST, ComingBody(b"he", [b"llo"])))


@pytest.mark.parametrize("ending", [close, reset])
def test_a_backend_that_breaks_off_an_upload_is_told(scripted: MakeBackend, edge: MakeEdge, ending: Any) -> None:
    it = edge(scripted([expect_head, ending]))
    with pytest.raises(ProxyError) as raised:
        it.ask(with_body([b"x" * (1 << 20)] * 20))
    assert (raised.value.status, it.in_flight, it.failures) == (502, 0, 1)


# ------------------------------------------------------------------ the middleware fails


def failing(error: BaseException) -> Iterator[bytes]:
    yield b"some"
    raise error


class NotClosing:
    """An iterable whose close() fails."""

    def __iter__(self) -> NotClosing:
        return self

    def __next__(self) -> bytes:
        raise StopIteration

    def close(self) -> None:
        raise ValueError


WRONG: dict[str, Callable[[], object]] = {
    "a bug": lambda: failing(ValueError("oops")),
    "a file that is gone": lambda: failing(FileNotFoundError("gone")),
    "a connection of its own that broke": lambda: failing(ConnectionResetError()),
    "a leaked timeout": lambda: failing(gevent.Timeout(None)),
    "text": lambda: ["text"],
    "numbers": lambda: [1, 2],
    "nothing at all": lambda: None,
    "no iterable": lambda: 5,
    "a close that fails": NotClosing,
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_body_of_a_middleware_that_fails_ends_the_exchange(
    scripted: MakeBackend, edge: MakeEdge, make: Callable[[], object]
) -> None:
    it = edge(scripted([expect_head, hang]))
    with gevent.Timeout(5, AssertionError("nobody was told")), pytest.raises(AppError):
        it.ask(with_body(make()))
    assert (it.in_flight, it.idle, it.failures) == (0, 0, 0)


def test_a_generator_is_closed_when_the_backend_wants_no_more(scripted: MakeBackend, edge: MakeEdge) -> None:
    closed: list[bool] = []

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * (1 << 20)
        finally:
            closed.append(True)

    it = edge(scripted([expect_head, send(CLOSING), close]))
    it.ask(with_body(pieces()))
    until(lambda: closed)


def test_what_a_generator_leaves_behind_does_not_meet_the_next_upload(scripted: MakeBackend, edge: MakeEdge) -> None:
    leaked: list[gevent.Timeout] = []

    def leaking() -> Iterator[bytes]:
        leaked.append(gevent.Timeout.start_new(0.05))
        yield b"some"

    def slow() -> Iterator[bytes]:
        gevent.sleep(0.1)
        yield b"hello"

    it = edge(scripted())
    it.ask(with_body(leaking()))
    it.until_idle()
    body = it.ask(with_body(slow()))[1]
    leaked[0].close()
    assert seen(body)["body"] == "hello"


# ------------------------------------------------------------------ 100 (Continue)

EXPECTING = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_the_backend_decides_whether_the_client_goes_on(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    def decide(conn: Connection) -> None:
        whole = conn.head()
        conn.send(CONTINUE)
        conn.rest_of(whole)
        conn.send(answer(b"thanks"))
        conn.wait_until_gone()

    backend = scripted(decide)
    client, _ = reading_client(front, edge(backend).proxy)
    client.send(EXPECTING)
    interim = client.head().status
    client.send(b"hello")
    answered = client.answer()
    assert (interim, answered.interim, answered.body, backend.requests[0].body) == (100, [], b"thanks", b"hello")


def test_a_refusal_instead_of_a_100_reaches_the_client(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    it = edge(scripted([expect_head, send(answer(b"no", "417 No")), wait_until_gone]))
    client, _ = reading_client(front, it.proxy)
    answered = client.ask(EXPECTING)
    assert (answered.status, answered.interim, answered.says_close) == (417, [], True)
    it.until_idle()
    assert it.idle == 0  # whether a body follows is not known any more


def test_a_client_that_waits_for_a_100_is_not_too_slow(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    def late(conn: Connection) -> None:
        whole = conn.head()
        conn.wait_until_released()
        conn.send(CONTINUE)
        conn.rest_of(whole)
        conn.send(answer(b"thanks"))
        conn.wait_until_gone()

    backend = scripted(late)
    client = front(edge(backend).proxy, body_timeout_s=0.05).connect()
    client.send(EXPECTING)
    until(lambda: backend.requests)
    gevent.sleep(0.1)
    backend.release()
    interim = client.head().status
    client.send(b"hello")
    assert (interim, client.answer().body) == (100, b"thanks")


# ------------------------------------------------------------------ one connection of the client after the other


def test_requests_with_bodies_follow_each_other(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    backend = scripted(echo)
    client, _ = reading_client(front, edge(backend).proxy)
    bodies = [seen(client.ask(post("/", b"%d" % n)).body)["body"] for n in range(5)]
    assert (bodies, backend.accepted) == (["0", "1", "2", "3", "4"], 1)


def test_a_pipelined_request_behind_an_upload_is_no_part_of_it(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    backend = scripted(echo)
    client, _ = reading_client(front, edge(backend).proxy)
    data = post("/", b"hello") + get("/next")
    client.send(data[:-60])
    poll()
    client.send(data[-60:])
    assert [seen(client.answer().body)["body"] for _ in range(2)] == ["hello", ""]
