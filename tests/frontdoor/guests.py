"""Plain gunicorn with our workers, for the tests of this door, and clients that keep it busy meanwhile."""

from __future__ import annotations

import http.client
import socket
import sys
import threading
from pathlib import Path

from tests.frontdoor.edge import MODULE
from tests.processes import Process, children_of, wait_until

INI = """
[greenproxy]
access-log = off
graceful-timeout = 15s

[listener:web]
bind = 127.0.0.1:1
middleware = edge

[listener:second]
bind = 127.0.0.1:0
    unix:second.sock
middleware = edge

[middleware:edge]
type = edge:edge
timeout = 60s

[route:everything]
path = /
status = 404
"""


def answers(host: str, port: int) -> bool:
    """Return whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


class Gunicorn(Process):
    """gunicorn with two of our workers. Entering the block waits until both serve."""

    def __init__(self, folder: Path, *flags: str, app: str = "greenproxy.ini", environ: dict[str, str] | None = None) -> None:
        (folder / "edge.py").write_text(MODULE)
        (folder / "greenproxy.ini").write_text(INI)
        script = str(Path(sys.executable).with_name("gunicorn"))  # after USR2 `python -m gunicorn` would find its own `http`
        base = [sys.executable, script, "-b", "127.0.0.1:0", "--no-control-socket", "-w", "2"]
        super().__init__([*base, "-k", "greenproxy.worker.ProxyWorker", *flags, app], folder, environ)

    def __enter__(self) -> Gunicorn:
        self.start()
        try:
            self.wait_for_log("Listening at")
            wait_until(lambda: len(self.workers()) == 2, "two workers")
            self.wait_for_log(r"listening on \S+ \(second\)")
        except BaseException:
            self.kill_all()
            raise
        return self

    def workers(self) -> list[int]:
        return children_of(self.pid)

    def port(self) -> int:
        """Return gunicorn's own port."""
        return int(self.wait_for_log(r"Listening at: https?://127\.0\.0\.1:(\d+)")[1])

    def second_port(self) -> int:
        """Return the port of the other listener."""
        return int(self.wait_for_log(r"listening on https?://127\.0\.0\.1:(\d+) \(second\)")[1])

    def configure(self, text: str) -> None:
        """Write gunicorn's own configuration, which it finds by itself."""
        (self.folder / "gunicorn.conf.py").write_text(text)

    def write(self, ini: str) -> None:
        """Write our file anew."""
        (self.folder / "greenproxy.ini").write_text(ini)

    def renewed(self, before: list[int], count: int = 2) -> list[int]:
        """Return the workers as soon as none is from before, and all are there."""
        wait_until(lambda: len(self.workers()) == count and not set(self.workers()) & set(before), "the workers are new")
        return self.workers()


BREATH_S = 0.01  # between the requests of a client: with less, eight of them keep the machine from what the test is about


class Busy:
    """Clients that ask all the time, on fresh connections and on kept ones, until the block ends. `failures` tells theirs."""

    def __init__(self, *ports: int, clients: int = 2) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self.workers: set[int] = set()
        self._is_over = threading.Event()
        jobs = [job for port in ports for job in [(port, True), (port, False)] * clients]
        self._threads = [threading.Thread(target=self._ask, args=job) for job in jobs]

    def __enter__(self) -> Busy:
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, answers: int = 100) -> None:
        """Wait until so many more requests were answered."""
        until = self.answers + answers
        wait_until(lambda: self.answers >= until or self.failures, "more answers")

    def _ask(self, port: int, keeps: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._is_over.wait(BREATH_S):
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.workers.add(int(answer.read()))
                self.answers += 1
                if not keeps or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                return
        if connection is not None:
            connection.close()
