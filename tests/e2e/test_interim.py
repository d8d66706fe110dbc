"""Section 6: 1xx answers, uploads that wait for them, and answers that come before the upload has ended."""

from __future__ import annotations

from time import monotonic

from tests.client import RawClient, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.processes import wait_until
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, close, echo, expect_head, expect_request, hang, send

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = get("/", "Expect: 100-continue", "Content-Length: 5", method="POST")


def read_the_rest(conn: Connection) -> None:
    conn.rest_of(conn.backend.requests[-1])


def test_100_continue_of_the_backend_lets_the_client_send(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(CONTINUE), read_the_rest, send(answer(b"thanks")), hang])
    client.send(EXPECT)
    assert client.head().status == 100
    client.send(b"hello")

    assert client.answer("POST").body == b"thanks"
    assert backend.requests[0].body == b"hello"


def test_the_backend_hears_of_the_expectation(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(CONTINUE), read_the_rest, send(answer()), hang])
    client.send(EXPECT)
    client.head()
    client.send(b"hello")
    client.answer("POST")

    assert backend.requests[0].get("expect") == "100-continue"


def test_a_final_answer_instead_of_100_spares_the_upload(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(answer(b"no thanks", "401 Unauthorized")), hang])
    client.send(EXPECT)
    told = client.answer("POST")

    assert (told.status, told.body, told.interim) == (401, b"no thanks", [])


def test_a_final_answer_in_pieces_arrives_whole_although_nobody_sends_the_body(
    backend: ScriptedBackend, client: RawClient
) -> None:
    begun = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n"
    backend.play([expect_head, send(begun), hang, send(b"4\r\n way\r\n0\r\n\r\n"), hang])
    client.send(EXPECT)
    told = client.head()
    assert client.take(7) == b"2\r\nno\r\n"
    backend.release()

    assert (told.status, client.take(14)) == (403, b"4\r\n way\r\n0\r\n\r\n")


def test_a_client_that_does_not_wait_for_100_is_served(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(answer(b"thanks")), hang])
    client.send(EXPECT + b"hello")

    assert client.answer("POST").body == b"thanks"
    assert backend.requests[0].body == b"hello"


def test_without_any_100_the_backend_gets_the_body_when_it_comes(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, read_the_rest, send(answer(b"thanks")), hang])
    client.send(EXPECT)
    backend.wait_for(lambda: backend.requests)
    client.send(b"hello")

    assert client.answer("POST").body == b"thanks"


def test_a_client_that_waits_in_vain_is_told_to_go_on(backend: ScriptedBackend, client: RawClient) -> None:
    """Not every backend knows of expectations, and not every client loses its patience."""
    backend.play([expect_request, send(answer(b"thanks")), hang])
    client.send(EXPECT)
    assert client.head().status == 100
    client.send(b"hello")

    assert client.answer("POST").body == b"thanks"
    assert backend.requests[0].body == b"hello"


def test_a_100_that_comes_late_is_not_said_twice(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, hang, send(CONTINUE), read_the_rest, send(answer(b"thanks")), hang])
    client.send(EXPECT)
    assert client.head().status == 100
    backend.release()
    client.send(b"hello")
    told = client.answer("POST")

    assert (told.body, told.interim) == (b"thanks", [])


def test_an_http_10_client_gets_no_100(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(CONTINUE), read_the_rest, send(answer(b"thanks")), hang])
    client.send(get("/", "Expect: 100-continue", "Content-Length: 5", method="POST", version="1.0") + b"hello")
    told = client.answer("POST")

    assert (told.interim, told.body) == ([], b"thanks")


def test_102_and_103_are_relayed_in_order_and_at_once(backend: ScriptedBackend, client: RawClient) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    backend.play([expect_request, send(b"HTTP/1.1 102 Processing\r\n\r\n" + hints), hang, send(answer(b"done")), hang])
    client.send(get())
    first, second = client.head(), client.head()  # before the final answer exists
    backend.release()
    final = client.answer()

    assert (first.status, second.status, second.get("link")) == (102, 103, "</style.css>; rel=preload")
    assert (final.status, final.body) == (200, b"done")


def test_an_http_10_client_gets_no_1xx_at_all(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"done")), hang])
    told = client.ask(get(version="1.0"))

    assert (told.interim, told.body) == ([], b"done")


def test_an_answer_that_begins_before_the_upload_ends_reaches_the_client(backend: ScriptedBackend, client: RawClient) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly"
    backend.play([expect_head, send(head), read_the_rest, send(b" late"), echo])
    client.send(get("/", "Content-Length: 10", method="POST") + b"01234")
    client.take_until(b"early")
    client.send(b"56789")

    assert client.take(5) == b" late"
    assert backend.requests[0].body == b"0123456789"


def test_behind_an_early_answer_and_a_whole_upload_both_connections_go_on(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(answer(b"early")), read_the_rest, echo])
    client.send(get("/", "Content-Length: 10", method="POST") + b"01234")
    assert client.answer("POST").body == b"early"
    client.send(b"56789")
    backend.wait_for(lambda: backend.requests[0].body)

    assert client.ask(get("/next")).json()["target"] == "/next"


def test_a_backend_that_refuses_an_upload_and_closes_has_its_answer_delivered(backend: ScriptedBackend, house: House) -> None:
    """The reset that unread bytes cause must not hide the answer that came before it."""
    backend.play([expect_head, send(answer(b"too big", "413 Content Too Large", "Connection: close")), close])
    with house.client() as client:
        client.send(get("/", "Content-Length: 1000000", method="POST") + b"x" * 100)
        told = client.answer("POST")

    assert (told.status, told.body) == (413, b"too big")


def test_uploads_stream_before_they_are_complete(backend: ScriptedBackend, client: RawClient) -> None:
    seen: list[bytes] = []
    backend.play([expect_head, lambda conn: seen.append(conn.take(5)), lambda conn: seen.append(conn.take(5)), send(answer())])
    client.send(get("/", "Content-Length: 10", method="POST") + b"first")
    backend.wait_for(lambda: seen)
    client.send(b"other")

    assert client.answer("POST").status == 200
    assert seen == [b"first", b"other"]


def test_the_backend_has_its_time_behind_a_body_that_came_late(proxy: StartProxy, scripted: MakeBackend) -> None:
    """response-timeout counts while the backend may answer the expectation, and anew behind the body: not in between."""
    backend = scripted([expect_request, send(answer(b"thanks")), hang])
    running = proxy(
        "[listener:web]\nbind = 127.0.0.1:0\n[upstream:shop]\nhealth-interval = 0\nresponse-timeout = 1500ms\n"
        f"backends = {backend.url}\n"
    )
    with RawClient(running.address()) as client:
        begun_s = monotonic()
        client.send(EXPECT)
        assert client.head().status == 100
        wait_until(lambda: monotonic() - begun_s > 2, "more time has passed than a backend has")
        client.send(b"hello")

        assert client.answer("POST").body == b"thanks"
