"""Targets: the proxies, each with one worker and the configuration that a sensible user would give it for this load.

All keep idle connections for ten minutes, pass on the client's address, and log nothing unless asked. greenproxy has every
feature on that is on by default, passive and active checks of its backends among them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.ground import Ground, nginx_command, nginx_folders, program

ROOT = Path(__file__).parent.parent
#: Where the Python peers are installed: their requirements and ours do not go together.
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class Variant:
    """Which proxy, and what is special about it. `source` is another checkout that greenproxy runs from."""

    proxy: str
    logs: bool = False
    workers: int = 1
    has_large_buffers: bool = False
    is_under_gunicorn: bool = False
    has_middleware: bool = False
    backends: int = 2
    routes: int = 0
    source: str = ""


@dataclass(frozen=True)
class Place:
    """Where a proxy listens and looks for its backends. `statsd` is a port that takes packets and drops them.

    Without `needs_tls` greenproxy has no such listener: another checkout, to compare with, may know none.
    """

    ground: Ground
    name: str
    plain: int
    secure: int
    statsd: int
    needs_tls: bool = False

    def write(self, suffix: str, text: str) -> str:
        """Write a file that belongs to this proxy and return its path."""
        return self.ground.write(f"{self.name}{suffix}".replace(" ", "-"), text)


@dataclass(frozen=True)
class Launch:
    """A command, and what must stand in its environment."""

    command: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)


def launch(variant: Variant, place: Place) -> Launch:
    """Write what the proxy reads, and return how it is started."""
    return _LAUNCHES[variant.proxy](variant, place)


def route_prefixes(count: int) -> list[str]:
    """Return the paths of so many routes, a power of ten or none: digits, and each has an equal share of the ground's targets."""
    return ["/" + str(count + n)[1:] for n in range(count)]


# ------------------------------------------------------------------ greenproxy


def _greenproxy(variant: Variant, place: Place) -> Launch:
    text = _greenproxy_ini(variant, place)
    file = place.write(".ini", text)
    place.ground.write("bench_edge.py", _MIDDLEWARE)
    environ = {"PYTHONPATH": f"{variant.source or ROOT}{os.pathsep}{place.ground.folder}", "PYTHONUNBUFFERED": "1"}
    if not variant.is_under_gunicorn:
        return Launch([sys.executable, "-m", "greenproxy", "-c", file], environ)
    bind, workers = f"127.0.0.1:{place.plain}", str(variant.workers)
    command = [sys.executable, "-m", "gunicorn", "-k", "greenproxy.worker.ProxyWorker", "-b", bind, "-w", workers, file]
    return Launch(command, environ)


_MIDDLEWARE = '''"""One function, as in the manual."""


def stamp(request, call_next):
    response = call_next(request)
    response.headers["X-Served-By"] = "edge-1"
    return response
'''


def _greenproxy_ini(variant: Variant, place: Place) -> str:
    backends = "\n".join(f"    http://{each}" for each in place.ground.origins[: variant.backends])
    routes = "".join(f"[route:r{n}]\npath = {prefix}\n\n" for n, prefix in enumerate(route_prefixes(variant.routes)))
    logs = f"access-log = {place.name}-access.log\nstatsd = 127.0.0.1:{place.statsd}" if variant.logs else "access-log = off"
    middleware = "middleware = stamp\n" if variant.has_middleware else ""
    secure = _SECURE.format(port=place.secure) if place.needs_tls else ""
    return f"""[greenproxy]
workers = {variant.workers}
worker-connections = 11000
{logs}

[listener:plain]
bind = 127.0.0.1:{place.plain}
idle-timeout = 600s
{middleware}
{secure}
[upstream:origin]
backends =
{backends}
pool-size = {512 if variant.backends <= 2 else 64}

{routes}{"[middleware:stamp]" if middleware else ""}
{"type = bench_edge:stamp" if middleware else ""}
"""


_SECURE = """[listener:secure]
bind = 127.0.0.1:{port}
idle-timeout = 600s
tls-certificate = cert.pem
tls-key = key.pem
"""


# ------------------------------------------------------------------ the others


#: By default nginx reads bodies ahead into files, from 16 KiB (of requests) and 64 KiB (of responses) on.
_LARGE_BUFFERS = """client_body_buffer_size 2m; proxy_buffer_size 64k; proxy_buffers 32 64k; proxy_busy_buffers_size 512k;
          proxy_max_temp_file_size 0;"""


