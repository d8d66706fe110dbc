"""Splice: bytes between two sockets through a pipe, of which nothing is ever left to anybody else."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from greenproxy.net import splice
from greenproxy.net.splice import Pipe, Unable
from greenproxy.net.stream import Stream
from tests.hub import connected, read_all, read_exactly, reset
from tests.net.conftest import MakePair

MIB = 1 << 20
BLOCK = bytes(range(256)) * 128  # 32 KiB
SMALL = 4096

pytestmark = pytest.mark.skipif(not hasattr(os, "splice"), reason="there is no splice here")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def passed(pipe: Pipe, source: Stream, sink: Stream, most: int = MIB) -> tuple[int | None, bytes]:
    """Move what has arrived; return how much that is, and the rest that the sink did not take."""
    count = pipe.fill(source, most)
    return count, pipe.drain(sink) if count else b""


def full(sink: Stream) -> int:
    """Send until the kernel takes nothing more; return how much it took."""
    sent = 0
    while count := sink.send_now(b"-" * 65536):
        sent += count
    return sent


def test_what_has_arrived_goes_to_the_other_socket(pipe: Pipe, pair: MakePair) -> None:
    (source, backend), (sink, client) = pair(), pair()
    backend.sendall(BLOCK)
    assert passed(pipe, source, sink) == (len(BLOCK), b"")
    assert read_exactly(client, len(BLOCK)) == BLOCK


def test_nothing_behind_the_wanted_bytes_is_taken(pipe: Pipe, pair: MakePair) -> None:
    (source, backend), (sink, _) = pair(), pair()
    backend.sendall(b"body" + b"next")
    passed(pipe, source, sink, 4)
    assert source.recv(100) == b"next"


def test_nothing_that_has_arrived_is_not_the_end(pipe: Pipe, pair: MakePair) -> None:
    assert pipe.fill(pair()[0], MIB) is None


def test_the_end_is_no_bytes(pipe: Pipe, pair: MakePair) -> None:
    source, backend = pair()
    backend.close()
    assert pipe.fill(source, MIB) == 0


def test_a_source_that_broke_raises(pipe: Pipe, pair: MakePair) -> None:
    source, backend = pair()
    reset(backend)
    with pytest.raises(ConnectionResetError):
        pipe.fill(source, MIB)


def test_a_sink_that_broke_raises(pipe: Pipe, pair: MakePair) -> None:
    (source, backend), (sink, client) = pair(), pair()
    backend.sendall(b"x")
    reset(client)
    pipe.fill(source, MIB)
    with pytest.raises(OSError, match=r"reset|pipe"):
        pipe.drain(sink)


def test_what_a_full_sink_does_not_take_is_handed_back(pipe: Pipe, pair: MakePair) -> None:
    (source, backend), (sink, client) = pair(), pair(buffers=SMALL)
    before = full(sink)
    backend.sendall(BLOCK)
    count, rest = passed(pipe, source, sink)
    sink.close()
    assert read_all(client)[before:] + rest == BLOCK[:count]


def test_what_was_handed_back_is_not_in_the_pipe_any_more(pipe: Pipe, pair: MakePair) -> None:
    (source, backend), (sink, _), (another, client) = pair(), pair(buffers=SMALL), pair()
    full(sink)
    backend.sendall(b"theirs")
    passed(pipe, source, sink)
    backend.sendall(b"ours")
    passed(pipe, source, another)
    assert client.recv(100) == b"ours"


@pytest.mark.parametrize("how", ["the sink broke", "nobody drained it"])
def test_what_was_left_in_the_pipe_is_nobody_elses(pipe: Pipe, pair: MakePair, how: str) -> None:
    (source, backend), (broken, gone), (another, client) = pair(), pair(), pair()
    backend.sendall(b"theirs")
    pipe.fill(source, MIB)
    if how == "the sink broke":
        reset(gone)
        with pytest.raises(OSError, match=r"reset|pipe"):
            pipe.drain(broken)
    backend.sendall(b"ours")
    passed(pipe, source, another)
    assert client.recv(100) == b"ours"


def test_unix_sockets_can_be_spliced(pipe: Pipe) -> None:
    ends = [connected(kind=socket.AF_UNIX) for _ in range(2)]
    (source, backend), (sink, client) = [(Stream(raw), peer) for raw, peer in ends]
    try:
        backend.sendall(b"x")
        passed(pipe, source, sink)
        assert client.recv(100) == b"x"
    finally:
        for each in (source, backend, sink, client):
            each.close()


# ------------------------------------------------------------------ where there is no pipe


def test_it_is_opened_when_it_is_needed(pipe: Pipe, pair: MakePair) -> None:
    before = pipe.descriptors
    pipe.fill(pair()[0], MIB)
    assert (before, pipe.descriptors) == (0, 2)


def test_without_a_descriptor_nothing_is_taken(pipe: Pipe, pair: MakePair) -> None:
    source, backend = pair()
    backend.sendall(b"x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(Unable):
            pipe.fill(source, MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (pipe.descriptors, source.recv(1)) == (0, b"x")


def test_a_pipe_that_may_not_grow_is_none(pipe: Pipe, pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(Unable):
        pipe.fill(pair()[0], MIB)
    assert pipe.descriptors == 0


def test_where_the_largest_pipe_is_refused_a_smaller_one_will_do(
    pipe: Pipe, pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice, "_SIZE_BYTES", 1 << 31)
    pipe.fill(pair()[0], MIB)
    assert fcntl.fcntl(pipe._in, fcntl.F_GETPIPE_SZ) == 256 * 1024


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_sockets_that_cannot_be_spliced_say_so_and_lose_nothing(
    pipe: Pipe, pair: MakePair, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: int, flags: int) -> int:  # noqa: ARG001
        raise OSError(number, "no")

    source, backend = pair()
    backend.sendall(b"x")
    monkeypatch.setattr(splice, "_splice", refuse)
    with pytest.raises(Unable):
        pipe.fill(source, MIB)
    assert source.recv(1) == b"x"


def test_what_a_sink_cannot_take_that_way_is_handed_back(pipe: Pipe, pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int, flags: int) -> int:  # noqa: ARG001
        raise OSError(errno.EINVAL, "no")

    source, backend = pair()
    backend.sendall(b"x")
    pipe.fill(source, MIB)
    monkeypatch.setattr(splice, "_splice", refuse)
    assert pipe.drain(pair()[0]) == b"x"


def test_where_there_is_no_splice_nothing_is_opened(pipe: Pipe, pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splice, "_splice", None)
    with pytest.raises(Unable):
        pipe.fill(pair()[0], MIB)
    assert pipe.descriptors == 0


def test_a_process_that_is_forked_has_a_pipe_of_its_own(pair: MakePair) -> None:
    splice.PIPE.fill(pair()[0], MIB)
    child = os.fork()
    if not child:
        os._exit(splice.PIPE.descriptors)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
