"""Sockets that listen already when this process begins: from systemd (socket activation), or from the master before (USR2).

systemd says how many there are, from descriptor 3 on (sd_listen_fds(3)). A master says more: for each socket the address as
its configuration had it, because port 0 is to stay the port that was chosen, and the file of a Unix socket, because only
whoever owns that may remove it. The variable's name begins so that it is not taken for a key of the configuration.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from greenproxy.config.settings import Address
from greenproxy.process.listening import ListeningSocket, bound_address, close_sockets
from greenproxy.unix_socket import SocketFile

_VARIABLE = "_GREENPROXY_SOCKETS"
_SYSTEMD = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_FIRST_DESCRIPTOR = 3
_EVERY_IPV4 = "0.0.0.0"
_EVERY_IPV6 = "::"
#: No address that can be written: a socket on every IPv6 address that takes IPv4 clients too.
_BOTH_FAMILIES = "[::] and 0.0.0.0"


@dataclass
class Inherited:
    """What this process was born with. `sockets` are for the `at_hand` of `open_doors`."""

    sockets: dict[Address, list[ListeningSocket]] = field(default_factory=dict)
    is_activated: bool = False  # systemd has given them
    predecessor: int = 0  # the process id of the master that has given them
    warnings: list[str] = field(default_factory=list)  # lines for the log: what was no listening socket, and is closed

    def add(self, sock: ListeningSocket, address: Address | None = None) -> None:
        """Note a socket by where it listens, or was to listen; one more on the same address is a lane of the first."""
        for each in (known for sockets in self.sockets.values() for known in sockets):
            if each.getsockname() == sock.getsockname() and isinstance(sock.getsockname(), tuple):
                each.lanes.append(sock.sock)
                return
        self.sockets.setdefault(address or _place(sock), []).append(sock)

    def at_hand(self, wanted: Iterable[Address]) -> dict[Address, list[ListeningSocket]]:
        """Return the sockets that listen on these addresses, for `open_doors`; from then on they are the caller's.

        `:80`, `0.0.0.0:80` and a socket on `[::]:80` that takes IPv4 clients too, which is what systemd makes of
        `ListenStream=80`, are the same. Port 0 is found only if it was written so: systemd chooses no port.
        """
        found: dict[Address, list[ListeningSocket]] = {}
        for address in wanted:
            sock = next((self.sockets[known].pop(0) for known in _spellings(address) if self.sockets.get(known)), None)
            if sock is not None:
                found.setdefault(address, []).append(sock)
        return found

    def close_rest(self, log: logging.Logger) -> None:
        """Close what nobody has taken, and say what was handed over in vain. Files stay: whoever bound them has an interest."""
        for line in self.warnings:
            log.warning("%s", line)
        rest = [sock for sockets in self.sockets.values() for sock in sockets]
        for address in map(bound_address, rest):
            if self.is_activated:
                log.warning("systemd has given a socket on %s, but no listener binds that: it is closed", address)
            else:
                log.info("no longer listening on %s", address)
        close_sockets(rest, leaves_files=True)
        self.sockets.clear()


def take(environ: MutableMapping[str, str]) -> Inherited:
    """Return what was handed to this process, and take the variables out of `environ`: they are for nobody else.

    Descriptors that are no listening stream sockets are closed, with a warning. Everything that is returned closes on exec.
    """
    said = environ.pop(_VARIABLE, "")
    systemd = {name: environ.pop(name, "") for name in _SYSTEMD}
    if said:
        return _from_master(said)
    if systemd["LISTEN_PID"] == str(os.getpid()):
        return _from_systemd(systemd["LISTEN_FDS"])
    return Inherited()


def hand_over(sockets: Iterable[tuple[Address, Any]], environ: MutableMapping[str, str], pid: int) -> None:
    """Let sockets outlive the coming exec, and tell the new program of them in `environ`. In the forked child, right before it.

    Each comes with the address as written. `pid` is the master that the new program replaces.
    """
    # Without a name in it the wish to be told that somebody lives (WatchdogSec=) holds for the new program too.
    for name in (*_SYSTEMD, "WATCHDOG_PID"):
        environ.pop(name, None)
    told = []
    for address, sock in sockets:
        os.set_inheritable(sock.fileno(), True)
        file = getattr(sock, "file", None)
        lent = getattr(sock, "is_lent", False)
        told.append(
            {"address": vars(address), "fd": sock.fileno(), "file": vars(file) if file is not None else None, "lent": lent}
        )
    # To whom it is said: an heir of the heir must not take the descriptors for his own. An exec keeps the process id.
    environ[_VARIABLE] = json.dumps({"to": os.getpid(), "predecessor": pid, "sockets": told})


def _from_master(said: str) -> Inherited:
    try:
        letter = json.loads(said)
        if letter["to"] != os.getpid():
            return Inherited()
        found = Inherited(predecessor=letter["predecessor"])
        heirlooms = [
            (each["fd"], Address(**each["address"]), each["file"], each.get("lent", False)) for each in letter["sockets"]
        ]
    except (ValueError, KeyError, TypeError):
        return Inherited(warnings=[f"{_VARIABLE} in the environment cannot be read"])
    for descriptor, address, file, is_lent in heirlooms:
        sock = _adopt(descriptor, found)
        if sock is not None:
            sock.file = SocketFile(**file) if file is not None else None
            sock.is_lent = is_lent
            found.add(sock, address)
    return found


def _from_systemd(count: str) -> Inherited:
    found = Inherited(is_activated=True)
    if not count.isdecimal():
        return Inherited(warnings=[f"LISTEN_FDS is no number: {count!r}"])
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)):
        sock = _adopt(descriptor, found)
        if sock is not None:
            sock.is_lent = True
            found.add(sock)
    return found


def _adopt(descriptor: int, found: Inherited) -> ListeningSocket | None:
    """Return the listening socket behind a descriptor; otherwise note a warning, and close whatever it is."""
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:  # closed, or no socket
        found.warnings.append(f"descriptor {descriptor} was handed over and is not used: {error.strerror}")
        _close(descriptor)
        return None
    is_stream = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return ListeningSocket(sock)
    found.warnings.append(f"descriptor {descriptor} was handed over and is not used: it is no listening stream socket")
    sock.close()
    return None


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        pass  # nothing was open there


def _spellings(address: Address) -> list[Address]:
    """Return the addresses under which a socket for this one may stand."""
    if address.path or address.host not in ("", _EVERY_IPV4, _EVERY_IPV6):
        return [address]
    hosts = (_EVERY_IPV6, _BOTH_FAMILIES) if address.host == _EVERY_IPV6 else ("", _EVERY_IPV4, _BOTH_FAMILIES)
    return [address, *(replace(address, host=host) for host in hosts)]


def _place(sock: ListeningSocket) -> Address:
    """Return where a socket listens; `[::]` that takes IPv4 clients as well is told from one that does not."""
    address = bound_address(sock)
    if address.host == _EVERY_IPV6 and not sock.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return replace(address, host=_BOTH_FAMILIES)
    return address
