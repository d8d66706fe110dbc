"""FedStream: a `net.stream.Stream` without a socket: what the peer sends is given in pieces, what it is sent is kept.

Nothing here waits. What would have to wait gets the next piece, or the end: nothing is left to chance, and an input always
takes the same way through the code.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable

from greenproxy.deadline import NEVER, Limit
from greenproxy.net.recycler import Recycler

_MOST_LATE = 3  # then even somebody with endless patience sees an end

Task = Callable[[], None]


class End(enum.Enum):
    """What comes behind the last piece."""

    CLOSE = 0
    RESET = 1
    SILENCE = 2


class Errands(Recycler):
    """A recycler without greenlets: what should run soon runs as soon as somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: deque[Task] = deque()

    def run(self, task: Task) -> None:
        """Run it now."""
        task()

    def spawn(self, task: Task) -> None:
        """Run it when somebody waits."""
        self._tasks.append(task)

    def do(self) -> None:
        """Run what was left to do."""
        while self._tasks:
            self._tasks.popleft()()


class FedStream:
    """One peer. `room`: after as many bytes it breaks the connection under whoever sends; None is never."""

    def __init__(self, pieces: Iterable[bytes], end: End, errands: Errands, room: int | None = None) -> None:
        self._pieces = deque(piece for piece in pieces if piece)
        self._end = end
        self._errands = errands
        self._room = room
        self._error: BaseException | None = None
        self._late = 0
        self.parked: Task | None = None
        self.sent = bytearray()
        self.is_closed = False
        self.was_reset = False
        self.was_shut = False

    def feed(self, pieces: Iterable[bytes], end: End) -> None:
        """Let the peer, who was silent, say more."""
        self._pieces.extend(piece for piece in pieces if piece)
        self._end = end

    @property
    def has_more(self) -> bool:
        """Whether the peer has something to say, be it that it leaves."""
        return bool(self._pieces) or self._end is not End.SILENCE

    # -------------------------------------------------------------- receiving

    def recv(self, max_bytes: int, limit: Limit = NEVER) -> bytes:
        if not self._pieces and self._error is None and not self.is_closed:
            self._errands.do()
        return self._take(max_bytes, limit)

    def recv_after_wait(self, max_bytes: int, limit: Limit = NEVER) -> bytes:
        self._errands.do()
        return self._take(max_bytes, limit)

    def wait_readable(self, limit: Limit) -> None:
        self._errands.do()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self.has_more and not self.is_closed:
            self._late += 1
            if self._late <= _MOST_LATE:
                raise limit.late()

    def _take(self, max_bytes: int, limit: Limit) -> bytes:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        data = self.recv_now(max_bytes)
        if data is not None:
            return data
        self._late += 1
        if self._late > _MOST_LATE:
            return b""
        raise limit.late()

    def recv_now(self, max_bytes: int) -> bytes | None:
        if self.is_closed:
            raise ConnectionAbortedError("closed on this side")
        if not self._pieces:
            if self._end is End.RESET:
                raise ConnectionResetError("the peer broke the connection")
            return b"" if self._end is End.CLOSE else None
        piece = self._pieces.popleft()
        if len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
        return piece[:max_bytes]

    def recv_into(self, buffer: memoryview, limit: Limit = NEVER) -> int:
        data = self.recv(len(buffer), limit)
        buffer[: len(data)] = data
        return len(data)

    def peek(self) -> bytes | None:
        if self._pieces:
            return self._pieces[0][:1]
        return self.recv_now(1)

    def has_arrived(self) -> bool:
        return bool(self._pieces)

    def peek_is_eof(self) -> bool:
        return not self._pieces and self._end is not End.SILENCE

    # -------------------------------------------------------------- sending

    def send(self, data: bytes | memoryview, limit: Limit = NEVER) -> None:  # noqa: ARG002
        self.send_now(data)

    def send_now(self, data: bytes | memoryview) -> int:
        if self.is_closed or self.was_shut:
            raise ConnectionAbortedError("closed on this side")
        if self._room is not None and len(self.sent) + len(data) > self._room:
            self.sent += data[: self._room - len(self.sent)]
            self._room = len(self.sent)
            raise BrokenPipeError("the peer reads no more")
        self.sent += data
        return len(data)

    def unsent_bytes(self) -> int:
        return 0

    def wait_writable(self, limit: Limit) -> None:
        """There is always room."""

    def wait_writable_or(self, source: object, limit: Limit) -> None:
        """There is always room."""

    @property
    def is_sending(self) -> bool:
        return False

    def shutdown_write(self) -> None:
        self.was_shut = True

    # -------------------------------------------------------------- the hub's part

    def interrupt(self, error: BaseException) -> None:
        self._error = error

    def wake(self) -> None:
        """Nobody sleeps."""

    def park(self, on_readable: Task) -> None:
        self.parked = on_readable

    def unpark(self) -> None:
        self.parked = None

    def has_event(self) -> bool:
        return self.has_more

    @property
    def is_watching(self) -> bool:
        return not self.has_more

    # -------------------------------------------------------------- the end

    def close(self) -> None:
        self.is_closed = True
        self.parked = None

    def break_off(self) -> None:
        """Nothing to do: there is no TLS here."""

    def end_with_next_send(self) -> None:
        """Nothing to do: there is no TLS here."""

    def reset(self) -> None:
        self.was_reset = self.was_reset or not self.is_closed
        self.close()

    def fileno(self) -> int:
        return -1
