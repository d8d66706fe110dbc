"""HubBackend: a ScriptedBackend on greenlets of this thread's hub instead of threads, so that each time goes like the last.

Scripts and their steps are those of `tests.scripts`.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import gevent
from gevent import socket as hub_socket
from gevent.event import Event

from tests.hub import PATIENCE_S
from tests.scripts import Connection, Gone, Received, Script


class _Nobody:
    """Where a ScriptedBackend has a condition that threads wait for: here those who wait ask again themselves."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def notify_all(self) -> None: ...


class HubBackend:
    """Each connection plays a script of `play`: the first the first, and so on, the last one for ever.

    Listens on a loopback port, or on a Unix socket at `path`, whose buffers are small. `is_deaf`: nobody listens there.
    """

    host = "127.0.0.1"

    def __init__(self, name: str, path: str = "", *, is_deaf: bool = False) -> None:
        self.name = name
        self.requests: list[Received] = []
        self.errors: list[BaseException] = []
        self.gone = 0
        self.changed: Any = _Nobody()
        self.released: Any = Event()
        self.path = path
        self.port = 0
        self._scripts: list[Script] = []
        self._open: dict[Connection, gevent.Greenlet[..., None]] = {}
        self._played: set[Connection] = set()  # since the last `play`
        self._listener = hub_socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.bind(path or (self.host, 0))
        if not path:
            self.port = self._listener.getsockname()[1]
        if not is_deaf:
            self._listener.listen(64)
        self._acceptor = gevent.spawn(self._accept) if not is_deaf else gevent.spawn(int)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    @property
    def is_reached(self) -> bool:
        """Whether a connection has come since the last `play`."""
        return bool(self._played)

    @property
    def greenlets(self) -> set[object]:
        """Those that play this backend."""
        return {self._acceptor, *self._open.values()}

    def play(self, *scripts: Script) -> None:
        """Play these scripts with the connections that come from now on."""
        self._scripts = list(scripts)
        self._played.clear()
        self.released.clear()

    def record(self, request: Received) -> None:
        self.requests.append(request)

    def _accept(self) -> None:
        number = 0
        while True:
            sock, _ = self._listener.accept()
            if not self.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE_S)
            number += 1
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            connection = Connection(self, sock, number)
            self._played.add(connection)
            self._open[connection] = gevent.spawn(self._play, connection, script)

    def _play(self, connection: Connection, script: Script) -> None:
        steps: Sequence[Any] = script if isinstance(script, Sequence) else [script]
        try:
            for step in steps:
                step(connection)
        except TimeoutError as error:
            self.errors.append(error)
        except (OSError, Gone):
            pass  # the other side has left, or the test did it for us: that is how scripts end
        except AssertionError as error:
            self.errors.append(error)
        finally:
            connection.sock.close()
            del self._open[connection]

    def reset(self) -> None:
        """Break the connections that came since the last `play`. In the hub or from anywhere."""
        for connection in self._played & set(self._open):
            connection.reset()

    def stop(self) -> None:
        """Stop. Raises what scripts found wrong."""
        self.released.set()
        gevent.killall([self._acceptor, *self._open.values()])
        self._listener.close()
        if self.errors:
            raise self.errors[0]
