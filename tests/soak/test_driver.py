"""The load notices what goes wrong: a front that lies, cuts, mixes up, or closes under a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeBackend
from tests.scripts import Connection, Received, Step, close, expect_request, reset
from tests.soak.client import Client
from tests.soak.known import echo_of, stretch
from tests.soak.load import RunningLoad, everything
from tests.soak.site import backends, in_work
from tests.soak.tally import Report, Tally

Asking = Callable[[Client], object]


def echo(client: Client) -> None:
    client.echo()


def stream(client: Client) -> None:
    client.download(200_000, 0, is_chunked=False)


def upload(client: Client) -> None:
    client.upload(1000, is_chunked=True, pause_s=0, sleep=lambda _seconds: None)


def asked(port: int, *asking: Asking) -> Report:
    """Return what one client has seen that asked these things, one after the other."""
    report = Report()
    client = Client(report, "one", ("127.0.0.1", port), "plain", timeout_s=5.0)
    for ask in asking:
        ask(client)
    client.close()
    return report


def ident_of(request: Received) -> str:
    """Return the id of a request."""
    return request.get("x-id") or ""


def replies(make: Callable[[str], tuple[str, bytes]]) -> Step:
    """A keep-alive server that answers a request for an id with another id in the head, and with a body."""

    def step(conn: Connection) -> None:
        while True:
            ident, body = make(ident_of(conn.request()))
            conn.send(f"HTTP/1.1 200 OK\r\nX-Id: {ident}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return step


def cuts(conn: Connection) -> None:
    """Promise 200,000 bytes of the stream, and send fewer."""
    ident = ident_of(conn.request())
    conn.send(f"HTTP/1.1 200 OK\r\nX-Id: {ident}\r\nContent-Length: 200000\r\n\r\n".encode() + stretch(ident, 0, 60_000))


def says_503(conn: Connection) -> None:
    """Answer with an error of the proxy's own."""
    conn.request()
    conn.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry")


HONEST = replies(lambda ident: (ident, echo_of(ident)))
OTHER_HEAD = replies(lambda ident: ("other", echo_of(ident)))
OTHER_BODY = replies(lambda ident: (ident, echo_of("other")))
SHIFTED = replies(lambda ident: (ident, b"".join(stretch(ident, at + 1, 50_000) for at in range(0, 200_000, 50_000))))
LATER_CHUNK_AGAIN = replies(lambda ident: (ident, stretch(ident, 0, 50_000) * 4))
ONCE = [lambda conn: conn.send(echo_answer(ident_of(conn.request())))]


def echo_answer(ident: str) -> bytes:
    """Return a whole good answer."""
    body = echo_of(ident)
    return f"HTTP/1.1 200 OK\r\nX-Id: {ident}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("script", "ask", "phase", "what"),
    [
        (OTHER_HEAD, echo, "body", "mixed"),
        (OTHER_BODY, echo, "body", "mixed"),
        (OTHER_BODY, upload, "body", "mixed"),
        (SHIFTED, stream, "body", "pattern"),
        (LATER_CHUNK_AGAIN, stream, "body", "pattern"),
        ([cuts, close], stream, "body", "end"),
        (says_503, echo, "body", "status 503"),
        ([expect_request, close], echo, "head", "end"),
        ([expect_request, reset], echo, "head", "reset"),
    ],
)
def test_wrong_answer_is_a_failure_with_its_name(
    scripted: MakeBackend, script: object, ask: Asking, phase: str, what: str
) -> None:
    report = asked(scripted(script).port, ask)
    assert (report.requests, report.failure_count) == (0, 1)
    assert (report.failures[0].phase, report.failures[0].what) == (phase, what)


def test_closed_door_is_a_refusal(scripted: MakeBackend) -> None:
    report = asked(scripted(is_listening=False).port, echo)
    assert [(failure.phase, failure.what) for failure in report.failures] == [("connect", "refused")]


def test_connection_that_dies_under_its_second_request_is_stale(scripted: MakeBackend) -> None:
    report = asked(scripted([*ONCE, expect_request, close]).port, echo, echo)
    assert report.requests == 1
    assert [(failure.phase, failure.what) for failure in report.failures] == [("head", "stale")]


def test_connection_that_was_closed_between_requests_is_replaced(scripted: MakeBackend) -> None:
    backend = scripted([*ONCE, close])

    def wait_for_the_end(client: Client) -> None:
        assert client.sees_the_end(within_s=5.0)

    report = asked(backend.port, echo, wait_for_the_end, echo)
    assert (report.requests, report.failure_count, report.tally("one").idle_ends) == (2, 0, 1)


def test_honest_server_is_believed_on_one_connection(scripted: MakeBackend) -> None:
    backend = scripted(HONEST)
    assert asked(backend.port, *[echo] * 20).requests == 20
    assert backend.accepted == 1


def test_everything_is_asked_and_checked_where_all_is_well(tmp_path: Path) -> None:
    with (
        backends(tmp_path, 1) as ports,
        RunningLoad(tmp_path / "load", [("127.0.0.1", ports[0])], everything(0.2, 0.5)) as load,
    ):
        load.wait_until_answered(200)
        report = load.finish()
        assert in_work(ports) == 0
    assert report.failure_count == 0, report.failures
    assert {kind for kind, tally in report.tallies.items() if tally.requests} == {entry["kind"] for entry in everything()}


def test_times_are_told_to_about_a_fifth() -> None:
    tally = Tally()
    for number in range(1, 101):
        tally.answered(number / 1000, 1)
    assert 0.050 <= tally.within_s(0.5) <= 0.062
    assert 0.099 <= tally.within_s(0.99) <= 0.100
