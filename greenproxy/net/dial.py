"""Dialling: from the address of a socket to a connected Stream."""

from __future__ import annotations

import _socket
import errno
import os
import socket
from typing import NamedTuple

from gevent import get_hub
from gevent.hub import getcurrent

from greenproxy.deadline import Limit
from greenproxy.errors import ConnectFailed, ConnectRefused, NoDescriptor
from greenproxy.net.stream import Stream

_WRITE = 2
_LATE = object()


class SockAddr(NamedTuple):
    """A resolved address: the family and what `connect` wants."""

    family: int
    address: tuple[str, int] | tuple[str, int, int, int] | str


def dial(target: SockAddr, limit: Limit) -> Stream:
    """Return a Stream connected to `target`.

    Waits for the handshake, at most `limit`. Raises ConnectRefused, ConnectFailed or `limit.late()`.
    """
    sock = _open(target)
    try:
        status = sock.connect_ex(target.address)
        if status in (errno.EINPROGRESS, errno.EALREADY):
            _wait_connected(sock, limit)
            status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            if status in (errno.ECONNREFUSED, errno.EAGAIN):  # EAGAIN: the backlog of a Unix socket is full
                raise ConnectRefused
            if status in (errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM):
                raise NoDescriptor(
                    f"The proxy has no port or memory left for a connection to this backend: {os.strerror(status)}."
                )
            raise ConnectFailed(f"The backend cannot be reached: {os.strerror(status)}.")
        return Stream(sock)
    except BaseException:
        sock.close()
        raise


def _open(target: SockAddr) -> _socket.socket:
    try:
        sock = _socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise NoDescriptor(f"The proxy has no socket left: {error.strerror}.") from error
    if target.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _wait_connected(sock: _socket.socket, limit: Limit) -> None:
    seconds = limit.remaining_s()
    if seconds <= 0:
        raise limit.late()
    hub = get_hub()
    me = getcurrent()
    watcher = hub.loop.io(sock.fileno(), _WRITE)
    timer = hub.loop.timer(seconds) if seconds != float("inf") else None
    try:
        watcher.start(me.switch)
        if timer is not None:
            timer.start(me.switch, _LATE, update=True)
        if hub.switch() is _LATE:
            raise limit.late()
    finally:
        watcher.stop()
        watcher.close()
        if timer is not None:
            timer.stop()
            timer.close()
