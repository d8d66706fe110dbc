"""Every setting: its name with its unit, its default, one sentence. Frozen, checked once at start.

The key in the file is the field's name with `-` for `_` and without the unit (`pool_idle_timeout_s` is
`pool-idle-timeout`). The reader, the flags, `docs/configuration.md` and the tests work from these fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

_is_ipv4_loopback = re.compile(r"127(\.[0-9]+){3}").fullmatch


def knob(default: Any, sentence: str) -> Any:
    """Return a dataclass field with a default and the sentence that the reference shows."""
    return field(default=default, metadata={"sentence": sentence})


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen or to connect: a host and port, or the path of a Unix socket."""

    host: str = ""  # "" with a port: every IPv4 address; an IPv6 address without brackets
    port: int = 0
    path: str = ""  # a Unix socket; host and port are then empty

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: loopback, or a Unix socket."""
        return bool(self.path or _is_ipv4_loopback(self.host)) or self.host in ("localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """`[greenproxy]`: one process and its workers."""

    workers: int = knob(0, "worker processes")
    worker_connections: int = knob(10000, "clients per worker; more wait in the kernel's backlog")
    worker_timeout_s: float = knob(30.0, "a worker that hangs for this long is replaced")
    max_requests: int = knob(0, "requests after which a worker is replaced by a fresh one")
    max_requests_jitter: int = knob(0, "a random number up to this is added to max-requests, per worker")
    backlog: int = knob(2048, "connections that may wait in the kernel, per address")
    reuse_port: bool = knob(False, "whether each worker has a queue of its own, which the kernel fills, per TCP address")
    graceful_timeout_s: float = knob(30.0, "how long requests in flight may take to finish on stop")
    reload_timeout_s: float = knob(600.0, "how long requests in flight may take to finish in workers that were replaced")
    access_log: str = knob("-", "a file, - for standard output, or off")
    access_log_format: str = knob("combined", "combined or json")
    error_log: str = knob("-", "a file, or - for standard error")
    log_level: str = knob("info", "debug, info, warning, error or critical")
    admin: Address | None = knob(None, "where the state is shown: an address or `unix:/path`, or off")
    admin_token: str = knob("", "what readers of the state must know; required where admin is not loopback or a Unix socket")
    statsd: Address | None = knob(None, "where metrics are sent by UDP, host:port, or off")
    statsd_prefix: str = knob("greenproxy", "the first part of every metric's name")
    statsd_tags: tuple[str, ...] = knob((), "tags of every metric, in the manner of DogStatsD: env:prod, canary")
    resolve_interval_s: float = knob(30.0, "how often names of backends are looked up again, in the background")
    via: bool = knob(True, "whether forwarded requests carry a Via field")
    server_header: str = knob("greenproxy", "the Server field of our own answers, or off")
    pid_file: str = knob("", "a file that holds the master's process id")
    user: str = knob("", "the user that workers run as")
    group: str = knob("", "the group that workers run as")


@dataclass(frozen=True, kw_only=True)
class ListenerSettings:
    """`[listener:NAME]`: one front door."""

    name: str
    bind: tuple[Address, ...] = knob((), "addresses to listen on: `host:port`, `:port`, `[ipv6]:port`, `unix:/path`")
    protocol: str = knob("http", "what clients speak: http")
    upstream: str = knob("", "the upstream for requests that no route takes")
    middleware: tuple[str, ...] = knob((), "middleware for all requests of this listener, outermost first")
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = knob(
        (),
        "networks whose X-Forwarded-*, X-Real-IP and Forwarded are believed; `unix:` is every client on a Unix socket",
    )
    trust_unix: bool = False  # `unix:` stands among trusted-proxies
    tls_certificate: tuple[str, ...] = knob(
        (), "files of certificates, with their chains, one per line; with them clients speak TLS"
    )
    tls_key: tuple[str, ...] = knob((), "the files of their keys, in the same order; without it keys stand with the certificates")
    tls_client_ca: str = knob("", "a file of authorities: clients are asked for certificates of theirs")
    tls_client: str = knob("required", "whether a client must have one: required or optional")
    header_timeout_s: float = knob(10.0, "for a whole request head, from its first byte; then 408")
    body_timeout_s: float = knob(30.0, "for silence in a request body; then 408")
    idle_timeout_s: float = knob(60.0, "for silence between requests and before the first; then the connection is closed")
    send_timeout_s: float = knob(30.0, "for a client that does not read; then it is cut")
    keepalive_requests: int = knob(0, "requests on one connection before it is closed")
    max_header_size_bytes: int = knob(32 * 1024, "the longest request head; then 431")
    max_headers: int = knob(100, "the most header fields in a request; then 431")
    max_uri_bytes: int = knob(8 * 1024, "the longest request target; then 414")
    max_body_bytes: int = knob(0, "the longest request body; then 413")


@dataclass(frozen=True, kw_only=True)
class RelaySettings:
    """What an upstream sets and a route may override: the deadlines and retries of one exchange."""

    pool_queue_timeout_s: float = knob(1.0, "the longest wait for a free connection; then 503")
    connect_timeout_s: float = knob(5.0, "for a connection to a backend; then 504")
    response_timeout_s: float = knob(30.0, "from the last byte of the request to the head of the response; then 504")
    read_timeout_s: float = knob(30.0, "for silence in a response body; then the client is cut")
    response_buffer_bytes: int = knob(
        256 * 1024, "what of a response is read ahead of a slow client; a backend is free when it fits"
    )
    request_timeout_s: float = knob(0.0, "for the whole exchange, queue and retries included; then 504")
    retries: int = knob(1, "how many more tries a request gets, on another backend where there is one")
    retry_on: tuple[str, ...] = knob(("connect", "reset"), "what is tried again: connect, reset, timeout, 502, 503, 504")


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """One line of `backends`."""

    address: Address
    scheme: str = "http"
    weight: int = 1
    name: str = ""  # as given; `label` is what the log shows
    is_backup: bool = False

    @property
    def label(self) -> str:
        """The name, or the address where none was given."""
        return self.name or str(self.address)


@dataclass(frozen=True, kw_only=True)
class UpstreamSettings:
    """`[upstream:NAME]`: a named group of backends. `relay` holds the keys that a route may override."""

    name: str
    backends: tuple[BackendSettings, ...] = knob(
        (), "the servers, one per line: `http://host:port` or `unix:/path`, then `weight=N`, `name=NAME`, `backup`"
    )
    balance: str = knob("round-robin", "round-robin or random; weights count")
    pool_size: int = knob(64, "sockets per backend and worker, probes not counted")
    pool_queue: int = knob(100, "requests per upstream and worker that may wait for a free connection; the next gets 503")
    pool_idle_timeout_s: float = knob(30.0, "an idle backend connection is closed after this")
    pool_max_age_s: float = knob(600.0, "a backend connection is not used again after this")
    relay: RelaySettings = RelaySettings()
    health_path: str = knob("", "what a check asks for; without it a check is a TCP connect")
    health_interval_s: float = knob(10.0, "between two checks of a backend; 0 is none")
    health_timeout_s: float = knob(5.0, "for one check")
    health_rise: int = knob(2, "successes in a row that bring a backend back")
    health_fall: int = knob(3, "failures in a row that take a backend out")
    health_status: tuple[tuple[int, int], ...] = knob(((200, 399),), "statuses that mean healthy: 200-399, 401")
    max_fails: int = knob(3, "failed requests in a row that take a backend out; 0 is never")
    fail_timeout_s: float = knob(10.0, "for how long, until one request may try it again; 0 is until a check succeeds")
    host_header: str = knob("preserve", "preserve sends the client's Host, backend the backend's own")


@dataclass(frozen=True, kw_only=True)
class PathMatch:
    """A route's path condition: kind is prefix, exact or regex."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class RouteSettings:
    """`[route:NAME]`: which requests go where. `relay` is the upstream's with this route's changes."""

    name: str
    line: int = 0  # where the section begins, for messages and for the order of regexes
    listener: tuple[str, ...] = knob((), "the listeners it belongs to")
    host: tuple[str, ...] = knob((), "hosts: `api.example.com`, or `*.example.com` for one or more labels more")
    path: tuple[PathMatch, ...] = knob((), "one per line: a prefix, `= /exact`, or `~ regex`")
    method: tuple[str, ...] = knob((), "methods: GET, POST")
    header: tuple[tuple[str, str], ...] = knob((), "one per line, `Name: value`: fields that must all be there")
    upstream: str = knob("", "the upstream that answers")
    redirect: str = knob("", "where to redirect to; path and query are appended unless it has a path")
    redirect_status: int = knob(302, "301, 302, 303, 307 or 308")
    status: int = knob(0, "the status of an answer of our own, 200 to 599")
    strip_prefix: str = knob("", "removed from the start of the path before the request is forwarded")
    middleware: tuple[str, ...] = knob((), "middleware of this route, outermost first, inside that of the listener")
    max_body_bytes: int | None = knob(None, "the longest request body; then 413")
    relay: RelaySettings | None = None


