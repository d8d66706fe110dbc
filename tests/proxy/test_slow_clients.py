"""Slow clients: they keep a backend for as long as nobody else needs it; then they make room, the slowest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest

from greenproxy.messages import Request, Response
from greenproxy.proxy.reverse import ReverseProxy
from greenproxy.upstream.uploads import Place
from tests.client import Cut, get, post
from tests.conftest import MakeBackend
from tests.fronts import LoneFront, MakeFront
from tests.hub import HubClient, poll, until
from tests.proxy.edge import Edge, MakeEdge
from tests.scripts import (
    Connection,
    Script,
    answer,
    echo,
    expect_head,
    expect_request,
    first_fails,
    hang,
    reset,
    send,
    wait_until_gone,
)

PATIENCE_S = 0.06
SMALL = 4096
LONG = bytes(range(256)) * 4096  # 1 MiB: more than the buffer
SHORT = LONG[: 128 * 1024]  # more than the kernel holds, and less than the buffer


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenproxy.upstream.holds.PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr("greenproxy.upstream.slots._RELIEF_S", 0.01)


class Scene:
    """A front before an edge, and the clients that come there."""

    def __init__(self, edge: Edge, front: LoneFront) -> None:
        self.edge = edge
        self.front = front

    def reader(self, data: bytes = b"") -> HubClient:
        """Return a client that asks and does not read."""
        client = self.front.connect(buffers=SMALL)
        before = self._leased()
        client.send(data or get("/long"))
        until(lambda: self._leased() > before)
        return client

    def uploader(self, *lines: str) -> HubClient:
        """Return a client that sends a part of its body."""
        client = self.front.connect()
        before = self._leased()
        client.send(get("/", "Content-Length: 10000", *lines, method="POST") + b"h")
        until(lambda: self._leased() > before)
        return client

    def _leased(self) -> int:
        return sum(backend.requests for backend in self.edge.upstream.backends)

    def ask(self) -> int:
        """Ask as somebody who is not slow; return the status."""
        return self.front.connect().ask(get("/quick")).status

    def reasons(self) -> list[str]:
        return sorted(each.reason for each in self.front.endings if each.reason)


MakeScene = Any


@pytest.fixture
def scene(edge: MakeEdge, front: MakeFront, scripted: MakeBackend) -> MakeScene:
    """Return a function that makes a scene with one backend; `/long` gets LONG, `/short` SHORT, all others what they sent."""

    def make(script: Script | None = None, handler: Any = None, **changes: Any) -> Scene:
        it = edge(scripted(script or serve), **{"pool_size": 1, "pool_queue_timeout_s": 5.0, **changes})
        return Scene(it, front(handler(it) if handler else it.proxy))

    return make


def serve(conn: Connection) -> None:
    while True:
        whole = conn.request()
        conn.send(answer({"/long": LONG, "/short": SHORT}.get(whole.target, whole.body)))


# ------------------------------------------------------------------ who makes room


def test_a_slow_upload_makes_room_with_408(scene: MakeScene) -> None:
    it = scene()
    slow = it.uploader()
    assert (it.ask(), slow.answer().status, it.reasons()) == (200, 408, ["body-timeout"])


def test_a_slow_reader_makes_room_with_a_cut(scene: MakeScene) -> None:
    it = scene()
    slow = it.reader()
    status = it.ask()
    with pytest.raises(Cut):
        slow.answer()
    assert (status, it.reasons()) == (200, ["send-timeout"])


def test_a_reader_that_takes_no_interim_answers_makes_room_too(scene: MakeScene) -> None:
    def hint(conn: Connection) -> None:
        if conn.request().target == "/long":
            conn.send((b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 60_000 + b"\r\n\r\n") * 20)
            conn.wait_until_gone()
        else:
            conn.send(answer())

    it = scene(hint)
    it.reader()
    assert (it.ask(), it.reasons()) == (200, ["send-timeout"])


def test_while_nobody_waits_nobody_makes_room(scene: MakeScene) -> None:
    it = scene(pool_size=2)
    uploading, reading = it.uploader(), it.reader()
    gevent.sleep(PATIENCE_S * 3)
    uploading.send(b"x" * 9999)
    assert (uploading.answer().status, reading.answer().body == LONG, it.reasons()) == (200, True, [])


def test_the_slowest_is_first_and_one_is_enough_for_one(scene: MakeScene) -> None:
    it = scene(pool_size=2)
    first = it.uploader()
    gevent.sleep(PATIENCE_S)
    second = it.uploader()
    gevent.sleep(PATIENCE_S)
    status = it.ask()
    second.send(b"x" * 9999)
    assert (status, first.answer().status, second.answer().status) == (200, 408, 200)


def test_as_many_make_room_as_wait(scene: MakeScene) -> None:
    it = scene(pool_size=3)
    for _ in range(3):
        it.reader()
    gevent.sleep(PATIENCE_S * 1.5)
    asking = [gevent.spawn(it.ask) for _ in range(2)]
    assert ([each.get() for each in asking], it.reasons()) == ([200, 200], ["send-timeout"] * 2)


@pytest.fixture
def more_patience(little_patience: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  # comes behind it
    """For clients that are slow only where the machine is."""
    monkeypatch.setattr("greenproxy.upstream.holds.PATIENCE_S", 0.25)


@pytest.mark.usefixtures("more_patience")
def test_a_client_that_sends_a_thousand_bytes_per_second_is_spared(scene: MakeScene) -> None:
    it = scene(pool_queue_timeout_s=0.35)
    steady = it.uploader()

    def go_on() -> None:
        for _ in range(99):
            steady.send(b"x" * 101)
            gevent.sleep(0.005)

    sending = gevent.spawn(go_on)
    status = it.ask()
    sending.join()
    assert (status, steady.answer().status) == (503, 200)


@pytest.mark.usefixtures("more_patience")
def test_a_client_that_reads_is_spared(scene: MakeScene) -> None:
    it = scene(pool_queue_timeout_s=5.0, response_buffer_bytes=SMALL)
    steady = it.reader()

    def read() -> bytes:
        head = steady.head()
        body = b""
        while len(body) < len(LONG):
            body += steady.take(min(8192, len(LONG) - len(body)))
            gevent.sleep(0.001)
        assert head.status == 200
        return body

    reading = gevent.spawn(read)
    assert (it.ask(), reading.get() == LONG) == (200, True)


def test_a_client_that_waits_for_its_100_of_the_backend_is_spared(scene: MakeScene) -> None:
    it = scene([expect_head, hang, wait_until_gone], pool_queue_timeout_s=0.2)
    it.front.connect().send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    until(lambda: it.edge.in_flight)
    assert (it.ask(), it.reasons()) == (503, ["queue-timeout"])


def test_behind_its_100_it_is_not(scene: MakeScene) -> None:
    def allow(conn: Connection) -> None:
        if conn.number == 1:
            conn.head()
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            conn.wait_until_gone()
        else:
            serve(conn)

    it = scene(allow)
    slow = it.front.connect()
    slow.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    told = slow.head().status
    status = it.ask()
    assert (told, status, slow.answer().status) == (100, 200, 408), slow.buffer


def test_no_reader_makes_room_for_an_upload_that_waits_for_a_place(scene: MakeScene) -> None:
    it = scene(pool_size=2, pool_queue_timeout_s=0.25)
    slow = it.reader()
    places = taken(it.edge)
    status = it.front.connect().ask(post("/", b"x" * 200_000)).status
    left(places)
    assert (status, slow.answer().body == LONG, it.reasons()) == (503, True, ["queue-timeout"])


def test_no_timer_is_left_when_nobody_waits(scene: MakeScene) -> None:
    it = scene()
    it.uploader()
    it.ask()
    slots = it.edge.upstream._slots
    until(lambda: slots._relief is None)
    assert slots._relief is None


# ------------------------------------------------------------------ what waits here


def test_an_answer_that_fits_keeps_no_backend_although_nobody_reads_it(scene: MakeScene) -> None:
    it = scene()
    slow = it.reader(get("/short"))
    until(lambda: not it.edge.in_flight)
    gevent.sleep(PATIENCE_S * 2)
    assert (it.ask(), slow.answer().body == SHORT, it.reasons()) == (200, True, [])


def test_without_a_buffer_it_keeps_its_backend(scene: MakeScene) -> None:
    it = scene(response_buffer_bytes=0)
    it.reader(get("/short"))
    assert (it.ask(), it.reasons()) == (200, ["send-timeout"])


@pytest.mark.parametrize(("target", "reasons"), [("/short", []), ("/bare/short", ["send-timeout"])])
def test_the_buffer_is_the_routes(scene: MakeScene, target: str, reasons: list[str]) -> None:
    def routes(edge: Edge) -> Any:
        relay = replace(edge.relay, response_buffer_bytes=0)
        bare = ReverseProxy(edge.upstream, relay, edge.recycler, via=False, replaces_host=False)

        def handler(request: Request) -> Response:
            if not request.target.startswith("/bare"):
                return edge.proxy(request)
            request.target = request.target.removeprefix("/bare")
            return bare(request)

        return handler

    it = scene(handler=routes)
    it.reader(get(target))
    assert (it.ask(), it.reasons()) == (200, reasons)


def test_a_body_that_a_middleware_wraps_makes_room_too(scene: MakeScene) -> None:
    def wrapped(edge: Edge) -> Any:
        def handler(request: Request) -> Response:
            response = edge.proxy(request)
            if request.target == "/long":
                response.body = twice(response.body)
            return response

        return handler

    it = scene(handler=wrapped)
    it.reader()
    assert (it.ask(), it.reasons()) == (200, ["send-timeout"])


def twice(body: Any) -> Iterator[bytes]:
    try:
        for piece in body:
            yield piece + piece
    finally:
        body.close()


def test_a_slow_client_gets_chunks_and_trailers(scene: MakeScene) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(SHORT), SHORT)
    it = scene(
        [expect_head, send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\nX-Sum: 1\r\n\r\n"), hang]
    )
    slow = it.reader()
    until(lambda: not it.edge.in_flight)
    whole = slow.answer()
    assert (whole.body == SHORT, whole.trailers) == (True, ["X-Sum: 1"])


@pytest.mark.parametrize(("version", "is_reset"), [("1.1", False), ("1.0", True)])
@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked", "Content-Length: 1000000"])
def test_a_slow_client_sees_that_an_answer_was_broken_off(scene: MakeScene, version: str, is_reset: bool, head: str) -> None:
    part = b"%x\r\n%b\r\n" % (len(SHORT), SHORT) if "chunked" in head else SHORT
    it = scene([expect_head, send(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + part), reset])
    slow = it.reader(get(version=version))
    until(lambda: it.edge.failures)
    with pytest.raises(Cut) as cut:
        slow.answer()
    it.front.ended()
    assert (cut.value.was_reset, it.reasons(), it.edge.failures) == (is_reset, ["backend-reset"], 1)


def test_a_backend_that_stops_behind_a_slow_client_is_to_blame(scene: MakeScene) -> None:
    it = scene([expect_head, send(answer(LONG)[: len(SHORT)]), hang], read_timeout_s=0.1)
    slow = it.reader()
    until(lambda: it.edge.failures)
    with pytest.raises(Cut):
        slow.answer()
    it.front.ended()
    assert (it.reasons(), it.edge.failures) == (["read-timeout"], 1)


# ------------------------------------------------------------------ uploads beyond their places


def taken(edge: Edge) -> list[Place]:
    """Take all places, as uploads of others would."""
    places = []
    while not edge.upstream.uploads.is_full:
        places.append(edge.upstream.uploads.enter())
    return places


def left(places: list[Place]) -> None:
    for place in places:
        place.leave()


def begun(it: Scene, data: bytes) -> HubClient:
    """Return a client that sent `data`, which was read, while all places are taken."""
    client = it.front.connect()
    client.send(data)
    poll()
    poll()
    return client


CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


def test_a_small_upload_has_no_backend_before_it_is_whole(scene: MakeScene) -> None:
    it = scene(echo)
    taken(it.edge)
    client = begun(it, get("/", "Content-Length: 10", method="POST") + b"hello")
    before = it.edge.in_flight
    client.send(b"world")
    assert (before, client.answer().json()["body"]) == (0, "helloworld")


def test_it_arrives_with_its_chunks_and_trailers(edge: MakeEdge, front: MakeFront, scripted: MakeBackend) -> None:
    backend = scripted()
    it = edge(backend)
    taken(it)
    client = front(it.proxy).connect()
    client.send(CHUNKED + b"5\r\nhello\r\n")
    poll()
    client.send(b"5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n")
    client.answer()
    assert (backend.requests[0].body, backend.requests[0].trailers) == (b"helloworld", b"X-Sum: 1\r\n")


def test_its_expectation_is_answered_by_us(edge: MakeEdge, front: MakeFront, scripted: MakeBackend) -> None:
    backend = scripted()
    it = edge(backend)
    taken(it)
    client = front(it.proxy).connect()
    client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    told, accepted = client.head().status, backend.accepted
    client.send(b"hello")
    client.answer()
    assert (told, accepted, backend.requests[0].get("expect"), backend.requests[0].body) == (100, 0, None, b"hello")


def test_it_is_tried_elsewhere_like_any_held_body(edge: MakeEdge, front: MakeFront, scripted: MakeBackend) -> None:
    script = first_fails(expect_request, reset)
    backends = [scripted(script), scripted(script)]
    it = edge(*backends)
    taken(it)
    client = front(it.proxy).connect()
    client.send(get("/", "Content-Length: 10", method="PUT") + b"hello")
    poll()
    client.send(b"world")
    status = client.answer().status
    assert (status, sorted(each.requests[0].body for each in backends)) == (200, [b"helloworld"] * 2)


@pytest.mark.parametrize(
    ("data", "settings", "status"),
    [
        (get("/", "Content-Length: 10", method="POST") + b"hello", {"body_timeout_s": 0.05}, 408),
        (CHUNKED + b"5\r\nhello\r\n", {"body_timeout_s": 0.05}, 408),
        (CHUNKED + b"5\r\nhello\r\n", {"max_body_bytes": 4}, 413),
        (CHUNKED + b"5\r\nhellooo\r\n", {}, 400),
    ],
    ids=["late", "late chunks", "too long", "malformed"],
)
def test_what_is_wrong_with_it_is_told_without_a_backend(
    edge: MakeEdge, front: MakeFront, scripted: MakeBackend, data: bytes, settings: dict[str, Any], status: int
) -> None:
    backend = scripted()
    it = edge(backend)
    taken(it)
    client = front(it.proxy, **settings).connect()
    client.send(data)
    assert (client.answer().status, client.until_closed(), backend.accepted) == (status, b"", 0)


def test_who_leaves_meanwhile_is_gone(scene: MakeScene) -> None:
    it = scene()
    taken(it.edge)
    begun(it, get("/", "Content-Length: 10", method="POST") + b"hello").leave()
    assert it.front.ended()[0].reason == "client-gone"


def test_the_whole_exchange_may_not_take_longer_than_it_may(scene: MakeScene) -> None:
    it = scene(request_timeout_s=0.1)
    taken(it.edge)
    client = begun(it, get("/", "Content-Length: 10", method="POST") + b"hello")
    assert (client.answer().status, it.reasons()) == (504, ["request-timeout"])


LARGE = LONG[:200_000]


def test_a_large_upload_that_gets_no_place_is_refused_and_closed(scene: MakeScene) -> None:
    it = scene(pool_queue_timeout_s=0.1)
    taken(it.edge)
    client = it.front.connect()
    client.send(get("/", f"Content-Length: {len(LARGE)}", method="POST") + LARGE[:100_000])
    refused = client.answer()
    assert (refused.status, refused.says_close, client.until_closed(), it.reasons()) == (503, True, b"", ["queue-timeout"])


def waiting_for_a_place(edge: Edge, front: LoneFront, method: str = "PUT") -> HubClient:
    """Return a client of which a part was read."""
    client = front.connect()
    client.send(get("/", f"Content-Length: {len(LARGE)}", method=method) + LARGE[:100_000])
    until(lambda: len(edge.upstream.uploads))
    return client


def test_a_large_upload_goes_on_with_the_place_of_another(scene: MakeScene) -> None:
    it = scene()
    places = taken(it.edge)
    client = waiting_for_a_place(it.edge, it.front)
    left(places)
    until(lambda: it.edge.in_flight)
    client.send(LARGE[100_000:])
    assert client.answer().body == LARGE


def test_its_place_is_free_when_all_of_it_was_sent(scene: MakeScene) -> None:
    it = scene([expect_request, hang, send(answer()), wait_until_gone])
    client = it.uploader()
    during = it.edge.upstream.uploads.under_way
    client.send(b"x" * 9999)
    until(lambda: it.edge.upstream.uploads.under_way == 0)
    assert (during, it.edge.in_flight) == (1, 1)


@pytest.mark.parametrize("status", [200, 502])
def test_a_part_that_was_read_before_is_sent_once_to_each_that_is_tried(
    edge: MakeEdge, front: MakeFront, scripted: MakeBackend, status: int
) -> None:
    """The first breaks off before anything was taken of what is still to come."""
    script = first_fails(expect_head, reset if status == 200 else send(answer(b"no", "502 Bad Gateway")))
    backends = [scripted(script), scripted(script)]
    it = edge(*backends, pool_queue_timeout_s=5.0, retry_on=frozenset({"reset", "502"}))
    places = taken(it)
    client = waiting_for_a_place(it, front(it.proxy))
    left(places)
    until(lambda: all(each.accepted for each in backends))
    client.send(LARGE[100_000:])
    assert client.answer().status == 200
    assert LARGE in [each.requests[0].body for each in backends]


def test_an_upload_that_is_tried_again_keeps_its_place(edge: MakeEdge, front: MakeFront, scripted: MakeBackend) -> None:
    script = first_fails(expect_head, reset)
    backends = [scripted(script), scripted(script)]
    it = edge(*backends)
    client = front(it.proxy).connect()
    client.send(get("/", "Content-Length: 10", method="PUT") + b"hello")
    until(lambda: all(each.accepted for each in backends))
    poll()
    during = it.upstream.uploads.under_way
    client.send(b"world")
    assert (client.answer().status, during, it.upstream.uploads.under_way) == (200, 1, 0)
