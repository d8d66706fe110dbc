"""Lanes: several sockets on one address, with real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from gunicorn.config import Config

from greenproxy.config.settings import Address, ListenerSettings
from greenproxy.process.inherited import Inherited
from greenproxy.process.lanes import narrow, open_lanes, widen
from greenproxy.process.listening import CannotListen, Door, ListeningSocket, close, open_doors, queues_of
from tests.fakes import memory_logger

CLIENTS = 60


def door(*bind: Address) -> Door:
    """Return an open door."""
    return open_doors([ListenerSettings(name="web", bind=bind)], Config())[0]


@pytest.fixture(params=["127.0.0.1", "::1"])
def web(request: pytest.FixtureRequest) -> Iterator[ListeningSocket]:
    """A socket that listens, without lanes."""
    opened = door(Address(host=request.param))
    yield opened.sockets[0]
    close(opened)


def waiting(wrapped: ListeningSocket) -> list[int]:
    """Let clients connect, and return how many lie in each queue that listens."""
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection(wrapped.getsockname()[:2], 5))
        return [accepted(queue) for queue in queues_of(wrapped) if queue.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]


def accepted(queue: socket.socket) -> int:
    count = 0
    while True:
        try:
            queue.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_new_lanes_get_no_clients_before_they_are_opened(web: ListeningSocket) -> None:
    assert len(widen(web, 3)) == 2
    assert waiting(web) == [CLIENTS]


def test_the_kernel_fills_all_lanes_then(web: ListeningSocket) -> None:
    widen(web, 3)
    open_lanes(web, 100)
    found = waiting(web)
    assert sum(found) == CLIENTS
    assert len(found) == 3
    assert all(found)


def test_lanes_are_never_taken_away(web: ListeningSocket) -> None:
    widen(web, 3)
    assert widen(web, 2) == []
    assert len(queues_of(web)) == 3


def test_narrowing_closes_the_new_ones(web: ListeningSocket) -> None:
    widen(web, 2)
    fresh = widen(web, 4)
    narrow(web, fresh)
    assert len(queues_of(web)) == 2
    assert all(sock.fileno() < 0 for sock in fresh)


def test_lanes_close_with_their_address(web: ListeningSocket) -> None:
    widen(web, 2)
    web.close()
    assert [queue.fileno() for queue in queues_of(web)] == [-1, -1]


def test_lanes_are_not_for_other_programs(web: ListeningSocket) -> None:
    widen(web, 2)
    assert not any(os.get_inheritable(queue.fileno()) or queue.getblocking() for queue in queues_of(web))


def test_a_second_proxy_on_the_address_is_refused(web: ListeningSocket) -> None:
    widen(web, 2)
    host, port = web.getsockname()[:2]
    with pytest.raises(CannotListen):
        door(Address(host=host, port=port))


def test_an_address_may_become_wider_while_it_has_lanes() -> None:
    narrow_door = door(Address(host="127.0.0.1"))
    (web,) = narrow_door.sockets
    widen(web, 2)
    open_lanes(web, 10)
    everywhere = Address(port=web.getsockname()[1])
    wide = open_doors([ListenerSettings(name="web", bind=(everywhere,))], Config(), {Address(host="127.0.0.1"): [web]})[0]
    assert [queue.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for queue in queues_of(web)] == [1, 1]
    close(narrow_door)
    close(wide)


def test_sockets_on_one_address_are_inherited_as_lanes_of_the_first(web: ListeningSocket) -> None:
    widen(web, 3)
    inherited = Inherited()
    any_port = Address(host="127.0.0.1")
    for queue in queues_of(web):
        inherited.add(ListeningSocket(queue.dup()), any_port)
    (found,) = inherited.at_hand([any_port])[any_port]
    assert [queue.getsockname() for queue in queues_of(found)] == [web.getsockname()] * 3
    log, told = memory_logger()
    inherited.close_rest(log)
    assert told == []
    found.close()
