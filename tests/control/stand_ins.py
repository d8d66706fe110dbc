"""Stand-ins for a running greenproxy: a process that notes its signals, and an admin listener that says what it is told to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.processes import PATIENCE_S, wait_until

_MASTER = """
import os, signal, sys
folder, ends = sys.argv[1], sys.argv[2] == "ends"

def note(signum, _frame):
    with open(os.path.join(folder, "signals"), "a") as file:
        print(signal.Signals(signum).name, file=file)
    if signum == signal.SIGTERM and ends:
        sys.exit(0)

for signum in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(signum, note)
with open(os.path.join(folder, "pid.new"), "w") as file:
    print(os.getpid(), file=file)
os.rename(os.path.join(folder, "pid.new"), os.path.join(folder, "pid"))
while True:
    signal.pause()
"""


class Master:
    """A process whose command line names `program`. It writes its pid file, and each HUP and TERM it gets; TERM `ends` it."""

    def __init__(self, folder: Path, program: str = "greenproxy", *, ends: bool = True) -> None:
        self.pid_file = folder / "pid"
        self._signals = folder / "signals"
        words = [sys.executable, "-c", _MASTER, str(folder), "ends" if ends else "stays", program]
        self._process = subprocess.Popen(words, start_new_session=True)

    def __enter__(self) -> Master:
        wait_until(self.pid_file.exists, "the stand-in runs")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def signals(self) -> list[str]:
        """The signals it got."""
        return self._signals.read_text().split() if self._signals.exists() else []

    @contextmanager
    def at_signal(self, act: Callable[[], object]) -> Iterator[None]:
        """Do something as soon as the first signal has come."""

        def wait() -> None:
            wait_until(lambda: self.signals, "a signal")
            act()

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def kill(self) -> None:
        """End it without a chance to clean up. It stays a zombie until the end of the block."""
        self._process.kill()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)


class Admin:
    """An admin listener. `answer` returns a status, and a document or the bytes of a page."""

    def __init__(self, answer: Callable[[Mapping[str, str]], tuple[int, Any]], *, path: str = "") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, said = answer(dict(self.headers.items()))
                page = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def address_string(self) -> str:
                return ""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_UNIX if path else socket.AF_INET
            daemon_threads = False

            def server_bind(self) -> None:
                self.socket.bind(self.server_address)
                self.server_name, self.server_port = "", 0

        self._server = Server(path or ("127.0.0.1", 0), Handler)  # type: ignore[arg-type]  # a path is an address too
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.address = f"unix:{path}" if path else f"127.0.0.1:{self._server.socket.getsockname()[1]}"

    def __enter__(self) -> Admin:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
