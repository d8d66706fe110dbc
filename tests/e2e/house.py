"""The house that most end-to-end tests share: one proxy in front of one scripted backend, many ways in.

A path's first part chooses the route, and with it what is special about it; anything else goes to the backend
plainly. Tests whose configuration is their own start their own proxy.
"""

from __future__ import annotations

from pathlib import Path

from tests.client import Address, RawClient
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend

INI = """
[greenproxy]
worker-connections = 4000
graceful-timeout = 5s

[listener:web]
bind = 127.0.0.1:0
upstream = plain

[listener:trusting]
bind = 127.0.0.1:0
upstream = plain
trusted-proxies = 127.0.0.0/8, 192.0.2.0/24

[listener:hasty]
bind = 127.0.0.1:0
upstream = plain
header-timeout = 300ms
body-timeout = 300ms
idle-timeout = 400ms
send-timeout = 500ms

[listener:small]
bind = 127.0.0.1:0
upstream = plain
max-header-size = 1KiB
max-headers = 10
max-uri = 200
max-body = 100
keepalive-requests = 3

[listener:bare]
bind = 127.0.0.1:0

[upstream:plain]
backends = {backend} name=blue
health-interval = 0
max-fails = 0

[upstream:hasty]
backends = {backend} name=blue
health-interval = 0
max-fails = 0
response-timeout = 300ms
read-timeout = 300ms

[upstream:narrow]
backends = {backend} name=blue
health-interval = 0
max-fails = 0
pool-size = 1
pool-queue = 1
pool-queue-timeout = 1s

[upstream:patient]
backends = {backend} name=blue
health-interval = 0
max-fails = 0
pool-size = 1
pool-queue = 1
pool-queue-timeout = 60s

[upstream:refusing]
backends = {refusing} name=shut
health-interval = 0
max-fails = 0

[upstream:missing]
backends = unix:missing.sock name=missing
health-interval = 0
max-fails = 0

[upstream:silent]
backends = {silent} name=silent
health-interval = 0
max-fails = 0
connect-timeout = 300ms

[upstream:down]
backends = {refusing} name=shut
health-interval = 0
max-fails = 1
fail-timeout = 90s

[route:hasty]
listener = web
path = /hasty/
upstream = hasty

[route:narrow]
listener = web
path = /narrow/
upstream = narrow

[route:patient]
listener = web
path = /patient/
upstream = patient

[route:refusing]
listener = web
path = /refusing/
upstream = refusing

[route:missing]
listener = web
path = /missing/
upstream = missing

[route:silent]
listener = web
path = /silent/
upstream = silent

[route:down]
listener = web
path = /down/
upstream = down

[route:limited]
listener = web
path = /limited/
upstream = plain
request-timeout = 300ms

[route:raising]
listener = web
path = /raising/
upstream = plain
middleware = raising

[route:slow]
listener = web
path = /slow/
upstream = plain
middleware = slow

[route:nonsense]
listener = web
path = /nonsense/
upstream = plain
middleware = nonsense

[route:only-get]
listener = bare
path = /only-get/
method = GET, HEAD
upstream = plain

[middleware:raising]
type = misbehaving:raise_an_error

[middleware:slow]
type = misbehaving:wait_for_ever
timeout = 200ms

[middleware:nonsense]
type = misbehaving:return_nonsense
"""

MISBEHAVING = '''
"""Middleware that goes wrong."""

import time


def raise_an_error(request, call_next):
    raise RuntimeError("on purpose")


def wait_for_ever(request, call_next):
    time.sleep(60)
    return call_next(request)


def return_nonsense(request, call_next):
    return 42
'''


class House:
    """The shared proxy and its backend."""

    def __init__(self, proxy: RunningProxy, backend: ScriptedBackend) -> None:
        self.proxy = proxy
        self.backend = backend

    def address(self, listener: str = "web") -> Address:
        """Return where that listener is."""
        return self.proxy.address(listener)

    def client(self, listener: str = "web", **options: int) -> RawClient:
        """Return a new connection to that listener."""
        return RawClient(self.address(listener), **options)


def build(folder: Path, backend: ScriptedBackend, refusing: ScriptedBackend, silent: ScriptedBackend) -> RunningProxy:
    """Return the shared proxy, not yet started."""
    ini = INI.format(backend=backend.url, refusing=refusing.url, silent=silent.url)
    return RunningProxy(folder, ini, files={"misbehaving.py": MISBEHAVING})
