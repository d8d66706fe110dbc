"""What takes part in the scenarios: backends, clients and middleware that let an exchange wait in every way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count

import gevent

from greenproxy.errors import NoRoute
from greenproxy.messages import Handler, Middleware, Request, Response
from greenproxy.middleware.chain import BoundMiddleware
from tests.client import Answer, Cut, get, post
from tests.hub import HubClient, poll, until
from tests.kill.stage import OK, Stage
from tests.scripts import Connection, Script, Step, always, send

Play = Callable[[Stage, HubClient, list[Answer]], None]

LARGE = b"0123456789abcdef" * 640  # 10 KiB: more than the kernel holds for a client with small buffers
LONG = b"0123456789abcdef" * 24576  # 384 KiB: more than it holds between proxy and a narrow backend
SMALL_BUFFERS = 2048
HEADER_TIMEOUT_S = 0.005
CHUNKS = b"5\r\nfirst\r\n", b"6\r\nsecond\r\n", b"0\r\nX-Sum: 1\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"

# ------------------------------------------------------------------ what backends do


def pause(_: Connection) -> None:
    """Let the proxy read what was sent, so that the next is another piece."""
    poll()


def serving(*steps: Step) -> Callable[[], list[list[Script]]]:
    """Return what makes the one script of the one backend there is: these steps with each connection."""
    return lambda: [[list(steps)]]


def in_pieces(*pieces: bytes) -> list[Step]:
    """Send each piece in its own time."""
    return [step for piece in pieces for step in (send(piece), pause)]


def in_halves(data: bytes, size: int) -> tuple[bytes, bytes]:
    """Return the first `size` bytes, and the others."""
    return data[:size], data[size:]


def before_the_body(*steps: Step) -> Step:
    """Take these steps between the head of a request and its body."""

    def step(conn: Connection) -> None:
        request = conn.head()
        for each in steps:
            each(conn)
        conn.rest_of(request)

    return step


def chunks(*pieces: bytes) -> list[bytes]:
    """Return a chunked answer in pieces."""
    framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *framed, b"0\r\n\r\n"]


def talk_first(conn: Connection) -> None:
    """Switch protocols, say a lot and end this direction, then read what the client has to say."""
    conn.head()
    conn.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + LARGE)
    conn.sock.shutdown(socket.SHUT_WR)
    conn.wait_until_gone()


def break_off(conn: Connection) -> None:
    """Switch protocols and break the connection."""
    conn.head()
    conn.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    poll()
    conn.reset()


def one_fails() -> list[list[Script]]:
    """Two backends, of which the one that is asked first breaks the connection."""
    turns = count()

    def script(conn: Connection) -> None:
        conn.request()
        if next(turns) == 0:
            conn.reset()
        else:
            conn.send(OK)
            always(OK)(conn)

    return [[script], [script]]


def echo_bytes(conn: Connection) -> None:
    """Switch protocols, and send every byte back until the client ends its side."""
    conn.head()
    conn.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly")
    while data := conn.sock.recv(1 << 16):
        conn.send(data)


# ------------------------------------------------------------------ what clients do


def asking(*parts: bytes, method: str = "GET", answers: int = 1) -> Play:
    """Send these parts, each in its own time, and wait for the answers."""

    def play(_: Stage, client: HubClient, got: list[Answer]) -> None:
        for part in parts:
            client.send(part)
            if part is not parts[-1]:
                poll()
        for _each in range(answers):
            got.append(client.answer(method))

    return play


def asking_slowly(*parts: bytes, answers: int = 1) -> Play:
    """As `asking`, but read nothing before everybody waits for that."""

    def play(_: Stage, client: HubClient, got: list[Answer]) -> None:
        for part in parts:
            client.send(part)
        for _turn in range(10):
            poll()
        for _each in range(answers):
            got.append(client.answer())

    return play


def asking_in_a_crowd(stage: Stage, client: HubClient, got: list[Answer]) -> None:
    """Wait in line until somebody makes room."""
    client.send(get())
    stage.make_room()
    got.append(client.answer())


def asking_for_continue(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Send the body when told to."""
    client.send(get("/", "Expect: 100-continue", "Content-Length: 10", method="PUT"))
    first = client.head()
    if first.status != 100:
        client.body_of(first)
        got.append(first)
        return
    client.send(b"01234")
    poll()
    client.send(b"56789")
    got.append(client.answer())


