"""Settings that are written into a file are read as the same settings."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.config.schema import LOG_LEVELS, RETRY_ON, key_name
from greenproxy.config.settings import (
    Address,
    BackendSettings,
    ListenerSettings,
    PathMatch,
    ProcessSettings,
    RelaySettings,
    RouteSettings,
    UpstreamSettings,
)
from greenproxy.config.values import format_duration, format_size
from tests.config.inis import settings_of

#: Fields without a key, and those that go only with what is not there: another answer than an upstream, certificates.
NO_KEYS = ("name", "line", "relay", "trust_unix", "status", "redirect_status", "tls_client")
SIGNS = {"prefix": "", "exact": "= ", "regex": "~ "}


def written(name: str, value: Any) -> str:
    """Return a value as a file would have it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if name.endswith("_s"):
        return format_duration(value)
    if name.endswith("_bytes"):
        return format_size(value)
    if name == "server_header":
        return value or "off"
    if isinstance(value, tuple):
        return "".join(f"\n    {line(item)}" for item in value)
    return str(value)


def line(item: Any) -> str:
    """Return one item of a list."""
    match item:
        case BackendSettings():
            url = f"unix:{item.address.path}" if item.address.path else f"http://{item.address}"
            return f"{url} weight={item.weight}" + (" backup" if item.is_backup else "")
        case PathMatch():
            return (SIGNS[item.kind] + item.text).replace("#", "\\#")
        case (int(), int()):
            return f"{item[0]}-{item[1]}"
        case (str(), str()):
            return f"{item[0]}: {item[1]}".replace("#", "\\#")
    return str(item)


def section(title: str, *settings: Any) -> str:
    """Return a section with every key of these settings that can be written."""
    lines = [f"[{title}]"]
    for each in settings:
        for field in dataclasses.fields(each):
            value = getattr(each, field.name)
            if field.name == "server_header" or (field.name not in NO_KEYS and value not in ("", (), None)):
                lines.append(f"{key_name(field)} = {written(field.name, value)}")
    return "\n".join(lines) + "\n"


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
numbers = st.integers(1, 10**6)
durations = st.integers(1, 10**7).map(lambda number: number / 1000)
sizes = st.integers(0, 2**40)
addresses = st.one_of(
    st.builds(Address, host=st.ip_addresses().map(str), port=st.integers(1, 65535)),
    st.builds(Address, path=names.map("/run/{}".format)),
)
backends = st.lists(
    st.builds(BackendSettings, address=addresses, weight=st.integers(1, 1000), is_backup=st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda each: str(each.address).replace(".", "_").replace(":", "_"),
).map(tuple)
paths = st.builds(
    PathMatch, kind=st.sampled_from(["prefix", "exact", "regex"]), text=st.from_regex(r"/[a-z0-9,#]{1,8}", fullmatch=True)
)
headers = st.tuples(names, st.from_regex(r"[!#%-[\]-~]([ !#%-[\]-~]{0,8}[!#%-[\]-~])?", fullmatch=True))  # no $ and \\
relays = st.builds(
    RelaySettings,
    pool_queue_timeout_s=durations,
    connect_timeout_s=durations,
    response_timeout_s=durations,
    read_timeout_s=durations,
    request_timeout_s=durations,
    retries=st.integers(0, 100),
    retry_on=st.lists(st.sampled_from(RETRY_ON), min_size=1, unique=True).map(tuple),
)
processes = st.builds(
    ProcessSettings,
    workers=st.integers(1, 64),
    worker_connections=numbers,
    worker_timeout_s=durations,
    max_requests=numbers,
    access_log=st.sampled_from(["-", "off", "/tmp/a.log"]),
    log_level=st.sampled_from(LOG_LEVELS),
    statsd=st.one_of(st.none(), addresses.filter(lambda address: not address.path)),
    via=st.booleans(),
    server_header=st.sampled_from(["", "x", "greenproxy"]),
)
listeners = st.builds(
    ListenerSettings,
    name=names,
    bind=st.lists(addresses, min_size=1, max_size=1).map(tuple),
    upstream=st.just("shop"),
    trusted_proxies=st.lists(st.ip_addresses(v=4).map(lambda ip: ip_network(ip)), max_size=3, unique=True).map(tuple),
    idle_timeout_s=durations,
    max_headers=numbers,
    max_body_bytes=sizes,
)
routes = st.builds(
    RouteSettings,
    name=names,
    host=st.lists(st.sampled_from(["a.example", "*.b.example", "[::1]"]), unique=True).map(tuple),
    path=st.lists(paths, max_size=3, unique=True).map(tuple),
    method=st.lists(st.sampled_from(["GET", "POST"]), unique=True).map(tuple),
    header=st.lists(headers, max_size=2, unique=True).map(tuple),
    upstream=st.just("shop"),
    max_body_bytes=st.one_of(st.none(), sizes),
    relay=relays,
)


@settings(deadline=None)
@given(process=processes, listener=listeners, backends=backends, relay=relays, route=routes)
def test_settings_that_are_written_are_read_as_the_same(
    process: ProcessSettings,
    listener: ListenerSettings,
    backends: tuple[BackendSettings, ...],
    relay: RelaySettings,
    route: RouteSettings,
) -> None:
    upstream = UpstreamSettings(name="shop", backends=backends, relay=relay)
    assert route.relay is not None
    text = "".join(
        [
            section("greenproxy", process),
            section(f"listener:{listener.name}", listener),
            section("upstream:shop", upstream, relay),
            section(f"route:{route.name}", route, route.relay),
        ]
    )
    found = settings_of(text, folder=Path("/"))
    assert found.process == process
    assert found.listeners == (listener,)
    assert found.upstreams == (upstream,)
    assert [dataclasses.replace(each, line=0) for each in found.routes] == [route]
