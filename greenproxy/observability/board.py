"""The board: what workers know of each other, in anonymous memory that is mapped before the first fork.

It has one slot per worker, and each slot one number per name. There are no locks: a slot has one writer, its worker.
Every number is eight aligned bytes that are stored at once, so a reader sees the old one or the new one. It may see
some numbers of this second beside some of the last; they are gauges, each true on its own, so that does no harm.

A slot without a recent stamp belongs to a worker that is gone and is not counted. The layout follows from the list of
names; other names need another board, and the old one is retired so that its workers stop speaking for all.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from time import monotonic

STALE_S = 5.0  # workers stamp their slots once a second
_STAMP, _PID, _HEAD = 0, 1, 2  # numbers at the start of a slot, before the named ones; CLOCK_MONOTONIC is the same in all processes
_BYTES = 8


class Board:
    """Made by the master. `names` says what each slot holds; `slots` is more than there will ever be workers at once."""

    def __init__(self, names: Sequence[str], slots: int = 256) -> None:
        self.names = tuple(names)
        self._slots = slots
        self._width = _HEAD + len(self.names)
        self._memory = mmap.mmap(-1, (1 + slots * self._width) * _BYTES)
        self._numbers = memoryview(self._memory).cast("d")  # the first one: 1 when retired

    def claim(self, index: int) -> Slot:
        """Return the slot of the calling worker: `index` (its age, say), or the next that no living worker holds."""
        for step in range(self._slots):
            at = self._start((index + step) % self._slots)
            if not self._is_live(at) or self._numbers[at + _PID] == os.getpid():
                return Slot(self, at)
        raise RuntimeError(f"all {self._slots} slots of the board are taken")

    def retire(self) -> None:
        """Another board took its place: nobody speaks for this one any more."""
        self._numbers[0] = 1.0

    def totals(self) -> dict[str, float]:
        """Return every number, summed over the living workers.

        A name that ends in `.up` is an opinion, so it is averaged: 1 means every worker sees the backend up.
        """
        live = list(self._live())
        totals = {}
        for offset, name in enumerate(self.names, _HEAD):
            total = sum([self._numbers[at + offset] for at in live])
            totals[name] = total / len(live) if live and name.endswith(".up") else total
        return totals

    def close(self) -> None:
        """Unmap it, in this process."""
        self._numbers.release()
        self._memory.close()

    def _start(self, index: int) -> int:
        return 1 + index * self._width

    def _live(self) -> Iterator[int]:
        return (at for at in map(self._start, range(self._slots)) if self._is_live(at))

    def _is_live(self, at: int) -> bool:
        return monotonic() - self._numbers[at + _STAMP] < STALE_S and self._numbers[at + _PID] > 0


class Slot:
    """One worker's place on the board."""

    def __init__(self, board: Board, at: int) -> None:
        self.board = board
        self._at = at

    def write(self, values: Sequence[float]) -> None:
        """Publish one number for each of the board's names, in their order."""
        numbers, at = self.board._numbers, self._at
        numbers[at + _PID] = float(os.getpid())
        for offset, value in enumerate(values, at + _HEAD):
            numbers[offset] = float(value)
        numbers[at + _STAMP] = monotonic()

    def release(self) -> None:
        """Leave the board: what was written counts no more."""
        self.board._numbers[self._at + _STAMP] = 0.0
        self.board._numbers[self._at + _PID] = 0.0

    @property
    def speaks(self) -> bool:
        """Whether this is the one worker that sends the totals: the living one with the lowest slot, until the board is retired."""
        return not self.board._numbers[0] and next(self.board._live(), None) == self._at
