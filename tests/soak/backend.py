"""A backend for load: a process of its own that says whose request it answers.

`python -m tests.soak.backend` prints its port. Paths are `/ROUTE/WHAT/ID?...`, and every answer has the id in `X-Id`:

- `echo`, with `?s=1.5`: the id, so many seconds later, and with `?held=1` when it is told so by `/release/SECONDS`;
- `upload`: the id with SHA-256 and length of the request's body;
- `download`, with `?size=BYTES&rate=BYTES_PER_S&chunked=1`: so much of the id's stream (rate 0: as fast as it goes);
- what goes wrong on purpose, and tunnels, stand in `tests/soak/faults.py`.

`/healthz` is for health checks, `/busy` says how many requests are in work here, `/whose/ID` which worker brought that one (0:
none that said so in `X-Worker`).
"""

from __future__ import annotations

import hashlib
import socket as plain_socket
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from tests.soak.faults import FAULTS
from tests.soak.known import PERIOD_BYTES, echo_of, receipt, stretch
from tests.soak.reading import Ended, Head, Reader

_STEP_BYTES = 32768
_MOST_KNOWN = 200_000
_busy = 0
_is_released = Event()
_workers: dict[str, str] = {}  # by the id of the request


def main() -> None:
    """Serve on a port of the kernel's choice until the process is ended."""
    server = StreamServer(("127.0.0.1", 0), serve, backlog=1024)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


def serve(sock: Any, _address: Any) -> None:
    """Serve one connection of the proxy until either side ends it."""
    sock.setsockopt(plain_socket.IPPROTO_TCP, plain_socket.TCP_NODELAY, 1)
    reader = Reader(sock)
    try:
        while True:
            head = reader.head()
            answer(sock, reader, head)
    except (Ended, OSError):
        pass  # whoever waits for an answer tells it: this side has nobody to tell
    finally:
        sock.close()


def answer(sock: Any, reader: Reader, head: Head) -> None:
    """Answer one request."""
    global _busy
    _method, target, _version = head.first
    path, _, query = target.partition("?")
    if path.startswith("/release/"):
        gevent.spawn_later(float(path.removeprefix("/release/")), _is_released.set)
    if path in ("/healthz", "/busy") or path.startswith("/release/") or path.startswith("/whose/"):
        body = _workers.get(path.removeprefix("/whose/"), str(_busy) if path == "/busy" else "0").encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return
    _, _route, what, ident = path.split("/")
    if "x-worker" in head.fields:
        _remember(ident, head.fields["x-worker"])
    options = {name: values[0] for name, values in parse_qs(query).items()}
    _busy += 1
    try:
        ANSWERS[what](sock, reader, head, ident, options)
    finally:
        _busy -= 1


def _remember(ident: str, worker: str) -> None:
    if len(_workers) >= _MOST_KNOWN:
        del _workers[next(iter(_workers))]
    _workers[ident] = worker


def echo(sock: Any, reader: Reader, head: Head, ident: str, options: dict[str, str]) -> None:
    """Answer with the id, after the wanted time."""
    for _ in reader.body(head, has_body=head.has_body()):
        pass
    if "held" in options:
        _is_released.wait()
    if "s" in options:
        gevent.sleep(float(options["s"]))
    sock.sendall(_small(ident, echo_of(ident)))


def upload(sock: Any, reader: Reader, head: Head, ident: str, _options: dict[str, str]) -> None:
    """Answer with what came."""
    digest, size = hashlib.sha256(), 0
    for piece in reader.body(head, has_body=head.has_body()):
        digest.update(piece)
        size += len(piece)
    sock.sendall(_small(ident, receipt(ident, digest.hexdigest(), size)))


def download(sock: Any, _reader: Reader, _head: Head, ident: str, options: dict[str, str]) -> None:
    """Send a stretch of the id's stream, not faster than wanted."""
    size, rate, is_chunked = int(options["size"]), float(options.get("rate", 0)), "chunked" in options
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    sock.sendall(f"HTTP/1.1 200 OK\r\nX-Id: {ident}\r\n{framing}\r\n\r\n".encode())
    start_s, sent = time.monotonic(), 0
    while sent < size:
        piece = stretch(ident, sent, min(_STEP_BYTES, PERIOD_BYTES, size - sent))
        sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
        sent += len(piece)
        ahead_s = sent / rate - (time.monotonic() - start_s) if rate else 0.0
        if ahead_s > 0.005:
            gevent.sleep(ahead_s)
    if is_chunked:
        sock.sendall(b"0\r\n\r\n")


def _small(ident: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nX-Id: {ident}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


ANSWERS: dict[str, Callable[[Any, Reader, Head, str, dict[str, str]], None]] = {
    "echo": echo,
    "upload": upload,
    "download": download,
    **FAULTS,
}

if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
