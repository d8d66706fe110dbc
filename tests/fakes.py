"""Fakes that the tests of several rooms share: time turned by hand, dice that fall as told, logs kept in memory."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class HandClock:
    """A clock that stands still until it is turned. Give it where `time.monotonic` is expected."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def turn(self, seconds: float) -> None:
        """Let `seconds` pass."""
        assert seconds >= 0, "time does not run backwards"
        self.now_s += seconds


class LoadedDice(random.Random):
    """A random.Random whose `random()` gives the given numbers in turn, then begins again.

    `choice`, `choices` and `shuffle` of the base class draw from them as well.
    """

    def __new__(cls, *_: Any) -> LoadedDice:
        return super().__new__(cls)

    def __init__(self, numbers: Sequence[float] = (0.0,)) -> None:
        super().__init__(0)
        self._numbers = list(numbers)
        self._at = 0

    def random(self) -> float:
        """Return the next number."""
        number = self._numbers[self._at % len(self._numbers)]
        self._at += 1
        return number

    def getrandbits(self, count: int, /) -> int:
        """Return the next number, as that many bits."""
        return int(self.random() * (1 << count))


class ListHandler(logging.Handler):
    """A logging handler that keeps the messages, for a logger that belongs to one test."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        self.records.append(record)
        self.messages.append(record.getMessage())


def memory_logger(name: str = "greenproxy.test") -> tuple[logging.Logger, list[str]]:
    """Return a logger that nobody else has, and the list that its messages come to."""
    logger = logging.Logger(name, logging.DEBUG)
    handler = ListHandler()
    logger.addHandler(handler)
    return logger, handler.messages


class ClosingBody:
    """A body that knows whether it was closed, and how often."""

    def __init__(self, parts: Iterable[bytes] = (b"body",)) -> None:
        self._parts = iter(parts)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        """Count it."""
        self.closed += 1
