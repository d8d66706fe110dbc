"""Requests that end in the middle: the lease comes back in that very moment, and the error is what ended them.

That everything else comes back, at every wait that there is, is shown in `tests/kill`, in a whole house.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gevent
import pytest
from gevent.event import Event
from greenlet import GreenletExit

from greenproxy.deadline import Deadline, Patience
from greenproxy.errors import BodyTimeout, ClientGone, ConnectTimeout, RequestTimeout, Stopped
from greenproxy.exchange import Exchange
from greenproxy.messages import ClientAddress, Request
from greenproxy.net.stream import Stream
from greenproxy.server.body import ClientBody
from tests.conftest import MakeBackend
from tests.hub import is_waiting, poll, stream_and_peer, until
from tests.net.test_recycler import hub_errors
from tests.proxy.edge import Edge, MakeEdge
from tests.proxy.requests import head, request
from tests.scripts import answer, echo, expect_head, expect_request, hang, send, wait_until_gone

MANY = 20 << 20  # more than the kernel holds between two sockets
UPLOAD = head(f"Content-Length: {MANY}", method="PUT")

Asking: TypeAlias = "gevent.Greenlet[..., Any]"


@dataclass
class Source:
    """The client's connection, as a body reads it."""

    stream: Stream
    buffer: bytes = b""

    def watch(self) -> None:
        """Nobody leaves."""


@dataclass
class Point:
    """A request that waits at some point; `others` are requests that hold the slots that it waits for."""

    edge: Edge
    asking: Asking
    release: Callable[[], None] = lambda: None
    others: list[Asking] = field(default_factory=list)


Reach: TypeAlias = Callable[[MakeBackend, MakeEdge, ExitStack], Point]


def client_body(stack: ExitStack, first: bytes = b"") -> ClientBody:
    """Return the body of a client that sends `first` and no more."""
    stream, peer = stream_and_peer()
    stack.callback(peer.close)
    stack.callback(stream.close)
    if first:
        peer.sendall(first)
    exchange = Exchange("web", ClientAddress("192.0.2.7", 1))
    return ClientBody(Source(stream), exchange, MANY, Patience(30, BodyTimeout), 0, None)


