"""Section 6: bodies stream, small flushes pass at once, big ones in bounded memory."""

from __future__ import annotations

import hashlib
import threading

from tests.client import RawClient, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, expect_head, expect_request, hang, send

MIB = 1024 * 1024
BIG = 200 * MIB
BLOCK = bytes(range(256)) * 4096  # 1 MiB
ROOM = 24 * MIB  # what a worker may grow by while a big body passes

PLAIN = """
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = {backend}
health-interval = 0
"""


def test_each_server_sent_event_arrives_before_the_next_is_written(backend: ScriptedBackend, client: RawClient) -> None:
    turn = threading.Semaphore(0)

    def write_events(conn: Connection) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(5):
            conn.send(b"data: %d\n\n" % number)
            assert turn.acquire(timeout=10), "the event did not arrive"

    backend.play(write_events)
    client.send(get("/events", "Accept: text/event-stream"))
    assert client.head().get("content-type") == "text/event-stream"
    for number in range(5):
        client.take_until(b"data: %d\n\n" % number)
        turn.release()


def test_a_head_arrives_before_its_body_is_there(backend: ScriptedBackend, client: RawClient) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), hang, send(b"later")])
    client.send(get())
    assert client.head().status == 200
    backend.release()

    assert client.take(5) == b"later"


def test_small_chunks_pass_at_once(backend: ScriptedBackend, client: RawClient) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    backend.play([expect_request, send(head + b"1\r\na\r\n"), hang, send(b"1\r\nb\r\n0\r\n\r\n")])
    client.send(get())
    client.head()
    assert client.take_until(b"a\r\n") == b"1\r\na\r\n"
    backend.release()

    assert client.take_until(b"0\r\n\r\n") == b"1\r\nb\r\n0\r\n\r\n"


def send_big(conn: Connection) -> None:
    conn.request()
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
    for _ in range(BIG // MIB):
        conn.send(BLOCK)


def send_big_in_chunks(conn: Connection) -> None:
    conn.request()
    conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(BIG // MIB):
        conn.send(b"100000\r\n" + BLOCK + b"\r\n")
    conn.send(b"0\r\n\r\n")


class Watch:
    """Samples the workers' memory while something passes; `grown` is the most above what it was."""

    def __init__(self, running: RunningProxy) -> None:
        self._running = running
        self._before = running.memory_bytes()
        self.grown = 0

    def look(self) -> None:
        self.grown = max(self.grown, self._running.memory_bytes() - self._before)


def warmed_up(proxy: StartProxy, backend: ScriptedBackend) -> tuple[RunningProxy, Watch]:
    running = proxy(PLAIN.format(backend=backend.url))
    with RawClient(running.address()) as client:
        client.ask(get("/warm"))
    return running, Watch(running)


def received(client: RawClient, count: int, watch: Watch) -> str:
    """Read `count` bytes and return their hash, with a look at the memory now and then."""
    digest = hashlib.md5(client.buffer, usedforsecurity=False)
    left, client.buffer = count - len(client.buffer), b""
    buffer = bytearray(MIB)
    next_look = left
    while left:
        got = client.sock.recv_into(buffer, min(left, MIB))
        assert got, f"cut {left} bytes before the end"
        digest.update(memoryview(buffer)[:got])
        left -= got
        if left < next_look:
            watch.look()
            next_look -= 20 * MIB
    return digest.hexdigest()


def expected() -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for _ in range(BIG // MIB):
        digest.update(BLOCK)
    return digest.hexdigest()


def test_a_big_download_passes_whole_in_bounded_memory(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_request, send(answer())], send_big)
    running, watch = warmed_up(proxy, backend)
    with RawClient(running.address()) as client:
        client.send(get("/big"))
        client.head()
        digest = received(client, BIG, watch)

    assert digest == expected()
    assert watch.grown < ROOM


def test_a_big_chunked_download_passes_whole_in_bounded_memory(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_request, send(answer())], send_big_in_chunks)
    running, watch = warmed_up(proxy, backend)
    total = 0
    with RawClient(running.address()) as client:
        client.send(get("/big"))
        client.head()
        while size := int(client.take_until(b"\r\n"), 16):
            total += len(client.take(size + 2)) - 2
            if total % (20 * MIB) < size:
                watch.look()

    assert total == BIG
    assert watch.grown < ROOM


def test_a_slow_reader_does_not_fill_the_workers_memory(proxy: StartProxy, scripted: MakeBackend) -> None:
    sent = [0]

    def send_and_count(conn: Connection) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        for _ in range(BIG // MIB):
            conn.send(BLOCK)
            sent[0] += MIB

    backend = scripted([expect_request, send(answer())], send_and_count)
    running, watch = warmed_up(proxy, backend)
    with RawClient(running.address(), receive_buffer=65536) as client:
        client.send(get("/big"))
        client.head()
        stalled(sent)
        watch.look()

    assert sent[0] < 64 * MIB
    assert watch.grown < ROOM


def stalled(sent: list[int]) -> None:
    """Wait until the number has not changed for 20 looks in a row, 10 ms apart."""
    seen: list[int] = []

    def is_standing() -> bool:
        seen.append(sent[0])
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    wait_until(is_standing, "the sender stalls")


def test_a_big_upload_passes_whole_in_bounded_memory(proxy: StartProxy, scripted: MakeBackend) -> None:
    digest = hashlib.md5(usedforsecurity=False)

    def take_big(conn: Connection) -> None:
        conn.head()
        digest.update(conn.buffer)
        left, conn.buffer = BIG - len(conn.buffer), b""
        while left:
            data = conn.sock.recv(min(left, MIB))
            assert data
            digest.update(data)
            left -= len(data)
        conn.send(answer(b"got it"))

    backend = scripted([expect_request, send(answer())], take_big)
    running, watch = warmed_up(proxy, backend)
    with RawClient(running.address()) as client:
        client.send(get("/big", f"Content-Length: {BIG}", method="PUT"))
        for number in range(BIG // MIB):
            client.send(BLOCK)
            if number % 20 == 0:
                watch.look()
        assert client.answer("PUT").body == b"got it"

    assert digest.hexdigest() == expected()
    assert watch.grown < ROOM


def test_an_upload_nobody_reads_does_not_fill_the_workers_memory(house: House) -> None:
    house.backend.play([expect_head, hang])
    watch = Watch(house.proxy)
    with house.client(timeout=1) as client:
        client.send(get("/", f"Content-Length: {BIG}", method="PUT"))
        total = 0
        try:
            while total < BIG:
                total += client.sock.send(BLOCK)
        except TimeoutError:
            pass
        watch.look()

    assert total < 64 * MIB
    assert watch.grown < ROOM
