"""Opens what listeners bind, once, before the first fork: IPv4, IPv6 and Unix sockets, through gunicorn's classes.

Both front doors use it: `greenproxy -c` for all listeners, plain gunicorn for those beyond its own addresses.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gunicorn.sock import TCP6Socket, TCPSocket, UnixSocket

from greenproxy.config.settings import Address, ListenerSettings
from greenproxy.unix_socket import listen


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


class _OwnUnixSocket(UnixSocket):
    """Takes no path from somebody who listens there, and removes no file but its own. gunicorn's does both."""

    def __init__(self, path: str, cfg: Any, log: Any) -> None:
        server, self._file = listen(path, cfg.backlog, umask=cfg.umask, owner=(cfg.uid, cfg.gid))
        super().__init__(path, cfg, log, fd=server.detach())

    def remove_file(self) -> None:
        """Remove the file unless it is gone, or somebody else's by now. Before the socket is closed."""
        if self.sock is not None:
            self._file.remove()


class _Shared:
    """gunicorn's configuration, for sockets that are opened once and shared by all workers, whatever reuse_port says."""

    reuse_port = False

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


def open_doors(
    listeners: Sequence[ListenerSettings], cfg: Any, log: Any, at_hand: Mapping[Address, Sequence[Any]] | None = None
) -> tuple[Door, ...]:
    """Bind every address of every listener and return them. What is open already is taken from `at_hand`.

    A Unix socket that a dead process left behind is replaced. Raises CannotListen, naming all addresses that failed,
    with nothing left open that was not open before.
    """
    shared = _Shared(cfg)
    spare = {address: list(sockets) for address, sockets in (at_hand or {}).items()}
    doors: list[Door] = []
    opened: list[Any] = []
    failed: list[str] = []
    for listener in listeners:
        sockets = []
        for address in listener.bind:
            try:
                if spare.get(address):
                    sockets.append(spare[address].pop(0))
                else:
                    opened.append(_open(address, shared, log))
                    sockets.append(opened[-1])
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                failed.append(f"cannot listen on {address} ({listener.name}): {reason}")
        doors.append(Door(listener, tuple(sockets)))
    if failed:
        close_sockets(opened)
        raise CannotListen("\n".join(failed))
    return tuple(doors)


def _open(address: Address, cfg: Any, log: Any) -> Any:
    sock: Any
    if address.path:
        sock = _OwnUnixSocket(address.path, cfg, log)
    elif ":" in address.host:
        sock = _OnlyIPv6Socket((address.host, address.port), cfg, log)
    else:
        sock = TCPSocket((address.host or "0.0.0.0", address.port), cfg, log)
    sock.set_inheritable(False)  # demo backends, and what user code starts, must not keep the address
    return sock


def close(door: Door) -> None:
    """Close a door's sockets. Only for the process that opened them."""
    close_sockets(door.sockets)


def close_sockets(sockets: Sequence[Any]) -> None:
    """Close sockets and remove the files of those that have one, as far as they are still ours. More than once does no harm."""
    for wrapped in sockets:
        if isinstance(wrapped, _OwnUnixSocket):
            wrapped.remove_file()
        wrapped.close()


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
