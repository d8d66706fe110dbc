"""Interrupts: how Ctrl-C, or TERM, ends a long run. The first one asks, so that what is begun is finished; the second ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether somebody wants the run to end."""

    def __init__(self) -> None:
        self.is_wished = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let TERM raise KeyboardInterrupt, as Ctrl-C does."""
        with _handled((signal.SIGTERM,), _raise):
            yield

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Note the first Ctrl-C or TERM in `is_wished`; the next one raises KeyboardInterrupt."""

        def note(signum: int, frame: FrameType | None) -> None:
            if self.is_wished:
                _raise(signum, frame)
            self.is_wished = True

        with _handled((signal.SIGINT, signal.SIGTERM), note):
            yield


def _raise(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handled(signums: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have signals handled so, but those that we were started to ignore, as what a shell runs behind itself ignores Ctrl-C."""
    before = {signum: signal.getsignal(signum) for signum in signums if signal.getsignal(signum) is not signal.SIG_IGN}
    try:
        for signum in before:
            signal.signal(signum, handler)
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
