"""A second try finds the request as the first one found it, and what the first one left behind is nobody's answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from greenproxy.errors import ProxyError
from greenproxy.messages import Request, Response
from tests.client import get
from tests.conftest import MakeBackend
from tests.fronts import MakeFront
from tests.hub import poll, until
from tests.proxy.edge import Edge, MakeEdge
from tests.scripted import ScriptedBackend
from tests.scripts import (
    Connection,
    Step,
    always,
    answer,
    close,
    expect_head,
    expect_request,
    first_fails,
    hang,
    reset,
    send,
    wait_until_gone,
)

BUSY = answer(b"no", "503 Busy")
LAST_BUSY = answer(b"no", "503 Busy", "Connection: close")
LONG_BUSY = answer(b"x" * 300_000, "503 Busy")
FAILURES = {"a short answer": BUSY, "a long answer": LONG_BUSY, "a last answer": LAST_BUSY, "a reset": b""}
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def in_turn(first: Sequence[Step], others: Sequence[Step]) -> Step:
    """A script for several backends: whichever is asked first plays `first`, all others play `others`."""
    turns = itertools.count()

    def script(conn: Connection) -> None:
        for step in others if next(turns) else first:
            step(conn)

    return script


class Two:
    """Two backends of which whichever is asked first fails, and an edge in front of them."""

    def __init__(self, scripted: MakeBackend, edge: MakeEdge, *failure: Step, well: Sequence[Step] = ()) -> None:
        script = in_turn(failure, well) if well else first_fails(*failure)
        self.backends: list[ScriptedBackend] = [scripted(script, name=name) for name in ("one", "two")]
        self.edge: Edge = edge(*self.backends, retry_on=("connect", "reset", "503"), max_fails=0)

    @property
    def accepted(self) -> int:
        return sum(each.accepted for each in self.backends)

    @property
    def bodies(self) -> list[bytes]:
        """What the backends got, heads without a body left out."""
        return [each.body for backend in self.backends for each in backend.requests if each.body]


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_body_that_is_still_to_come_goes_to_the_second_backend(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, failure: bytes
) -> None:
    """The first upload waits for the client when its backend has said no: it must let go of the body, and of its lease."""
    steps = [send(failure), wait_until_gone] if failure else [reset]
    two = Two(scripted, edge, expect_head, *steps)
    client = front(two.edge.proxy).connect()
    client.send(get("/", "Content-Length: 5", method="PUT"))
    until(lambda: two.accepted == 2)
    poll()
    client.send(b"hello")
    assert (client.answer("PUT").status, two.bodies) == (200, [b"hello"])
    until(lambda: two.edge.in_flight == 0)


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("is_told", [True, False], ids=["is told to go on", "goes on by itself"])
def test_a_client_that_waits_for_a_100_waits_for_the_second_backend(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, failure: bytes, is_told: bool
) -> None:
    def read_the_rest(conn: Connection) -> None:
        conn.rest_of(conn.backend.requests[-1])

    steps = [send(failure), wait_until_gone] if failure else [reset]
    well = [expect_head, send(CONTINUE) if is_told else hang, read_the_rest, send(answer(b"well")), always(answer(b"well"))]
    two = Two(scripted, edge, expect_head, *steps, well=well)
    client = front(two.edge.proxy).connect()
    client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="PUT"))
    if is_told:
        assert client.head().status == 100
    else:
        until(lambda: two.accepted == 2 and sum(len(each.requests) for each in two.backends) == 2)
    client.send(b"hello")
    for each in two.backends:
        each.release()
    assert (client.answer("PUT").body, two.bodies) == (b"well", [b"hello"])
    assert client.ask(get("/next")).status == 200


def test_the_client_can_go_on_behind_it(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    two = Two(scripted, edge, expect_head, send(BUSY), wait_until_gone)
    client = front(two.edge.proxy).connect()
    client.send(get("/", "Content-Length: 5", method="PUT"))
    until(lambda: two.accepted == 2)
    client.send(b"hello")
    client.answer("PUT")
    assert client.ask(get("/next")).status == 200


def test_a_body_that_is_held_goes_to_the_second_backend_whole(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> None:
    """The first backend refuses while most of the body waits in front of its socket."""
    body = b"x" * 8_000_000
    two = Two(scripted, edge, expect_head, send(BUSY), wait_until_gone)

    def holding(request: Request) -> Response:
        request.body = request.body.read()
        return two.edge.proxy(request)

    client = front(holding).connect()
    client.send(get("/", f"Content-Length: {len(body)}", method="PUT") + body)
    assert client.answer("PUT").status == 200
    assert two.bodies == [body]


@pytest.mark.parametrize(("interim", "status"), [(HINTS, 503), (CONTINUE, 200)], ids=["passed on", "kept to ourselves"])
def test_what_the_client_has_seen_of_an_answer_ends_all_trying(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, interim: bytes, status: int
) -> None:
    two = Two(scripted, edge, expect_head, send(interim + BUSY), wait_until_gone)
    client = front(two.edge.proxy).connect()
    client.send(get())
    assert client.answer().status == status


@pytest.mark.parametrize("status", ["413 Too Large", "503 Busy"])
@pytest.mark.parametrize(
    ("lines", "last"), [(["Expect: 100-continue"], []), ([], ["Connection: close"])], ids=["expects", "close"]
)
def test_an_answer_that_stands_ends_what_still_waits_for_the_body(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, status: str, lines: list[str], last: list[str]
) -> None:
    it = edge(scripted([expect_head, send(answer(b"no", status, *last)), wait_until_gone]), retry_on=("503",), max_fails=0)
    client = front(it.proxy).connect()
    client.send(get("/", "Content-Length: 5", *lines, method="PUT"))
    assert client.answer("PUT").body == b"no"
    until(lambda: it.in_flight == 0)
    assert client.is_closed()


# ------------------------------------------------------------------ what it says of a backend

USED = [expect_request, send(answer())]
FIRST_HALF = answer(b"x" * 100)[:-50]


@pytest.mark.parametrize(
    ("ending", "counts"),
    [
        ([close], False),
        ([reset], False),
        ([send(b"HTTP/1.1 200 O"), close], True),
        ([send(FIRST_HALF), close], True),
        ([send(HINTS), close], True),
    ],
    ids=["closed", "reset", "closed in the head", "closed in the body", "closed behind an interim answer"],
)
def test_the_end_of_a_used_connection_counts_against_its_backend_only_behind_a_byte_of_an_answer(
    scripted: MakeBackend, edge: MakeEdge, ending: list[Step], counts: bool
) -> None:
    it = edge(scripted([*USED, expect_request, *ending]), retries=0, max_fails=0)
    it.ask()
    with pytest.raises(ProxyError):
        it.ask()
    assert it.failures == (1 if counts else 0)
