"""Lanes: with `reuse-port = on` a TCP address has a socket for each worker, and the kernel chooses one for each connection.

What waits in the queue of a socket is reset when that is closed, so none of them ever is while its address stays: the master
holds them all, and a worker that comes finds the lane of the one that went. When there are fewer workers than lanes, after a
reload, a TTOU or a death, the others accept from those that are nobody's (`server.lanes`). A lane that a reload brings gets no
clients before the reload has come to its end: it is bound and does not listen, so a reload that is undone loses nobody.
"""

from __future__ import annotations

import socket

from greenproxy.process.listening import ListeningSocket, own, queues_of


def widen(wrapped: ListeningSocket, count: int) -> list[socket.socket]:
    """Give an address as many lanes as that, if it has fewer, and return the new ones, which do not listen yet.

    Raises OSError. The first socket was bound without sharing, so nobody else is on the address; from now on whoever runs as
    our user could join, since that is how the kernel knows who may.
    """
    missing = count - len(queues_of(wrapped))
    if missing <= 0:
        return []
    fresh: list[socket.socket] = []
    was_shared = wrapped.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    wrapped.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        for _ in range(missing):
            fresh.append(own(socket.socket(wrapped.sock.family, wrapped.sock.type)))
            _bind_beside(fresh[-1], wrapped.sock)
    except OSError:
        for sock in fresh:
            sock.close()
        wrapped.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, was_shared)
        raise
    wrapped.lanes += fresh
    return fresh


def _bind_beside(sock: socket.socket, first: socket.socket) -> None:
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    if sock.family == socket.AF_INET6:
        v6_only = first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
    sock.bind(first.getsockname())


def narrow(wrapped: ListeningSocket, fresh: list[socket.socket]) -> None:
    """Undo `widen`, while those lanes do not listen yet."""
    wrapped.lanes = [sock for sock in wrapped.lanes if sock not in fresh]
    for sock in fresh:
        sock.close()


def open_lanes(wrapped: ListeningSocket, backlog: int) -> None:
    """Let the kernel fill all lanes of an address. Raises OSError."""
    for sock in wrapped.lanes:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(backlog)
