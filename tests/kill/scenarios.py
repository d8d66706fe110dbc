"""The scenarios: what clients do, each with the house that it takes. Together they come to every place where an exchange waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count

import gevent

from greenproxy.errors import NoRoute
from greenproxy.messages import Handler, Request, Response
from greenproxy.middleware.chain import BoundMiddleware
from tests.client import Answer, get, post
from tests.hub import HubClient, poll, until
from tests.kill.stage import OK, PAGE, Scenario, Stage
from tests.scripts import Connection, Script, Step, always, answer, close, expect_head, expect_request, reset, send

Play = Callable[[Stage, HubClient, list[Answer]], None]

LARGE = b"0123456789abcdef" * 1024  # 16 KiB: more than the kernel holds for a client with small buffers
LONG = b"0123456789abcdef" * 24576  # 384 KiB: more than it holds between proxy and a narrow backend
SMALL_BUFFERS = 2048
HEADER_TIMEOUT_S = 0.005
CHUNKS = b"5\r\nfirst\r\n", b"6\r\nsecond\r\n", b"0\r\nX-Sum: 1\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"

# ------------------------------------------------------------------ what backends do


def pause(_: Connection) -> None:
    """Let the proxy read what was sent, so that the next is another piece."""
    poll()


def in_pieces(*pieces: bytes) -> list[Step]:
    """Send each piece in its own time."""
    return [step for piece in pieces for step in (send(piece), pause)]


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


def leaving_the_rest(_: Stage, client: HubClient, got: list[Answer]) -> None:
    """Be refused in the middle of a long body, and go on sending for a while."""
    client.send(get("/", "Content-Length: 999999", method="POST"))
    got.append(client.answer())
    client.send(b"x" * 1000)
    poll()
    client.send(b"x" * 1000)


# ------------------------------------------------------------------ what middleware does


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
    request.body = request.body.read()  # type: ignore[assignment]
    return call_next(request)


def makes_a_request_body(request: Request, call_next: Handler) -> Response:
    def pieces() -> Iterator[bytes]:
        for piece in (b"one", b"two"):
            gevent.sleep(0.0001)
            yield piece

    request.body = pieces()  # type: ignore[assignment]
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


# ------------------------------------------------------------------ all of them

SCENARIOS = [
    Scenario("a connection from the pool", asking(get()), warm=1, scripts=lambda: ([[expect_request, send(OK), always(OK)]],)),
    Scenario("a connection that is dialled", asking(get())),
    Scenario("waiting in line", asking_in_a_crowd, crowd=1, upstream={"pool_size": 2}),
    Scenario(
        "in line for another backend, after a failure", asking_in_a_crowd, crowd=2, upstream={"pool_size": 2},
        scripts=lambda: ([[expect_request, reset], always(OK)], [always(OK)]),
    ),
    Scenario("a retry on a second backend", asking(get()), scripts=one_fails),
    Scenario("a retry elsewhere since nobody listens", asking(get()), scripts=lambda: ([], [always(OK)])),
    Scenario(
        "a retry on a fresh connection", asking(get()), warm=1, scripts=lambda: ([[expect_request, send(OK), expect_request, close], always(OK)],)
    ),
    Scenario(
        "interim answers", asking(get()),
        scripts=lambda: ([[expect_request, *in_pieces(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK[:9], OK[9:]), always(OK)]],),
    ),
    Scenario(
        "a head in pieces", asking(b"GET / HT", b"TP/1.1\r\nHost: a", b"\r\n\r\n"),
        scripts=lambda: ([[expect_request, *in_pieces(OK[:5], OK[5:20], OK[20:]), always(OK)]],),
    ),
    Scenario(
        "an answer with a length", asking(get()), expected=((200, LARGE),),
        scripts=lambda: ([[expect_request, *in_pieces(answer(LARGE)[:-9], LARGE[-9:]), always(OK)]],),
    ),
    Scenario(
        "an answer with a length for a slow client", asking_slowly(get()), buffers=SMALL_BUFFERS, expected=((200, LARGE),),
        scripts=lambda: ([[expect_request, *in_pieces(answer(LARGE)[:-9], LARGE[-9:]), always(OK)]],),
    ),
    Scenario(
        "an answer in chunks", asking(get()), expected=((200, b"onetwo"),),
        scripts=lambda: ([[expect_request, *in_pieces(*chunks(b"one", b"two")), always(OK)]],),
    ),
    Scenario(
        "an answer in chunks for a slow client", asking_slowly(get()), buffers=SMALL_BUFFERS, expected=((200, LARGE * 2),),
        scripts=lambda: ([[expect_request, *in_pieces(*chunks(LARGE, LARGE)), always(OK)]],),
    ),
    Scenario(
        "an answer that ends with its connection", asking(get()), expected=((200, b"onetwo"),),
        scripts=lambda: ([[expect_request, *in_pieces(b"HTTP/1.1 200 OK\r\n\r\none", b"two"), close]],),
    ),
    Scenario(
        "an answer that ends with its connection, for a slow client", asking_slowly(get()), buffers=SMALL_BUFFERS,
        expected=((200, LARGE * 2),), scripts=lambda: ([[expect_request, *in_pieces(b"HTTP/1.1 200 OK\r\n\r\n" + LARGE, LARGE), close]],),
    ),
    Scenario(
        "HTTP/1.0", asking(get(version="1.0")), expected=((200, b"onetwo"),),
        scripts=lambda: ([[expect_request, *in_pieces(*chunks(b"one", b"two")), always(OK)]],),
    ),
    Scenario("a body at hand", asking(post("/", b"0123456789"))),
    Scenario("a body with a length", asking(get("/", "Content-Length: 10", method="POST") + b"01", b"2345", b"6789", method="POST")),
    Scenario("a body in chunks", asking(get("/", CHUNKED, method="POST"), *CHUNKS, method="POST")),
    Scenario(
        "a long body for a backend that reads slowly", asking(post("/", LONG)), is_narrow=True,
        scripts=lambda: ([[before_the_body(pause, pause), send(OK), always(OK)]],),
    ),
    Scenario(
        "a client that waits for 100 (Continue)", asking_for_continue,
        scripts=lambda: ([[before_the_body(send(b"HTTP/1.1 100 Continue\r\n\r\n")), send(OK), always(OK)]],),
    ),
    Scenario(
        "an answer before the body has ended", answered_early, expected=((200, b"ok"),) * 2,
        scripts=lambda: ([[before_the_body(send(OK)), always(OK)]],),
    ),
    Scenario(
        "an answer instead of the body", asking(get("/", "Content-Length: 10", method="PUT") + b"01", b"23"),
        scripts=lambda: ([[expect_head, send(answer(b"ok", "200 OK", "Connection: close")), close]],),
    ),
    Scenario("middleware that waits before", asking(get()), middlewares=[BoundMiddleware("w", waits_before)]),
    Scenario("middleware that waits behind", asking(get()), middlewares=[BoundMiddleware("w", waits_behind)]),
    Scenario(
        "middleware that never ends", asking(get()), middlewares=[BoundMiddleware("w", never_ends, 0.005)],
        expected=((504, PAGE),), has_long_pages=True,
    ),
    Scenario(
        "middleware that reads the body", asking(get("/", "Content-Length: 4", method="POST") + b"01", b"23", method="POST"),
        middlewares=[BoundMiddleware("w", reads_the_request)],
    ),
    Scenario(
        "middleware that makes the body", asking(post("/", b"old")), middlewares=[BoundMiddleware("w", makes_a_request_body)]
    ),
    Scenario(
        "middleware that wraps the answer", asking(get()), middlewares=[BoundMiddleware("w", wraps_the_body)],
        expected=((200, b"onetwo"),), scripts=lambda: ([[expect_request, *in_pieces(*chunks(b"one", b"two")), always(OK)]],),
    ),
    Scenario(
        "middleware that wraps the answer for a slow client", asking_slowly(get()), middlewares=[BoundMiddleware("w", wraps_the_body)],
        buffers=SMALL_BUFFERS, expected=((200, LARGE * 2),), scripts=lambda: ([[expect_request, *in_pieces(*chunks(LARGE, LARGE)), always(OK)]],),
    ),
    Scenario("middleware that asks in a greenlet", asking(get()), middlewares=[BoundMiddleware("w", asks_in_a_greenlet)], has_own_greenlets=True),
    Scenario(
        "an error page for a slow client", asking_slowly(get()), buffers=SMALL_BUFFERS, has_long_pages=True,
        middlewares=[BoundMiddleware("w", refuses)], expected=((404, PAGE),),
    ),
    Scenario(
        "an error page about what is no request, for a slow client", asking_slowly(b"GET  / HTTP/1.1\r\n\r\n"), refused=1,
        buffers=SMALL_BUFFERS, has_long_pages=True, expected=((400, PAGE),),
    ),
    Scenario(
        "an error page about a target, for a slow client", asking_slowly(get("/%00")), refused=1,
        buffers=SMALL_BUFFERS, has_long_pages=True, expected=((400, PAGE),),
    ),
    Scenario(
        "a head that came too late, and a slow client", being_late, refused=1, front={"header_timeout_s": HEADER_TIMEOUT_S},
        buffers=SMALL_BUFFERS, has_long_pages=True, expected=((408, PAGE),),
    ),
    Scenario(
        "a tunnel", talking_through_a_tunnel, scripts=lambda: ([echo_bytes],), expected=((101, b""),), is_narrow=True,
    ),
    Scenario("a second request behind the first", asking(get() + get(), answers=2), expected=((200, b"ok"),) * 2),
    Scenario(
        "what is left of a body that was refused", leaving_the_rest, middlewares=[BoundMiddleware("w", limits, is_user_code=False)], expected=((413, PAGE),), has_long_pages=True,
    ),
]  # fmt: skip