def answered_early(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Send the rest of the body when the answer is there, then ask again."""
    client.send(get("/", "Content-Length: 10", method="PUT") + b"01")
    got.append(client.answer())
    client.send(b"23456")
    poll()
    client.send(b"789")
    got.append(client.ask(get()))


def talking_through_a_tunnel(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Say a few things, the last a long one, and hear them again; then end."""
    got.append(client.ask(get("/", "Connection: upgrade", "Upgrade: websocket")))
    if got[0].status != 101:
        return
    assert client.take(5) == b"early"
    for said in (b"one", b"two", LONG):
        client.send(said)
        poll()
        assert client.take(len(said)) == said
    client.half_close()
    assert client.until_closed() == b""


def being_late(stage: Stage, client: HubClient, got: list[Answer]) -> None:
    """Begin a head and do not go on, until the sweep comes by."""
    client.send(b"GET / HT")
    until(lambda: stage.front.front.reading)
    gevent.sleep(HEADER_TIMEOUT_S)
    stage.front.front.sweep()
    for _turn in range(10):
        poll()
    got.append(client.answer())


def listening_to_a_tunnel(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Switch protocols, read slowly what the backend says, and have the last word."""
    client.send(get("/", "Connection: upgrade", "Upgrade: websocket"))
    for _turn in range(10):
        poll()
    got.append(client.answer())
    if got[0].status == 101:
        heard = client.until_closed()
        if heard != LARGE:
            raise Cut(heard, False)
        client.send(b"bye")
        poll()
        client.half_close()


def in_a_tunnel_that_breaks(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Switch protocols, and see the other side go."""
    got.append(client.ask(get("/", "Connection: upgrade", "Upgrade: websocket")))
    if got[0].status == 101:
        with suppress(Cut):
            client.until_closed()


def uploading_in_a_crowd(stage: Stage, client: HubClient, got: list[Answer]) -> None:
    """Have more of a body than the proxy holds, and wait for a place to send it to."""
    client.send(post("/", LONG))
    for _turn in range(5):
        poll()
    stage.make_room()
    got.append(client.answer())


def leaving_the_rest(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Be refused in the middle of a long body, and go on sending for a while."""
    client.send(get("/", "Content-Length: 999999", method="POST"))
    got.append(client.answer())
    client.send(b"x" * 1000)
    poll()
    client.send(b"x" * 1000)


# ------------------------------------------------------------------ what middleware does


def behind(call: Middleware, timeout_s: float = 5.0) -> list[BoundMiddleware]:
    """Return a chain of that one middleware."""
    return [BoundMiddleware("one", call, timeout_s)]


def waits_before(request: Request, call_next: Handler) -> Response:
    gevent.sleep(0.0001)
    return call_next(request)


def waits_behind(request: Request, call_next: Handler) -> Response:
    response = call_next(request)
    gevent.sleep(0.0001)
    return response


def never_ends(request: Request, call_next: Handler) -> Response:
    response = call_next(request)
    gevent.sleep(60)
    return response


def reads_the_request(request: Request, call_next: Handler) -> Response:
    request.body = request.body.read()
    return call_next(request)


def makes_a_request_body(request: Request, call_next: Handler) -> Response:
    def pieces() -> Iterator[bytes]:
        for piece in (b"one", b"two"):
            gevent.sleep(0.0001)
            yield piece

    request.body = pieces()
    return call_next(request)


def wraps_the_body(request: Request, call_next: Handler) -> Response:
    response = call_next(request)
    response.body = _slowly(response.pieces())
    return response


def _slowly(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        gevent.sleep(0.0001)
        yield piece


def refuses(_request: Request, _call_next: Handler) -> Response:
    raise NoRoute


def limits(request: Request, call_next: Handler) -> Response:
    request.body.set_limit(100)
    return call_next(request)


def asks_in_a_greenlet(request: Request, call_next: Handler) -> Response:
    """Ask in a greenlet of its own, and wait for that."""
    return gevent.spawn(call_next, request).get()
