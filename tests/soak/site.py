"""The site under load: the configuration in its variants, good and evil, its middleware, and its two backends."""

from __future__ import annotations

import http.client
import random
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import Process, wait_until

#: `stamp` tells the backend who asks and the client who answered; `spin` never lets go. The rest goes wrong in workers only:
#: before a configuration is used, its modules are imported in a process that is not patched.
MODULE = """
import os

from greenproxy import Handler, Request, Response


def stamp(request: Request, call_next: Handler) -> Response:
    request.headers["X-Worker"] = str(os.getpid())
    response = call_next(request)
    response.headers["X-Worker"] = str(os.getpid())
    return response


def spin(request: Request, call_next: Handler) -> Response:
    while True:
        pass
"""
IN_WORKERS = "from gevent.monkey import is_module_patched\nif is_module_patched('socket'):\n"
RAISES = IN_WORKERS + "    raise RuntimeError('raised at the import')\n"
DIES = IN_WORKERS + "    import os; os._exit(9)\n"
HARMLESS = "\n\ndef nothing(request, call_next):\n    return call_next(request)\n"

INI = """
[greenproxy]
{process}

{listeners}

[upstream:app]
backends =
{backends}
pool-size = 500
health-path = /healthz
health-interval = 1s

[route:stamped]
path = /stamped/
middleware = stamp

[route:spin]
path = /spin
middleware = spin
status = 404

[middleware:stamp]
type = soak_site:stamp

[middleware:spin]
type = soak_site:spin
timeout = 60s
{more}
"""
LISTENER = """
[listener:{name}]
bind = 127.0.0.1:{port}
upstream = app
"""
EVIL = """
[route:evil]
path = /evil
middleware = evil
status = 404

[middleware:evil]
type = {module}:nothing
"""


def free_port() -> int:
    """Return a port on which nobody listens, from below those that the kernel gives to clients."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


class Site:
    """Writes configurations into `folder`. Addresses stay the same from one to the next."""

    def __init__(self, folder: Path, backends: Sequence[int]) -> None:
        self.folder = folder
        self.port = free_port()
        self.extra_ports = [free_port(), free_port()]
        self._backends = "\n".join(f"    http://127.0.0.1:{port}" for port in backends)
        self._evils = 0
        (folder / "soak_site.py").write_text(MODULE)

    def ini(self, *, extra: Sequence[int] = (), more: str = "", process: Mapping[str, str] | None = None) -> str:
        """Return a configuration with the listener `web` and one for each port of `extra`."""
        keys = {"workers": "2", "access-log": "off", "graceful-timeout": "10s", **(process or {})}
        listeners = [("web", self.port), *((f"extra-{port}", port) for port in extra)]
        return INI.format(
            process="\n".join(f"{key} = {value}" for key, value in keys.items()),
            listeners="".join(LISTENER.format(name=name, port=port) for name, port in listeners),
            backends=self._backends,
            more=more,
        )

    def evil(self, module: str) -> str:
        """Return the part of a configuration with a middleware whose module begins like this. Each has a name of its own."""
        self._evils += 1
        name = f"evil_{self._evils}"
        (self.folder / f"{name}.py").write_text(module + HARMLESS)
        return EVIL.format(module=name)


@contextmanager
def backends(folder: Path, count: int = 2) -> Iterator[list[int]]:
    """Run backends and yield their ports."""
    with ExitStack() as running:
        started = []
        for number in range(count):
            (folder / f"backend{number}").mkdir()
            process = Process([sys.executable, "-m", "tests.soak.backend"], folder / f"backend{number}")
            started.append(running.enter_context(process))
        yield [_port_of(backend) for backend in started]


def _port_of(backend: Process) -> int:
    """Return the port that a backend has printed, as soon as it has."""

    def printed() -> str:
        assert backend.exit_status is None, f"the backend has ended:\n{backend.log()}"
        return backend.output()

    return int(wait_until(printed, "a backend listens"))


def in_work(ports: Sequence[int]) -> int:
    """Return how many requests the backends are at."""
    return sum(_ask(port, "/busy") for port in ports)


def release(ports: Sequence[int], after_s: float) -> None:
    """Let the backends answer so much later what they hold, however long it took until all of it had come to them."""
    for port in ports:
        _ask(port, f"/release/{after_s}")


def worker_of(ports: Sequence[int], ident: str) -> int:
    """Return the process id of the worker that brought this request to a backend, 0 when none did."""
    return max(_ask(port, f"/whose/{ident}") for port in ports)


def _ask(port: int, path: str) -> int:
    """Return the number that a backend answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return int(connection.getresponse().read())
    finally:
        connection.close()
