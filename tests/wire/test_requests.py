"""Every case of the request side over real sockets: whole, byte by byte, and with the next request behind it.

What a backend got is looked at in the same way for all: however odd the request was, what leaves us has one reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from tests.client import Answer, Cut, RawClient
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Received
from tests.tables import for_each
from tests.wire.cases import NEXT, SERVED, UNFINISHED, Case, Pipeline
from tests.wire.house import INI
from tests.wire.requests import TABLES
from tests.wire.requests.pipelines import PIPELINES

House = tuple[RunningProxy, ScriptedBackend]
Feed = Callable[[RawClient, bytes], None]
Row = TypeVar("Row", Case, Pipeline)

_DRIPPED_BYTES = 300  # of each end of what is fed byte by byte; the middle of long ones comes in one piece

TOUCHABLE = {
    subject: [case for case in table if case.status == SERVED and case.listener == "web"] for subject, table in TABLES.items()
}

every_table = pytest.mark.parametrize("subject", TABLES)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One proxy and one backend for all of them."""
    with ScriptedBackend() as backend, RunningProxy(tmp_path_factory.mktemp("wire"), INI.format(backend=backend.url)) as running:
        yield running, backend


@pytest.fixture
def house(standing: House) -> Iterator[House]:
    """The same, with a backend that has seen nothing yet."""
    yield standing
    standing[1].begin_again()


def play(house: House, table: Iterable[Row], check: Callable[[House, Row], None]) -> None:
    """Check every row, each with a backend that has seen nothing yet."""

    def begin_and_check(row: Row) -> None:
        house[1].begin_again()
        check(house, row)

    for_each(table, begin_and_check)


def whole(client: RawClient, data: bytes) -> None:
    client.send(data)


def byte_by_byte(client: RawClient, data: bytes) -> None:
    if len(data) <= 2 * _DRIPPED_BYTES:
        client.send_byte_by_byte(data)
        return
    client.send_byte_by_byte(data[:_DRIPPED_BYTES])
    try:
        client.send(data[_DRIPPED_BYTES:-_DRIPPED_BYTES])
    except (BrokenPipeError, ConnectionResetError):
        return  # it was refused already
    client.send_byte_by_byte(data[-_DRIPPED_BYTES:])


both_ways = pytest.mark.parametrize("feed", [whole, byte_by_byte])


# ------------------------------------------------------------------ one request


@both_ways
@every_table
def test_a_request_gets_what_the_table_says(house: House, subject: str, feed: Feed) -> None:
    play(house, TABLES[subject], partial(assert_goes_as_told, feed=feed))


def assert_goes_as_told(house: House, case: Case, feed: Feed) -> None:
    running, backend = house
    with RawClient(running.address(case.listener)) as client:
        feed(client, case.data)
        assert_answered(case, client)
    heard = backend.requests
    assert len(heard) == (case.status == SERVED), [request.head for request in heard]
    for request in heard:
        assert_is_what_the_table_says(case, request)
        assert_has_one_reading(request)


@pytest.mark.parametrize("subject", [subject for subject, table in TOUCHABLE.items() if table])
def test_a_request_is_the_same_to_its_backend_when_a_middleware_touched_its_fields(house: House, subject: str) -> None:
    """Then its head is not the bytes that came any more: it is written anew, from the fields as the middleware left them."""
    play(house, TOUCHABLE[subject], assert_is_the_same_when_touched)


def assert_is_the_same_when_touched(house: House, case: Case) -> None:
    running, backend = house
    with RawClient(running.address("touched")) as client:
        client.send(case.data)
        assert_answered(case, client)
    (request,) = backend.requests
    spaced = case._replace(has=tuple(b": ".join(map(bytes.strip, line.split(b":", 1))) for line in case.has))
    request.lines = [f"{name}: {value}" for name, value in request.fields]
    assert_is_what_the_table_says(spaced, request)
    assert_has_one_reading(request)


@every_table
def test_what_stands_behind_a_request_is_the_next_one_or_never_read(house: House, subject: str) -> None:
    play(house, TABLES[subject], assert_next_is_served_or_never_read)


