"""A keep-alive backend in a process of its own, to be killed: `python named_backend.py NAME [DELAY_S]` prints its port.

It answers each GET with its target, and says who it is in X-Backend. `/down` and `/up` switch what /healthz says.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

NAME = sys.argv[1] if len(sys.argv) > 1 else "backend"
DELAY_S = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
IS_HEALTHY = [True]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b" ", 2)[1]
            if target in (b"/down", b"/up"):
                IS_HEALTHY[0] = target == b"/up"
            status = b"503 Unwell" if target == b"/healthz" and not IS_HEALTHY[0] else b"200 OK"
            if DELAY_S and target != b"/healthz":
                await asyncio.sleep(DELAY_S)
            writer.write(
                b"HTTP/1.1 %b\r\nX-Backend: %b\r\nContent-Length: %d\r\n\r\n%b" % (status, NAME.encode(), len(target), target)
            )
            await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
