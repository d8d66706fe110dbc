"""The board: what workers know of each other, in anonymous memory that is mapped before the first fork.

It has one slot per worker, and each slot one number per name. There are no locks: a slot has one writer, its worker.
Every number is eight aligned bytes that are stored at once, so a reader sees the old one or the new one. It may see
some numbers of this second beside some of the last; they are gauges, each true on its own, so that does no harm.

A slot without a recent stamp belongs to a worker that is gone and is not counted. What a slot holds, its layout, follows
from the names its worker gave. When the configuration changes there are workers of two layouts for a while: the layout that
was claimed last counts, and workers of the old one fall silent.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Sequence
from time import monotonic

STALE_S = 5.0  # workers stamp their slots once a second; CLOCK_MONOTONIC is the same in all processes
_BYTES = 8
_STAMP, _PID, _LAYOUT, _HEAD = range(4)  # the numbers of a slot's head, and how many they are


class Board:
    """Made by the master. `slots` is more than there will ever be workers at once, `capacity` more than there are names.

    Memory that nobody touches is never given by the kernel, so both can be generous.
    """

    def __init__(self, slots: int = 256, capacity: int = 8192) -> None:
        self.capacity = capacity
        self._slots = slots
        self._memory = mmap.mmap(-1, (2 + slots * (_HEAD + capacity)) * _BYTES)
        self._numbers = memoryview(self._memory).cast("d")  # the layout that counts; is_stopping; the heads; the values

    def claim(self, index: int, names: Sequence[str]) -> Slot:
        """Return the slot `index` for the calling worker, or the next one that no other living worker holds.

        Its layout becomes the one that counts. Raises ValueError for more names than the board's capacity.
        """
        if len(names) > self.capacity:
            raise ValueError(f"{len(names)} names do not fit on a board for {self.capacity}")
        for step in range(self._slots):
            slot = (index + step) % self._slots
            if not self._is_live(slot) or self._numbers[self._head(slot) + _PID] == os.getpid():
                self._numbers[0] = layout = float(zlib.crc32("\n".join(names).encode()) + 1)
                return Slot(self, slot, tuple(names), layout)
        raise ValueError(f"all {self._slots} slots of the board are taken")

    @property
    def is_stopping(self) -> bool:
        """Whether the master has been told to stop; it says so here, its workers look."""
        return bool(self._numbers[1])

    @is_stopping.setter
    def is_stopping(self, value: bool) -> None:
        self._numbers[1] = float(value)

    def close(self) -> None:
        """Unmap it, in this process."""
        self._numbers.release()
        self._memory.close()

    # -------------------------------------------------------------- for its slots

    def put(self, slot: int, layout: float, values: Sequence[float]) -> None:
        """Store the values of a slot, then its head."""
        numbers, head = self._numbers, self._head(slot)
        for at, value in enumerate(values, self._values(slot)):
            numbers[at] = float(value)
        numbers[head + _PID] = float(os.getpid())
        numbers[head + _LAYOUT] = layout
        numbers[head + _STAMP] = monotonic()

    def clear(self, slot: int) -> None:
        """Make a slot free."""
        self._numbers[self._head(slot) + _STAMP] = 0.0

    def living(self, layout: float) -> list[int]:
        """Return the slots of living workers of a layout, lowest first; none if another layout counts."""
        if self._numbers[0] != layout:
            return []
        live = filter(self._is_live, range(self._slots))
        return [slot for slot in live if self._numbers[self._head(slot) + _LAYOUT] == layout]

    def get(self, slot: int, count: int) -> list[float]:
        """Return the first `count` values of a slot."""
        at = self._values(slot)
        return list(self._numbers[at : at + count])

    def _head(self, slot: int) -> int:
        return 2 + slot * _HEAD

    def _values(self, slot: int) -> int:
        return 2 + self._slots * _HEAD + slot * self.capacity

    def _is_live(self, slot: int) -> bool:
        stamp_s = self._numbers[self._head(slot) + _STAMP]
        return stamp_s > 0 and monotonic() - stamp_s < STALE_S


class Slot:
    """One worker's place on the board."""

    def __init__(self, board: Board, index: int, names: tuple[str, ...], layout: float) -> None:
        self.names = names
        self._board = board
        self._index = index
        self._layout = layout

    def write(self, values: Sequence[float]) -> None:
        """Publish one number for each name, in the names' order. To be called once a second."""
        self._board.put(self._index, self._layout, values)

    def release(self) -> None:
        """Leave the board: what was written counts no more."""
        self._board.clear(self._index)

    @property
    def speaks(self) -> bool:
        """Whether this worker sends the totals: of the living ones with the layout that counts, it has the lowest slot."""
        return self._board.living(self._layout)[:1] == [self._index]

    def totals(self) -> dict[str, float]:
        """Return every number, summed over the living workers of this layout.

        A name that ends in `.up` is an opinion, so it is averaged: 1 means that every worker sees the backend up.
        """
        rows = [self._board.get(slot, len(self.names)) for slot in self._board.living(self._layout)]
        sums = (sum(column) for column in zip(*rows, strict=True))
        return {name: total / len(rows) if name.endswith(".up") else total for name, total in zip(self.names, sums, strict=False)}
