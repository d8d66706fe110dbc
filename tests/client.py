"""RawClient: an HTTP/1.1 client on a raw socket that shows exactly what came back, cuts included.

It is no library's client on purpose: it sends any bytes, keeps interim responses and the order and spelling of
fields, and tells an orderly close from a reset. Every wait is bounded by the socket's timeout.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

from tests.processes import wait_until

Address = tuple[str, int] | str  # host and port, or the path of a Unix socket


class Cut(Exception):
    """The connection ended before the message did. `got` is what came of the body, `was_reset` how it ended."""

    def __init__(self, got: bytes, was_reset: bool) -> None:
        super().__init__(f"cut after {len(got)} bytes, {'by a reset' if was_reset else 'by a close'}")
        self.got = got
        self.was_reset = was_reset


class Answer:
    """One response: `head` as received, `fields` in order, `body` without framing, `interim` the 1xx before it."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        self.version, _, rest = first.partition(" ")
        status, _, self.reason = rest.partition(" ")
        self.status = int(status)
        self.lines = lines
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.body = b""
        self.trailers: list[str] = []
        self.interim: list[Answer] = []

    def all(self, name: str) -> list[str]:
        """Return every value of that field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the only value of that field, or None; two are an error."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def says_close(self) -> bool:
        """Whether the answer announces the end of the connection."""
        return "close" in (self.get("connection") or "").lower()


def _as_kernel(host: str, port: int) -> str:
    word = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    return f"{word:08X}:{port:04X}"


def get(target: str = "/", *lines: str, host: str = "shop.example.com", method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def post(target: str, body: bytes, *lines: str, method: str = "POST") -> bytes:
    """Return a request with Content-Length."""
    return get(target, *lines, f"Content-Length: {len(body)}", method=method) + body


class RawClient:
    """One connection. `timeout` bounds every single wait, in seconds."""

    def __init__(self, address: Address, timeout: float = 15.0, receive_buffer: int = 0, source: str = "") -> None:
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock.settimeout(timeout)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        try:
            self.sock.connect(address)
            if not isinstance(address, str):
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.sock.close()
            raise
        self.buffer = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def send_byte_by_byte(self, data: bytes) -> None:
        """Send each byte in a segment of its own; a close by the other side ends it."""
        for byte in data:
            try:
                self.sock.send(bytes((byte,)))
            except (BrokenPipeError, ConnectionResetError):
                return

    def wait_until_read(self) -> None:
        """Wait until the proxy has taken everything that was sent out of its (IPv4) socket, as the kernel tells."""
        (our_host, our_port), (host, port) = self.sock.getsockname(), self.sock.getpeername()
        pair = [_as_kernel(host, port), _as_kernel(our_host, our_port)]

        def is_read() -> bool:
            rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
            return any(row[1:3] == pair and row[4].endswith(":00000000") for row in rows)

        wait_until(is_read, "the request is read")

    def ask(self, request: bytes, method: str = "") -> Answer:
        """Send a request and return the final answer."""
        self.send(request)
        return self.answer(method or request.split(b" ", 1)[0].decode("latin-1"))

    def answer(self, method: str = "GET") -> Answer:
        """Wait for a final answer and its body. Raises Cut when the connection ends first."""
        interim = []
        while (answer := self.head()).status < 200 and answer.status != 101:
            interim.append(answer)
        answer.interim = interim
        self.body_of(answer, method)
        return answer

    def head(self) -> Answer:
        """Wait for one head, interim or final."""
        return Answer(self.take_until(b"\r\n\r\n"))

    def body_of(self, answer: Answer, method: str = "GET") -> None:
        """Read the body that belongs to a head (RFC 9112 section 6.3)."""
        if method == "HEAD" or answer.status in (101, 204, 304):
            return
        if (answer.get("transfer-encoding") or "").lower() == "chunked":
            assert answer.get("content-length") is None
            self._chunked(answer)
        elif (length := answer.get("content-length")) is not None:
            answer.body = self.take(int(length))
        else:
            answer.body = self.until_closed()

    def _chunked(self, answer: Answer) -> None:
        parts: list[bytes] = []
        try:
            while size := int(self.take_until(b"\r\n").split(b";")[0], 16):
                parts.append(self.take(size + 2)[:-2])
        except Cut as cut:
            raise Cut(b"".join(parts) + cut.got, cut.was_reset) from None
        while (line := self.take_until(b"\r\n")) != b"\r\n":
            answer.trailers.append(line[:-2].decode("latin-1"))
        answer.body = b"".join(parts)

    def more(self) -> bool:
        """Wait for bytes; False at an orderly end. Raises Cut for a reset."""
        try:
            data = self.sock.recv(256 * 1024)
        except ConnectionResetError:
            raise Cut(self.buffer, True) from None
        self.buffer += data
        return bool(data)

    def take_until(self, mark: bytes) -> bytes:
        """Return everything up to and with `mark`."""
        while mark not in self.buffer:
            if not self.more():
                raise Cut(self.buffer, False)
        end = self.buffer.index(mark) + len(mark)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        while len(self.buffer) < count:
            if not self.more():
                raise Cut(self.buffer, False)
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def until_closed(self) -> bytes:
        """Return everything up to an orderly close. Raises Cut for a reset."""
        while self.more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def is_closed(self) -> bool:
        """Wait for the other side to close; True if it does before the timeout and nothing more came."""
        try:
            return not self.buffer and not self.sock.recv(1)
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def ask(address: Address, request: bytes) -> Answer:
    """Send one request on a connection of its own."""
    with RawClient(address) as client:
        return client.ask(request)
