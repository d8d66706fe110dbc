"""What the connections of a ScriptedBackend can do, and the steps that scripts are made of.

A script is a function of the connection, or a list of steps, which are such functions too. Every wait is bounded by
the socket's timeout or by `PATIENCE_S`. Where the other side goes away the script ends quietly.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

PATIENCE_S = 30.0  # no wait of a script is longer

Step = Callable[["Connection"], None]
Script = Step | Sequence[Step]


class Gone(Exception):
    """The other side closed the connection; the script ends quietly."""


class Host(Protocol):
    """The backend that a connection belongs to, as its script sees it."""

    name: str
    gone: int
    requests: list[Received]
    changed: threading.Condition
    released: threading.Event

    def record(self, request: Received) -> None: ...


class Received:
    """One request as it arrived: `raw` is everything, `head` ends with the empty line, `body` is without framing."""

    def __init__(self, head: bytes, framed: bytes = b"", body: bytes = b"", trailers: bytes = b"") -> None:
        self.head = head
        self.raw = head + framed
        self.body = body
        self.trailers = trailers
        first, *lines = head[:-4].split(b"\r\n")
        method, self.target, self.version = (part.decode("latin-1") for part in first.split(b" ", 2))
        self.method = method
        self.lines = [line.decode("latin-1") for line in lines]
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in self.lines)]

    def all(self, name: str) -> list[str]:
        """Return every value of that field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the only value of that field, or None; two are an error."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None


class Connection:
    """One accepted connection, as scripts see it."""

    def __init__(self, backend: Host, sock: socket.socket, number: int) -> None:
        self.backend = backend
        self.sock = sock
        self.number = number  # 1 for the first that was accepted
        self.served = 0
        self.buffer = b""

    def more(self) -> None:
        """Wait for bytes. Raises Gone at the end."""
        data = self.sock.recv(256 * 1024)
        if not data:
            raise Gone
        self.buffer += data

    def take_until(self, mark: bytes) -> bytes:
        """Return everything up to and with `mark`."""
        while mark not in self.buffer:
            self.more()
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def head(self) -> Received:
        """Read a request head, record it and return it."""
        request = Received(self.take_until(b"\r\n\r\n"))
        self.backend.record(request)
        return request

    def request(self) -> Received:
        """Read a whole request, record it and return it."""
        return self._finished(Received(self.take_until(b"\r\n\r\n")))

    def rest_of(self, request: Received) -> Received:
        """Read the body of a request whose head was recorded; the record is completed."""
        whole = self.with_body(request)
        with self.backend.changed:
            self.backend.requests[self.backend.requests.index(request)] = whole
            self.backend.changed.notify_all()
        return whole

    def _finished(self, request: Received) -> Received:
        whole = self.with_body(request)
        self.backend.record(whole)
        return whole

    def with_body(self, request: Received) -> Received:
        """Read the body of a request whose head came, and return all of it; nothing is recorded."""
        self.served += 1
        if (request.get("transfer-encoding") or "").lower() == "chunked":
            return self._chunked(request)
        body = self.take(int(request.get("content-length") or 0))
        return Received(request.head, body, body)

    def _chunked(self, request: Received) -> Received:
        framed, body = b"", b""
        while True:
            line = self.take_until(b"\r\n")
            framed += line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            data = self.take(size + 2)
            framed, body = framed + data, body + data[:-2]
        trailers = b""
        while (line := self.take_until(b"\r\n")) != b"\r\n":
            trailers += line
        return Received(request.head, framed + trailers + b"\r\n", body, trailers)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def wait_until_released(self) -> None:
        """Wait for `backend.release()`; an error of the script if it does not come."""
        assert self.backend.released.wait(PATIENCE_S), "the script was never released"

    def wait_until_gone(self) -> None:
        """Read until the other side closes or resets."""
        with contextlib.suppress(OSError, Gone):
            while True:
                self.buffer = b""
                self.more()
        with self.backend.changed:
            self.backend.gone += 1
            self.backend.changed.notify_all()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


# ------------------------------------------------------------------ steps


def expect_head(conn: Connection) -> None:
    """Read and record a request head; the body stays unread."""
    conn.head()


def expect_request(conn: Connection) -> None:
    """Read and record a whole request."""
    conn.request()


def send(data: bytes) -> Step:
    """Send `data` at once."""
    return lambda conn: conn.send(data)


def send_in_pieces(data: bytes, size: int = 1) -> Step:
    """Send `data` in small segments."""

    def step(conn: Connection) -> None:
        conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            conn.send(data[start : start + size])

    return step


def close(conn: Connection) -> None:
    """Close in an orderly way."""
    conn.sock.close()


def half_close(conn: Connection) -> None:
    """Send FIN, then read on until the other side closes."""
    conn.sock.shutdown(socket.SHUT_WR)
    conn.wait_until_gone()


def reset(conn: Connection) -> None:
    """Close with RST."""
    conn.reset()


def hang(conn: Connection) -> None:
    """Do nothing until the backend is released."""
    conn.wait_until_released()


def wait_until_gone(conn: Connection) -> None:
    """Read until the other side is gone; counted in `backend.gone`."""
    conn.wait_until_gone()


def answer(body: bytes = b"ok", status: str = "200 OK", *fields: str) -> bytes:
    """Return a whole response with Content-Length."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def first_fails(*failure: Step) -> Script:
    """A script for several backends: whichever is asked first fails in that way, all others answer with their name."""
    turns = itertools.count()

    def script(conn: Connection) -> None:
        if next(turns) == 0:
            for step in failure:
                step(conn)
        else:
            conn.request()
            conn.send(answer(conn.backend.name.encode()))
            conn.wait_until_gone()

    return script


def always(data: bytes) -> Step:
    """A keep-alive server that gives the same bytes to each request."""

    def step(conn: Connection) -> None:
        while True:
            conn.request()
            conn.send(data)

    return step


def echo(conn: Connection) -> None:
    """A well-behaved keep-alive server that answers with the facts of each request as JSON."""
    while True:
        request = conn.request()
        facts = {
            "backend": conn.backend.name,
            "connection": conn.number,
            "served": conn.served,
            "method": request.method,
            "target": request.target,
            "version": request.version,
            "fields": request.fields,
            "length": len(request.body),
            "body": request.body[:4096].decode("latin-1"),
        }
        body = b"" if request.method == "HEAD" else json.dumps(facts).encode()
        conn.send(answer(body, "200 OK", "Content-Type: application/json", f"X-Backend: {conn.backend.name}"))
