"""Single requests, besides the load: of listeners that come and go."""

from __future__ import annotations

import socket
import time

from tests.soak.known import echo_of
from tests.soak.reading import Ended, Malformed, Reader


def ask(port: int, seconds: float = 0.0) -> tuple[socket.socket, str]:
    """Send a request that takes so long, and return its connection and its id."""
    ident = f"single-{time.monotonic_ns():x}"
    sock = socket.create_connection(("127.0.0.1", port), 20.0)
    sock.sendall(f"GET /plain/echo/{ident}?s={seconds} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
    return sock, ident


def what_is_wrong(sock: socket.socket, ident: str) -> str:
    """Return what is wrong with the answer to a single request, "" when nothing is; closes the connection."""
    reader = Reader(sock)
    with sock:
        try:
            head = reader.head()
            body = b"".join(reader.body(head))
        except (OSError, Ended, Malformed) as error:
            return repr(error)
    return "" if head.first[1] == "200" and body == echo_of(ident) else f"{head.first[1]} {body[:100]!r}"


def no_echo_from(port: int) -> str:
    """Return why a new connection is not served, "" when it is."""
    try:
        return what_is_wrong(*ask(port))
    except ConnectionError as error:
        return repr(error)


def is_closed(port: int, within_s: float = 3.0) -> bool:
    """Return whether nobody listens there any more, as soon as that is so."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return True
        time.sleep(0.02)
    return False
