"""Large bodies, moved inside the kernel: every byte of them arrives, in order and only there, or the client sees a cut."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
from collections.abc import Iterator

import pytest

from tests.client import Cut, RawClient, get
from tests.ledger import ask
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, Script, Step, answer, close, expect_request, hang, reset, send

MIB = 1 << 20
#: No two pages of it are the same, so that none can take the place of another.
BODY = random.Random(5).randbytes(2 * MIB)
BIG = BODY * 5 + b"the end"
NUMBERS = itertools.count(1)

INI = """
[greenproxy]
access-log = access.log
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = {backend}
pool-size = 1
pool-queue-timeout = 10s
read-timeout = 300ms
health-interval = 0
max-fails = 0
retries = 1
"""


class Bulk:
    """A proxy with one connection to one backend."""

    def __init__(self, proxy: RunningProxy, backend: ScriptedBackend) -> None:
        self.proxy = proxy
        self.backend = backend

    def client(self, receive_buffer: int = 0) -> RawClient:
        return RawClient(self.proxy.address(), receive_buffer=receive_buffer)

    def play(self, *scripts: Script) -> None:
        self.backend.begin_again(*scripts)


@pytest.fixture(scope="module")
def shared_bulk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bulk]:
    with ScriptedBackend() as backend, RunningProxy(tmp_path_factory.mktemp("bulk"), INI.format(backend=backend.url)) as proxy:
        yield Bulk(proxy, backend)


@pytest.fixture
def bulk(shared_bulk: Bulk) -> Iterator[Bulk]:
    """The proxy of this module, its backend told anew what to do."""
    yield shared_bulk
    shared_bulk.backend.begin_again()
    assert shared_bulk.proxy.exit_status is None, shared_bulk.proxy.log()


def target() -> str:
    """Return a target that is found in the access log again."""
    return f"/bulk-{next(NUMBERS):03d}-x"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def body_of(client: RawClient, at_once: int) -> str:
    """Read the answer's head, then its body in pieces of at most that; return the body's hash."""
    head = client.head()
    left = int(head.get("content-length") or 0)
    whole = hashlib.sha256(client.buffer)
    left -= len(client.buffer)
    client.buffer = b""
    while left:
        piece = client.sock.recv(min(left, at_once))
        assert piece, f"cut {left} bytes before the end"
        whole.update(piece)
        left -= len(piece)
    return whole.hexdigest()


# ------------------------------------------------------------------ whole


@pytest.mark.parametrize(
    ("receive_buffer", "at_once"), [(0, MIB), (0, 20_000), (32_768, 9_000)], ids=["fast", "small reads", "slow"]
)
def test_every_byte_of_a_large_body_arrives(bulk: Bulk, receive_buffer: int, at_once: int) -> None:
    bulk.play([expect_request, send(answer(BIG))])
    with bulk.client(receive_buffer) as client:
        client.send(get(target()))
        assert body_of(client, at_once) == digest(BIG)


@pytest.mark.skipif(not hasattr(os, "splice"), reason="there is no splice here")
def test_it_goes_through_the_pipe(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY))])
    with bulk.client() as client:
        client.ask(get(target()))
    assert ask(str(bulk.proxy.folder / "admin.sock"))["pipes"] == 2


@pytest.mark.parametrize("size", [65_535, 72 * 1024, MIB + 72 * 1024 - 1, MIB + 72 * 1024 + 1, MIB + 400_000])
def test_bodies_around_the_limits_are_whole(bulk: Bulk, size: int) -> None:
    bulk.play([expect_request, send(answer(BODY[:size]))])
    with bulk.client() as client:
        assert digest(client.ask(get(target())).body) == digest(BODY[:size])


@pytest.mark.parametrize("size", [1000, 70_000, 300_000])
def test_a_body_that_comes_in_pieces_is_whole(bulk: Bulk, size: int) -> None:
    def send_in_pieces(conn: Connection) -> None:
        conn.request()
        whole = answer(BODY[:600_000])
        for at in range(0, len(whole), size):
            conn.send(whole[at : at + size])

    bulk.play(send_in_pieces)
    with bulk.client() as client:
        assert digest(client.ask(get(target())).body) == digest(BODY[:600_000])


def test_a_body_that_ends_with_its_connection_is_whole_for_a_client_of_http_1_0(bulk: Bulk) -> None:
    bulk.play([expect_request, send(b"HTTP/1.1 200 OK\r\n\r\n" + BODY), close])
    with bulk.client() as client:
        assert digest(client.ask(get(target(), version="1.0")).body) == digest(BODY)


def test_a_range_is_whole(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY, "206 Partial Content", f"Content-Range: bytes 0-{2 * MIB - 1}/{9 * MIB}"))])
    with bulk.client() as client:
        got = client.ask(get(target(), f"Range: bytes=0-{2 * MIB - 1}"))
    assert (got.status, digest(got.body)) == (206, digest(BODY))


def test_two_bodies_at_the_same_time_do_not_mix(bulk: Bulk) -> None:
    """The one is for a client that is slow; the other passes meanwhile, over the connection that the first has left."""
    first, second = BODY[:200_000], BODY[500_000:]
    bulk.play([expect_request, send(answer(first)), expect_request, send(answer(second))])
    with bulk.client(receive_buffer=4096) as slow, bulk.client() as fast:
        slow.send(get(target()))
        head = slow.head()
        assert digest(fast.ask(get(target())).body) == digest(second)
        slow.body_of(head)
    assert digest(head.body) == digest(first)


# ------------------------------------------------------------------ what comes behind


def test_both_connections_are_good_for_the_next_request(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY)), expect_request, send(answer(b"second"))])
    with bulk.client() as client:
        client.ask(get(target()))
        assert client.ask(get(target())).body == b"second"


def test_requests_that_were_pipelined_behind_it_are_answered(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY)), expect_request, send(answer(b"second"))])
    with bulk.client() as client:
        client.send(get(target()) + get(target()))
        assert (digest(client.answer().body), client.answer().body) == (digest(BODY), b"second")


def test_bytes_behind_the_body_are_no_answer_to_the_next_request(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY) + answer(b"forged")), hang], [expect_request, send(answer(b"true"))])
    with bulk.client() as client:
        client.ask(get(target()))
        assert client.ask(get(target())).body == b"true"


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified")])
def test_a_length_without_a_body_is_not_waited_for(bulk: Bulk, method: str, status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(BIG)}\r\n\r\n".encode()
    bulk.play([expect_request, send(head), expect_request, send(answer(b"second"))])
    with bulk.client() as client:
        assert client.ask(get(target(), method=method)).body == b""
        assert client.ask(get(target())).body == b"second"


def test_the_log_counts_its_bytes(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY))])
    path = target()
    with bulk.client() as client:
        client.ask(get(path))
    assert bulk.proxy.entry(path)["bytes_out"] == len(BODY)


# ------------------------------------------------------------------ cut


OFFSETS = [1, 72 * 1024 - 200, 200_000, MIB, len(BODY) - 1]


@pytest.mark.parametrize("at", OFFSETS)
@pytest.mark.parametrize("how", [close, reset])
def test_a_backend_that_breaks_off_is_a_cut_for_its_client(bulk: Bulk, how: Step, at: int) -> None:
    bulk.play([expect_request, send(answer(BODY)[: at - len(BODY)]), how])
    with bulk.client() as client, pytest.raises(Cut) as cut:
        client.ask(get(target()))
    assert BODY.startswith(cut.value.got)


def test_a_backend_that_falls_silent_is_a_cut_and_to_blame(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY)[:-1]), hang])
    path = target()
    with bulk.client() as client, pytest.raises(Cut):
        client.ask(get(path))
    assert bulk.proxy.entry(path)["reason"] == "read-timeout"


def test_a_body_broken_off_before_its_connection_ends_is_a_reset_for_a_client_of_http_1_0(bulk: Bulk) -> None:
    bulk.play([expect_request, send(answer(BODY)[:-1]), reset])
    with bulk.client() as client, pytest.raises(Cut) as cut:
        client.ask(get(target(), version="1.0"))
    assert cut.value.was_reset


@pytest.mark.parametrize("at", OFFSETS)
def test_a_client_that_leaves_takes_nobody_with_it(bulk: Bulk, at: int) -> None:
    bulk.play([expect_request, send(answer(BODY)), close], [expect_request, send(answer(BODY))])
    with bulk.client() as client:
        client.send(get(target()))
        client.take(at)
    with bulk.client() as another:
        assert digest(another.ask(get(target())).body) == digest(BODY)


# ------------------------------------------------------------------ slow clients


def test_a_client_that_does_not_read_keeps_its_backend_from_sending_more_than_a_bound(bulk: Bulk) -> None:
    sent = [0]

    def send_and_count(conn: Connection) -> None:
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (500 * MIB))
        try:
            for _ in range(250):
                conn.send(BODY)
                sent[0] += len(BODY)
        except OSError:
            return

    def stands(seen: list[int]) -> bool:
        seen.append(sent[0])
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    bulk.play(send_and_count)
    with bulk.client(receive_buffer=4096) as slow:
        slow.send(get(target()))
        slow.head()
        seen: list[int] = []
        wait_until(lambda: stands(seen), "the backend is held up")
    assert sent[0] < 100 * MIB
