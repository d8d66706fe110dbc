"""Many clients at once in one thread: each keeps a connection and asks again and again, every answer is checked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

PATIENCE_S = 30.0


class Crowd:
    """What many clients saw: `statuses` counts the answers, `failures` tells what else happened."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.backends: Counter[str] = Counter()
        self.failures: list[str] = []
        self.is_over = False

    async def visit(self, address: tuple[str, int], clients: int, requests: int, lines: str = "") -> None:
        """Let `clients` send `requests` each, all at once; 0 requests: until `is_over`."""
        await asyncio.gather(*(self._client(address, number, requests, lines) for number in range(clients)))

    async def _client(self, address: tuple[str, int], number: int, requests: int, lines: str) -> None:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*address), PATIENCE_S)
        except OSError as error:
            self.failures.append(f"client {number} connecting: {error!r}")
            return
        done = 0
        try:
            while not self.is_over and (not requests or done < requests):
                goes_on = await asyncio.wait_for(self._ask(reader, writer, f"{number}-{done}", lines), PATIENCE_S)
                done += 1
                if not goes_on:
                    break
        except (TimeoutError, OSError, EOFError, AssertionError) as error:
            self.failures.append(f"client {number} request {done}: {error!r}")
        finally:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: str, lines: str) -> bool:
        writer.write(f"GET /?id={word} HTTP/1.1\r\nHost: crowd.example.com\r\nX-Id: {word}\r\n{lines}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(fields["content-length"]))
        status = int(head.split(" ", 2)[1])
        self.statuses[status] += 1
        self.backends[fields.get("x-backend", "")] += 1
        if status == 200:
            assert f"id={word}".encode() in body, f"the answer of somebody else: {body[:80]!r}"
        return fields.get("connection", "").lower() != "close"


def visit(address: tuple[str, int], clients: int, requests: int, lines: str = "") -> Crowd:
    """Let a crowd of `clients` send `requests` each and return what they saw."""
    crowd = Crowd()
    asyncio.run(crowd.visit(address, clients, requests, lines))
    return crowd


def visit_while(address: tuple[str, int], clients: int, happens: Callable[[Crowd], None]) -> Crowd:
    """Let a crowd ask for as long as `happens(crowd)` takes in a thread of its own; return what they saw."""
    crowd = Crowd()

    async def both() -> None:
        visitors = asyncio.create_task(crowd.visit(address, clients, 0))
        try:
            await asyncio.to_thread(happens, crowd)
        finally:
            crowd.is_over = True
            await visitors

    asyncio.run(both())
    return crowd
