"""Opens what listeners bind, once, before the first fork: IPv4, IPv6 and Unix sockets.

Both front doors use it: `greenproxy -c` for all listeners, plain gunicorn for those beyond its own addresses.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from greenproxy.config.settings import Address, ListenerSettings
from greenproxy.process.admin_listener import ADMIN
from greenproxy.unix_socket import SocketFile, listen

#: The state is for the user and the group that workers run as.
_PRIVATE_UMASK = 0o117


class CannotListen(Exception):
    """Some addresses cannot be bound. `str()` is one line for each."""


class ListeningSocket:
    """A socket that listens, until it is closed, and its file if it has one that is ours. gunicorn's have a `sock` too.

    `lanes` are further sockets on the same address, see `lanes`. `is_lent` says that systemd keeps it, too.
    """

    def __init__(self, sock: socket.socket, file: SocketFile | None = None) -> None:
        self.sock = own(sock)
        self.file = file
        self.lanes: list[socket.socket] = []
        self.is_lent = False

    def getsockname(self) -> Any:
        """Return where it is bound, as the kernel says it."""
        return self.sock.getsockname()

    def fileno(self) -> int:
        """Return its descriptor, -1 when it is closed."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close it, and its lanes. Its file stays."""
        for each in (self.sock, *self.lanes):
            each.close()


def own(sock: socket.socket) -> socket.socket:
    """Return a socket that does not block, and is for us alone: demo backends and what user code starts must not keep it."""
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def queues_of(wrapped: Any) -> list[socket.socket]:
    """Return all sockets of an address: one, or one for each lane. gunicorn's have no lanes."""
    return [wrapped.sock, *getattr(wrapped, "lanes", ())]


class Door(NamedTuple):
    """A listener and its open sockets, in the order of its `bind`."""

    listener: ListenerSettings
    sockets: tuple[Any, ...]

    def raw(self) -> tuple[ListenerSettings, Sequence[socket.socket]]:
        """Return what a worker serves: the listener and plain sockets, those on the same address behind each other."""
        return self.listener, [sock for wrapped in self.sockets for sock in queues_of(wrapped)]


def open_doors(
    listeners: Sequence[ListenerSettings], cfg: Any, at_hand: Mapping[Address, Sequence[Any]] | None = None
) -> tuple[Door, ...]:
    """Bind every address of every listener and return them. What is open already is taken from `at_hand`.

    `cfg` is gunicorn's configuration: backlog, umask, uid and gid. A Unix socket that a dead process left behind is replaced.
    Raises CannotListen, naming all addresses that failed, with nothing left open that was not open before.
    """
    spare = {address: list(sockets) for address, sockets in (at_hand or {}).items()}
    mine = [sock for sockets in spare.values() for sock in sockets]
    doors: list[Door] = []
    opened: list[ListeningSocket] = []
    failed: list[str] = []
    for listener in listeners:
        sockets = []
        for address in listener.bind:
            try:
                if spare.get(address):
                    sockets.append(spare[address].pop(0))
                else:
                    opened.append(_open(address, cfg, mine, is_private=listener.protocol == ADMIN))
                    sockets.append(opened[-1])
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                hint = " (ports below 1024 want root, or CAP_NET_BIND_SERVICE)" if _wants_rights(address, error) else ""
                failed.append(f"cannot listen on {address} ({listener.name}): {reason}{hint}")
        doors.append(Door(listener, tuple(sockets)))
    if failed:
        close_sockets(opened)
        raise CannotListen("\n".join(failed))
    return tuple(doors)


def _wants_rights(address: Address, error: Exception) -> bool:
    return isinstance(error, PermissionError) and 0 < address.port < 1024


def _open(address: Address, cfg: Any, mine: Iterable[Any], *, is_private: bool) -> ListeningSocket:
    if address.path:
        server, file = listen(address.path, cfg.backlog, umask=_umask(cfg, is_private), owner=(cfg.uid, cfg.gid))
        return ListeningSocket(server, file)
    server = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address.host:  # IPv4 clients are for somebody else, so that [::]:8080 and :8080 can stand side by side
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _listen(server, (address.host or "0.0.0.0", address.port), cfg.backlog, mine)
    except BaseException:
        server.close()
        raise
    return ListeningSocket(server)


def _listen(server: socket.socket, name: tuple[str, int], backlog: int, mine: Iterable[Any]) -> None:
    """Let a socket listen, also where what is in the way is our own: `127.0.0.1:80` of now, while `:80` is to take its place."""
    try:
        server.bind(name)
        server.listen(backlog)
        return
    except OSError as error:
        near = [each for each in mine if each.sock.family == server.family and each.getsockname()[1] == name[1]]
        rivals = [sock for each in near for sock in queues_of(each)]
        if error.errno != errno.EADDRINUSE or not rivals:
            raise
    # Sockets of one user that all say so may share a port. For this moment only: nobody else is to creep in.
    before = [(each, each.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) for each in (*rivals, server)]
    for each, _ in before:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        server.bind(name)
        server.listen(backlog)  # which looks for rivals once more
    finally:
        for each, value in before:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, value)


def _umask(cfg: Any, is_private: bool) -> int:
    umask: int = cfg.umask
    return umask | _PRIVATE_UMASK if is_private else umask


def settle_files(door: Door, cfg: Any, log: logging.Logger) -> None:
    """Give the files of a door's Unix sockets the owner and the rights that they would have got if they were opened now.

    A socket may have been opened for another listener, or another user. What cannot be changed is told.
    """
    for wrapped in door.sockets:
        file = getattr(wrapped, "file", None)
        if file is not None:
            try:
                file.change(0o777 & ~_umask(cfg, door.listener.protocol == ADMIN), (cfg.uid, cfg.gid))
            except OSError as error:
                log.error("%s keeps its owner and rights: %s", shown(wrapped), error.strerror)


def at_hand_of(doors: Iterable[Door]) -> dict[Address, list[Any]]:
    """Return the open sockets of doors by what their listeners bind, for `open_doors`."""
    found: dict[Address, list[Any]] = {}
    for door in doors:
        for address, sock in zip(door.listener.bind, door.sockets, strict=True):
            found.setdefault(address, []).append(sock)
    return found


def close(door: Door) -> None:
    """Close a door's sockets. Only for the process that opened them."""
    close_sockets(door.sockets)


def close_sockets(sockets: Iterable[Any], *, leaves_files: bool = False) -> None:
    """Close sockets and remove the files of those that have one, as far as they are still ours. More than once does no harm."""
    for wrapped in sockets:
        file = getattr(wrapped, "file", None)  # gunicorn's have none that is ours
        if file is not None and wrapped.fileno() >= 0 and not leaves_files:
            try:
                file.remove()
            except OSError as error:
                logging.getLogger("greenproxy").error("%s cannot be removed: %s", file.path, error.strerror)
        wrapped.close()


def bound_address(sock: Any) -> Address:
    """Return where a socket really listens: with the port that the kernel chose for port 0."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return Address(host=name[0], port=name[1])
    return Address(path=os.fsdecode(name))


def shown(sock: Any, listener: ListenerSettings | None = None) -> str:
    """Return a socket's address as the log shows it, which a terminal makes clickable."""
    address = bound_address(sock)
    scheme = "https" if listener is not None and listener.tls_certificate else "http"
    return str(address) if address.path else f"{scheme}://{address}"
