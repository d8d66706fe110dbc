"""Reading ahead: a client that reads slowly need not keep a backend, so what it has not read yet waits here, in bounded memory.

Only for clients that do not take what they are sent at once: until then a piece goes out in the call that it is sent with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Protocol

from greenproxy.deadline import Limit, Patience
from greenproxy.errors import BackendInvalid, BackendReset, ProxyError, ReadTimeout, SendTimeout
from greenproxy.net.stream import Stream

Left = Callable[[], int]
_SMALL_BYTES = 4096


class Hold(Protocol):
    """Who is told while a backend waits only because its client is slow: see `upstream.holds`."""

    def waiting(self, error: type[ProxyError], left: Left) -> AbstractContextManager[None]: ...


class NoHold:
    """For bodies that hold nothing that others could want."""

    def waiting(self, error: type[ProxyError], left: Left) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()


class Source(Protocol):
    """Where the bytes come from: see `net.relay.RelayBody`."""

    patience: Patience
    ahead_bytes: int
    hold: Hold

    @property
    def is_over(self) -> bool: ...

    def take_now(self, max_bytes: int) -> bytes | None: ...

    def wait_beside(self, client: Stream, limit: Limit) -> None: ...

    def close(self) -> None: ...


class Ahead:
    """The bytes of one body between its backend and a client that is behind. Also the limit of the wait for both of them."""

    def __init__(self, client: Stream, patience: Patience, source: Source, frame: Callable[[bytes], bytes]) -> None:
        self._client = client
        self._patience = patience
        self._source = source
        self._frame = frame
        self._pending: deque[memoryview] = deque()
        self._size = 0
        self._client_at_s = self._backend_at_s = 0.0
        self._failure: ProxyError | None = None

    def send(self, rest: memoryview) -> None:
        """Send `rest`, and what comes behind it meanwhile; return when the client has caught up.

        Waits for the client, and beside that for the backend as long as there is room. Raises what either wait raises.
        """
        self._push(rest)
        source = self._source
        self._client_at_s = monotonic() + self._patience.remaining_s()
        self._backend_at_s = monotonic() + source.patience.remaining_s()
        while self._pending:
            room = source.ahead_bytes - self._size
            if source.is_over:
                self._client.wait_writable(self._patience)
            elif room > 0:
                self._go_on(room)
            else:
                with source.hold.waiting(SendTimeout, self._client.unsent_bytes):
                    self._client.wait_writable(self._patience)
                self._backend_at_s = monotonic() + source.patience.remaining_s()  # it was not its turn
            self._flush()
        if self._failure is not None:
            raise self._failure

    def _go_on(self, room: int) -> None:
        """Wait for the client or the backend. When the backend fails, what came before that is the client's all the same."""
        try:
            self._source.wait_beside(self._client, self)
            self._fetch(room)
        except (BackendReset, BackendInvalid, ReadTimeout) as error:
            self._failure = error
            self._source.close()

    def _fetch(self, room: int) -> None:
        piece = self._source.take_now(room)
        if piece is not None:
            self._backend_at_s = monotonic() + self._source.patience.remaining_s()
        if piece:
            self._push(memoryview(self._frame(piece)))

    def _push(self, data: memoryview) -> None:
        pending = self._pending
        self._size += len(data)
        if pending and len(pending[-1]) + len(data) <= _SMALL_BYTES:  # a backend that drips would cost an object for each byte
            pending[-1] = memoryview(b"".join((pending[-1], data)))
        else:
            pending.append(data)

    def _flush(self) -> None:
        pending = self._pending
        while pending:
            sent = self._client.send_now(pending[0])
            if sent:
                self._client_at_s = monotonic() + self._patience.remaining_s()
            self._size -= sent
            if sent < len(pending[0]):
                pending[0] = pending[0][sent:]
                return
            pending.popleft()

    # -------------------------------------------------------------- as the limit of its own waits

    def remaining_s(self) -> float:
        """Return the seconds left until the client or the backend has been silent for too long."""
        return min(self._client_at_s, self._backend_at_s) - monotonic()

    def late(self) -> ProxyError:
        """Return what the silence means: whose it is decides."""
        return self._patience.late() if self._client_at_s <= self._backend_at_s else self._source.patience.late()