@dataclass(frozen=True, kw_only=True)
class MiddlewareSettings:
    """`[middleware:NAME]`: a built-in or user-written middleware and its settings."""

    name: str
    type: str = knob("", "a built-in, or `package.module:callable`")
    timeout_s: float = knob(5.0, "how long it may take, without the time of its `call_next`; then 504")
    options: tuple[tuple[str, str], ...] = ()  # every other key, as written


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """`[demo:NAME]`: a small JSON backend, a child process of the master, to try things with."""

    name: str
    bind: Address = knob(Address(), "where it listens")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A whole, checked configuration. Names in it refer to sections that exist."""

    source: Path | None = None  # the file, None with --bind and --backend
    process: ProcessSettings = ProcessSettings()
    listeners: tuple[ListenerSettings, ...] = ()
    upstreams: tuple[UpstreamSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    middlewares: tuple[MiddlewareSettings, ...] = ()
    demos: tuple[DemoSettings, ...] = ()
    process_keys: frozenset[str] = field(default=frozenset(), compare=False)  # of [greenproxy], that somebody gave
    variables: frozenset[str] = field(default=frozenset(), compare=False)  # of the environment, that the file uses
    #: What is wrong, but no reason not to serve; as lines of a check
    warnings: tuple[str, ...] = field(default=(), compare=False)
