"""A configuration with something of everything, and the settings it stands for."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from greenproxy.config.settings import (
    Address,
    BackendSettings,
    DemoSettings,
    ListenerSettings,
    MiddlewareSettings,
    PathMatch,
    ProcessSettings,
    RelaySettings,
    RouteSettings,
    Settings,
    UpstreamSettings,
)

TEXT = """\
    [greenproxy]
    workers = 3
    worker-timeout = 1m
    access-log = off
    statsd = [::1]:8125
    server-header = off
    via = off

    [listener:web]
    bind = :8080, unix:web.sock
    upstream = shop
    middleware = request-id, edge
    trusted-proxies =
        10.0.0.0/8
        unix:
    max-body = 1MiB

    [listener:inner]
    bind = 127.0.0.1:9000

    [upstream:shop]
    backends =
        http://10.0.0.11:8000 weight=3 name=blue   # the big one
        unix:/run/shop.sock backup
    health-status = 200-299, 401
    retries = 0
    retry-on = connect
    connect-timeout = 250ms

    [upstream:other]
    backends = http://other.example

    [route:api]
    listener = web, inner
    host = API.example.com, *.example.com
    path =
        /api/
        = /a, b
        ~ ^/v[0-9]+/
    method = GET, POST
    header = X-Beta: 1, 2
    upstream = other
    strip-prefix = /api
    request-timeout = 5s
    max-body = 0

    [route:away]
    path = /old/
    redirect = https://example.com
    redirect-status = 301
    middleware = edge

    [middleware:edge]
    type = package.module:factory
    timeout = 250ms
    some-key = a, b
        c

    [demo:blue]
    bind = 127.0.0.1:9001
"""

SETTINGS = Settings(
    source=Path("f.ini"),
    process=ProcessSettings(
        workers=3,
        worker_timeout_s=60.0,
        access_log="off",
        statsd=Address(host="::1", port=8125),
        server_header="",
        via=False,
    ),
    listeners=(
        ListenerSettings(
            name="web",
            bind=(Address(port=8080), Address(path="/etc/greenproxy/web.sock")),
            upstream="shop",
            middleware=("request-id", "edge"),
            trusted_proxies=(ipaddress.IPv4Network("10.0.0.0/8"),),
            trust_unix=True,
            max_body_bytes=1024 * 1024,
        ),
        ListenerSettings(name="inner", bind=(Address(host="127.0.0.1", port=9000),)),
    ),
    upstreams=(
        UpstreamSettings(
            name="shop",
            backends=(
                BackendSettings(address=Address(host="10.0.0.11", port=8000), weight=3, name="blue"),
                BackendSettings(address=Address(path="/run/shop.sock"), is_backup=True),
            ),
            health_status=((200, 299), (401, 401)),
            relay=RelaySettings(retries=0, retry_on=("connect",), connect_timeout_s=0.25),
        ),
        UpstreamSettings(name="other", backends=(BackendSettings(address=Address(host="other.example", port=80)),)),
    ),
    routes=(
        RouteSettings(
            name="api",
            line=33,
            listener=("web", "inner"),
            host=("api.example.com", "*.example.com"),
            path=(
                PathMatch(kind="prefix", text="/api/"),
                PathMatch(kind="exact", text="/a, b"),
                PathMatch(kind="regex", text="^/v[0-9]+/"),
            ),
            method=("GET", "POST"),
            header=(("X-Beta", "1, 2"),),
            upstream="other",
            strip_prefix="/api",
            max_body_bytes=0,
            relay=RelaySettings(request_timeout_s=5.0),
        ),
        RouteSettings(
            name="away",
            line=47,
            path=(PathMatch(kind="prefix", text="/old/"),),
            redirect="https://example.com",
            redirect_status=301,
            middleware=("edge",),
        ),
    ),
    middlewares=(
        MiddlewareSettings(name="edge", type="package.module:factory", timeout_s=0.25, options=(("some-key", "a, b\nc"),)),
        MiddlewareSettings(name="request-id", type="request-id"),
    ),
    demos=(DemoSettings(name="blue", bind=Address(host="127.0.0.1", port=9001)),),
)
