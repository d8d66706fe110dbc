"""Section 6: Upgrade to a WebSocket becomes a tunnel behind a 101, and only then."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.client import RawClient, ask, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, expect_head, expect_request, hang, send

ASK = get("/chat", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: BBBB\r\n\r\n"


def say_it_back(conn: Connection) -> None:
    if conn.buffer:
        conn.send(conn.buffer)
    while data := conn.sock.recv(65536):
        conn.send(data)


def test_behind_101_bytes_pass_both_ways(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(AGREE), say_it_back])
    told = client.ask(ASK)
    assert (told.status, told.get("sec-websocket-accept")) == (101, "BBBB")
    assert (told.get("upgrade"), (told.get("connection") or "").lower()) == ("websocket", "upgrade")

    for data in (b"\x00\xffbinary\r\n\r\n", b"x" * 300_000):
        client.send(data)
        assert client.take(len(data)) == data


def test_the_backend_is_asked_to_upgrade(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(AGREE), say_it_back])
    client.ask(ASK)
    seen = backend.requests[0]

    assert (seen.get("upgrade"), (seen.get("connection") or "").lower()) == ("websocket", "upgrade")
    assert seen.get("sec-websocket-key") == "AAAA"


def test_bytes_sent_together_with_101_arrive(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(AGREE + b"first words"), say_it_back])
    client.ask(ASK)

    assert client.take(11) == b"first words"


def test_bytes_sent_together_with_the_request_arrive(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(AGREE), say_it_back])
    client.send(ASK + b"impatient")
    assert client.answer().status == 101

    assert client.take(9) == b"impatient"


def test_the_end_of_one_direction_leaves_the_other_open(backend: ScriptedBackend, client: RawClient) -> None:
    def count_to_the_end(conn: Connection) -> None:
        total = 0
        while data := conn.sock.recv(65536):
            total += len(data)
        conn.send(b"%d" % total)

    backend.play([expect_head, send(AGREE), count_to_the_end])
    client.ask(ASK)
    client.send(b"x" * 1000)
    client.sock.shutdown(socket.SHUT_WR)

    assert client.until_closed() == b"1000"


def test_when_the_backend_ends_the_client_is_told(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(AGREE)])
    client.ask(ASK)

    assert client.until_closed() == b""


def test_when_the_client_goes_the_backend_is_told(house: House) -> None:
    house.backend.play([expect_head, send(AGREE), lambda conn: conn.wait_until_gone()])
    with house.client() as client:
        client.ask(ASK)

    house.backend.wait_for(lambda: house.backend.gone == 1)


def test_a_refused_upgrade_is_an_ordinary_answer(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_head, send(answer(b"no", "403 Forbidden")), expect_request, send(answer(b"next")), hang])

    assert (client.ask(ASK).status, client.ask(get()).body) == (403, b"next")


@pytest.mark.parametrize("token", ["h2c", "TLS/1.0", "websocketx"])
def test_other_upgrades_are_not_passed_on(backend: ScriptedBackend, client: RawClient, token: str) -> None:
    client.ask(get("/", "Connection: Upgrade", f"Upgrade: {token}"))
    seen = backend.requests[0]

    assert (seen.get("upgrade"), "upgrade" in (seen.get("connection") or "").lower()) == (None, False)


def test_an_upgrade_that_connection_does_not_name_is_not_one(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Upgrade: websocket"))

    assert backend.requests[0].get("upgrade") is None


def test_http_10_cannot_upgrade(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Connection: Upgrade", "Upgrade: websocket", version="1.0"))

    assert backend.requests[0].get("upgrade") is None


def test_the_log_has_one_line_for_a_tunnel(house: House, backend: ScriptedBackend) -> None:
    backend.play([expect_head, send(AGREE), say_it_back])
    with house.client() as client:
        client.ask(ASK.replace(b"/chat", b"/chat-for-the-log"))
        client.send(b"hello")
        client.take(5)

    assert house.proxy.entry("/chat-for-the-log")["status"] == 101


@pytest.fixture
def chat() -> Iterator[int]:
    """A WebSocket server of the websockets library that answers in capitals."""

    def talk(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(str(message).upper())

    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(10)


def test_a_real_websocket_client_talks_to_a_real_server(chat: int, proxy: StartProxy) -> None:
    running = proxy(f"""
[listener:web]
bind = 127.0.0.1:0
[upstream:chat]
backends = http://127.0.0.1:{chat}
health-interval = 0
""")
    host, port = running.address()
    with connect(f"ws://{host}:{port}/", proxy=None, open_timeout=10) as socket_:
        for message in ("hello", "x" * 100_000, "good bye"):
            socket_.send(message)
            assert socket_.recv(timeout=10) == message.upper()
        latency = socket_.ping()
        assert latency.wait(10)
    assert ask(running.address(), get()).status in (400, 426)


def test_an_open_tunnel_does_not_outlive_the_graceful_timeout(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_head, send(AGREE), say_it_back])
    running = proxy(f"""
[greenproxy]
graceful-timeout = 500ms
[listener:web]
bind = 127.0.0.1:0
[upstream:chat]
backends = {backend.url}
health-interval = 0
""")
    with RawClient(running.address()) as client:
        client.ask(ASK)
        client.send(b"still here")
        assert client.take(10) == b"still here"
        assert running.stop() == 0
        assert client.is_closed()
