"""Section 5, the backend's side: every 502, 503 and 504, and our own 500s."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.client import RawClient, get
from tests.e2e import errors
from tests.e2e.errors import JSON, Told, check, check_end
from tests.e2e.house import House
from tests.scripted import ScriptedBackend
from tests.scripts import Script, Step, answer, close, expect_head, expect_request, hang, reset, send

Token = Callable[[], str]


class Case(NamedTuple):
    """What the backend does, the way in, and what comes of it."""

    name: str
    path: str
    script: Script | None
    told: Told
    backend: str | None = "blue"


UNASKED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def says_half(end: Step) -> Script:
    return [expect_request, send(b"HTTP/1.1 200 OK\r\nX-On"), hang, end]


def says(data: bytes) -> Script:
    return [expect_request, send(data), close]


CASES = [
    Case("a backend that does not listen", "/refusing", None, errors.CONNECT_REFUSED, "shut"),
    Case("a Unix socket that does not exist", "/missing", None, errors.CONNECT_FAILED, "missing"),
    Case("a reset after the head", "/any", [expect_request, reset], errors.BACKEND_RESET),
    Case(
        "a reset in the middle of its head",
        "/any",
        says_half(reset),
        errors.BACKEND_RESET,
    ),
    Case("a close without a word", "/any", [expect_request, close], errors.BACKEND_CLOSED),
    Case("a close in the middle of its head", "/any", says(b"HTTP/1.1 200 OK\r\nContent-Le"), errors.BACKEND_CLOSED),
    Case("no HTTP", "/any", says(b"220 mail.example.com ESMTP\r\n\r\n"), errors.BACKEND_INVALID),
    Case("bare line feeds", "/any", says(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), errors.BACKEND_INVALID),
    Case("a status of four digits", "/any", says(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"), errors.BACKEND_INVALID),
    Case("HTTP/1.2", "/any", says(b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok"), errors.BACKEND_INVALID),
    Case("two lengths", "/any", says(answer(b"ok", "200 OK", "Content-Length: 3")), errors.BACKEND_INVALID),
    Case("two framings", "/any", says(answer(b"0\r\n\r\n", "200 OK", "Transfer-Encoding: chunked")), errors.BACKEND_INVALID),
    Case("a folded field", "/any", says(answer(b"ok", "200 OK", "X-Folded: a\r\n b")), errors.BACKEND_INVALID),
    Case("a space before the colon", "/any", says(answer(b"ok", "200 OK", "X-Space : a")), errors.BACKEND_INVALID),
    Case("a control character in a value", "/any", says(answer(b"ok", "200 OK", "X-Null: a\0b")), errors.BACKEND_INVALID),
    Case("a list of lengths", "/any", says(b"HTTP/1.1 200 OK\r\nContent-Length: 2,2\r\n\r\nok"), errors.BACKEND_INVALID),
    Case(
        "101 that nobody asked for",
        "/any",
        says(UNASKED),
        errors.BACKEND_INVALID,
    ),
    Case("nobody who accepts", "/silent", None, errors.CONNECT_TIMEOUT, "silent"),
    Case("no answer", "/hasty", [expect_head, hang], errors.RESPONSE_TIMEOUT),
    Case("half a head", "/hasty", [expect_head, send(b"HTTP/1.1 200 OK\r\n"), hang], errors.RESPONSE_TIMEOUT),
    Case("no answer within the whole deadline", "/limited", [expect_head, hang], errors.REQUEST_TIMEOUT),
    Case("a middleware that raises", "/raising", None, errors.MIDDLEWARE_ERROR, None),
    Case("a middleware that returns nonsense", "/nonsense", None, errors.MIDDLEWARE_ERROR, None),
    Case("a middleware that waits for ever", "/slow", None, errors.MIDDLEWARE_TIMEOUT, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_failure_is_told_and_logged_and_the_client_may_go_on(house: House, token: Token, case: Case) -> None:
    word = token()
    house.backend.play(*([case.script] if case.script else []))
    if "middle of its head" in case.name:
        house.backend.release()
    with house.client() as client:
        told = client.ask(get(f"{case.path}/{word}", JSON))
        check(told, case.told, is_json=True)
        house.backend.begin_again()
        check_end(client, case.told)
    entry = house.proxy.entry(word)
    assert (entry["status"], entry["reason"]) == (case.told.status, case.told.reason)
    if case.backend:
        assert entry["backend"] == case.backend


def test_backend_errors_pass_through_unchanged(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(answer(b"my own page", "503 Busy Today", "Retry-After: 77", "X-Mine: 1")), hang])
    told = client.ask(get())

    assert (told.status, told.reason, told.body) == (503, "Busy Today", b"my own page")
    assert (told.get("retry-after"), told.get("x-mine"), told.get("proxy-status")) == ("77", "1", None)


def test_with_every_backend_down_the_answer_is_an_immediate_503(house: House, client: RawClient, token: Token) -> None:
    while (told := client.ask(get("/down/", JSON))).status == 502:
        pass
    word = token()
    told = client.ask(get(f"/down/{word}", JSON))

    check(told, errors.NO_BACKEND, is_json=True)
    assert 1 <= int(told.get("retry-after") or 0) <= 90
    assert house.proxy.entry(word)["reason"] == "no-backend"


def test_a_waiter_gives_up_at_its_time(house: House, token: Token) -> None:
    word = token()
    house.backend.play([expect_head, hang])
    with house.client() as first, house.client() as second:
        first.send(get("/narrow/"))
        house.backend.wait_for(lambda: house.backend.requests)
        check(second.ask(get(f"/narrow/{word}", JSON)), errors.QUEUE_TIMEOUT, is_json=True)
    assert house.proxy.entry(word)["reason"] == "queue-timeout"


def test_a_full_queue_refuses_at_once(house: House, token: Token) -> None:
    """Pool of one, queue of one: the first holds the connection, the second waits, the third is refused."""
    word = token()
    house.backend.play([expect_request, hang, send(answer(b"first")), expect_request, send(answer(b"second"))])
    with house.client() as first, house.client() as second, house.client() as third:
        first.send(get("/patient/"))
        house.backend.wait_for(lambda: house.backend.requests)
        second.send(get("/patient/"))
        second.wait_until_read()
        check(third.ask(get(f"/patient/{word}", JSON)), errors.QUEUE_FULL, is_json=True)
        house.backend.release()
        assert (first.answer().body, second.answer().body) == (b"first", b"second")
    assert house.proxy.entry(word)["reason"] == "queue-full"


def test_a_waiter_gets_the_connection_that_is_given_back(house: House) -> None:
    house.backend.play([expect_request, hang, send(answer(b"first")), expect_request, send(answer(b"second"))])
    with house.client() as first, house.client() as second:
        first.send(get("/patient/1"))
        house.backend.wait_for(lambda: house.backend.requests)
        second.send(get("/patient/2"))
        second.wait_until_read()
        house.backend.release()

        assert (first.answer().body, second.answer().body, house.backend.accepted) == (b"first", b"second", 1)


def test_a_waiter_that_goes_away_leaves_its_place(house: House, token: Token) -> None:
    word = token()
    house.backend.play([expect_request, hang, send(answer(b"first")), expect_request, send(answer(b"third"))])
    with house.client() as first, house.client() as third:
        first.send(get("/patient/1"))
        house.backend.wait_for(lambda: house.backend.requests)
        with house.client() as second:
            second.send(get(f"/patient/{word}"))
            second.wait_until_read()
            second.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # an end in order may be a half
        assert house.proxy.entry(word)["reason"] == "client-gone"
        house.backend.release()

        assert (first.answer().body, third.ask(get("/patient/3")).body) == (b"first", b"third")


def test_a_middleware_that_raises_is_logged_with_its_traceback_once(house: House, client: RawClient, token: Token) -> None:
    before = house.proxy.log().count("RuntimeError: on purpose")
    client.ask(get(f"/raising/{token()}"))
    added = house.proxy.log()

    assert added.count("RuntimeError: on purpose") == before + 1
    assert "Traceback" in added


def test_the_page_says_nothing_of_what_a_middleware_raised(client: RawClient) -> None:
    assert b"on purpose" not in client.ask(get("/raising/")).body
