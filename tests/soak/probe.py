"""The probe: small requests on a few connections, through the proxy and straight to a backend by turns, and how long each took.

`python -m tests.soak.probe PROXY_PORT BACKEND_PORT PER_SECOND FILE` runs until TERM. A line of the file is the moment (of the
clock that all processes share) and both times, in seconds. It is a process of its own that does nothing else, so what it
measures is not its own queue; and since both ways wait for the same machine, their ratio says what the proxy adds.
"""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
import time
from typing import Any

from tests.soak.known import echo_of
from tests.soak.reading import Ended, Malformed, Reader

_TIMEOUT_S = 30.0
_CONNECTIONS = 8  # to the proxy, so that each worker has some


class Way:
    """A kept connection to one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None
        self._reader: Any = None

    def ask(self, ident: str) -> float:
        """Return the seconds that an exchange took. Raises OSError, Ended or Malformed when it failed."""
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), _TIMEOUT_S)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = Reader(self._sock)
        began_s = time.monotonic()
        try:
            self._sock.sendall(f"GET /plain/echo/{ident} HTTP/1.1\r\nHost: soak\r\nX-Id: {ident}\r\n\r\n".encode())
            head = self._reader.head()
            if b"".join(self._reader.body(head)) != echo_of(ident):
                raise Malformed(f"another answer than that for {ident}")
        except (OSError, Ended, Malformed):
            self.close()
            raise
        took_s = time.monotonic() - began_s
        if head.fields.get("connection", "").lower() == "close":
            self.close()
        return took_s

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def main() -> None:
    """Measure until told to stop. An exchange that fails is a line with -1."""
    port, backend_port, per_s, path = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    with open(path, "w", buffering=1) as out:

        def probe(number: int) -> None:
            through, straight = Way(port), Way(backend_port)
            is_over.wait(number / per_s)
            due_s = time.monotonic()
            for turn in itertools.count():
                if is_over.is_set():
                    break
                times = [ask(way, f"probe-{number}-{turn:x}") for way in (through, straight)]
                out.write(f"{time.monotonic():.3f} {times[0]:.6f} {times[1]:.6f}\n")
                due_s = max(due_s + _CONNECTIONS / per_s, time.monotonic() - 1)  # what a long wait has cost is not made up for
                is_over.wait(max(0.0, due_s - time.monotonic()))

        threads = [threading.Thread(target=probe, args=(number,)) for number in range(_CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def ask(way: Way, ident: str) -> float:
    """Return how long it took, -1 for one that failed."""
    try:
        return way.ask(ident)
    except (OSError, Ended, Malformed) as error:
        print(f"{ident}: {error!r}", file=sys.stderr, flush=True)
        return -1.0


if __name__ == "__main__":
    main()
