"""RoughClient: does what ordinary clients do seldom. It leaves at any stage, tunnels, makes mistakes, and asks for errors.

Who leaves early is answered when it has left as it wanted to; who asks for an error when that very error came.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket as plain_socket
import ssl as plain_ssl
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent

from tests.soak.client import Client, Wrong
from tests.soak.faults import CUT_BYTES
from tests.soak.known import echo_of, stretch
from tests.soak.reading import Ended, Malformed

_RESET = struct.pack("ii", 1, 0)
_UPLOAD_BYTES = 500_000
_MIB = 1024 * 1024

#: What no proxy may take for a request.
NONSENSE = (
    b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /a HTTP/1.1\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\nX-Field : 1\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    b"POST /plain/upload/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"nonsense\r\n\r\n",
)

#: What is asked for, by route, as what, with which query; and the statuses that are right. 200 is right only with our id.
MISTAKES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "404": ("missing", "echo", "", ("404",)),
    "500 of the backend": ("faulty", "status", "?code=500", ("500",)),
    "503 of the backend": ("faulty", "status", "?code=503", ("503",)),
    "502, dead backend": ("dead", "echo", "", ("502", "503")),
    "502, garbage": ("faulty", "garbage", "", ("502",)),
    "502, silence": ("faulty", "silent", "", ("502",)),
    "503, queue full": ("narrow", "echo", "?s=0.2", ("200", "503")),
    "504": ("late", "echo", "?s=1.0", ("504",)),
}

ABORTS = ("accepted", "handshake", "head", "body", "chunk", "waiting", "answer", "tunnel")


class RoughClient(Client):
    """A client of one kind, as `Client`; each thing that it does goes into the counts under a name of its own."""

    head_pause_s = 0.0

    def _send_head(self, head: bytes) -> None:
        if not self.head_pause_s:
            super()._send_head(head)
            return
        step = len(head) // 6 + 1
        for at in range(0, len(head), step):
            self._sock.sendall(head[at : at + step])
            gevent.sleep(self.head_pause_s)

    def _fresh(self) -> None:
        """Have a new connection."""
        self.close()
        self._connect()

    @contextlib.contextmanager
    def _trial(self, kind: str, ident: str) -> Iterator[None]:
        """Count what happens in the block: an answer of that kind, or a failure. The connection is closed behind it."""
        self.kind, self.began_s, self._phase = kind, time.monotonic(), "connect"
        try:
            yield
        except (Ended, Malformed, Wrong, OSError) as error:
            self._failed(ident, error, self._reader.received if self._phase != "connect" else 0)
        else:
            self.report.tally(self.kind).answered(time.monotonic() - self.began_s, 0)
            self.close()

    # -------------------------------------------------------------- mistakes and errors

    def mistake(self, name: str) -> bool:
        """Ask for an error by its name in MISTAKES, and return whether it came."""
        self.kind = f"error {name}"
        home = self._route
        self._route, what, query, statuses = MISTAKES[name]
        try:
            return self.exchange(what, query, _is_own, statuses=statuses)
        finally:
            self._route = home

    def nonsense(self) -> None:
        """Send what is no request; a 400 must come, and the end."""
        with self._trial("error 400", ""):
            self._fresh()
            self._phase = "head"
            self._sock.sendall(random.choice(NONSENSE))
            self._wants_end("400")

    def too_much(self) -> None:
        """Announce a longer body than the route takes; a 413 must come."""
        ident = self.new_ident()
        with self._trial("error 413", ident):
            self._fresh()
            self._phase = "head"
            self._sock.sendall(f"POST /tiny/upload/{ident} HTTP/1.1\r\nHost: soak\r\nContent-Length: 5000\r\n\r\n".encode())
            self._wants_end("413")

    def _wants_end(self, status: str) -> None:
        answer = self._reader.head()
        if answer.first[1] != status:
            raise Wrong(f"status {answer.first[1]}")
        self._phase = "body"
        for _ in self._reader.body(answer):
            pass
        with contextlib.suppress(Ended, ConnectionResetError):
            self._reader.some()
            raise Wrong("malformed", "bytes behind the last answer")

    def cut(self, *, is_chunked: bool) -> None:
        """Ask for an answer that its backend cuts; the cut must be seen."""
        ident = self.new_ident()
        with self._trial("error cut answer", ident):
            self._fresh()
            self._phase = "head"
            chunked = "?chunked=1" if is_chunked else ""
            self._sock.sendall(f"GET /faulty/cut/{ident}{chunked} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
            answer = self._reader.head()
            if answer.first[1] != "200" or answer.fields.get("x-id") != ident:
                raise Wrong(f"status {answer.first[1]}", f"of {answer.fields.get('x-id')} for {ident}")
            self._phase = "body"
            try:
                size = sum(map(len, self._reader.body(answer)))
            except (Ended, ConnectionResetError):
                return
            raise Wrong("cut", f"{size} of {CUT_BYTES} bytes, as if that were all")

    # -------------------------------------------------------------- tunnels

    def tunnel(self, seconds: float, *, wait: Callable[[float], object]) -> None:
        """Upgrade, and send pieces for so long, each of which must come back."""
        ident = self.new_ident()
        with self._trial("tunnel", ident):
            self._fresh()
            self._upgrade(ident)
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                piece = os.urandom(random.choice((1, 100, 5000, 40_000)))
                self._sock.sendall(piece)
                self._expect(piece)
                wait(seconds / 5)
            if not self._is_secure and random.random() < 0.5:
                self._sock.shutdown(plain_socket.SHUT_WR)
                with contextlib.suppress(Ended):
                    self._reader.some()
                    raise Wrong("mixed", "bytes that nobody has sent through the tunnel")

    def _upgrade(self, ident: str) -> None:
        self._phase = "head"
        fields = "Host: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self._sock.sendall(f"GET /{self._route}/tunnel/{ident} HTTP/1.1\r\n{fields}\r\n".encode())
        answer = self._reader.head()
        if answer.first[1] != "101" or answer.fields.get("x-id") != ident:
            raise Wrong(f"status {answer.first[1]}", f"of {answer.fields.get('x-id')} for {ident}")
        self._phase = "body"
        self._expect(echo_of(ident))

    def _expect(self, wanted: bytes) -> None:
        got = b""
        while len(got) < len(wanted):
            got += self._reader.some()
        if got != wanted:
            raise Wrong("mixed", f"{len(wanted)} bytes came back from the tunnel as others")

    # -------------------------------------------------------------- leaving

    def abort(self, stage: str) -> None:
        """Come as far as a stage of ABORTS, and leave, half of the times with a reset."""
        ident = self.new_ident()
        with self._trial(f"abort {stage}", ident):
            ABORTERS[stage](self, ident)
            gevent.sleep(random.choice((0.0, 0.001, 0.02)))
            if self._sock is not None and random.random() < 0.5:
                self._sock.setsockopt(plain_socket.SOL_SOCKET, plain_socket.SO_LINGER, _RESET)

    def raw(self) -> None:
        """Have a connection on which nothing was sent, not even by TLS."""
        self.close()
        self._open()

    def begin(self, ident: str, what: str, framing: str = "") -> None:
        """Send a request's head on a new connection."""
        self._fresh()
        self._phase = "send"
        self._sock.sendall(self._head(f"{what.replace('ID', ident)}", ident, framing, last=False))

    def send(self, data: bytes) -> None:
        """Send some bytes as they are."""
        self._sock.sendall(data)

    def read_some(self, ident: str, most: int) -> None:
        """Read the answer until so many bytes of its body have come, and check them."""
        self._phase = "head"
        answer = self._reader.head()
        if answer.fields.get("x-id") != ident:
            raise Wrong("mixed", f"asked for {ident}, got the head of {answer.fields.get('x-id')}")
        self._phase, at = "body", 0
        for piece in self._reader.body(answer):
            for start in range(0, len(piece), 32768):
                part = piece[start : start + 32768]
                if part != stretch(ident, at, len(part)):
                    raise Wrong("pattern", f"within {len(part)} bytes from byte {at} on")
                at += len(part)
            if at >= most:
                return


