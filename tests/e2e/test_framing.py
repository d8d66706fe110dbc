"""Section 6: what a message is, and where it ends: lengths, chunks, closes, no body at all, HTTP/1.0, both ways."""

from __future__ import annotations

import pytest

from tests.client import RawClient, get, post
from tests.e2e.house import House
from tests.scripted import ScriptedBackend
from tests.scripts import answer, close, echo, expect_request, hang, send, send_in_pieces

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


def test_a_body_with_a_length_reaches_the_backend_with_it(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(post("/", b"hello"))

    assert (backend.requests[0].body, backend.requests[0].get("content-length")) == (b"hello", "5")


def test_a_chunked_body_reaches_the_backend_chunked(backend: ScriptedBackend, client: RawClient) -> None:
    client.send(get("/", "Transfer-Encoding: chunked", method="POST"))
    client.send(b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n")
    client.answer()
    received = backend.requests[0]

    assert received.body == b"hello world"
    assert (received.get("transfer-encoding"), received.get("content-length")) == ("chunked", None)


def test_other_spellings_of_chunked_leave_as_plain_chunked(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "transfer-ENCODING: Chunked", method="POST") + b"0\r\n\r\n")

    assert backend.requests[0].get("transfer-encoding") == "chunked"


def test_trailers_of_a_request_are_kept(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST") + b"1\r\na\r\n0\r\nX-Sum: 42\r\n\r\n")

    assert backend.requests[0].trailers == b"X-Sum: 42\r\n"


def test_trailers_of_a_response_are_kept(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(CHUNKED + b"Trailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 42\r\n\r\n"), hang])
    told = client.ask(get("/", "TE: trailers"))

    assert (told.body, told.trailers) == (b"a", ["X-Sum: 42"])


def test_a_chunked_answer_stays_chunked_and_the_connection_alive(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send_in_pieces(CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n"), echo])
    told = client.ask(get())

    assert (told.body, told.get("transfer-encoding")) == (b"hello", "chunked")
    assert client.ask(get()).status == 200
    assert backend.accepted == 1


def test_an_answer_that_ends_with_the_connection_is_chunked_for_the_client(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 200 OK\r\n\r\nhello"), close])
    told = client.ask(get())

    assert (told.body, told.get("transfer-encoding")) == (b"hello", "chunked")
    backend.play()
    assert client.ask(get()).status == 200


def test_an_http_10_backend_is_understood(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold but gold"), close])
    told = client.ask(get())

    assert (told.version, told.body) == ("HTTP/1.1", b"old but gold")


def test_an_http_10_backend_with_keep_alive_is_not_trusted_to_keep_it(backend: ScriptedBackend, client: RawClient) -> None:
    """Whether or not it is used again, both requests are answered (RFC 9112 section 9.3)."""
    keep = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    backend.play([expect_request, send(keep), close])

    assert [client.ask(get()).body for _ in range(2)] == [b"ok", b"ok"]


def test_an_http_10_client_gets_no_chunks(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n"), hang])
    told = client.ask(get(version="1.0"))

    assert (told.body, told.get("transfer-encoding")) == (b"hello", None)
    assert client.is_closed()


def test_an_http_10_client_is_asked_in_http_11(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get(version="1.0"))

    assert backend.requests[0].version == "HTTP/1.1"


def test_an_http_10_client_may_keep_its_connection(client: RawClient) -> None:
    for _ in range(2):
        told = client.ask(get("/", "Connection: keep-alive", version="1.0"))
        assert (told.status, told.get("connection")) == (200, "keep-alive")


def test_an_http_10_client_without_keep_alive_is_closed(client: RawClient) -> None:
    client.ask(get(version="1.0"))

    assert client.is_closed()


def test_an_http_10_request_without_host_is_served(backend: ScriptedBackend, client: RawClient) -> None:
    assert client.ask(b"GET /old HTTP/1.0\r\n\r\n").status == 200
    assert backend.requests[0].all("host") != []


def test_the_answer_to_head_states_the_length_of_a_body_that_is_not_there(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), echo])
    told = client.ask(get(method="HEAD"))

    assert (told.status, told.get("content-length")) == (200, "5")
    assert client.ask(get()).json()["served"] == 2


def test_the_answer_to_head_has_no_chunks(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), echo])
    told = client.ask(get(method="HEAD"))

    assert (told.status, told.get("content-length")) == (200, None)
    assert client.ask(get()).json()["served"] == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_204_and_304_have_no_body_and_keep_both_connections(backend: ScriptedBackend, client: RawClient, status: str) -> None:
    backend.play([expect_request, send(f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()), echo])
    told = client.ask(get())

    assert (told.status, told.get("etag"), told.get("transfer-encoding")) == (int(status[:3]), "x", None)
    assert client.ask(get()).json()["served"] == 2


def test_304_keeps_the_length_it_states(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), echo])
    told = client.ask(get())

    assert (told.status, told.get("content-length")) == (304, "5")
    assert client.ask(get()).json()["served"] == 2


def test_an_empty_answer_is_complete(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(answer(b"")), echo])

    assert (client.ask(get()).body, client.ask(get()).json()["served"]) == (b"", 2)


def test_a_post_without_a_body_says_so_to_the_backend(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(post("/", b""))

    assert backend.requests[0].get("content-length") == "0"


def test_bytes_behind_an_answer_close_the_backend_connection(backend: ScriptedBackend, client: RawClient) -> None:
    """Nobody asked for them: the next client must not get them as its answer."""
    backend.play([expect_request, send(answer(b"mine") + answer(b"poison")), expect_request, hang], echo)
    assert client.ask(get()).body == b"mine"

    assert client.ask(get("/next")).json()["target"] == "/next"
    assert backend.accepted == 2


def test_bytes_that_come_while_a_connection_is_idle_close_it(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play(
        [expect_request, send(answer(b"mine")), hang, send(answer(b"poison")), lambda conn: conn.wait_until_gone()], echo
    )
    assert client.ask(get()).body == b"mine"
    backend.release()
    backend.wait_for(lambda: backend.gone == 1)

    assert client.ask(get("/next")).json()["target"] == "/next"


def test_a_head_arriving_byte_by_byte_is_served(house: House) -> None:
    with house.client() as client:
        client.send_byte_by_byte(post("/dripping", b"hello", "X-One: 1"))
        told = client.answer()

    assert (told.json()["target"], told.json()["body"]) == ("/dripping", "hello")


def test_an_answer_arriving_byte_by_byte_is_relayed(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send_in_pieces(answer(b"hello", "200 Fine", "X-One: 1"))])
    told = client.ask(get())

    assert (told.reason, told.get("x-one"), told.body) == ("Fine", "1", b"hello")


def test_a_response_without_a_reason_phrase_is_relayed(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 299\r\nContent-Length: 2\r\n\r\nok")])

    assert (client.ask(get())).status == 299
