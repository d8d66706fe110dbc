"""Section 5, the client's side: every 4xx, 501 and 505 of our own, and what is closed after it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.client import Answer, RawClient, get, post
from tests.e2e import errors
from tests.e2e.errors import JSON, Told, check, check_end
from tests.e2e.house import House
from tests.scripts import expect_head, send, wait_until_gone

Token = Callable[[], str]


class Case(NamedTuple):
    """One wrong request: where it goes and what comes of it. TOKEN in it becomes a word that the log is searched for."""

    name: str
    listener: str
    request: bytes
    told: Told
    is_json: bool = True  # the head was well-formed enough for its Accept to count


CASES = [
    Case("a malformed field", "web", get("/TOKEN", JSON, "No colon here"), errors.BAD_REQUEST, False),
    Case("two Hosts", "web", get("/TOKEN", JSON, "Host: b"), errors.BAD_REQUEST, False),
    Case("no Host", "web", f"GET /TOKEN HTTP/1.1\r\n{JSON}\r\n\r\n".encode(), errors.BAD_REQUEST, False),
    Case("a bad path", "web", get("/TOKEN/../../x", JSON), errors.BAD_REQUEST, False),
    Case("bad framing", "web", get("/TOKEN", JSON, "Content-Length: +5"), errors.BAD_REQUEST, False),
    Case("a bad chunk", "web", get("/TOKEN", JSON, "Transfer-Encoding: chunked", method="POST") + b"xx\r\n", errors.BAD_REQUEST),
    Case("no route", "bare", get("/TOKEN", JSON), errors.NO_ROUTE),
    Case("a method that the route does not take", "bare", get("/only-get/TOKEN", JSON, method="DELETE"), errors.METHOD),
    Case("a head that stops", "hasty", f"GET /TOKEN HTTP/1.1\r\n{JSON}\r\nHost".encode(), errors.HEADER_TIMEOUT, False),
    Case("a body that stops", "hasty", get("/TOKEN", JSON, "Content-Length: 10", method="POST") + b"hello", errors.BODY_TIMEOUT),
    Case(
        "a stated body over the limit", "small", get("/TOKEN", JSON, "Content-Length: 101", method="POST"), errors.BODY_TOO_LARGE
    ),
    Case(
        "a chunked body over the limit",
        "small",
        get("/TOKEN", JSON, "Transfer-Encoding: chunked", method="POST") + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n",
        errors.BODY_TOO_LARGE,
    ),
    Case("a long target", "small", get("/TOKEN" + "x" * 200, JSON), errors.URI_TOO_LONG, False),
    Case("a long head", "small", get("/TOKEN", JSON, "X-Long: " + "x" * 1024), errors.HEAD_TOO_LARGE, False),
    Case("many fields", "small", get("/TOKEN", JSON, *(f"X-{n}: 1" for n in range(10))), errors.HEAD_TOO_LARGE, False),
    Case("an unknown expectation", "web", get("/TOKEN", JSON, "Expect: a-miracle"), errors.EXPECTATION, False),
    Case(
        "an unknown transfer coding",
        "web",
        get("/TOKEN", JSON, "Transfer-Encoding: xchunked", method="POST"),
        errors.TRANSFER_CODING,
        False,
    ),
    Case("HTTP/2.0 in a request line", "web", get("/TOKEN", JSON, version="2.0"), errors.VERSION, False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_told_logged_and_ends_the_connection_as_the_table_says(house: House, token: Token, case: Case) -> None:
    word = token()
    with house.client(case.listener) as client:
        client.send(case.request.replace(b"TOKEN", word.encode()))
        answer = client.answer()

        check(answer, case.told, is_json=(answer.get("content-type") or "").startswith("application/json"))
        if case.is_json:
            check(answer, case.told, is_json=True)
        check_end(client, case.told)
    entry = house.proxy.entry(word)
    assert (entry["status"], entry["reason"]) == (case.told.status, case.told.reason)


def test_without_accept_an_error_is_one_line_of_text(house: House) -> None:
    with house.client("bare") as client:
        check(client.ask(get("/nowhere")), errors.NO_ROUTE)


def test_a_browser_gets_text_too(house: House) -> None:
    with house.client("bare") as client:
        check(client.ask(get("/nowhere", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")), errors.NO_ROUTE)


def test_405_says_what_is_allowed(house: House) -> None:
    with house.client("bare") as client:
        answer = client.ask(get("/only-get/", method="POST"))

    assert answer.status == 405
    assert {method.strip() for method in (answer.get("allow") or "").split(",")} == {"GET", "HEAD"}


def test_connect_is_a_method_that_an_http_listener_does_not_take(house: House, client: RawClient) -> None:
    answer = client.ask(b"CONNECT shop.example.com:443 HTTP/1.1\r\nHost: shop.example.com:443\r\n\r\n")

    assert (answer.status, "method" in (answer.get("proxy-status") or "")) == (405, True)
    assert not house.backend.requests


def test_a_silent_connection_is_closed_without_a_word(house: House) -> None:
    with house.client("hasty") as client:
        assert client.until_closed() == b""


def test_an_idle_connection_is_closed_after_its_last_answer(house: House) -> None:
    with house.client("hasty") as client:
        assert client.ask(get()).status == 200
        assert client.until_closed() == b""


def test_a_slowly_dripping_head_is_bounded_as_a_whole(house: House) -> None:
    """header-timeout counts from the first byte: each byte in time does not help."""
    with house.client("hasty") as client:
        client.sock.settimeout(0.05)
        seen = b""
        for byte in get("/" + "x" * 600):
            client.sock.send(bytes((byte,)))
            try:
                seen = client.sock.recv(4096)
            except TimeoutError:
                continue
            break
    assert seen.startswith(b"HTTP/1.1 408 ")


def test_no_backend_hears_of_a_malformed_request(house: House, client: RawClient) -> None:
    client.ask(get("/", "X : 1"))

    assert house.backend.accepted == 0


def test_after_400_pipelined_requests_are_not_served(house: House, client: RawClient) -> None:
    client.send(get("/", "X : 1") + get("/second"))

    assert client.answer().status == 400
    assert client.is_closed()
    assert not house.backend.requests


def test_a_keep_alive_connection_is_closed_after_keepalive_requests(house: House) -> None:
    with house.client("small") as client:
        answers = [client.ask(get()) for _ in range(3)]
        assert client.is_closed()

    assert [answer.says_close for answer in answers] == [False, False, True]


def test_a_refused_body_is_still_read_so_that_the_client_sees_the_answer(house: House) -> None:
    """Closing with unread bytes would reset the connection and take the 413 with it (RFC 9112 section 9.6)."""
    with house.client("small") as client:
        client.send(post("/", b"x" * 200_000))
        answer = client.answer()

    assert answer.status == 413


def gone_while_waiting(house: House, word: str) -> None:
    house.backend.play([expect_head, wait_until_gone])
    with house.client() as client:
        client.send(get(f"/{word}"))
        house.backend.wait_for(lambda: house.backend.requests)


def test_a_client_that_goes_away_cancels_the_work_of_the_backend(house: House, token: Token) -> None:
    gone_while_waiting(house, token())

    house.backend.wait_for(lambda: house.backend.gone == 1)


def test_a_client_that_goes_away_is_499_in_the_log(house: House, token: Token) -> None:
    word = token()
    gone_while_waiting(house, word)
    entry = house.proxy.entry(word)

    assert (entry["status"], entry["reason"]) == (499, "client-gone")


def test_a_reset_is_no_half_closed_client(house: House, token: Token) -> None:
    """Whoever said `Connection: close` may close its own half and listen on, but a reset is the end."""
    word = token()
    house.backend.play([expect_head, wait_until_gone])
    with house.client() as client:
        client.send(get(f"/{word}", "Connection: close"))
        house.backend.wait_for(lambda: house.backend.requests)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    house.backend.wait_for(lambda: house.backend.gone == 1)

    assert house.proxy.entry(word)["status"] == 499


def test_a_client_that_goes_away_in_mid_body_is_client_gone_too(house: House, token: Token) -> None:
    word = token()
    house.backend.play([expect_head, send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), wait_until_gone])
    with house.client() as client:
        client.send(get(f"/{word}"))
        client.take_until(b"hello")
    house.backend.wait_for(lambda: house.backend.gone == 1)

    assert house.proxy.entry(word)["reason"] == "client-gone"


def test_a_head_answers_to_head_without_a_page(house: House) -> None:
    with house.client("bare") as client:
        answer: Answer = client.ask(get("/nowhere", method="HEAD"))
        assert (answer.status, answer.body) == (404, b"")
        assert client.ask(get("/nowhere")).status == 404
