"""What attackers and accidents send: bodies that look like requests, endless heads, clients and backends that break off."""

from __future__ import annotations

import random
import socket
import threading

import pytest

from tests.client import Cut, RawClient, get, post
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.processes import wait_until
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, echo, expect_head, expect_request, hang, reset, send, wait_until_gone

SMUGGLED = get("/smuggled")


@pytest.mark.parametrize(
    ("listener", "target", "status"),
    [
        ("bare", "/nowhere", 404),
        ("bare", "/only-get/", 405),
        ("web", "/raising/", 500),
        ("web", "/refusing/", 502),
        ("web", "/slow/", 504),
    ],
)
def test_the_body_of_a_refused_request_is_never_the_next_request(house: House, listener: str, target: str, status: int) -> None:
    with house.client(listener) as client:
        told = client.ask(post(target, SMUGGLED))
        assert told.status == status
        client.send(get("/only-get/next"))
        if not told.says_close:
            assert client.answer().status == 200
    assert [request.target for request in house.backend.requests if "smuggled" in request.target] == []


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_a_large_body_of_a_refused_request_is_never_the_next_request(house: House, size: int) -> None:
    body = SMUGGLED * (size // len(SMUGGLED))
    with house.client("bare") as client:
        sender = threading.Thread(target=send_quietly, args=(client, post("/nowhere", body)))
        sender.start()
        told = client.answer()
        sender.join(20)
    assert told.status == 404
    assert not house.backend.requests


def send_quietly(client: RawClient, data: bytes) -> None:
    try:
        client.send(data)
    except OSError:
        pass  # the proxy had enough


def test_behind_a_refused_expectation_of_100_the_connection_is_closed(house: House) -> None:
    """Nobody can know whether the body still comes (RFC 9110 section 10.1.1)."""
    with house.client("bare") as client:
        told = client.ask(get("/nowhere", "Expect: 100-continue", "Content-Length: 5", method="POST"), "POST")
        assert (told.status, told.interim, told.says_close) == (404, [], True)
        assert client.is_closed()


def test_an_endless_chunk_extension_is_refused(client: RawClient) -> None:
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5;")
    sender = threading.Thread(target=send_quietly, args=(client, b"x" * 3_000_000))
    sender.start()
    try:
        assert client.answer("POST").status == 400
    finally:
        sender.join(20)


def test_endless_trailers_are_refused(client: RawClient) -> None:
    client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"0\r\n")
    sender = threading.Thread(target=send_quietly, args=(client, b"X-Trailer: 1\r\n" * 200_000))
    sender.start()
    try:
        assert client.answer("POST").status in (400, 431)
    finally:
        sender.join(20)


def test_an_endless_head_of_a_backend_is_invalid(house: House, client: RawClient) -> None:
    def never_stop(conn: Connection) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(1_000_000):
            conn.send(b"X-%d: y\r\n" % number * 100)

    house.backend.play(never_stop)
    told = client.ask(get())

    assert (told.status, "backend-invalid" in (told.get("proxy-status") or "")) == (502, True)


def test_endless_interim_answers_end_at_the_response_timeout(house: House, client: RawClient) -> None:
    def never_come_to_the_point(conn: Connection) -> None:
        conn.request()
        while not conn.backend.released.wait(0.02):
            conn.send(b"HTTP/1.1 102 Processing\r\n\r\n")

    house.backend.play(never_come_to_the_point)
    told = client.ask(get("/hasty/"))
    house.backend.release()

    assert told.status == 504
    assert told.interim


def test_an_upload_that_the_backend_answers_and_ignores_is_answered(backend: ScriptedBackend, house: House) -> None:
    backend.play([expect_head, send(answer(b"no, thanks", "413 Content Too Large", "Connection: close")), stop_sending, hang])
    with house.client() as client:
        sender = threading.Thread(target=send_quietly, args=(client, post("/", bytes(20_000_000))))
        sender.start()
        try:
            told = client.answer("POST")
        finally:
            backend.release()
            client.sock.shutdown(socket.SHUT_RDWR)
            sender.join(20)
    assert (told.status, told.body) == (413, b"no, thanks")


def stop_sending(conn: Connection) -> None:
    conn.sock.shutdown(socket.SHUT_WR)


def test_a_backend_that_breaks_off_in_mid_upload_is_a_502(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, reset])
    client.send(get("/", "Content-Length: 1000000", method="POST") + b"x" * 1000)
    backend.wait_for(lambda: backend.open == 0 and backend.accepted == 1)
    send_quietly(client, b"x" * 500_000)
    told = client.answer("POST")

    assert told.status == 502
    assert "backend-reset" in (told.get("proxy-status") or "")


CHAOS = """
[listener:web]
bind = 127.0.0.1:0
header-timeout = 300ms
body-timeout = 300ms
[upstream:shop]
backends = {backend}
health-interval = 0
max-fails = 0
pool-size = 4
pool-queue = 20
pool-queue-timeout = 5s
response-timeout = 1s
read-timeout = 300ms
"""
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
FATES = [
    [echo],
    [reset],
    [expect_request, reset],
    [expect_head, wait_until_gone],
    [expect_request, send(HALF), reset],
    [expect_request, send(HALF), wait_until_gone],
    [expect_request, send(b"nonsense\r\n\r\n")],
    [expect_request, send(answer(b"ok") + b"poison"), wait_until_gone],
]


def misbehave(address: tuple[str, int], seed: int) -> None:
    """Send something, wait for the answer or leave in the middle of it."""
    dice = random.Random(seed)
    with RawClient(address, timeout=5) as client:
        request = dice.choice([get(), post("/", b"hello"), get("/", "Content-Length: 10", method="PUT") + b"half", b"GET / HT"])
        client.send(request)
        if dice.random() < 0.5:
            try:
                client.answer()
            except (Cut, TimeoutError):
                return


@pytest.mark.timeout(90)
def test_no_place_in_the_pool_is_lost_in_chaos(proxy: StartProxy, scripted: MakeBackend) -> None:
    """After hundreds of exchanges that ended in every wrong way, the pool still gives exactly four connections."""
    dice = random.Random(42)
    backend = scripted(*(dice.choice(FATES) for _ in range(300)))
    address = proxy(CHAOS.format(backend=backend.url)).address()
    for round_ in range(6):
        crowd = [threading.Thread(target=misbehave, args=(address, round_ * 100 + number)) for number in range(30)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(20)
    backend.begin_again([expect_request, hang, send(answer(b"at last")), echo])
    clients = [RawClient(address) for _ in range(5)]
    try:
        for client in clients:
            client.send(get())
        wait_until(lambda: backend.open == 4, "four are open")
        backend.release()
        assert [client.answer().status for client in clients] == [200] * 5
    finally:
        for client in clients:
            client.sock.close()
    assert backend.peak == 4