def assert_next_is_served_or_never_read(house: House, case: Case) -> None:
    running, backend = house
    with RawClient(running.address(case.listener)) as client:
        client.send(case.data + NEXT)
        if case.status == UNFINISHED:
            assert_nothing_comes_of_it(client)
        else:
            assert client.answer(case.method).status == (case.status or 200)
            if case.is_last:
                assert client.is_closed()
            else:
                assert client.answer().status == 200
    heard = [(request.target, request.body) for request in backend.requests]
    first = [(case.forwarded_target.decode("latin-1"), case.body)] if case.status == SERVED else []
    assert heard == first + [("/next", b"")] * (not case.is_last and case.status != UNFINISHED)


def assert_answered(case: Case, client: RawClient) -> None:
    """Fail unless the answer to the case comes, and the connection ends behind it where it should."""
    if case.status == UNFINISHED:
        assert_nothing_comes_of_it(client)
        return
    answer = client.answer(case.method)
    assert answer.status == (case.status or 200), answer.body
    assert not case.is_last or client.is_closed()


def assert_nothing_comes_of_it(client: RawClient) -> None:
    """More bytes belong to the message: there is no good answer to it, not even when the client says that there are none."""
    client.sock.shutdown(1)
    try:
        answer: Answer | None = client.answer()
    except Cut:
        answer = None
    assert answer is None or answer.status >= 400


def assert_is_what_the_table_says(case: Case, request: Received) -> None:
    """Fail unless the backend got the request that the case tells of."""
    assert request.target == case.forwarded_target.decode("latin-1")
    assert (request.body, request.trailers) == (case.body, case.trailers)
    for line in case.has:
        assert request.lines.count(line.decode("latin-1")) == 1, request.lines
    for name in case.lacks:
        assert not request.all(name.decode("latin-1")), request.lines


def assert_has_one_reading(request: Received) -> None:
    """Fail if a request as a backend gets it leaves anything to doubt, or tells what only one hop may know."""
    assert request.version == "HTTP/1.1"
    names = [name.lower() for name, _ in request.fields]
    assert b"\n" not in request.head.replace(b"\r\n", b"")
    assert names.count("host") == 1
    assert names.count("content-length") + names.count("transfer-encoding") <= 1
    assert request.get("transfer-encoding") in (None, "chunked")
    assert (request.get("upgrade") or "websocket").lower() == "websocket"
    assert not {"keep-alive", "proxy-connection", "http2-settings", "content_length", "transfer_encoding"} & set(names)
    assert not [name for name in names if name.replace("_", "-").startswith("x-forwarded-") and "_" in name]
    assert (request.get("connection") or "TE") in ("TE", "upgrade", "upgrade, TE")
    for name in ("x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "via"):
        assert names.count(name) == 1, request.lines


# ------------------------------------------------------------------ several


@both_ways
def test_a_pipeline_is_answered_in_order_up_to_the_first_refusal(house: House, feed: Feed) -> None:
    play(house, PIPELINES, partial(assert_is_answered_in_order, feed=feed))


def assert_is_answered_in_order(house: House, case: Pipeline, feed: Feed) -> None:
    running, backend = house
    with RawClient(running.address()) as client:
        feed(client, case.data)
        assert answers_to(case, client) == list(case.answers)
        assert not case.closes or client.is_closed()
    assert [request.target for request in backend.requests] == list(case.heard)


def test_what_stands_behind_a_pipeline_is_the_next_request_or_never_read(house: House) -> None:
    play(house, PIPELINES, assert_next_follows_the_pipeline)


def assert_next_follows_the_pipeline(house: House, case: Pipeline) -> None:
    running, backend = house
    with RawClient(running.address()) as client:
        client.send(case.data + NEXT)
        assert answers_to(case, client) == list(case.answers)
        if case.closes:
            assert client.is_closed()
        else:
            assert client.answer().json()["target"] == "/next"
    assert [request.target for request in backend.requests] == [*case.heard, *([] if case.closes else ["/next"])]


def answers_to(case: Pipeline, client: RawClient) -> list[str]:
    """Return "METHOD STATUS" of each answer; those of the backend must say what they answer, in the order of the requests."""
    got: list[str] = []
    echoed: list[str] = []
    for expected in case.answers:
        method = expected.split(" ")[0]
        answer = client.answer(method)
        got.append(f"{method} {answer.status}")
        if answer.get("x-backend"):
            echoed.append(answer.json()["target"] if method != "HEAD" else case.heard[len(echoed)])
    assert echoed == list(case.heard)
    return got
