"""Clients that speak TLS and have begun to say something: they are not closed as if they were silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from gevent.ssl import SSLContext

from greenproxy.config.settings import ListenerSettings
from greenproxy.messages import Request, Response
from greenproxy.net.tls_contexts import context_of
from tests.authorities import Authority
from tests.client import get
from tests.fronts import LoneFront
from tests.hub import HubClient, connected, poll, until
from tests.tls_client import TlsPeer, client_context

MakeSecure = Callable[..., LoneFront]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> SSLContext:
    """What the front speaks."""
    pair = Authority(tmp_path_factory.mktemp("tls")).issue("localhost")
    return context_of(ListenerSettings(name="web", tls_certificate=(str(pair.certificate),), tls_key=(str(pair.key),)))


@pytest.fixture
def secure(context: SSLContext) -> Iterator[MakeSecure]:
    """Return a function that makes a LoneFront whose clients speak TLS; keywords are settings of the listener."""
    with ExitStack() as fronts:

        def say_target(request: Request) -> Response:
            return Response(body=request.target.encode())

        def make(**settings: Any) -> LoneFront:
            return fronts.enter_context(LoneFront(say_target, context, **settings))

        yield make


def peer_of(client: HubClient) -> TlsPeer:
    """Return the other end of a connection of TLS, for a client that sends pieces of records."""
    found: TlsPeer = client.sock.peer
    return found


def knock(it: LoneFront) -> TlsPeer:
    """Return a client that was accepted and has not said anything."""
    raw, sock = connected()
    it._clients.append(HubClient(sock))
    it.accepted += 1
    it.front.accept(raw, sock.getsockname())
    return TlsPeer(sock, client_context())


def close_all_that_are_idle(it: LoneFront) -> None:
    """What a drain does in the end, when clients have had their time."""
    it.front.close_idle(for_s=0.0, also_new=True)


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize("served", [0, 1])
def test_request_that_has_just_arrived_is_served(secure: MakeSecure, served: int) -> None:
    it = secure()
    client = it.connect()
    for _ in range(served):
        client.ask(get())
    until(lambda: it.front.idle)
    client.send(get("/late"))  # the loop has not turned since
    close_all_that_are_idle(it)
    assert client.answer().body == b"/late"


@pytest.mark.parametrize("has_turned", [True, False])
def test_request_whose_record_has_not_come_as_a_whole_is_served(secure: MakeSecure, has_turned: bool) -> None:
    it = secure()
    client = it.connect()
    until(lambda: it.front.idle)
    record = peer_of(client).encrypt(get("/late"))
    peer_of(client).sock.sendall(record[:20])
    if has_turned:
        poll()
    close_all_that_are_idle(it)
    poll()
    peer_of(client).sock.sendall(record[20:])
    assert client.answer().body == b"/late"


def test_record_that_does_not_come_as_a_whole_has_the_time_of_a_head(secure: MakeSecure) -> None:
    it = secure(header_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    until(lambda: it.front.idle)
    peer_of(client).sock.sendall(peer_of(client).encrypt(get("/late"))[:20])
    poll()
    close_all_that_are_idle(it)
    assert client.answer().status == 408


# ------------------------------------------------------------------ handshakes


@pytest.mark.parametrize("has_turned", [True, False])
def test_handshake_that_has_begun_goes_on(secure: MakeSecure, has_turned: bool) -> None:
    it = secure()
    peer = knock(it)
    hello = peer.hello()
    peer.sock.sendall(hello[:20])
    if has_turned:
        poll()
    close_all_that_are_idle(it)
    peer.sock.sendall(hello[20:])
    peer.shake_hands()
    peer.sendall(get("/late"))
    assert peer.recv().endswith(b"/late")


def test_connection_on_which_no_handshake_has_begun_is_closed(secure: MakeSecure) -> None:
    it = secure()
    knock(it)
    poll()
    close_all_that_are_idle(it)
    assert not it.connections
