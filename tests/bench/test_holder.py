"""Idle connections are held, and it is noticed when they were closed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.ground import Ground
from bench.loads import Address, Held
from bench.processes import Children, Cores, Trouble
from tests.conftest import MakeBackend
from tests.processes import wait_until
from tests.scripts import Connection, close, hang

_GREETING = b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nhello from the origin\n"


def greet(conn: Connection) -> None:
    """Answer one request as the origin does."""
    conn.request()
    conn.send(_GREETING)


def greet_always(conn: Connection) -> None:
    """Answer every request as the origin does."""
    while True:
        greet(conn)


def refuse(conn: Connection) -> None:
    """Answer with an error."""
    conn.request()
    conn.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 22\r\n\r\nhello from the origin\n")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Return what the holder needs of a ground."""
    return cast(Ground, SimpleNamespace(children=Children(tmp_path), cores=Cores()))


def test_connections_that_are_still_served_are_right(ground: Ground, scripted: MakeBackend) -> None:
    backend = scripted(greet_always)
    with Held(ground, Address(backend.port, 0), 5) as held:
        held.check()
        assert backend.accepted == 5


def test_connections_that_were_closed_meanwhile_are_told(ground: Ground, scripted: MakeBackend) -> None:
    backend = scripted([greet, close])
    with Held(ground, Address(backend.port, 0), 3) as held:
        wait_until(lambda: backend.open == 0, "all to be closed")
        with pytest.raises(Trouble, match="only 0 of 3 idle connections were still served"):
            held.check()


def test_connections_that_are_not_served_cannot_be_held(ground: Ground, scripted: MakeBackend) -> None:
    backend = scripted(refuse)
    with (
        pytest.raises(Trouble, match=r"3 idle connections could not be held: .*HTTP/1\.1 503"),
        Held(ground, Address(backend.port, 0), 3),
    ):
        pass


def test_connections_that_nobody_answers_cannot_be_held_and_the_time_is_told(ground: Ground, scripted: MakeBackend) -> None:
    backend = scripted(hang)
    held = Held(ground, Address(backend.port, 0), 3, within_s=1.0)
    with pytest.raises(Trouble, match=r"^3 idle connections could not be held: not within 1 s$"), held:
        pass
