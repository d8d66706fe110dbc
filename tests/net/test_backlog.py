"""What the kernel has not taken: whole records in their order, and whose bytes have gone."""

from __future__ import annotations

import _socket
from collections.abc import Iterator

import pytest

from greenproxy.net.backlog import Backlog

LARGE = bytes(range(256)) * 1024


@pytest.fixture
def ends() -> Iterator[tuple[_socket.socket, _socket.socket]]:
    """Two ends of a connection that hold little and do not block."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    for end in (ours, theirs):
        end.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 4096)
        end.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def backlog(*pairs: tuple[bytes, bytes]) -> Backlog:
    """Return a backlog of records and what they carry."""
    made = Backlog()
    made.extend(pairs)
    return made


def read(sock: _socket.socket) -> bytes:
    """Return what has arrived."""
    found = b""
    while True:
        try:
            chunk = sock.recv(1 << 20)
        except BlockingIOError:
            return found
        found += chunk


def test_what_fits_goes_at_once_and_is_counted_by_what_it_carries(ends: tuple[_socket.socket, _socket.socket]) -> None:
    ours, theirs = ends
    unsent = backlog((b"[hello]", b"hello"), (b"[ticket]", b""))
    assert (unsent.flush(ours), unsent, read(theirs)) == (5, [], b"[hello][ticket]")


def test_more_records_than_go_in_one_call_all_go(ends: tuple[_socket.socket, _socket.socket]) -> None:
    ours, theirs = ends
    unsent = backlog(*((b"%03d" % number, b"x") for number in range(200)))
    assert (unsent.flush(ours), len(read(theirs))) == (200, 600)


def test_record_of_which_a_part_went_counts_when_the_rest_has(ends: tuple[_socket.socket, _socket.socket]) -> None:
    ours, theirs = ends
    unsent = backlog((LARGE, b"large"), (b"next", b"n"))
    done, received = unsent.flush(ours), b""
    first = done
    while unsent:
        received += read(theirs)
        done += unsent.flush(ours)
    assert (first, done, received + read(theirs)) == (0, 6, LARGE + b"next")


def test_same_bytes_once_more_go_on_with_the_records_that_carry_them() -> None:
    unsent = backlog((b"[he]", b"he"), (b"[llo]", b"llo"))
    unsent.disown(memoryview(b"hello, world"))
    assert unsent == [(b"[he]", b"he"), (b"[llo]", b"llo")]


def test_other_bytes_go_behind_records_for_which_nobody_waits_any_more() -> None:
    unsent = backlog((b"[he]", b"he"), (b"[llo]", b"llo"))
    unsent.disown(memoryview(b"help"))
    assert (unsent, unsent.is_awaited) == ([(b"[he]", b"he"), (b"[llo]", b"")], True)


def test_what_tls_says_of_its_own_is_awaited_by_nobody() -> None:
    assert not backlog((b"[ticket]", b"")).is_awaited


def test_size_is_that_of_the_records() -> None:
    assert backlog((b"[he]", b"he"), (b"[]", b"")).size_bytes == 6
