"""Lease: a connection that is lent to one exchange, until it is given back or dropped."""

from __future__ import annotations

from typing import Protocol

from greenproxy.errors import Blame, ProxyError, Retry
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.connection import Connection
from greenproxy.upstream.holds import Hold, Holds


class Lender(Protocol):
    """Where leases end: the upstream's slots."""

    holds: Holds

    def take_back(self, backend: Backend, connection: Connection | None) -> None: ...

    def trial_undecided(self, backend: Backend) -> None: ...

    def failed(self, backend: Backend, error: ProxyError, is_trial: bool) -> None: ...


class Lease:
    """A borrowed connection. Nothing here waits; ending it twice is harmless, and the verdict may come before or after the end.

    `is_reused`: the connection served another request before, so that its backend may have been about to close it.
    """

    __slots__ = ("_is_over", "_is_trial", "_lender", "_may_be_stale", "backend", "connection", "is_reused")

    def __init__(self, lender: Lender, backend: Backend, connection: Connection, is_trial: bool) -> None:
        self._lender = lender
        self._is_trial = is_trial  # and the backend has not shown anything yet
        self._is_over = False
        self.backend = backend
        self.connection = connection
        self.is_reused = self._may_be_stale = connection.uses > 0
        connection.uses += 1
        backend.requests += 1

    @property
    def is_trial(self) -> bool:
        """Whether it is to show that a backend works again, and nothing has been shown yet."""
        return self._is_trial

    def hold(self, *, is_upload: bool = False) -> Hold:
        """Return who is told while one direction of the exchange waits for its client."""
        return Hold(self._lender.holds, self.backend, is_upload=is_upload)

    def give_back(self) -> None:
        """End the lease; the connection may serve the next request: both messages on it ended cleanly."""
        if not self._is_over:
            self._is_over = True
            if self._is_trial:
                self._lender.trial_undecided(self.backend)
            self._lender.take_back(self.backend, self.connection)

    def drop(self) -> None:
        """End the lease and close the connection."""
        if not self._is_over:
            self._is_over = True
            self.connection.stream.close()
            if self._is_trial:
                self._lender.trial_undecided(self.backend)
            self._lender.take_back(self.backend, None)

    def answered(self) -> None:
        """Say that a byte of an answer came: no end of the connection is that of an idle one any more."""
        self._may_be_stale = False

    def succeeded(self) -> None:
        """Say that the backend answered, whatever the status: it is alive."""
        self._may_be_stale = False
        health = self.backend.health
        if self._is_trial:
            self._is_trial = False
            health.end_trial()
            health.succeeded(is_trial=True)
        elif not health.is_clean:
            health.succeeded(is_trial=False)

    def failed(self, error: ProxyError) -> None:
        """Say how the exchange failed. Only what is the backend's fault counts against it.

        The end of a reused connection before any answer does not: a backend may close what it thinks is idle at any time.
        """
        if error.blame is not Blame.UPSTREAM or (self._may_be_stale and error.retry is Retry.RESET):
            return
        is_trial, self._is_trial = self._is_trial, False
        self._lender.failed(self.backend, error, is_trial)
