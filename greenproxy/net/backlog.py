"""Backlog: what a TLS connection has encrypted, and the kernel has not taken yet.

What was encrypted has to go out, as it is and in that order: OpenSSL has counted it. Each record is kept together with the
bytes of a caller that it carries, since a caller whose bytes were not sent comes again with the same ones.
"""

from __future__ import annotations

import _socket

_MOST_BUFFERS = 64  # in one call, below any IOV_MAX

Bytes = bytes | memoryview


class Backlog(list[tuple[Bytes, Bytes]]):
    """Records, and the callers' bytes that each carries; nobody waits for records that carry none.

    A list, so that a connection with none, as nearly all are, is told at no cost.
    """

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        """How much is to go out."""
        return sum(len(record) for record, _ in self)

    @property
    def is_awaited(self) -> bool:
        """Whether a caller has bytes in it."""
        return any(carried for _, carried in self)

    def disown(self, view: memoryview) -> None:
        """Compare with what a caller comes with: if the rest of before was given up, nobody waits for it."""
        at = 0
        for place, (_, carried) in enumerate(self):
            if bytes(carried) != bytes(view[at : at + len(carried)]):
                self[place:] = [(record, b"") for record, _ in self[place:]]
                return
            at += len(carried)

    def flush(self, sock: _socket.socket) -> int:
        """Send what the kernel takes without waiting. Returns how much of the callers' bytes has gone with that.

        Raises OSError other than BlockingIOError.
        """
        done = 0
        while self:
            try:
                sent = sock.sendmsg([record for record, _ in self[:_MOST_BUFFERS]])
            except BlockingIOError:
                break
            gone = 0
            for record, carried in self:
                if sent < len(record):
                    break
                sent -= len(record)
                done += len(carried)
                gone += 1
            del self[:gone]
            if sent:
                record, carried = self[0]
                self[0] = memoryview(record)[sent:], carried
            if gone < _MOST_BUFFERS:
                break  # all of it, or all that it takes
        return done