def _is_own(ident: str, body: Iterator[bytes]) -> None:
    got = b"".join(body)
    if got != echo_of(ident):
        raise Wrong("mixed", f"wanted {ident}, got {got[:100]!r}")


def _handshake(client: RoughClient, _ident: str) -> None:
    """A part of what opens TLS, to whoever listens."""
    client.raw()
    context = plain_ssl.SSLContext(plain_ssl.PROTOCOL_TLS_CLIENT)
    outgoing = plain_ssl.MemoryBIO()
    hello: Any = context.wrap_bio(plain_ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(plain_ssl.SSLWantReadError):
        hello.do_handshake()
    data = outgoing.read()
    client.send(data[: random.randrange(1, len(data))])


def _head(client: RoughClient, ident: str) -> None:
    client._fresh()
    head = f"GET /plain/echo/{ident} HTTP/1.1\r\nHost: soak\r\nX-Id: {ident}\r\n".encode()
    client.send(head[: random.randrange(1, len(head))])


def _body(client: RoughClient, ident: str) -> None:
    client.begin(ident, "upload/ID", f"Content-Length: {_UPLOAD_BYTES}")
    client.send(bytes(random.randrange(1, _UPLOAD_BYTES)))


def _chunk(client: RoughClient, ident: str) -> None:
    client.begin(ident, "upload/ID", "Transfer-Encoding: chunked")
    client.send(b"5\r\nwhole\r\n" + b"%x\r\n" % 50_000 + bytes(random.randrange(1, 50_000)))


def _answer(client: RoughClient, ident: str) -> None:
    size = random.choice((100_000, 4 * _MIB))
    client.begin(ident, f"download/ID?size={size}&rate=0{random.choice(('', '&chunked=1'))}")
    client.read_some(ident, random.randrange(1, size // 2))


def _tunnel(client: RoughClient, ident: str) -> None:
    client._fresh()
    client._upgrade(ident)
    client.send(bytes(random.randrange(1, 100_000)))


ABORTERS: dict[str, Callable[[RoughClient, str], None]] = {
    "accepted": lambda client, _ident: client.raw(),
    "handshake": _handshake,
    "head": _head,
    "body": _body,
    "chunk": _chunk,
    "waiting": lambda client, ident: client.begin(ident, "echo/ID?s=1.0"),
    "answer": _answer,
    "tunnel": _tunnel,
}
assert tuple(ABORTERS) == ABORTS
