"""Deadline: how long something may still take, and the error raised when it may no longer.

One deadline is made per exchange and narrowed per stage; it is passed down, never a second timeout.
Instants are `time.monotonic()` seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from gevent import Timeout

from greenproxy.errors import ProxyError, RequestTimeout


class Deadline:
    """An instant and the error that passing it means. `at_s` is infinity for "no limit"."""

    __slots__ = ("at_s", "error")

    def __init__(self, at_s: float, error: type[ProxyError]) -> None:
        self.at_s = at_s
        self.error = error

    @classmethod
    def after(cls, seconds: float, error: type[ProxyError]) -> Deadline:
        """Return the deadline `seconds` from now; 0 seconds means no limit."""
        return cls(monotonic() + seconds, error) if seconds else NEVER

    def within(self, seconds: float, error: type[ProxyError]) -> Deadline:
        """Return whichever comes first: this deadline, or `seconds` from now (0: this one)."""
        if not seconds:
            return self
        at_s = monotonic() + seconds
        return self if self.at_s <= at_s else Deadline(at_s, error)

    def remaining_s(self) -> float:
        """Return the seconds left, 0 or less when it has passed, infinity when there is no limit."""
        return self.at_s - monotonic()

    def late(self) -> ProxyError:
        """Return the error that says this deadline has passed."""
        return self.error()

    def check(self) -> None:
        """Raise this deadline's error if it has passed."""
        if self.at_s <= monotonic():
            raise self.error()

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Bound a block that waits in ways we do not control (user code, a library) by a `gevent.Timeout`.

        Raises this deadline's error when the block is still waiting at the instant. It cannot interrupt a
        block that never lets the hub run.
        """
        if self.at_s == NEVER.at_s:
            yield
            return
        timeout = Timeout.start_new(max(0.0, self.remaining_s()))
        try:
            yield
        except Timeout as fired:
            if fired is not timeout:
                raise
            raise self.error() from None
        finally:
            timeout.close()


class Patience:
    """How long one wait may take, begun anew with every wait (read-timeout, send-timeout), inside a whole deadline.

    What waits on a socket takes either a Deadline (for a whole stage) or a Patience (for silence): both answer
    `remaining_s()` at the start of a wait and `late()` at its end.
    """

    __slots__ = ("error", "seconds", "whole")

    def __init__(self, seconds: float, error: type[ProxyError], whole: Deadline | None = None) -> None:
        self.seconds = seconds or float("inf")
        self.error = error
        self.whole = whole

    def remaining_s(self) -> float:
        """Return the seconds that a wait beginning now may take."""
        if self.whole is None:
            return self.seconds
        return min(self.seconds, self.whole.remaining_s())

    def late(self) -> ProxyError:
        """Return the whole deadline's error if that has passed, else this one's."""
        if self.whole is not None and self.whole.remaining_s() <= 0:
            return self.whole.late()
        return self.error()


class Limit(Protocol):
    """What bounds a wait: asked when it begins, and again whenever it is woken for nothing."""

    def remaining_s(self) -> float: ...

    def late(self) -> ProxyError: ...


#: No limit. Its error is never raised by time, but names a stage narrowed from it.
NEVER = Deadline(float("inf"), RequestTimeout)
