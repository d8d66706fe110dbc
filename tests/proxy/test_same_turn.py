"""A connection is taken again in the very turn of the event loop in which its backend says something that nobody asked for.

The loop has collected both events then, the client's request and the backend's bytes, and calls back for one after the other:
where the request comes first, nobody has told the pool yet.
"""

from __future__ import annotations

import itertools

import pytest

from tests.client import get
from tests.conftest import MakeBackend
from tests.fronts import MakeFront
from tests.hub import poll, until
from tests.proxy.edge import MakeEdge
from tests.scripts import Connection, answer, expect_head, expect_request, first_fails, send, wait_until_gone

#: What a backend may say out of turn, and how it leaves.
UNASKED: dict[str, bytes] = {
    "a whole answer": answer(b"poison"),
    "half an answer": answer(b"poison")[:20],
    "a timeout of its own": answer(b"", "408 Request Timeout", "Connection: close"),
    "no HTTP": b"poison",
    "the end": b"",
}


@pytest.mark.parametrize("unasked", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("is_client_first", [True, False], ids=["the client first", "the backend first"])
def test_what_arrives_beside_the_next_request_is_not_its_answer(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, unasked: bytes, is_client_first: bool
) -> None:
    seen: list[Connection] = []
    backend = scripted(
        [seen.append, expect_request, send(answer(b"first")), expect_request, send(answer(b"stale"))],
        [expect_request, send(answer(b"fresh")), wait_until_gone],
    )
    it = edge(backend, retries=0)
    client = front(it.proxy).connect()
    client.send(get())
    assert client.answer().body == b"first"
    until(lambda: it.idle == 1)
    poll()  # it has been idle for more than a turn

    def the_client_asks() -> None:
        client.send(get())

    def the_backend_speaks() -> None:
        if unasked:
            seen[0].sock.sendall(unasked)
        else:
            seen[0].sock.shutdown(1)

    moves = [the_client_asks, the_backend_speaks]
    for move in moves if is_client_first else reversed(moves):
        move()  # the hub does not run meanwhile
    assert client.answer().body == b"fresh"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_every_idle_connection_that_was_spoken_on_is_passed_over(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, order: tuple[int, ...]
) -> None:
    """Two are idle and both backends' ends speak: the next request opens a third connection."""
    seen: list[Connection] = []
    backend = scripted(
        *[[seen.append, expect_request, send(answer(b"first")), expect_request, send(answer(b"stale"))]] * 2,
        [expect_request, send(answer(b"fresh")), wait_until_gone],
    )
    it = edge(backend, retries=0)
    lone = front(it.proxy)
    client, other = lone.connect(), lone.connect()
    for each in (client, other):
        each.send(get())
    assert [each.answer().body for each in (client, other)] == [b"first"] * 2
    until(lambda: it.idle == 2)
    poll()

    moves = [
        lambda: client.send(get()),
        lambda: seen[0].sock.sendall(answer(b"poison")),
        lambda: seen[1].sock.sendall(answer(b"poison")),
    ]
    for turn in order:
        moves[turn]()
    assert (client.answer().body, backend.accepted) == (b"fresh", 3)


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("failure", ["the connection ends", "a 503 that is tried again"])
@pytest.mark.parametrize("is_client_first", [True, False], ids=["the client first", "the backend first"])
def test_a_body_that_arrives_as_its_first_try_fails_is_all_in_the_second_or_there_is_none(
    scripted: MakeBackend, edge: MakeEdge, front: MakeFront, framing: str, failure: str, is_client_first: bool
) -> None:
    """The greenlet that waits for the body is served in the turn in which it is told to stop: what it got is the next one's."""
    seen: list[Connection] = []
    script = first_fails(seen.append, expect_head, wait_until_gone)
    backends = [scripted(script, name="one"), scripted(script, name="two")]
    it = edge(*backends, retries=1, retry_on=("connect", "reset", "503"))
    client = front(it.proxy).connect()
    client.send(get("/", framing, method="PUT"))
    until(lambda: seen and seen[0].backend.requests)
    poll()

    def the_body_comes() -> None:
        client.send(b"firstsecnd" if "Length" in framing else b"5\r\nfirst\r\n5\r\nsecnd\r\n0\r\n\r\n")

    def the_try_fails() -> None:
        if "503" in failure:
            seen[0].sock.sendall(answer(b"no", "503 Service Unavailable"))
        else:
            seen[0].sock.shutdown(1)

    moves = [the_body_comes, the_try_fails]
    for move in moves if is_client_first else reversed(moves):
        move()  # the hub does not run meanwhile
    told = client.answer("PUT")
    second = next(each for each in backends if each is not seen[0].backend)
    assert (told.status, [each.body for each in second.requests]) in ((200, [b"firstsecnd"]), (502, []), (503, []))
