"""Backends that fail on a connection that served before, or leave something on it: what the next request gets, what is logged.

One backend, so that nothing but a fresh connection to it can help. What is tried again in general is in `test_retries.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.client import Answer, Cut, RawClient, get, post
from tests.e2e.test_seen import Statsd
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import (
    Connection,
    Script,
    Step,
    always,
    answer,
    close,
    expect_head,
    expect_request,
    hang,
    reset,
    send,
    wait_until_gone,
)

INI = """
[greenproxy]
statsd = 127.0.0.1:{statsd}

[listener:web]
bind = 127.0.0.1:0

[upstream:shop]
backends = {backend} name=blue
health-interval = 0
max-fails = 0

[upstream:hasty]
backends = {backend} name=blue
health-interval = 0
max-fails = 0
response-timeout = 100ms

[upstream:picky]
backends = {backend} name=blue
    {well} name=well
health-interval = 0
max-fails = 0
retry-on = connect, 503

[route:hasty]
path = /hasty/
upstream = hasty

[route:picky]
path = /picky/
upstream = picky

[route:shop]
path = /
upstream = shop
"""
USED: list[Step] = [expect_request, send(answer(b"first"))]
FRESH: Script = always(answer(b"fresh"))
BIG = 4_000_000  # more than the kernel's buffers hold between two sockets


Standing = tuple[RunningProxy, ScriptedBackend, ScriptedBackend, Statsd]
Token = Callable[[], str]


class Street:
    """A proxy, its backend, what statsd was told, and a client with a connection to it."""

    def __init__(self, running: RunningProxy, backend: ScriptedBackend, statsd: Statsd, client: RawClient) -> None:
        self.running = running
        self.backend = backend
        self.statsd = statsd
        self.client = client

    def play(self, *used: Step, first: bytes = b"/first") -> None:
        """Have a connection used once; then it goes on with these steps, and all later ones are as they should be."""
        self.backend.play([*USED, *used], FRESH)
        assert self.client.ask(get(first.decode())).body == b"first"

    def release(self) -> None:
        """Let the backend go on, and wait until the connection to it is gone on both sides."""
        self.backend.release()
        self.backend.wait_for(lambda: not self.backend.open)

    def logged(self, word: str) -> tuple[int, list[str], str | None]:
        """Return the status, the reasons of retries and the reason in the log's line about `word`."""
        entry = self.running.entry(word)
        assert ("retry_reasons" in entry) == (entry["retries"] > 0)
        return entry["status"], entry.get("retry_reasons", []), entry["reason"]

    @property
    def tries(self) -> tuple[int, int]:
        """How many connections the backend has seen, and how many requests."""
        return self.backend.accepted, len(self.backend.requests)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One proxy for all of them."""
    statsd = Statsd()
    with ScriptedBackend() as backend, ScriptedBackend(always(answer(b"well"))) as well:
        ini = INI.format(backend=backend.url, well=well.url, statsd=statsd.port)
        with RunningProxy(tmp_path_factory.mktemp("street"), ini) as running:
            yield running, backend, well, statsd
    statsd.sock.close()


@pytest.fixture
def street(standing: Standing) -> Iterator[Street]:
    """The proxy with a backend that nobody has a connection to."""
    running, backend, well, statsd = standing
    with RawClient(running.address()) as client:
        yield Street(running, backend, statsd, client)
    backend.begin_again()
    well.begin_again(always(answer(b"well")))


# ------------------------------------------------------------------ stale connections


@pytest.mark.parametrize("ending", [close, reset])
def test_a_connection_that_ends_while_idle_costs_no_request_and_no_retry(street: Street, token: Token, ending: Step) -> None:
    word = token()
    street.play(hang, ending)
    street.release()
    told = street.client.ask(post(f"/{word}", b"hello"))  # which nobody may send twice

    assert (told.body, street.logged(word)) == (b"fresh", (200, [], None))


@pytest.mark.parametrize(("ending", "reason"), [(close, "backend-closed"), (reset, "backend-reset")])
def test_a_connection_that_ends_as_the_request_comes_is_replaced_and_the_log_says_why(
    street: Street, token: Token, ending: Step, reason: str
) -> None:
    word = token()
    street.play(expect_head, ending)
    told = street.client.ask(get(f"/{word}"))

    assert (told.body, street.tries, street.logged(word)) == (b"fresh", (2, 3), (200, [reason], None))


@pytest.mark.parametrize(("ending", "reason"), [(close, "backend-closed"), (reset, "backend-reset")])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_not_be_done_twice_is_an_honest_502(
    street: Street, token: Token, ending: Step, reason: str, method: str
) -> None:
    word = token()
    street.play(expect_request, ending)
    told = street.client.ask(post(f"/{word}", b"hello", method=method))

    assert (told.status, street.tries, street.logged(word)) == (502, (1, 2), (502, [], reason))


def test_the_reason_of_a_retry_is_counted(street: Street, token: Token) -> None:
    name = "greenproxy.upstream.shop.retries"
    street.play(expect_head, close)
    before = street.statsd.total(f"{name}.backend-closed")  # others may be on their way
    street.client.ask(get(f"/{token()}"))

    wait_until(lambda: street.statsd.total(f"{name}.backend-closed") > before, "the retry is counted under its reason")
    found = {line.split(":")[0] for line in street.statsd.lines if line.startswith(f"{name}.")}
    assert sum(street.statsd.total(each) for each in found) == street.statsd.total(name)


def test_a_status_that_was_thrown_away_is_a_reason_too(street: Street, token: Token) -> None:
    """One of the two backends is busy; it is the first to be asked, or the one after."""
    street.backend.play(always(answer(b"", "503 Busy")))
    words = [token(), token()]
    for word in words:
        assert street.client.ask(get(f"/picky/{word}")).body == b"well"

    assert (200, ["503"], None) in [street.logged(word) for word in words]


# ------------------------------------------------------------------ what an earlier exchange left behind


@pytest.mark.parametrize(
    "left",
    [answer(b"poison"), answer(b"poison")[:20], b"HTTP/1.1 103 Early Hints\r\n\r\n", b"\r\n", b"poison"],
    ids=["an answer", "half an answer", "an interim answer", "an empty line", "nonsense"],
)
def test_what_a_backend_says_to_nobody_is_nobodys_answer(street: Street, left: bytes) -> None:
    street.play(hang, send(left), wait_until_gone)
    street.release()

    assert street.client.ask(get("/next")).body == b"fresh"


def test_the_answer_to_a_client_that_left_is_nobodys(street: Street, token: Token) -> None:
    word = token()
    street.backend.play([expect_request, hang, send(answer(b"of somebody else")), wait_until_gone], FRESH)
    with RawClient(street.running.address()) as leaving:
        leaving.send(get(f"/{word}"))
        street.backend.wait_for(lambda: street.backend.requests)
    street.running.entry(word)
    street.release()

    assert street.client.ask(get("/next")).body == b"fresh"


def test_the_answer_that_came_too_late_is_nobodys(street: Street) -> None:
    street.backend.play([expect_request, hang, send(answer(b"too late")), wait_until_gone], FRESH)
    assert street.client.ask(get("/hasty/")).status == 504
    street.release()

    assert street.client.ask(get("/hasty/")).body == b"fresh"


def test_the_rest_of_a_body_that_its_client_did_not_want_is_nobodys(street: Street, token: Token) -> None:
    word = token()
    street.backend.play([expect_request, send(answer(b"x" * BIG))], FRESH)
    with RawClient(street.running.address(), receive_buffer=4096) as leaving:
        leaving.send(get(f"/{word}"))
        leaving.head()
    street.running.entry(word)

    assert street.client.ask(get("/next")).body == b"fresh"


# ------------------------------------------------------------------ early answers

UPLOAD = get("/upload", "Content-Length: 10", method="POST") + b"01234"
CLOSING = answer(b"early", "413 Content Too Large", "Connection: close")


def read_the_rest(conn: Connection) -> None:
    conn.rest_of(conn.backend.requests[-1])


@pytest.mark.parametrize("then", [close, reset, wait_until_gone], ids=["closes", "resets", "waits"])
@pytest.mark.parametrize("rest", [b"56789", b""], ids=["the rest comes", "the rest never comes"])
def test_an_early_answer_that_says_close_arrives_and_ends_both_connections(street: Street, then: Step, rest: bytes) -> None:
    """With `resets` the reset may overtake the answer: then it is a 502. A part of it is never passed off as all of it."""
    street.play(expect_head, send(CLOSING), then)
    street.client.send(UPLOAD)
    told = street.client.answer("POST")
    street.client.send_byte_by_byte(rest)

    assert (told.status, told.body) == (413, b"early") or (then is reset and told.status == 502)
    assert street.client.is_closed() or told.status == 502
    street.backend.wait_for(lambda: not street.backend.open)


def test_behind_an_early_answer_and_the_rest_of_the_body_the_same_connections_go_on(street: Street) -> None:
    street.play(expect_head, send(answer(b"early")), read_the_rest, always(answer(b"same")))
    street.client.send(UPLOAD)
    assert street.client.answer("POST").body == b"early"
    street.client.send(b"56789")
    street.backend.wait_for(lambda: street.backend.requests[-1].body == b"0123456789")

    assert street.client.ask(get("/next")).body == b"same"


def test_behind_an_early_answer_without_the_rest_of_the_body_no_connection_goes_on(street: Street) -> None:
    street.play(expect_head, send(answer(b"early")), wait_until_gone)
    street.client.send(UPLOAD)
    assert street.client.answer("POST").body == b"early"
    street.client.sock.close()
    street.backend.wait_for(lambda: not street.backend.open)

    with RawClient(street.running.address()) as other:
        assert other.ask(get("/next")).body == b"fresh"


def test_the_rest_of_a_body_is_no_request(street: Street) -> None:
    """The body's rest looks like a request, and comes when the answer is there already."""
    smuggled = get("/smuggled")
    street.play(expect_head, send(answer(b"early")), read_the_rest, always(answer(b"same")))
    street.client.send(get("/upload", f"Content-Length: {len(smuggled)}", method="POST"))
    assert street.client.answer("POST").body == b"early"
    street.client.send(smuggled)
    street.backend.wait_for(lambda: street.backend.requests[-1].body == smuggled)
    street.client.ask(get("/next"))

    assert [request.target for request in street.backend.requests] == ["/first", "/upload", "/next"]


