"""Section 7: response-timeout is the backend's, body-timeout the client's; one is never blamed for the other."""

from __future__ import annotations

import threading

import pytest

from tests.client import RawClient, get, post
from tests.conftest import MakeBackend, StartProxy
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, echo, expect_head, hang, send

INI = """
[listener:web]
bind = 127.0.0.1:0
body-timeout = {body}
[upstream:shop]
backends = {backend}
health-interval = 0
response-timeout = {response}
max-fails = 1
retries = 0
"""


def start(proxy: StartProxy, backend: ScriptedBackend, body: str, response: str) -> RunningProxy:
    return proxy(INI.format(backend=backend.url, body=body, response=response))


def test_an_upload_may_take_longer_than_response_timeout(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted(echo)
    running = start(proxy, backend, body="10s", response="300ms")
    pause = threading.Event()
    with RawClient(running.address()) as client:
        client.send(get("/", "Content-Length: 5", method="POST"))
        for byte in b"hello":
            pause.wait(0.15)  # five of them are more than twice response-timeout
            client.send(bytes((byte,)))
        assert client.answer().json()["body"] == "hello"
        assert client.ask(get("/")).status == 200


def test_a_client_that_stalls_is_not_its_backends_fault(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted(echo)
    running = start(proxy, backend, body="300ms", response="300ms")
    with RawClient(running.address()) as client:
        client.send(get("/", "Content-Length: 5", method="POST") + b"he")
        assert client.answer().status == 408
    with RawClient(running.address()) as client:
        assert client.ask(get("/")).status == 200  # with max-fails = 1 a single failure would have ended it


def test_the_backends_time_begins_with_the_last_byte(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_head, hang])
    running = start(proxy, backend, body="10s", response="300ms")
    with RawClient(running.address()) as client:
        client.send(get("/", "Content-Length: 5", method="POST"))
        client.send(b"hello")
        assert client.answer().status == 504


def test_a_backend_that_does_not_read_the_body_is_late(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_head, hang])
    running = start(proxy, backend, body="10s", response="300ms")
    with RawClient(running.address()) as client:
        sender = threading.Thread(target=send_what_goes, args=(client, post("/", b"x" * 30_000_000)))
        sender.start()
        assert client.head().status == 504
    sender.join(10)


def send_what_goes(client: RawClient, data: bytes) -> None:
    try:
        client.send(data)
    except OSError:
        return  # the proxy wanted no more of it


@pytest.mark.parametrize("is_silent", [True, False], ids=["a backend without a word", "a backend that says 100"])
def test_who_is_late_while_a_client_waits_for_100_continue(proxy: StartProxy, scripted: MakeBackend, is_silent: bool) -> None:
    def allow(conn: Connection) -> None:
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    backend = scripted([expect_head, hang] if is_silent else [expect_head, allow, hang])
    running = start(proxy, backend, body="300ms", response="600ms")
    with RawClient(running.address()) as client:
        client.send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
        assert client.answer().status == (504 if is_silent else 408)


def test_a_large_body_at_hand_does_not_keep_an_early_answer_waiting(proxy: StartProxy, scripted: MakeBackend) -> None:
    """A middleware has read all of it; the backend refuses after the head and reads nothing."""
    backend = scripted([expect_head, send(answer(b"no", "413 Content Too Large")), hang])
    ini = INI.format(backend=backend.url, body="10s", response="20s").replace("body-timeout", "middleware = all\nbody-timeout")
    policy = "def read_all(request, call_next):\n    request.body.read()\n    return call_next(request)\n"
    running = proxy(ini + "[middleware:all]\ntype = policy:read_all\n", files={"policy.py": policy})
    with RawClient(running.address()) as client:
        client.send(post("/", b"x" * 8_000_000))
        assert client.head().status == 413


def test_an_upload_into_a_backend_that_answered_and_reads_no_more_ends_with_its_client(
    proxy: StartProxy, scripted: MakeBackend
) -> None:
    """Without response-timeout nothing else would ever take the connection from it. The ledger looks whether it is back."""
    backend = scripted([expect_head, send(answer(b"enough")), hang])
    running = start(proxy, backend, body="300ms", response="0")
    with RawClient(running.address()) as client:
        client.send(get("/", f"Content-Length: {50 << 20}", method="PUT"))
        client.sock.setblocking(False)
        while True:
            try:
                client.sock.send(b"x" * 65536)
            except BlockingIOError:
                break
        client.sock.settimeout(10)
        assert client.answer("PUT").body == b"enough"
