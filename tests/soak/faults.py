"""What the backend under load does besides answering well: errors, cuts, silence, nonsense and tunnels, as the request asks."""

from __future__ import annotations

import socket as plain_socket
from collections.abc import Callable
from typing import Any

from tests.soak.known import PERIOD_BYTES, echo_of, stretch
from tests.soak.reading import Head, Reader

#: What an answer that is cut promises, and what comes of it.
CUT_BYTES, CUT_AFTER_BYTES = 200_000, 3 * 20_000


def status(sock: Any, reader: Reader, head: Head, ident: str, options: dict[str, str]) -> None:
    """Answer with the status that `?code=` asks for."""
    for _ in reader.body(head, has_body=head.has_body()):
        pass
    body = echo_of(ident)
    sock.sendall(f"HTTP/1.1 {options['code']} So\r\nX-Id: {ident}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def cut(sock: Any, _reader: Reader, _head: Head, ident: str, options: dict[str, str]) -> None:
    """Promise a long answer, send less, and close."""
    framing = "Transfer-Encoding: chunked" if "chunked" in options else f"Content-Length: {CUT_BYTES}"
    sock.sendall(f"HTTP/1.1 200 OK\r\nX-Id: {ident}\r\n{framing}\r\n\r\n".encode())
    piece = stretch(ident, 0, min(CUT_AFTER_BYTES, PERIOD_BYTES))
    sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if "chunked" in options else piece)
    end(sock)


def silent(sock: Any, _reader: Reader, _head: Head, _ident: str, _options: dict[str, str]) -> None:
    """Close without a word."""
    end(sock)


def garbage(sock: Any, _reader: Reader, _head: Head, _ident: str, _options: dict[str, str]) -> None:
    """Answer with what is no HTTP."""
    sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    end(sock)


def tunnel(sock: Any, reader: Reader, _head: Head, ident: str, _options: dict[str, str]) -> None:
    """Change the protocol, say whose tunnel it is, and send back every byte until the other side ends."""
    fields = f"X-Id: {ident}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n".encode() + echo_of(ident))
    while True:
        sock.sendall(reader.some())


def end(sock: Any) -> None:
    """End a connection of which the other side has read everything that it was sent; the next read says that it has ended."""
    sock.shutdown(plain_socket.SHUT_RDWR)


FAULTS: dict[str, Callable[[Any, Reader, Head, str, dict[str, str]], None]] = {
    "status": status,
    "cut": cut,
    "silent": silent,
    "garbage": garbage,
    "tunnel": tunnel,
}