def waiting_for_a_slot(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    backend = scripted([expect_request, hang, send(answer()), wait_until_gone], echo)
    it = edge(backend, pool_size=1, pool_queue_timeout_s=30.0)
    holder = it.spawn()
    until(lambda: backend.requests)
    asking = it.spawn()
    until(lambda: it.upstream.queued)
    return Point(it, asking, backend.release, [holder])


def dialling(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    it = edge(scripted(is_listening=False).never_accept(), connect_timeout_s=30.0)
    asking = it.spawn()
    until(lambda: it.in_flight)
    poll()
    return Point(it, asking)


def sending_the_request(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    backend = scripted([expect_head, hang])
    it = edge(backend)
    asked = request(UPLOAD)
    asked.body = b"x" * MANY
    asking = it.spawn(asked)
    until(lambda: backend.requests)
    return Point(it, asking)


def waiting_for_the_head(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    backend = scripted([expect_request, hang])
    it = edge(backend)
    asking = it.spawn()
    until(lambda: backend.requests)
    return Point(it, asking)


def in_the_head(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    told: list[int] = []
    asked = request(head())
    asked.inform = lambda status, _block: told.append(status)
    it = edge(scripted([expect_request, send(b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 20"), hang]))
    asking = it.spawn(asked)
    until(lambda: told)
    return Point(it, asking)


def relaying_the_body(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    it = edge(scripted([expect_request, send(answer(b"x" * 1000)[:-1]), hang]))
    got: list[bytes] = []

    def relay() -> None:
        response = it.proxy(request(head()))
        try:
            got.extend(response.pieces())
        finally:
            response.body.close()  # type: ignore[union-attr]

    asking = gevent.spawn(relay)
    until(lambda: got)
    return Point(it, asking)


def uploading_to_a_backend_that_does_not_read(scripted: MakeBackend, edge: MakeEdge, _: ExitStack) -> Point:
    backend = scripted([expect_head, hang])
    it = edge(backend)
    asked = request(UPLOAD)
    sent: list[int] = []

    def pieces() -> Iterator[bytes]:
        for n in range(MANY >> 20):
            sent.append(n)
            yield b"x" * (1 << 20)

    asked.body = pieces()
    asking = it.spawn(asked)
    until(lambda: backend.requests and sent)
    return Point(it, asking)


def uploading_for_a_client_that_does_not_send(scripted: MakeBackend, edge: MakeEdge, stack: ExitStack) -> Point:
    backend = scripted([expect_head, hang])
    it = edge(backend)
    asking = it.spawn(request(UPLOAD, client_body(stack, b"some")))
    until(lambda: backend.requests)
    poll()
    return Point(it, asking)


def relaying_while_uploading(scripted: MakeBackend, edge: MakeEdge, stack: ExitStack) -> Point:
    it = edge(scripted([expect_head, send(answer(b"x" * 1000)[:-1]), hang]))
    got: list[bytes] = []
    asked = request(UPLOAD, client_body(stack, b"some"))

    def relay() -> None:
        response = it.proxy(asked)
        try:
            got.extend(response.pieces())
        finally:
            response.body.close()  # type: ignore[union-attr]

    asking = gevent.spawn(relay)
    until(lambda: got)
    return Point(it, asking)


POINTS: list[Reach] = [
    waiting_for_a_slot,
    dialling,
    sending_the_request,
    waiting_for_the_head,
    in_the_head,
    relaying_the_body,
    uploading_to_a_backend_that_does_not_read,
    uploading_for_a_client_that_does_not_send,
    relaying_while_uploading,
]
every_point = pytest.mark.parametrize("reach", POINTS, ids=lambda reach: reach.__name__)
every_end = pytest.mark.parametrize("error", [GreenletExit, gevent.Timeout, ClientGone, Stopped], ids=lambda each: each.__name__)


@pytest.fixture
def at(scripted: MakeBackend, edge: MakeEdge) -> Iterator[Callable[[Reach], Point]]:
    """Return a function that lets a request come to a point and wait there."""
    with ExitStack() as stack, hub_errors():

        def come(reach: Reach) -> Point:
            point = reach(scripted, edge, stack)
            stack.callback(gevent.joinall, point.others)
            stack.callback(point.release)
            assert is_waiting(point.asking)
            return point

        yield come


At: TypeAlias = Callable[[Reach], Point]


@every_point
@every_end
def test_whoever_is_ended_gives_its_lease_back_at_once_and_blames_nobody(
    at: At, reach: Reach, error: type[BaseException]
) -> None:
    point = at(reach)
    point.asking.kill(error())
    # in flight, connections kept in the middle of a message, failures of the backend
    assert (point.edge.in_flight, point.edge.idle, point.edge.failures) == (len(point.others), 0, 0)


@every_point
@pytest.mark.parametrize("error", [gevent.Timeout, ClientGone], ids=lambda each: each.__name__)
def test_whoever_is_ended_ends_with_what_ended_it(at: At, reach: Reach, error: type[BaseException]) -> None:
    point = at(reach)
    point.asking.kill(error())
    assert isinstance(point.asking.exception, error)


# ------------------------------------------------------------------ in the moment of success


def test_whoever_is_ended_in_the_moment_of_its_grant_hands_it_on(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, hang, send(answer()), wait_until_gone], echo)
    it = edge(backend, pool_size=1, pool_queue_timeout_s=30.0)
    first = it.spawn()
    until(lambda: backend.requests)
    second = it.spawn()
    until(lambda: it.upstream.queued)
    lease_back = Event()
    first.link(lambda _: second.kill(block=False))
    first.link(lambda _: lease_back.set())
    backend.release()
    lease_back.wait()
    second.join()
    it.until_idle()


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.003, 0.01, 0.03])
def test_no_lease_is_lost_whenever_a_request_is_ended(scripted: MakeBackend, edge: MakeEdge, seconds: float) -> None:
    it = edge(scripted(), pool_size=2, pool_queue_timeout_s=5.0)
    asking = [it.spawn() for _ in range(20)]
    gevent.sleep(seconds)
    for each in asking[::2]:
        each.kill(block=False)
    gevent.joinall(asking)
    it.until_idle()
    assert it.ask()[0].status == 200


def test_deadlines_that_pass_at_any_moment_lose_no_lease(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted(), pool_size=2, pool_queue_timeout_s=5.0, max_fails=0)

    def ask(n: int) -> None:
        asked: Request = request(head())
        asked.deadline = Deadline.after(0.0005 * (n + 1), RequestTimeout)
        try:
            it.ask(asked)
        except (RequestTimeout, ConnectTimeout):
            pass

    gevent.joinall([gevent.spawn(ask, n) for n in range(30)], raise_error=True)
    it.until_idle()
    assert it.ask()[0].status == 200