def _nginx(variant: Variant, place: Place) -> Launch:
    servers = " ".join(f"server {each};" for each in place.ground.origins[: variant.backends])
    paths = route_prefixes(variant.routes) or ["/"]
    locations = "\n".join(f"location {path} {{ proxy_pass http://origin; }}" for path in paths)
    log = f"access_log {place.name}-access.log;" if variant.logs else "access_log off;"
    buffering = _LARGE_BUFFERS if variant.has_large_buffers else ""
    text = f"""
        worker_processes 1; daemon off; pid {place.name}.pid; error_log stderr crit;
        events {{ worker_connections 18000; }}
        http {{ {nginx_folders(place.name)} {log} {buffering} client_max_body_size 0;
          variables_hash_max_size 4096; keepalive_requests 1000000000; keepalive_timeout 600s;
          ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate cert.pem; ssl_certificate_key key.pem;
          proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
          upstream origin {{ {servers} keepalive {max(512, 2 * variant.backends)}; keepalive_requests 1000000000; }}
          server {{ listen 127.0.0.1:{place.plain} backlog=4096; listen 127.0.0.1:{place.secure} ssl backlog=4096;
            {locations} }} }}"""
    return Launch(nginx_command(place.ground.folder, place.write(".conf", text)))


def _haproxy(variant: Variant, place: Place) -> Launch:
    servers = "\n".join(f"  server o{n} {each} check" for n, each in enumerate(place.ground.origins[: variant.backends]))
    text = f"""global
  nbthread 1
  maxconn 10900
  no strict-limits
defaults
  mode http
  timeout client 600s
  timeout server 60s
  timeout connect 5s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{place.plain} backlog 4096
  bind 127.0.0.1:{place.secure} ssl crt both.pem ssl-min-ver TLSv1.2 alpn http/1.1 backlog 4096
  default_backend b
backend b
  balance roundrobin
{servers}
"""
    return Launch([program("haproxy"), "-db", "-f", place.write(".cfg", text)])


def _caddy(variant: Variant, place: Place) -> Launch:
    passing_on = f"""reverse_proxy {" ".join(place.ground.origins[: variant.backends])} {{
        lb_policy round_robin
    }}"""
    text = f"""{{
    admin off
    auto_https off
    default_sni localhost
}}
http://:{place.plain} {{
    bind 127.0.0.1
    {passing_on}
}}
https://:{place.secure} {{
    bind 127.0.0.1
    tls {place.ground.path("cert.pem")} {place.ground.path("key.pem")}
    {passing_on}
}}
"""
    command = [program("caddy"), "run", "--config", place.write(".caddyfile", text), "--adapter", "caddyfile"]
    home = str(place.ground.folder)
    return Launch(command, {"GOMAXPROCS": str(variant.workers), "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})


def _aiohttp(variant: Variant, place: Place) -> Launch:
    origins = [f"http://{each}" for each in place.ground.origins[: variant.backends]]
    program_file = str(Path(__file__).with_name("peer_aiohttp.py"))
    ports = [str(place.plain), str(place.secure), place.ground.path("both.pem")]
    return Launch([str(PEERS_PYTHON), program_file, *ports, *origins])


def _mitmproxy(variant: Variant, place: Place) -> Launch:
    def mode(port: int) -> list[str]:
        return ["--mode", f"reverse:http://{place.ground.origins[0]}@127.0.0.1:{port}"]

    options = ["--quiet", "--set", f"confdir={place.ground.path(place.name)}", "--certs", f"*={place.ground.path('both.pem')}"]
    command = str(PEERS_PYTHON.with_name("mitmdump"))
    assert variant.backends <= 2, "mitmproxy does not balance"
    return Launch([command, *options, *mode(place.plain), *mode(place.secure)])


_LAUNCHES: dict[str, Callable[[Variant, Place], Launch]] = {
    "greenproxy": _greenproxy,
    "nginx": _nginx,
    "haproxy": _haproxy,
    "caddy": _caddy,
    "aiohttp": _aiohttp,
    "mitmproxy": _mitmproxy,
}
PROXIES = tuple(_LAUNCHES)
