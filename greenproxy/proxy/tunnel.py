"""Tunnel: bytes in both directions between a client and a backend, behind a 101 (Switching Protocols)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import gevent

from greenproxy.deadline import Patience
from greenproxy.errors import BackendReset, ClientGone, ProxyError, ReadTimeout, Stopped
from greenproxy.messages import Duplex
from greenproxy.net.stream import Stream

READ_BYTES = 120 * 1024  # as in net.relay
IDLE_S = 3600.0  # silence in both directions
HALF_CLOSED_S = 10.0  # silence in the one direction that is left


class Tunnel:
    """A takeover: called with the client's bytes, it returns when both directions have ended or one of them broke.

    A direction that ends passes its end on (half-close) and the other goes on. `ended` is called at the end, or by `close`
    when nobody called it; more than once is possible.
    """

    def __init__(self, backend: Stream, early: bytes, ended: Callable[[], None]) -> None:
        self._backend = backend
        self._early = early  # what the backend sent behind its head
        self._ended = ended
        self._moved_s = monotonic()
        self._silence_s = IDLE_S

    def __call__(self, client: Duplex) -> None:
        """Carry bytes until the end. Raises ClientGone, BackendReset or ReadTimeout when a side broke."""
        upwards = gevent.spawn(self._carry_up, client)
        try:
            failure = self._carry(self._backend, client, self._early, BackendReset, ClientGone)
            if failure is None:
                failure = upwards.get()
        finally:
            upwards.kill()
            self.close()
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Give the backend up, also where the answer never got to the client. Idempotent, never waits."""
        self._ended()

    def _carry_up(self, client: Duplex) -> ProxyError | None:
        try:
            failure = self._carry(client, self._backend, b"", ClientGone, BackendReset)
        except BaseException:  # killed: the other direction would go on alone, and nobody would read what the client sends
            self._backend.interrupt(Stopped())
            raise
        if failure is not None:
            self._backend.interrupt(failure)  # a connection that broke ends both directions
        return failure

    def _carry(
        self, source: Duplex, sink: Duplex, data: bytes, source_error: type[ProxyError], sink_error: type[ProxyError]
    ) -> ProxyError | None:
        """Carry one direction, `data` first. Returns why it broke, None for an orderly end."""
        side = sink_error
        try:
            while True:
                if data:
                    side = sink_error
                    sink.send(data, Patience(self._silence_s, ReadTimeout))
                    self._moved_s = monotonic()
                side = source_error
                received = self._receive(source)
                if not received:
                    sink.shutdown_write()
                    self._silence_s, self._moved_s = HALF_CLOSED_S, monotonic()
                    sink.wake()  # whoever reads there has less patience now
                    return None
                data = received
        except ProxyError as error:
            return error
        except OSError as error:
            return side(f"A tunnel broke: {error}")

    def _receive(self, source: Duplex) -> bytes:
        """Return the next bytes, b"" at the end. Raises ReadTimeout when both directions were silent for too long."""
        while True:
            try:
                data = source.recv(READ_BYTES, self)
            except ReadTimeout:
                if self.remaining_s() > 0:
                    continue  # the other direction moved meanwhile
                if self._silence_s == HALF_CLOSED_S:
                    return b""  # the other side has ended, and this one has nothing to add
                raise
            self._moved_s = monotonic()
            return data

    # -------------------------------------------------------------- as the limit of its own waits

    def remaining_s(self) -> float:
        """Return the seconds of silence that are left."""
        return self._moved_s + self._silence_s - monotonic()

    def late(self) -> ProxyError:
        """Return what too long a silence means."""
        return ReadTimeout("The tunnel was silent for too long.")
