"""Every raw request of `cases`, whole and byte by byte, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import Answer, Cut, RawClient
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.wire.cases import ALL, SERVED, Wire, chunked, head

INI = """
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = {backend}
health-interval = 0
max-fails = 0
"""

KEPT = [case for case in ALL if case.status == SERVED and b"HTTP/1.0" not in case.data]
CLOSED = [case for case in ALL if case.status not in (SERVED, 405)]

House = tuple[RunningProxy, ScriptedBackend]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One proxy and one backend for all of them."""
    with ScriptedBackend() as backend, RunningProxy(tmp_path_factory.mktemp("wire"), INI.format(backend=backend.url)) as running:
        yield running, backend


@pytest.fixture
def house(standing: House) -> Iterator[House]:
    """The same, with a backend that has seen nothing yet."""
    standing[1].begin_again()
    yield standing
    standing[1].begin_again()


def expect(case: Wire, client: RawClient, backend: ScriptedBackend) -> None:
    answer = client.answer(case.data.split(b" ", 1)[0].decode("latin-1"))
    if case.status == SERVED:
        assert answer.status == 200, answer.body
        assert [request.body for request in backend.requests] == [case.body]
    else:
        assert answer.status == case.status, answer.body
        assert not backend.requests, "a backend heard of it"
        if case.status != 405:
            assert client.is_closed()


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_request_that_comes_whole_gets_what_the_table_says(house: House, case: Wire) -> None:
    running, backend = house
    with RawClient(running.address()) as client:
        client.send(case.data)
        expect(case, client, backend)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_request_that_comes_byte_by_byte_gets_the_same(house: House, case: Wire) -> None:
    running, backend = house
    with RawClient(running.address()) as client:
        client.send_byte_by_byte(case.data)
        expect(case, client, backend)


@pytest.mark.parametrize("case", CLOSED, ids=lambda case: case.name)
def test_nothing_behind_a_refused_request_is_served(house: House, case: Wire) -> None:
    """What follows may be the rest of what was misread: the connection is closed and the rest forgotten."""
    running, backend = house
    with RawClient(running.address()) as client:
        client.send(case.data + head(start=b"GET /smuggled HTTP/1.1"))
        assert client.answer().status == case.status
        assert client.is_closed()
    assert [request.target for request in backend.requests if request.target == "/smuggled"] == []


@pytest.mark.parametrize(
    "case", [case for case in ALL if case.status == SERVED and b"HTTP/1.0" not in case.data], ids=lambda case: case.name
)
def test_what_follows_a_served_request_is_the_next_one(house: House, case: Wire) -> None:
    running, backend = house
    with RawClient(running.address()) as client:
        client.send(case.data + head(start=b"GET /next HTTP/1.1"))
        first = client.answer(case.data.split(b" ", 1)[0].decode("latin-1"))
        second: Answer = client.answer()

    assert (first.status, second.status) == (200, 200)
    assert [request.body for request in backend.requests] == [case.body, b""]
    assert backend.requests[1].target == "/next"


def test_a_client_that_leaves_in_mid_chunk_is_never_taken_as_done(house: House) -> None:
    running, backend = house
    with RawClient(running.address()) as client:
        client.send(chunked(b"5\r\nhel"))
        client.sock.shutdown(1)
        try:
            client.answer("POST")
        except Cut:
            pass
    wait_until(lambda: backend.open == 0, "the backend connection is dropped")

    assert not [request for request in backend.requests if request.body]
