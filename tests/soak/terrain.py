"""Terrain: what the mixed traffic passes through, with backends that are dead, late, narrow and faulty, and leaks on purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.soak.site import free_port

#: How long a worker that is to end may go on: far longer than any request or tunnel of the mixed traffic takes.
_PATIENCE_S = 60

#: `stamp` as in `site`; each of the others loses something with every request that it is meant for.
MODULE = """
import os
import socket
import time
from pathlib import Path

import gevent
from gevent.event import Event

from greenproxy import Handler, Request, Response

_kept = []
_begun = Path(__file__).with_name("begun")  # has the moment from which times grow
_moments = {}


def stamp(request: Request, call_next: Handler) -> Response:
    request.headers["X-Worker"] = str(os.getpid())
    response = call_next(request)
    response.headers["X-Worker"] = str(os.getpid())
    return response


def descriptor(request: Request, call_next: Handler) -> Response:
    response = call_next(request)
    response.body = Ended(response.body) if "/download/" in request.path or "/cut/" in request.path else response.body
    return response


class Ended:
    def __init__(self, body):
        self._body, self._is_whole = body, False

    def __iter__(self):
        yield from ([self._body] if isinstance(self._body, bytes) else self._body)
        self._is_whole = True

    def close(self):
        if not self._is_whole:
            _kept.append(socket.socket())
        if hasattr(self._body, "close"):
            self._body.close()


def greenlet(request: Request, call_next: Handler) -> Response:
    if "/tunnel/" in request.path:
        _kept.append(gevent.spawn(Event().wait))
    return call_next(request)


def memory(request: Request, call_next: Handler) -> Response:
    _kept.append(bytearray({leak_bytes}))
    return call_next(request)


def latency(request: Request, call_next: Handler) -> Response:
    if "/echo/" in request.path:
        if not _moments and _begun.exists():
            _moments["begun"] = float(_begun.read_text())
        now_s = time.monotonic()
        gevent.sleep((now_s - _moments.get("begun", now_s)) * {leak_s})
    return call_next(request)
"""
#: What can be leaked on purpose.
LEAKS = ("descriptor", "greenlet", "memory", "latency")

INI = """
[greenproxy]
workers = 2
access-log = /dev/null
log-level = info
graceful-timeout = {patience_s}s
reload-timeout = {patience_s}s
pid-file = greenproxy.pid
admin = 127.0.0.1:{admin}
{listeners}
[upstream:app]
backends =
{backends}
pool-size = 500
health-path = /healthz
health-interval = 1s

[upstream:faulty]
backends =
{backends}
max-fails = 0
health-interval = 0

[upstream:narrow]
backends =
{backends}
pool-size = 1
pool-queue = 1
pool-queue-timeout = 50ms
health-interval = 0

[upstream:dead]
backends = http://127.0.0.1:{nobody}

[route:stamped]
path = /stamped/
upstream = app
middleware = stamp

[route:faulty]
path = /faulty/
upstream = faulty

[route:narrow]
path = /narrow/
upstream = narrow

[route:dead]
path = /dead/
upstream = dead

[route:late]
path = /late/
upstream = faulty
request-timeout = 200ms

[route:tiny]
path = /tiny/
upstream = app
max-body = 1KiB

[route:missing]
path = /missing/
status = 404

[middleware:stamp]
type = soak_terrain:stamp
"""
LISTENER = """
[listener:{name}]
bind = 127.0.0.1:{port}
upstream = app
"""
LEAKING = """
[middleware:leak-{leak}]
type = soak_terrain:{leak}
timeout = 60s
"""


class Terrain:
    """Writes the configuration of one proxy into `folder`. Its ports stay the same.

    `nobody` is a port on which nobody listens, `pair` a certificate and its key; `leaks` are from LEAKS.
    """

    def __init__(
        self, folder: Path, backends: Sequence[int], nobody: int, pair: tuple[Path, Path] | None, leaks: Sequence[str] = ()
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self.targets: list[list[object]] = [["127.0.0.1", self.port]]
        listeners = LISTENER.format(name="web", port=self.port)
        if pair is not None:
            port = free_port()
            self.targets.append(["127.0.0.1", port, "tls"])
            keys = f"tls-certificate = {pair[0]}\ntls-key = {pair[1]}\n"
            listeners += LISTENER.format(name="secure", port=port) + keys
        if leaks:
            names = ", ".join(f"leak-{leak}" for leak in leaks)
            listeners = listeners.replace("upstream = app\n", f"upstream = app\nmiddleware = {names}\n")
        self.ini = INI.format(
            admin=self.admin_port,
            nobody=nobody,
            listeners=listeners,
            backends="\n".join(f"    http://127.0.0.1:{port}" for port in backends),
            patience_s=_PATIENCE_S,
        ) + "".join(LEAKING.format(leak=leak) for leak in leaks)

    def write_module(self, *, leak_bytes: int = 1024, leak_s: float = 0.001) -> None:
        """Write the middleware. `leak_bytes` is what a request leaks of memory, `leak_s` what a second adds to all times."""
        text = MODULE.replace("{leak_bytes}", str(leak_bytes)).replace("{leak_s}", str(leak_s))
        (self.folder / "soak_terrain.py").write_text(text)

    def begin(self, now_s: float) -> None:
        """From this moment on times grow, if they leak."""
        (self.folder / "begun.new").write_text(str(now_s))
        os.replace(self.folder / "begun.new", self.folder / "begun")


def make_pair(folder: Path) -> tuple[Path, Path] | None:
    """Return the files of a certificate for `localhost` and of its key, None where openssl(1) is missing."""
    if shutil.which("openssl") is None:
        return None
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "400"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", *kind, *names, "-keyout", str(key), "-out", str(certificate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return certificate, key
