"""Tunnel: bytes in both directions, and every way in which they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import gevent
import pytest
from greenlet import GreenletExit

from greenproxy.errors import BackendReset, ClientGone, ProxyError, ReadTimeout
from greenproxy.messages import Request, Response
from greenproxy.middleware.chain import BoundMiddleware, chain
from greenproxy.net.stream import Stream
from greenproxy.proxy import tunnel
from greenproxy.proxy.tunnel import Tunnel
from tests.client import get
from tests.conftest import MakeBackend
from tests.fronts import MakeFront
from tests.hub import HubSocket, poll, read_all, read_exactly, reset, stream_and_peer, until
from tests.proxy.edge import MakeEdge
from tests.scripts import Connection, Script, expect_request, send

MANY = 1 << 20


class Tube:
    """A tunnel between two streams, with the peers at its ends."""

    def __init__(self, early: bytes = b"", buffers: int = 0) -> None:
        self.near_client, self.client = stream_and_peer(buffers=buffers)
        self.near_backend, self.backend = stream_and_peer(buffers=buffers)
        self.ended = 0
        self.tunnel = Tunnel(self.near_backend, early, self._end)
        self.running = gevent.spawn(self.tunnel, self.near_client)

    def _end(self) -> None:
        self.ended += 1

    def error(self) -> ProxyError | None:
        """Wait for the end; return what it raised."""
        self.running.join(10)
        assert self.running.ready(), "the tunnel goes on"
        assert self.running.exception is None or isinstance(self.running.exception, ProxyError)
        return self.running.exception

    @property
    def ends(self) -> dict[str, tuple[HubSocket, HubSocket]]:
        """The peers, by the direction that bytes take: from, to."""
        return {"up": (self.client, self.backend), "down": (self.backend, self.client)}

    @property
    def streams(self) -> tuple[Stream, Stream]:
        return self.near_client, self.near_backend

    def stop(self) -> None:
        self.running.kill()
        for each in (*self.streams, self.client, self.backend):
            each.close()


MakeTube: TypeAlias = Callable[..., Tube]


@pytest.fixture
def tube() -> Iterator[MakeTube]:
    """Return a function that lays a Tube."""
    with ExitStack() as tubes:

        def make(*args: Any, **options: Any) -> Tube:
            laid = Tube(*args, **options)
            tubes.callback(laid.stop)
            return laid

        yield make


every_direction = pytest.mark.parametrize("direction", ["up", "down"])

# ------------------------------------------------------------------ bytes


@every_direction
def test_bytes_pass(tube: MakeTube, direction: str) -> None:
    source, sink = tube().ends[direction]
    source.sendall(b"hello")
    assert sink.recv(100) == b"hello"


def test_both_directions_go_on_at_once(tube: MakeTube) -> None:
    it = tube()
    for n in range(5):
        it.client.sendall(b"%d" % n)
        it.backend.sendall(b"%d" % n)
    assert (read_exactly(it.backend, 5), read_exactly(it.client, 5)) == (b"01234", b"01234")


def test_what_came_behind_the_head_comes_first(tube: MakeTube) -> None:
    it = tube(b"early")
    it.backend.sendall(b"later")
    assert read_exactly(it.client, 10) == b"earlylater"


@every_direction
def test_many_bytes_pass_to_a_slow_reader(tube: MakeTube, direction: str) -> None:
    it = tube(buffers=4096)
    source, sink = it.ends[direction]

    def speak() -> None:
        source.sendall(b"x" * MANY)
        source.shutdown(1)

    speaking = gevent.spawn(speak)
    assert len(read_all(sink)) == MANY
    speaking.join()


@every_direction
def test_a_reader_that_stands_still_does_not_stop_the_other_direction(tube: MakeTube, direction: str) -> None:
    it = tube(buffers=4096)
    source, sink = it.ends[direction]
    speaking = gevent.spawn(source.sendall, b"x" * MANY)
    until(lambda: any(stream.is_sending for stream in it.streams))
    sink.sendall(b"back")
    assert source.recv(100) == b"back"
    speaking.kill()


# ------------------------------------------------------------------ ends


@every_direction
def test_the_end_of_one_direction_is_passed_on(tube: MakeTube, direction: str) -> None:
    source, sink = tube().ends[direction]
    source.sendall(b"last")
    source.shutdown(1)
    assert read_all(sink) == b"last"


@every_direction
def test_the_other_direction_goes_on(tube: MakeTube, direction: str) -> None:
    source, sink = tube().ends[direction]
    source.shutdown(1)
    read_all(sink)
    sink.sendall(b"still here")
    assert read_exactly(source, 10) == b"still here"


@every_direction
def test_a_tunnel_whose_directions_have_both_ended_is_over(tube: MakeTube, direction: str) -> None:
    it = tube()
    source, sink = it.ends[direction]
    source.shutdown(1)
    read_all(sink)
    sink.shutdown(1)
    assert (it.error(), it.ended > 0) == (None, True)


def test_a_reset_by_the_client_ends_both_directions(tube: MakeTube) -> None:
    it = tube()
    poll()
    reset(it.client)
    assert (type(it.error()), it.ended > 0) == (ClientGone, True)


def test_a_reset_by_the_backend_ends_both_directions(tube: MakeTube) -> None:
    it = tube()
    poll()
    reset(it.backend)
    assert (type(it.error()), it.ended > 0) == (BackendReset, True)


@pytest.mark.parametrize(("direction", "error"), [("up", BackendReset), ("down", ClientGone)])
def test_a_reset_while_it_is_sent_to_ends_both_directions(tube: MakeTube, direction: str, error: type[ProxyError]) -> None:
    it = tube(buffers=4096)
    source, sink = it.ends[direction]
    speaking = gevent.spawn(source.sendall, b"x" * MANY)
    until(lambda: any(stream.is_sending for stream in it.streams))
    reset(sink)
    failure = it.error()
    speaking.kill()
    assert type(failure) is error


@pytest.mark.parametrize("error", [GreenletExit, gevent.Timeout, ClientGone])
def test_a_tunnel_that_is_killed_gives_its_backend_up(tube: MakeTube, error: type[BaseException]) -> None:
    it = tube()
    poll()
    it.running.kill(error())
    assert it.ended > 0


@pytest.mark.parametrize("stage", ["idle", "sending"])
def test_a_tunnel_that_is_killed_leaves_nobody_waiting(tube: MakeTube, stage: str) -> None:
    it = tube(buffers=4096)
    speaking = gevent.spawn(it.client.sendall, b"x" * MANY if stage == "sending" else b"x")
    if stage == "sending":
        until(lambda: it.near_backend.is_sending)
    poll()
    it.running.kill()
    speaking.kill()
    it.near_client.close()
    assert not any(stream.is_sending for stream in it.streams)  # and no greenlet is left, which the fixture sees


def test_a_tunnel_that_nobody_called_gives_its_backend_up_when_it_is_closed() -> None:
    stream, peer = stream_and_peer()
    ended: list[int] = []
    Tunnel(stream, b"", lambda: ended.append(1)).close()
    stream.close()
    peer.close()
    assert ended == [1]


# ------------------------------------------------------------------ silence


def test_a_tunnel_in_which_both_are_silent_ends(tube: MakeTube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "IDLE_S", 0.05)
    it = tube()
    assert (type(it.error()), it.ended > 0) == (ReadTimeout, True)


@every_direction
def test_bytes_in_one_direction_are_life_enough(tube: MakeTube, monkeypatch: pytest.MonkeyPatch, direction: str) -> None:
    monkeypatch.setattr(tunnel, "IDLE_S", 0.3)
    it = tube()
    source, sink = it.ends[direction]
    for n in range(5):
        gevent.sleep(0.1)
        source.sendall(b"%d" % n)
    assert read_exactly(sink, 5) == b"01234"


@every_direction
def test_a_direction_that_is_left_alone_ends_when_it_is_silent(
    tube: MakeTube, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    monkeypatch.setattr(tunnel, "HALF_CLOSED_S", 0.05)
    it = tube()
    source, _ = it.ends[direction]
    source.shutdown(1)
    it.error()
    assert it.ended > 0


# ------------------------------------------------------------------ through the server, from a real backend

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = get("/", "Connection: upgrade", "Upgrade: websocket")


def echo_bytes(conn: Connection) -> None:
    """Send back what comes, up to the end."""
    while data := conn.sock.recv(65536):
        conn.send(data)


SWITCHING: Script = [expect_request, send(SWITCH), echo_bytes]


def test_an_upgraded_connection_carries_bytes(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    client = front(edge(scripted(SWITCHING)).proxy).connect()
    status = client.ask(UPGRADE).status
    client.send(b"hello")
    assert (status, client.take(5)) == (101, b"hello")


def test_bytes_behind_the_heads_are_not_lost(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    client = front(edge(scripted([expect_request, send(SWITCH + b"backend"), echo_bytes])).proxy).connect()
    client.ask(UPGRADE + b"client")
    assert client.take(13) == b"backendclient"


@pytest.mark.parametrize("how", ["leave", "reset"])
def test_the_lease_ends_with_the_client(scripted: MakeBackend, edge: MakeEdge, front: MakeFront, how: str) -> None:
    it = edge(scripted(SWITCHING))
    doors = front(it.proxy)
    client = doors.connect()
    client.ask(UPGRADE)
    held = it.in_flight
    getattr(client, how)()
    until(lambda: not it.in_flight and not doors.connections)
    assert (held, it.idle) == (1, 0)


def test_the_client_sees_the_end_of_the_backend(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    client = front(edge(scripted([expect_request, send(SWITCH + b"bye")])).proxy).connect()
    client.ask(UPGRADE)
    assert client.until_closed() == b"bye"


def test_a_101_to_a_client_that_left_gives_its_lease_back(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    it = edge(scripted(SWITCHING))

    def too_late(asked: Request) -> Response:
        response = it.proxy(asked)
        client.reset()  # nobody looks before the head is sent
        return response

    doors = front(too_late)
    client = doors.connect()
    client.send(UPGRADE)
    doors.ended()
    assert it.in_flight == 0


def test_a_101_that_a_middleware_dropped_gives_its_lease_back(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    it = edge(scripted(SWITCHING))

    def drop(asked: Request, call_next: Callable[[Request], Response]) -> Response:
        call_next(asked)
        return Response(403)

    answered = front(chain([BoundMiddleware("drop", drop)], it.proxy)).connect().ask(UPGRADE)
    assert (answered.status, it.in_flight) == (403, 0)


def test_a_101_passes_through_a_middleware(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    it = edge(scripted(SWITCHING))

    def look(asked: Request, call_next: Callable[[Request], Response]) -> Response:
        response = call_next(asked)
        response.headers["X-Seen"] = "1"
        response.read()
        return response

    client = front(chain([BoundMiddleware("look", look)], it.proxy)).connect()
    seen = client.ask(UPGRADE).get("x-seen")
    client.send(b"hello")
    assert (seen, client.take(5)) == ("1", b"hello")
