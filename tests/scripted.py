"""ScriptedBackend: an HTTP/1.1 backend on a real loopback socket that behaves, or misbehaves, on cue.

Each accepted connection plays a script (see `tests.scripts`) in a thread of its own. The first connection plays the
first script, and so on; the last script is played by all further ones. Nothing here waits without a bound, and nothing
is patched: plain sockets, plain threads.

    with ScriptedBackend([expect_request, send(answer(b"hello")), close]) as backend:
        ... http://127.0.0.1:{backend.port}/ ...
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.scripts import PATIENCE_S, Connection, Gone, Received, Script, echo


class ScriptedBackend:
    """A listening socket and the scripts that its connections play.

    `accepted`, `open`, `peak` count connections; `requests` are those that scripts read; `errors` are the scripts' own
    mistakes, which `stop` raises.
    """

    def __init__(self, *scripts: Script, name: str = "scripted", path: str = "", host: str = "127.0.0.1") -> None:
        self.name = name
        self.changed = threading.Condition()
        self.released = threading.Event()
        self.requests: list[Received] = []
        self.errors: list[BaseException] = []
        self.accepted = self.open = self.peak = self.gone = 0
        self._scripts: Sequence[Script] = scripts or (echo,)
        self._played = 0
        self._connections: dict[Connection, threading.Thread] = {}
        self._is_stopped = False
        self._listener = self._bound(path, host)
        self.path = path
        self.host = host
        self.port = 0 if path else self._listener.getsockname()[1]
        self._acceptor: threading.Thread | None = None
        self._fillers: list[socket.socket] = []

    @staticmethod
    def _bound(path: str, host: str) -> socket.socket:
        if path:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(path)
            return sock
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, 0))
        return sock

    @property
    def url(self) -> str:
        """What stands in `backends`."""
        if self.path:
            return f"unix:{self.path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    # -------------------------------------------------------------- life

    def start(self) -> ScriptedBackend:
        """Listen and accept. Before that the address is bound, so connections are refused."""
        self._listener.listen(1024)
        self._acceptor = threading.Thread(target=self._accept, name=f"{self.name}-accept", daemon=True)
        self._acceptor.start()
        return self

    def never_accept(self) -> ScriptedBackend:
        """Listen with a full backlog: whoever connects waits for ever."""
        self._listener.listen(0)
        while True:
            filler = socket.socket()
            filler.settimeout(0.2)
            self._fillers.append(filler)
            if filler.connect_ex(self._listener.getsockname()) != 0:
                return self

    def stop(self) -> None:
        """Close everything and wait for the threads. Raises what went wrong in a script."""
        self._is_stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._acceptor is not None:
            self._acceptor.join(PATIENCE_S)
        self._listener.close()
        for filler in self._fillers:
            filler.close()
        self._end_connections()
        if self.errors:
            raise AssertionError(f"a script of {self.name} failed") from self.errors[0]

    def _end_connections(self) -> None:
        self.released.set()
        with self.changed:
            living = dict(self._connections)
        for connection in living:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
        for connection, thread in living.items():
            thread.join(1.0)  # a peer that keeps its side open is shown out
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)

    def begin_again(self, *scripts: Script) -> None:
        """Show every connection out, forget what happened and play `scripts` (default: echo) from now on.

        When it returns, the peer has closed its side too: a pool has noticed.
        """
        self.play(*scripts)
        self._end_connections()
        errors, self.errors = self.errors, []
        with self.changed:
            self.requests, self.accepted, self.peak, self.gone = [], 0, 0, 0
        self.released.clear()
        if errors:
            raise AssertionError(f"a script of {self.name} failed") from errors[0]

    def play(self, *scripts: Script) -> None:
        """Play these scripts on the connections to come."""
        with self.changed:
            self._scripts, self._played = scripts or (echo,), 0

    def release(self) -> None:
        """Let every script that hangs go on."""
        self.released.set()

    def wait_for(self, predicate: Callable[[], Any], seconds: float = 10.0) -> None:
        """Wait until `predicate()` holds; an AssertionError when it does not within `seconds`."""
        end = time.monotonic() + seconds
        with self.changed:
            while not predicate():
                left = end - time.monotonic()
                assert left > 0, f"{self.name}: {self.accepted} accepted, {len(self.requests)} requests, {self.gone} gone"
                self.changed.wait(min(left, 0.05))

    def record(self, request: Received) -> None:
        """Note a request that was read."""
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()

    def __enter__(self) -> ScriptedBackend:
        return self if self._acceptor or self._fillers else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -------------------------------------------------------------- threads

    def _accept(self) -> None:
        while not self._is_stopped:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE_S)
            with self.changed:
                self.accepted += 1
                self.open += 1
                self.peak = max(self.peak, self.open)
                connection = Connection(self, sock, self.accepted)
                script = self._scripts[min(self._played, len(self._scripts) - 1)]
                self._played += 1
                thread = threading.Thread(target=self._run, args=(connection, script), name=self.name, daemon=True)
                self._connections[connection] = thread
                thread.start()  # under the lock, so that nobody joins a thread that has not begun
                self.changed.notify_all()

    def _run(self, connection: Connection, script: Script) -> None:
        try:
            for step in [script] if callable(script) else script:
                step(connection)
        except (OSError, Gone):
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            connection.sock.close()
            with self.changed:
                self.open -= 1
                self._connections.pop(connection, None)
                self.changed.notify_all()
