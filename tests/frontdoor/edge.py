"""The configuration and the middleware of these tests: requests that wait for the test, block a worker, or tell who serves."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import Process, Proxy, wait_until

MODULE = """
import os
import time
from pathlib import Path

from gevent.monkey import get_original
from greenproxy import Handler, Request, Response

here = Path(__file__).parent
if (here / "broken").exists():
    raise RuntimeError("this module is broken")


def edge(request: Request, call_next: Handler) -> Response:
    if request.path == "/gate":
        (here / "arrived").touch()
        while not (here / "go").exists():
            time.sleep(0.01)
    elif request.path == "/block":
        (here / "arrived").touch()
        get_original("time", "sleep")(60)
    return Response(200, body=b"%d" % os.getpid())
"""

#: Put before a module, this breaks it in workers only: the check imports it in a process that is not patched.
BROKEN_IN_WORKERS = """
from gevent.monkey import is_module_patched
if is_module_patched("socket"):
    raise RuntimeError("not in workers")
"""
HANGS_IN_WORKERS = """
from gevent.monkey import get_original, is_module_patched
if is_module_patched("socket"):
    get_original("time", "sleep")(60)
"""

PROCESS = {"workers": "2", "access-log": "off", "graceful-timeout": "15s"}
INI = """
[greenproxy]
{process}

[listener:web]
bind = 127.0.0.1:0
middleware = edge

[route:everything]
path = /
status = 404

[middleware:edge]
type = edge:edge
timeout = 60s
"""


def ini(**process: str) -> str:
    """Return the configuration, with other keys of [greenproxy] (`_` for `-`)."""
    keys = PROCESS | {key.replace("_", "-"): value for key, value in process.items()}
    return INI.format(process="\n".join(f"{key} = {value}" for key, value in keys.items()))


def edge(folder: Path, before_module: str = "", **process: str) -> Proxy:
    """Return a proxy with the middleware above, with other keys of [greenproxy] (`_` for `-`)."""
    (folder / "edge.py").write_text(before_module + MODULE)
    return Proxy(ini(**process), folder)


def get(port: int, path: str = "/") -> int:
    """Return the process id of the worker that answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return int(connection.getresponse().read())
    finally:
        connection.close()


@contextmanager
def request_in_flight(process: Process, port: int, path: str = "/gate") -> Iterator[http.client.HTTPConnection]:
    """Send a request and yield its connection as soon as a worker is at it; `open_gate` lets it go on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        wait_until((process.folder / "arrived").exists, "the request arrived")
        yield connection
    finally:
        connection.close()


def open_gate(process: Process) -> None:
    """Let requests for /gate go on."""
    (process.folder / "go").touch()
