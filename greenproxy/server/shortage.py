"""Shortage: this process has no descriptor left. Who is idle makes room; the log has one line when it begins and one at its end.

A worker has one of these: it is the same lack that accepting a client and dialling a backend run into.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

_CALM_S = 3.0  # while it lasts something is opened now and then: it is over when nothing has been missing for so long


class Shortage:
    """Asks those who were added with `add`, in that order, to make room."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._shedders: list[Callable[[], int]] = []
        self._missed_at_s = 0.0
        self.is_on = False  # a descriptor has been missing lately

    def add(self, shed: Callable[[], int]) -> None:
        """Ask `shed` too: it closes some of what is idle and returns how much that was. It must not wait."""
        self._shedders.append(shed)

    def relieve(self, told: str) -> bool:
        """Return whether somebody made room for the descriptor that was missing; `told` is the line for the log. Never waits."""
        self._missed_at_s = monotonic()
        if not self.is_on:
            self.is_on = True
            self._log.error(told)
        return any(shed() for shed in self._shedders)

    def look(self) -> None:
        """Say when it is over. To be called every second or so."""
        if self.is_on and monotonic() - self._missed_at_s >= _CALM_S:
            self.is_on = False
            self._log.info("there are descriptors again")
