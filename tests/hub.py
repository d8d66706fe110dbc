"""Tests in the hub: waiting for what must happen while greenlets run, and peers that wait as greenlets do.

Nothing is patched. A `HubClient` in the main greenlet lets the code under test run in the same thread meanwhile.
"""

from __future__ import annotations

import _socket
import socket
import struct
from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub
from gevent import socket as hub_socket

from greenproxy.net.stream import Stream
from tests.client import RawClient

#: How long a test waits for what must happen; never for what must not.
PATIENCE_S = 10.0

HubSocket = hub_socket.socket


def until(predicate: Callable[[], Any]) -> None:
    """Let the hub run until `predicate()` holds; fail if that takes unreasonably long."""
    with gevent.Timeout(PATIENCE_S, AssertionError("what the test waits for did not happen")):
        while not predicate():
            gevent.sleep(0.001)


def settle() -> None:
    """Let every greenlet run that can run now, and those that they wake. The loop need not look at a socket meanwhile."""
    for _ in range(5):
        gevent.sleep(0)


def poll() -> None:
    """Let the loop look at its sockets, and everybody whom that wakes do what can be done at once."""
    for _ in range(2):
        gevent.sleep(0.000001)  # a timer takes a whole turn; sleep(0) only runs callbacks


def turns(seconds: float = 0.03) -> int:
    """Return how often the event loop turns in `seconds` in which nothing should happen: more than a few is a spin."""
    loop = get_hub().loop
    before = loop.iteration
    gevent.sleep(seconds)
    return int(loop.iteration - before)


def watchers() -> int:
    """Return how many watchers, timers included, are on."""
    return int(get_hub().loop.activecnt)


def is_waiting(greenlet: gevent.Greenlet[..., Any]) -> bool:
    """Return whether a greenlet has begun and not ended."""
    return bool(greenlet.started) and not greenlet.ready()


def connected(*, buffers: int = 0, kind: int = socket.AF_INET) -> tuple[_socket.socket, HubSocket]:
    """Return two connected sockets: a raw one for the code under test, and its peer for the test.

    `buffers`: the size of the kernel's buffers between them, so that a writer meets their end soon.
    """
    if kind == socket.AF_UNIX:
        left, right = socket.socketpair()
    else:
        with socket.socket(kind) as listener:
            if buffers:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
            listener.bind(("::1" if kind == socket.AF_INET6 else "127.0.0.1", 0))
            listener.listen(1)
            right = socket.socket(kind)
            if buffers:
                right.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            right.connect(listener.getsockname())
            right.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            left, _ = listener.accept()
            left.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw = _socket.socket(left.family, left.type, left.proto, fileno=left.detach())
    peer = HubSocket(right.family, right.type, right.proto, fileno=right.detach())
    peer.settimeout(PATIENCE_S)
    return raw, peer


def stream_and_peer(*, buffers: int = 0) -> tuple[Stream, HubSocket]:
    """Return a Stream and the socket at its other end."""
    raw, peer = connected(buffers=buffers)
    return Stream(raw), peer


def reset(sock: HubSocket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock: HubSocket) -> bytes:
    """Return everything up to an orderly end."""
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(sock: HubSocket, count: int) -> bytes:
    """Return `count` bytes, fewer at the end of the connection."""
    pieces = b""
    while len(pieces) < count and (piece := sock.recv(count - len(pieces))):
        pieces += piece
    return pieces


class HubClient(RawClient):
    """A RawClient on a connected socket whose waits let the hub run."""

    def __init__(self, sock: HubSocket) -> None:
        self.sock: Any = sock
        self.buffer = b""

    def leave(self) -> None:
        """Close the connection, in an orderly way where nothing is unread."""
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        reset(self.sock)

    def half_close(self) -> None:
        """Say that nothing more comes, and stay to listen."""
        self.sock.shutdown(socket.SHUT_WR)
