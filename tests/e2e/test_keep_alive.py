"""Section 6: connections that stay, on both sides, and requests that come before their turn."""

from __future__ import annotations

from tests.client import RawClient, get, post
from tests.e2e.house import House
from tests.scripted import ScriptedBackend
from tests.scripts import answer, expect_request, half_close, hang, send


def test_one_backend_connection_serves_many_clients_in_turn(house: House, backend: ScriptedBackend) -> None:
    for number in range(5):
        with house.client() as client:
            assert client.ask(get(f"/{number}")).json()["served"] == number + 1

    assert backend.accepted == 1


def test_one_client_connection_carries_many_requests(client: RawClient) -> None:
    assert [client.ask(post("/", b"x" * size)).json()["length"] for size in range(20)] == list(range(20))


def test_connection_close_of_the_client_is_obeyed(client: RawClient) -> None:
    told = client.ask(get("/", "Connection: close"))

    assert told.says_close
    assert client.is_closed()


def test_connection_close_of_the_client_is_not_the_backends_business(backend: ScriptedBackend, house: House) -> None:
    for _ in range(2):
        with house.client() as client:
            client.ask(get("/", "Connection: close"))

    assert backend.accepted == 1


def test_connection_close_of_the_backend_is_not_the_clients_business(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(answer(b"bye", "200 OK", "Connection: close"))])
    answers = [client.ask(get()) for _ in range(3)]

    assert [told.body for told in answers] == [b"bye"] * 3
    assert not any(told.says_close for told in answers)
    assert backend.accepted == 3


def test_a_backend_connection_that_was_closed_while_idle_costs_no_request(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(answer(b"bye")), half_close])  # half_close ends when the proxy has closed its side too
    for number in range(10):
        assert client.ask(post("/", b"not to be repeated")).status == 200
        backend.wait_for(lambda: backend.gone == number + 1)  # noqa: B023

    assert backend.accepted == 10


def test_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    client.send(b"".join(get(f"/{number}") for number in range(10)))

    assert [client.answer().json()["target"] for _ in range(10)] == [f"/{number}" for number in range(10)]


def test_pipelined_requests_with_bodies_are_told_apart(client: RawClient) -> None:
    chunked = get("/2", "Transfer-Encoding: chunked", method="POST") + b"3\r\ntwo\r\n0\r\n\r\n"
    client.send(post("/1", b"one") + chunked + get("/3") + post("/4", b"four"))

    assert [(told["target"], told["body"]) for told in (client.answer().json() for _ in range(4))] == [
        ("/1", "one"),
        ("/2", "two"),
        ("/3", ""),
        ("/4", "four"),
    ]


def test_pipelined_requests_byte_by_byte_are_told_apart(client: RawClient) -> None:
    client.send_byte_by_byte(post("/1", b"one") + get("/2") + post("/3", b"three"))

    assert [client.answer().json()["target"] for _ in range(3)] == ["/1", "/2", "/3"]


def test_requests_sent_while_one_is_served_wait_for_it(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, hang, send(answer(b"first")), expect_request, send(answer(b"second")), hang])
    client.send(get("/1"))
    backend.wait_for(lambda: backend.requests)
    client.send(get("/2"))
    assert len(backend.requests) == 1
    backend.release()

    assert [client.answer().body, client.answer().body] == [b"first", b"second"]


def test_nothing_is_served_behind_connection_close(backend: ScriptedBackend, client: RawClient) -> None:
    client.send(get("/1", "Connection: close") + get("/2"))
    client.answer()

    assert client.is_closed()
    assert [request.target for request in backend.requests] == ["/1"]


def test_many_pipelined_requests_at_once_do_not_starve_others(house: House, client: RawClient) -> None:
    client.send(get("/many") * 500)
    with house.client() as other:
        assert other.ask(get("/other")).status == 200
    for _ in range(500):
        assert client.answer().status == 200
