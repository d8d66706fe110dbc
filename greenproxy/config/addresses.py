"""Where to listen and to connect: addresses, networks and the lines of `backends`.

Pure functions that raise BadValue. A relative path of a Unix socket counts from `folder`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from greenproxy.config.errors import BadValue, closest
from greenproxy.config.later import BACKEND_SCHEMES, NOT_AVAILABLE
from greenproxy.config.settings import Address, BackendSettings
from greenproxy.config.values import parse_count, parse_name

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_LONGEST_SOCKET_PATH = 107  # bytes, sun_path of unix(7)


def parse_host(text: str) -> str:
    """Return a host name or IP address; an IPv6 address comes in brackets and goes without them."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise BadValue(f"{text!r} is not an IPv6 address") from None
    if not text.isascii():
        raise BadValue(f"{text!r} is not ASCII: write the host's xn-- form")
    if not _HOST.fullmatch(text) or len(text) > 253:
        raise BadValue(f"{text!r} is not a host name or address")
    if re.fullmatch(r"[0-9.]+", text):  # what looks like an IPv4 address must be one
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise BadValue(f"{text!r} is not an IPv4 address") from None
    return text.lower()


def parse_port(text: str, at_least: int = 0) -> int:
    """Return a port number."""
    if not _PORT.fullmatch(text) or not at_least <= int(text) <= 65535:
        raise BadValue(f"{text!r} is not a port: {at_least} to 65535")
    return int(text)


def parse_socket_path(text: str, folder: Path) -> Address:
    """Return the address that `unix:PATH` means."""
    path = text.removeprefix("unix:")
    if not path or path.startswith("//"):
        raise BadValue(f"{text!r} is not unix:/path", f"unix:/{path.lstrip('/')}" if path.strip("/") else "")
    whole = str(folder / path)
    if len(whole.encode()) > _LONGEST_SOCKET_PATH:
        raise BadValue(f"the path of a Unix socket has at most {_LONGEST_SOCKET_PATH} bytes")
    return Address(path=whole)


def parse_host_port(text: str, at_least: int = 1) -> Address:
    """Return the address of `host:port` or `[ipv6]:port`."""
    host, colon, port = text.rpartition(":")
    if not colon or host.endswith(":") or (":" in host and not host.startswith("[")):
        is_bare_ipv6 = text.count(":") > 1 and "]" not in text
        raise BadValue(f"{text!r} is not host:port" + (": an IPv6 address stands in brackets" if is_bare_ipv6 else ""))
    return Address(host=parse_host(host), port=parse_port(port, at_least))


def parse_bind(text: str, folder: Path) -> Address:
    """Return the address to listen on: `host:port`, `:port` (every IPv4 address), `[ipv6]:port` or `unix:PATH`."""
    if text.startswith("unix:"):
        return parse_socket_path(text, folder)
    if _PORT.fullmatch(text):
        raise BadValue(f"{text!r} is not an address to listen on", f":{text}")
    scheme = _SCHEME.fullmatch(text)
    if scheme:
        raise BadValue(f"{text!r} is an address with a scheme", scheme[2].rstrip("/"))
    if text.startswith("*:"):
        raise BadValue(f"{text!r} is not an address to listen on", text[1:])
    if text.startswith(":") and text.count(":") == 1:
        return Address(port=parse_port(text[1:]))
    return parse_host_port(text, at_least=0)


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Return a network, or the network of a single address."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise BadValue(f"{text!r} is not a network or address") from None
    raise BadValue(f"{text!r} has bits behind its network", meant)


def parse_backend(text: str, folder: Path) -> BackendSettings:
    """Return the backend of one line: `http://host:port` or `unix:/path`, then `weight=N`, `name=NAME`, `backup`."""
    url, *words = text.split()
    backend = BackendSettings(address=_backend_address(url, folder))
    seen: set[str] = set()
    for word in words:
        key, equals, value = word.partition("=")
        if key in seen:
            raise BadValue(f"{key} stands here twice")
        seen.add(key)
        if word == "backup":
            backend = replace(backend, is_backup=True)
        elif key == "weight" and equals:
            backend = replace(backend, weight=_weight(value))
        elif key == "name" and equals:
            backend = replace(backend, name=parse_name(value))
        else:
            known = {"weight": "weight=", "name": "name=", "backup": "backup"}
            guess = closest(key, known)
            raise BadValue(f"{word!r} is not weight=N, name=NAME or backup", f"{known[guess]}{value}" if guess else "")
    return backend


def _weight(text: str) -> int:
    try:
        return parse_count(text, 1, 1000)
    except BadValue as error:
        raise BadValue(f"weight: {error}") from None


def _backend_address(url: str, folder: Path) -> Address:
    if url.startswith("unix:"):
        return parse_socket_path(url, folder)
    match = _SCHEME.fullmatch(url)
    if match is None:
        is_address = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}", url)
        raise BadValue(f"{url!r} is not http://host:port or unix:/path", f"http://{url}" if is_address else "")
    scheme, rest = match[1].lower(), match[2].removesuffix("/")
    if scheme in BACKEND_SCHEMES:
        raise BadValue(f"{scheme}:// is {NOT_AVAILABLE}")
    if scheme != "http":
        raise BadValue(f"unknown scheme {match[1]}://", "http://" if closest(scheme, ("http",)) else "")
    if "@" in rest:
        raise BadValue("a backend has no user and password")
    if any(sign in rest for sign in "/?#"):
        bare = re.split("[/?#]", rest, maxsplit=1)[0]
        raise BadValue(f"{url!r}: a backend is a host and a port, without a path", bare and f"http://{bare}")
    has_port = rest.rpartition("]")[2].count(":") == 1
    return parse_host_port(rest if has_port else f"{rest}:80")
