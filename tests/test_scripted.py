"""The tests' own tools: a backend on cue and a client that shows cuts must not lie."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.client import Cut, RawClient, ask, get, post
from tests.scripted import ScriptedBackend
from tests.scripts import answer, close, expect_request, half_close, hang, reset, send, send_in_pieces, wait_until_gone

Make = Callable[..., ScriptedBackend]


def where(backend: ScriptedBackend) -> tuple[str, int]:
    return ("127.0.0.1", backend.port)


def test_the_default_backend_echoes_the_facts_of_each_request_on_one_connection(scripted: Make) -> None:
    with RawClient(where(scripted(name="blue"))) as client:
        client.ask(get("/a"))
        facts = json.loads(client.ask(post("/b?c", b"hello", "X-One: 1")).body)

    assert (facts["backend"], facts["method"], facts["target"], facts["body"]) == ("blue", "POST", "/b?c", "hello")
    assert (facts["connection"], facts["served"]) == (1, 2)
    assert ["X-One", "1"] in facts["fields"]


def test_chunked_requests_are_recorded_with_body_and_trailers(scripted: Make) -> None:
    backend = scripted()
    ask(where(backend), get("/", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")

    assert backend.requests[0].body == b"abcde"
    assert backend.requests[0].trailers == b"X-T: 1\r\n"


def test_each_connection_plays_the_next_script_and_the_last_one_stays(scripted: Make) -> None:
    backend = scripted([expect_request, send(answer(b"first")), close], [expect_request, send_in_pieces(answer(b"other")), close])

    assert [ask(where(backend), get()).body for _ in range(3)] == [b"first", b"other", b"other"]


def test_a_reset_and_a_close_in_mid_body_are_told_apart(scripted: Make) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    backend = scripted([expect_request, send(half), hang, reset], [expect_request, send(half), half_close])
    with RawClient(where(backend)) as client:
        client.send(get())
        client.sock.recv(1, 2)  # MSG_PEEK: the head is there before the reset
        backend.release()
        with pytest.raises(Cut) as reset_cut:
            client.answer()
    with RawClient(where(backend)) as client, pytest.raises(Cut) as close_cut:
        client.ask(get())

    assert (reset_cut.value.was_reset, close_cut.value.was_reset, close_cut.value.got) == (True, False, b"hello")


def test_a_backend_that_does_not_listen_refuses(scripted: Make) -> None:
    backend = scripted(is_listening=False)
    with pytest.raises(ConnectionRefusedError):
        RawClient(where(backend))


def test_a_backend_that_never_accepts_lets_clients_wait(scripted: Make) -> None:
    backend = scripted(is_listening=False).never_accept()
    with pytest.raises(TimeoutError):
        RawClient(where(backend), timeout=0.3)


def test_beginning_again_shows_clients_out_and_forgets_them(scripted: Make) -> None:
    backend = scripted([wait_until_gone])
    with RawClient(where(backend)) as client:
        backend.wait_for(lambda: backend.open == 1)
        backend.begin_again()
        assert client.is_closed()
    with RawClient(where(backend)) as client:
        assert client.ask(get()).status == 200
    assert (backend.accepted, len(backend.requests)) == (1, 1)


def test_a_script_that_fails_makes_the_backend_fail() -> None:
    def wrong(_: object) -> None:
        raise ValueError("a mistake of the script")

    backend = ScriptedBackend(wrong).start()
    RawClient(where(backend)).sock.close()
    backend.wait_for(lambda: backend.errors)
    with pytest.raises(AssertionError, match="failed"):
        backend.stop()