# ------------------------------------------------------------------ a reset while the request is sent


def take_five(conn: Connection) -> None:
    conn.take(5)


def begin_upload(street: Street, word: str, method: str) -> None:
    street.client.send(get(f"/{word}", f"Content-Length: {BIG}", method=method))
    street.backend.wait_for(lambda: len(street.backend.requests) == 2)  # what comes with the head would be held
    street.client.send_byte_by_byte(b"01234")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_reset_under_an_upload_is_a_502_and_nothing_is_sent_again(street: Street, token: Token, method: str) -> None:
    """Bytes of the body were taken from the client and are gone: not even a PUT can begin anew."""
    word = token()
    street.play(expect_head, take_five, reset)
    begin_upload(street, word, method)
    told = street.client.answer(method)

    assert (told.status, street.tries[0], street.logged(word)) == (502, 1, (502, [], "backend-reset"))


def test_a_reset_under_an_upload_behind_the_head_of_an_answer_is_a_cut(street: Street, token: Token) -> None:
    word = token()
    street.play(expect_head, take_five, send(answer(b"x" * 100)[:-50]), hang, reset)
    begin_upload(street, word, "POST")
    assert street.client.take_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    street.client.take(50)
    street.backend.release()

    assert street.client.is_closed()
    assert street.logged(word) == (200, [], "backend-reset")


# ------------------------------------------------------------------ truncated bodies

TRUNCATED = {
    "a length": answer(b"hello, world")[:-3],
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "a trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum",
}


@pytest.mark.parametrize("ending", [close, reset])
@pytest.mark.parametrize("data", TRUNCATED.values(), ids=TRUNCATED)
def test_a_body_that_ends_early_on_a_used_connection_is_a_cut_and_no_stale_connection(
    street: Street, token: Token, data: bytes, ending: Step
) -> None:
    word = token()
    street.play(expect_request, send(data), hang, ending)
    street.client.send(get(f"/{word}"))
    street.client.take_until(b"hello")
    street.backend.release()
    with pytest.raises(Cut):
        street.client.take(1000)

    assert (street.tries, street.logged(word)) == ((1, 2), (200, [], "backend-reset"))


def test_an_answer_tells_nothing_of_its_retries(street: Street) -> None:
    street.play(expect_head, close)
    retried: Answer = street.client.ask(get("/again"))
    plain: Answer = street.client.ask(get("/again"))

    assert [name for name, _ in retried.fields] == [name for name, _ in plain.fields]
