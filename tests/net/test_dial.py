"""Dialling: every way in which a connection comes about, or does not."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import gevent
import pytest

from greenproxy.deadline import Deadline, Limit, Patience
from greenproxy.errors import ConnectFailed, ConnectRefused, ConnectTimeout, NoDescriptor
from greenproxy.net.dial import SockAddr, dial
from tests.hub import is_waiting, poll, watchers
from tests.scripted import ScriptedBackend

PATIENT = Patience(30, ConnectTimeout)  # not a Deadline: that one would begin with the import

Listen = Callable[..., SockAddr]


@pytest.fixture
def listening() -> Iterator[Listen]:
    """Return a function that listens on an address of a family; with `backlog=-1` it is bound only."""
    with ExitStack() as sockets:

        def listen(family: int, address: object, backlog: int = 8) -> SockAddr:
            sock = sockets.enter_context(socket.socket(family))
            sock.bind(address)  # type: ignore[arg-type]
            if backlog >= 0:
                sock.listen(backlog)
            return SockAddr(family, sock.getsockname())

        yield listen


@pytest.fixture
def black_hole() -> Iterator[SockAddr]:
    """An address with a full backlog: the handshake never ends."""
    backend = ScriptedBackend()
    backend.never_accept()
    yield SockAddr(socket.AF_INET, ("127.0.0.1", backend.port))
    backend.stop()


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue  # the listing's own
    return found


# ------------------------------------------------------------------ connected


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["v4", "v6"])
def test_tcp_is_dialled(listening: Listen, family: int, host: str) -> None:
    target = listening(family, (host, 0))
    stream = dial(target, PATIENT)
    assert stream.fileno() >= 0
    stream.close()


def test_a_unix_socket_is_dialled(listening: Listen, tmp_path: Path) -> None:
    target = listening(socket.AF_UNIX, str(tmp_path / "s"))
    stream = dial(target, PATIENT)
    assert stream.fileno() >= 0
    stream.close()


def test_bytes_pass_in_both_directions() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stream = dial(SockAddr(socket.AF_INET, listener.getsockname()), PATIENT)
        accepted, _ = listener.accept()
        with accepted:
            stream.send(b"ping", PATIENT)
            accepted.sendall(accepted.recv(4).replace(b"i", b"o"))
            assert stream.recv(4, PATIENT) == b"pong"
        stream.close()


def test_small_packets_are_not_held_back(listening: Listen) -> None:
    stream = dial(listening(socket.AF_INET, ("127.0.0.1", 0)), PATIENT)
    with socket.socket(fileno=os.dup(stream.fileno())) as twin:
        assert twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    stream.close()


def test_the_descriptor_is_not_inherited_by_child_processes(listening: Listen) -> None:
    stream = dial(listening(socket.AF_INET, ("127.0.0.1", 0)), PATIENT)
    is_inheritable = os.get_inheritable(stream.fileno())
    stream.close()
    assert not is_inheritable


def test_a_dial_leaves_no_watcher(listening: Listen) -> None:
    before = watchers()
    dial(listening(socket.AF_INET, ("127.0.0.1", 0)), PATIENT).close()
    assert watchers() == before


def test_a_dial_without_a_limit_leaves_no_watcher(listening: Listen) -> None:
    before = watchers()
    dial(listening(socket.AF_INET, ("127.0.0.1", 0)), Patience(0, ConnectTimeout)).close()
    assert watchers() == before


# ------------------------------------------------------------------ not connected


def nobody(listening: Listen, tmp_path: Path, kind: str) -> SockAddr:
    """Return an address where nobody listens."""
    if kind == "unix":
        return listening(socket.AF_UNIX, str(tmp_path / "s"), backlog=-1)
    family, host = (socket.AF_INET, "127.0.0.1") if kind == "v4" else (socket.AF_INET6, "::1")
    return listening(family, (host, 0), backlog=-1)


every_kind = pytest.mark.parametrize("kind", ["v4", "v6", "unix"])


@every_kind
def test_where_nobody_listens_it_is_refused(listening: Listen, tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConnectRefused):
        dial(nobody(listening, tmp_path, kind), PATIENT)


@every_kind
def test_a_refused_dial_leaves_no_descriptor(listening: Listen, tmp_path: Path, kind: str) -> None:
    target = nobody(listening, tmp_path, kind)
    before = open_sockets(), watchers()
    with pytest.raises(ConnectRefused):
        dial(target, PATIENT)
    assert (open_sockets(), watchers()) == before


def test_a_unix_socket_that_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match=os.strerror(errno.ENOENT)):
        dial(SockAddr(socket.AF_UNIX, str(tmp_path / "nothing")), PATIENT)


def test_an_address_without_a_route_fails() -> None:
    with pytest.raises(ConnectFailed):
        dial(SockAddr(socket.AF_INET, ("255.255.255.255", 9)), PATIENT)


def test_a_unix_socket_with_a_full_backlog_refuses(listening: Listen, tmp_path: Path) -> None:
    target = listening(socket.AF_UNIX, str(tmp_path / "s"), backlog=0)
    first = dial(target, PATIENT)
    with pytest.raises(ConnectRefused):
        dial(target, PATIENT)
    first.close()


def test_without_a_descriptor_the_proxy_is_to_blame(listening: Listen) -> None:
    target = listening(socket.AF_INET, ("127.0.0.1", 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each) for each in os.listdir("/proc/self/fd"))
    fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fillers) + 1, hard))
    try:
        with pytest.raises(NoDescriptor):
            dial(target, PATIENT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)


class Unlucky:
    """Stands in for `_socket`: its sockets cannot be made, or not be connected, because something of our own is missing."""

    def __init__(self, number: int, *, can_open: bool) -> None:
        self.number = number
        self.can_open = can_open
        self.closed = 0

    def socket(self, *_: object) -> Unlucky:
        if not self.can_open:
            raise OSError(self.number, os.strerror(self.number))
        return self

    def setsockopt(self, *_: object) -> None:
        """No option matters."""

    def connect_ex(self, _address: object) -> int:
        return self.number

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_socket_that_cannot_be_made_is_our_own_lack(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr("greenproxy.net.dial._socket", Unlucky(number, can_open=False))
    with pytest.raises(NoDescriptor):
        dial(SockAddr(socket.AF_INET, ("127.0.0.1", 9)), PATIENT)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM])
def test_a_connection_without_port_or_memory_is_our_own_lack(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    unlucky = Unlucky(number, can_open=True)
    monkeypatch.setattr("greenproxy.net.dial._socket", unlucky)
    with pytest.raises(NoDescriptor):
        dial(SockAddr(socket.AF_INET, ("127.0.0.1", 9)), PATIENT)
    assert unlucky.closed == 1


# ------------------------------------------------------------------ too late

LIMITS: dict[str, Callable[[], Limit]] = {
    "deadline": lambda: Deadline.after(0.03, ConnectTimeout),
    "patience": lambda: Patience(0.03, ConnectTimeout),
    "passed deadline": lambda: Deadline(0, ConnectTimeout),
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_a_handshake_that_does_not_end_is_given_up_at_the_limit(black_hole: SockAddr, limit: Callable[[], Limit]) -> None:
    with pytest.raises(ConnectTimeout):
        dial(black_hole, limit())


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_a_handshake_given_up_leaves_no_descriptor(black_hole: SockAddr, limit: Callable[[], Limit]) -> None:
    before = open_sockets(), watchers()
    with pytest.raises(ConnectTimeout):
        dial(black_hole, limit())
    assert (open_sockets(), watchers()) == before


@pytest.mark.parametrize("error", [gevent.GreenletExit, gevent.Timeout])
@pytest.mark.parametrize("limit", [PATIENT, Patience(0, ConnectTimeout)], ids=["limit", "no limit"])
def test_whoever_is_killed_while_dialling_leaves_no_descriptor(
    black_hole: SockAddr, error: type[BaseException], limit: Limit
) -> None:
    before = open_sockets(), watchers()
    dialling = gevent.spawn(dial, black_hole, limit)
    poll()
    assert is_waiting(dialling)
    dialling.kill(error())
    assert (open_sockets(), watchers()) == before
