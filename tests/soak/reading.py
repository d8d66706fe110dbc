"""Reading HTTP/1.1 messages whose form is known: both ends of the load are ours, so this parses little and trusts a lot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_READ_BYTES = 65536


class Ended(Exception):
    """The other side closed the connection where there should have been more."""


class Malformed(Exception):
    """What came is no HTTP message."""


@dataclass
class Head:
    """The first line, in its three parts, and the fields, their names in small letters."""

    first: tuple[str, str, str]
    fields: dict[str, str] = field(default_factory=dict)

    def has_body(self) -> bool:
        """Return whether a request with this head has a body."""
        return "content-length" in self.fields or "transfer-encoding" in self.fields


class Reader:
    """Reads messages from a connection, one after the other. `received` counts the bytes of all of them."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._left = b""
        self.received = 0

    def _more(self) -> bytes:
        data: bytes = self._sock.recv(_READ_BYTES)
        if not data:
            raise Ended
        self.received += len(data)
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self._left:
            self._left += self._more()
        line, _, self._left = self._left.partition(b"\r\n")
        return line

    def has_bytes(self) -> bool:
        """Return whether there are bytes behind the last message."""
        return bool(self._left)

    def some(self) -> bytes:
        """Return the next bytes, whatever they are. Raises Ended when there are none any more."""
        data, self._left = self._left or self._more(), b""
        return data

    def head(self) -> Head:
        """Return the next head. Raises Ended when the connection ends before it is whole."""
        while b"\r\n\r\n" not in self._left:
            self._left += self._more()
        text, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) != 3:
            raise Malformed(first[:100])
        head = Head((parts[0], parts[1], parts[2]))
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise Malformed(line[:100])
            head.fields[name.lower()] = value.strip()
        return head

    def body(self, head: Head, *, has_body: bool = True) -> Iterator[bytes]:
        """Yield the body in pieces. Raises Ended when the connection ends before it is whole."""
        if not has_body:
            return
        if head.fields.get("transfer-encoding") == "chunked":
            yield from self._chunks()
        elif "content-length" in head.fields:
            yield from self._exactly(int(head.fields["content-length"]))
        else:
            raise Malformed("neither Content-Length nor Transfer-Encoding: chunked")

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._left or self._more()
            piece, self._left = data[:size], data[size:]
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._line()
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Malformed(f"chunk size {line[:40]!r}") from None
            if not size:
                break
            yield from self._exactly(size)
            if self._line():
                raise Malformed("a chunk is longer than it said")
        while self._line():
            pass  # trailers
