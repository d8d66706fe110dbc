"""A herd: a thousand raw connections that all do the same, from one thread, and what the proxy spends on them.

None of its calls waits for a single connection: what cannot be sent now is not sent, what has not come is not there.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_DRIP_S = 0.1


@contextlib.contextmanager
def _beside(run: Callable[[], None], is_over: threading.Event) -> Iterator[None]:
    """Let `run` run in a thread of its own until the block ends, which sets `is_over`."""
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class Member:
    """One connection: what came on it and how it ended (`""` while it is open)."""

    __slots__ = ("came", "end", "got", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = b""  # the beginning of what came
        self.came = 0
        self.end = ""

    def send(self, data: bytes) -> None:
        """Send what goes without a wait."""
        if data:
            with contextlib.suppress(OSError):
                self.sock.send(data)

    def read(self, most: int) -> None:
        """Take what has come, at most so many bytes."""
        while most > 0 and not self.end:
            try:
                data = self.sock.recv(min(most, 1 << 16))
            except BlockingIOError:
                return
            except OSError:
                self.end = "reset"
                return
            if not data:
                self.end = "closed"
            self.got = (self.got + data)[:4096] if len(self.got) < 4096 else self.got
            self.came += len(data)
            most -= len(data)

    def reset(self) -> None:
        """Break the connection off."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.sock.close()

    @property
    def outcome(self) -> str:
        """The status of what came first, or how it ended without one; `open` while it has not."""
        if self.got:
            return self.got[9:12].decode("latin-1")
        return self.end or "open"


class Herd:
    """`count` connections. The first sends the first of `openings` at once, and so on, all over again. Closes them in the end."""

    def __init__(self, address: tuple[str, int], count: int, openings: Sequence[bytes] = (b"",), receive_buffer: int = 0) -> None:
        self.address = address
        self.members: list[Member] = []
        self._receive_buffer = receive_buffer
        try:
            for number in range(count):
                self.members.append(self._join())
                self.members[-1].send(openings[number % len(openings)])
        except BaseException:
            self.close()
            raise

    def _join(self) -> Member:
        sock = socket.socket()
        if self._receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.settimeout(10)
        sock.connect(self.address)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Member(sock)

    def __enter__(self) -> Herd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextlib.contextmanager
    def asking_and_leaving(self, opening: bytes) -> Iterator[Counter[str]]:
        """While the block runs, make one connection after the other, send `opening` on it and break it off at once."""
        done: Counter[str] = Counter()
        is_over = threading.Event()

        def run() -> None:
            while not is_over.is_set():
                member = self._join()
                member.send(opening)
                member.reset()
                done["connections"] += 1

        with _beside(run, is_over):
            yield done

    @contextlib.contextmanager
    def dripping(self, drips: Sequence[bytes]) -> Iterator[None]:
        """While the block runs, let each send one byte of its drip after the other, over and over, every tenth of a second."""
        is_over = threading.Event()

        def drip() -> None:
            turn = 0
            while not is_over.wait(_DRIP_S):
                for number, member in enumerate(self.members):
                    data = drips[number % len(drips)]
                    member.send(data[turn % len(data) :][:1])
                turn += 1

        with _beside(drip, is_over):
            yield

    @contextlib.contextmanager
    def sipping(self, most: int) -> Iterator[None]:
        """While the block runs, let each take so many bytes every tenth of a second."""
        is_over = threading.Event()

        def sip() -> None:
            while not is_over.wait(_DRIP_S):
                self.read(most)

        with _beside(sip, is_over):
            yield

    def half_close(self) -> None:
        """Let each say that it sends no more."""
        for member in self.members:
            with contextlib.suppress(OSError):
                member.sock.shutdown(socket.SHUT_WR)

    def read(self, most: int = 1 << 30) -> None:
        """Let each take what has come, at most so many bytes."""
        for member in self.members:
            member.read(most)

    def outcomes(self) -> Counter[str]:
        """Return how many got which status, or none: see `Member.outcome`."""
        return Counter(member.outcome for member in self.members)

    @property
    def open(self) -> int:
        """How many have not been closed by the proxy, as far as they have read."""
        return sum(not member.end for member in self.members)

    def is_over(self) -> bool:
        """Read, and return whether all have been closed by the proxy."""
        self.read()
        return not self.open

    def ready(self) -> int:
        """Return on how many something has arrived, or the end. Reads nothing."""
        with selectors.DefaultSelector() as selector:
            for member in self.members:
                if not member.end:
                    selector.register(member.sock, selectors.EVENT_READ)
            return len(selector.select(0))

    def queued_bytes(self) -> list[int]:
        """Return for each that is connected what the kernel holds for it on the other side: sent or not, and not acknowledged."""
        mine = {member.sock.getsockname()[1] for member in self.members if not member.end}
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port = self.address[1]
        theirs = [row for row in rows if int(row[1].split(":")[1], 16) == port and int(row[2].split(":")[1], 16) in mine]
        return [int(row[4].split(":")[0], 16) for row in theirs]

    def reset(self) -> None:
        """Break every connection off."""
        for member in self.members:
            member.reset()

    def close(self) -> None:
        """Close every connection."""
        for member in self.members:
            member.sock.close()
