"""The doors of the admin listener, on a real socket."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import gevent
import pytest

from greenproxy.config.settings import ListenerSettings
from greenproxy.messages import Response
from greenproxy.net.recycler import Recycler
from greenproxy.server.side_doors import MAX_CONNECTIONS, SideDoors
from tests.client import get
from tests.fakes import memory_logger
from tests.fronts import LoneFront
from tests.hub import PATIENCE_S, HubClient, HubSocket, until


class Side:
    """Side doors with one listener. Every request is answered with its path."""

    def __init__(self) -> None:
        logger, self.log = memory_logger()
        self.doors = SideDoors(Recycler(), LoneFront._page, logger)
        server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = server.getsockname()
        listener = ListenerSettings(name="admin", protocol="admin")
        self.doors.open(listener, lambda request: Response(body=request.path.encode()), [server])

    def connect(self) -> HubClient:
        """Return a client whose connection lies at least in the backlog."""
        sock = HubSocket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        sock.connect(self.address)
        return HubClient(sock)


@pytest.fixture
def clean() -> Iterator[ExitStack]:
    """Clients that leave at the end of the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def side(clean: ExitStack) -> Side:
    it = Side()
    clean.callback(it.doors.close)
    return it


def test_a_client_is_answered(side: Side, clean: ExitStack) -> None:
    client = side.connect()
    clean.callback(client.leave)
    assert client.ask(get("/healthz")).body == b"/healthz"


def test_who_leaves_accepts_no_more_and_does_not_wait(side: Side) -> None:
    side.doors.leave()
    gevent.sleep(0)
    with HubSocket(socket.AF_INET, socket.SOCK_STREAM) as late:
        assert late.connect_ex(side.address) == errno.ECONNREFUSED


def test_a_request_on_its_way_is_answered_before_the_end(side: Side, clean: ExitStack) -> None:
    client = side.connect()
    clean.callback(client.leave)
    client.ask(get("/healthz"))
    side.doors.leave()
    gevent.sleep(0)
    answer = client.ask(get("/readyz"))
    assert (answer.body, answer.says_close) == (b"/readyz", True)
    side.doors.close()
    assert side.log == []


def test_clients_that_say_nothing_hold_up_nobody(side: Side, clean: ExitStack) -> None:
    client = side.connect()
    clean.callback(client.leave)
    until(lambda: side.doors.connections == 1)
    side.doors.close()
    assert client.until_closed() == b""


def test_the_ceiling_has_a_name_of_its_own(side: Side, clean: ExitStack) -> None:
    for _ in range(MAX_CONNECTIONS + 1):
        clean.callback(side.connect().leave)
    until(lambda: side.log)
    assert side.doors.connections == MAX_CONNECTIONS
    assert f"connections to admin = {MAX_CONNECTIONS} reached" in side.log[0]
