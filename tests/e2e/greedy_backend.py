"""A backend in a process of its own for a thousand at once: `python greedy_backend.py` prints its port.

The first word of a target says how it answers: `/size/N` with N bytes, `/trickle/head` and `/trickle/body` with a byte every
tenth of a second, `/endless/...` with a part of a message that has no end, kilobytes of it each tenth of a second; anything
else with the target, as the crowd expects.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

_BEGINNING = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n"
#: What comes first, and what comes again and again.
UNENDING = {
    b"trickle/head": (_BEGINNING + b"X-Field: ", b"x"),
    b"trickle/body": (_BEGINNING + b"Content-Length: 1000000\r\n\r\n", b"x"),
    b"endless/interim": (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 16),
    b"endless/head": (_BEGINNING, b"X-Field: value\r\n" * 1000),
    b"endless/line": (_BEGINNING + b"X-Field: ", b"value" * 3200),
    b"endless/extension": (_CHUNKED + b"5;", b"extension" * 200),
    b"endless/trailer": (_CHUNKED + b"0\r\n", b"X-Trailer: value\r\n" * 400),
}
_PAUSE_S = 0.1


async def take_body(reader: asyncio.StreamReader, head: bytes) -> None:
    """Read a request's body to its end."""
    if b"chunked" in head:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    elif length := re.search(rb"content-length: *(\d+)", head, re.I):
        await reader.readexactly(int(length[1]))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    await take_body(reader, head)
    target = head.split(b" ", 2)[1]
    if target[1:] in UNENDING:
        first, more = UNENDING[target[1:]]
        writer.write(first)
        while True:
            await asyncio.sleep(_PAUSE_S)
            writer.write(more)
            await writer.drain()
    size = re.fullmatch(rb"/size/(\d+)", target)
    body = bytes(int(size[1])) if size else target
    writer.write(_BEGINNING + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer what comes on one connection, until its peer has had enough."""
    with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
        while True:
            await answer(reader, writer)
    writer.close()


async def main() -> None:
    """Listen until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
