"""Which connections a process has, as the kernel says: from its descriptors, and from the table of all TCP sockets.

That is asked for by sock_diag(7), as ss(8) does: /proc/net/tcp tells the same, and takes a second on a busy machine where
thousands of closed connections wait for their end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

Ends = tuple[int, int]  # the ports of a connection on the loopback: ours, the other side's

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST_AND_DUMP = 0x301
_DONE, _ERROR = 3, 2
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_WANTED = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states
_PORTS, _PORTS_AT = struct.Struct(">HH"), _HEADER.size + 4  # in struct inet_diag_msg
_ERRNO = struct.Struct("=i")
_INODE, _INODE_AT = struct.Struct("=I"), _HEADER.size + 68
_STATES = sum(1 << state for state in (1, 4, 5, 8, 9, 11))  # established, and what is half closed; not what is nobody's any more


def connections_of(pid: int) -> frozenset[Ends]:
    """Return the connections over IPv4 of a process; what waits in a queue to be accepted is nobody's yet."""
    mine = set(_sockets_of(pid))
    return frozenset(ends for inode, ends in _connections() if inode in mine)


def _sockets_of(pid: int) -> Iterator[int]:
    """Yield the inodes of the sockets that a process has open."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends, or has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            name = os.readlink(entry)
            if name.startswith("socket:["):
                yield int(name[8:-1])


def _connections() -> Iterator[tuple[int, Ends]]:
    """Yield the inodes and the ports of all connections. Raises OSError where the kernel does not tell."""
    wanted = _WANTED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _STATES)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as asked:
        asked.sendall(_HEADER.pack(_HEADER.size + len(wanted), _BY_FAMILY, _REQUEST_AND_DUMP, 1, 0) + wanted)
        while True:
            data, at = asked.recv(1 << 18), 0
            while at < len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-_ERRNO.unpack_from(data, at + _HEADER.size)[0], "the kernel does not tell of its connections")
                yield _INODE.unpack_from(data, at + _INODE_AT)[0], _PORTS.unpack_from(data, at + _PORTS_AT)
                at += (length + 3) & ~3
