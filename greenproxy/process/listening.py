"""Opens what listeners bind, once, before the first fork: IPv4, IPv6 and Unix sockets, through gunicorn's classes.

Both front doors use it: `greenproxy -c` for all listeners, plain gunicorn for those beyond its own addresses.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from gunicorn.sock import TCP6Socket, TCPSocket, UnixSocket

from greenproxy.config.settings import Address, ListenerSettings


class CannotListen(Exception):
    """Some addresses cannot be bound. `str()` is one line for each."""


class Door(NamedTuple):
    """A listener and its open sockets (gunicorn's wrappers), in the order of its `bind`."""

    listener: ListenerSettings
    sockets: tuple[Any, ...]

    def raw(self) -> tuple[ListenerSettings, Sequence[socket.socket]]:
        """Return what a worker serves: the listener and plain sockets."""
        return self.listener, [wrapped.sock for wrapped in self.sockets]


class _OnlyIPv6Socket(TCP6Socket):
    """Does not take IPv4 clients too, so that `[::]:8080` and `:8080` can stand side by side."""

    def bind(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().bind(sock)


class _Shared:
    """gunicorn's configuration, for sockets that are opened once and shared by all workers, whatever reuse_port says."""

    reuse_port = False

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


def open_doors(listeners: Sequence[ListenerSettings], cfg: Any, log: Any) -> tuple[Door, ...]:
    """Bind every address of every listener and return them.

    A Unix socket that a dead process left behind is replaced. Raises CannotListen, naming all addresses that failed,
    with nothing left open.
    """
    shared = _Shared(cfg)
    doors: list[Door] = []
    failed: list[str] = []
    for listener in listeners:
        sockets = []
        for address in listener.bind:
            try:
                sock = _open(address, shared, log)
                sock.set_inheritable(False)  # demo backends, and what user code starts, must not keep the address
                sockets.append(sock)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                failed.append(f"cannot listen on {address} ({listener.name}): {reason}")
        doors.append(Door(listener, tuple(sockets)))
    if failed:
        for door in doors:
            close(door)
        raise CannotListen("\n".join(failed))
    return tuple(doors)


def _open(address: Address, cfg: Any, log: Any) -> Any:
    if address.path:
        return UnixSocket(address.path, cfg, log)
    if ":" in address.host:
        return _OnlyIPv6Socket((address.host, address.port), cfg, log)
    return TCPSocket((address.host or "0.0.0.0", address.port), cfg, log)


def close(door: Door) -> None:
    """Close a door's sockets and remove the files of its Unix sockets. Only for the process that opened them."""
    for wrapped in door.sockets:
        name = wrapped.getsockname()
        wrapped.close()
        if isinstance(wrapped, UnixSocket) and os.path.exists(name):
            os.unlink(name)


def bound_address(sock: Any) -> Address:
    """Return where a socket really listens: with the port that the kernel chose for port 0."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return Address(host=name[0], port=name[1])
    return Address(path=os.fsdecode(name))


def shown(sock: Any) -> str:
    """Return a socket's address as the log shows it, which a terminal makes clickable."""
    address = bound_address(sock)
    return str(address) if address.path else f"http://{address}"
