"""Holds idle connections, in a process of its own: `python -m bench.holder PORT COUNT tls|plain`.

Each connection is served once, and then says nothing. "ready" tells that all are there. A line on standard input is answered
with how many of a sample still work; at the end of standard input the holder ends.
"""

from __future__ import annotations

import resource
import socket
import ssl
import sys

_REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
_SAMPLE = 50
#: Made once: a context of one's own for each connection takes longer than the handshake.
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE
CONTEXT.minimum_version = ssl.TLSVersion.TLSv1_3


def connect(port: int, is_secure: bool) -> socket.socket:
    """Return a connection that was served once."""
    sock = socket.create_connection(("127.0.0.1", port), 30.0)
    if is_secure:
        sock = CONTEXT.wrap_socket(sock, server_hostname="localhost")
    ask(sock)
    return sock


def ask(sock: socket.socket) -> None:
    """Ask for the greeting and read it. Raises OSError if it does not come."""
    sock.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b"origin\n"):
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError("the connection was closed")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(answer.partition(b"\r\n")[0].decode("latin-1"))


def is_alive(sock: socket.socket) -> bool:
    """Return whether a connection is still served."""
    try:
        ask(sock)
    except OSError:
        return False
    return True


def main(port: int, count: int, is_secure: bool) -> None:
    """Hold the connections until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = [connect(port, is_secure) for _ in range(count)]
    print("ready", flush=True)
    for _ in sys.stdin:
        sample = held[:: max(1, count // _SAMPLE)]
        print(f"alive {sum(map(is_alive, sample))} of {len(sample)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tls")
