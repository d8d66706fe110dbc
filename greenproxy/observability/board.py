"""The board: what workers know of each other, in anonymous memory that is mapped before the first fork.

It has a slot for each worker, the heritage of those that are gone, and the master's note. A layout says which column of a
slot a name has. There are no locks: a slot has one writer, its worker; the rest has one, the master.

- Every number is eight aligned bytes that are stored at once, so a reader sees the old one or the new one. It may see some
  numbers of this second beside some of the last, which does no harm: each is true on its own.
- A column that a slot's worker does not have is absent there: NaN, or given to its name only after that worker's layout was
  made. So sums and means are right while workers of several configurations live.
- Gauges count while their worker writes, once a second. Counters are what a worker counted since its birth, and stay in its
  slot until the master *buries* it: then they are in the heritage. So totals never go backwards.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan
from time import monotonic, time
from typing import Any

from greenproxy.observability.layout import Columns, Layout, Names
from greenproxy.observability.note import NOTE_BYTES, MasterNote, read_note, write_note
from greenproxy.observability.rows import NO_NAMES, Row, State, add_up, named
from greenproxy.observability.seats import Seats

_BYTES = 8
_FUNERALS, _LAST_SEEN, _BOARD_HEAD = range(3)  # begun and ended burials; when the last of the buried wrote
_PID, _STATE, _GENERATION, _STARTED, _STAMP, _SLOT_HEAD = range(6)
_TRIES = 20


class Board:
    """Made by the master, and kept over reloads. `slots` is more than there will ever be workers at once.

    Memory that nobody touches is never given by the kernel, so both numbers can be generous.
    """

    def __init__(self, slots: int = 512, columns: int = 32768) -> None:
        self._slots = slots
        self._count = columns
        self._heads_at = _BOARD_HEAD
        self._born_at = self._heads_at + slots * _SLOT_HEAD  # per column: the first generation that has it as it is now
        self._heritage_at = self._born_at + columns
        self._values_at = self._heritage_at + columns
        numbers = self._values_at + slots * columns
        self._memory = mmap.mmap(-1, NOTE_BYTES + numbers * _BYTES)
        whole = memoryview(self._memory)
        self._note = whole[:NOTE_BYTES]
        self._numbers = whole[NOTE_BYTES:].cast("d")
        self._columns = Columns(columns)  # the master's, as are the layouts; workers have a copy that they do not use
        self._layouts: dict[int, Layout] = {}
        self.seats = Seats(slots)  # what cannot wait for the next second
        write_note(self._note, MasterNote(started_at=time(), pid=os.getpid()))

    def close(self) -> None:
        """Unmap it, in this process."""
        self._note.release()
        self._numbers.release()
        self._memory.close()
        self.seats.close()

    # -------------------------------------------------------------- the master's part

    def layout(
        self,
        gauges: Sequence[str],
        counters: Sequence[str] = (),
        verdicts: Sequence[str] = (),
        keep: Iterable[Layout] = (),
    ) -> Layout:
        """Return the layout for a new configuration. For the master.

        Names keep their columns while a worker that has them is on the board, and while a layout in `keep` has them. So do
        those of the generation that serves and of the latest, whose workers may not have come to the board yet.
        """
        living = {int(self._head(slot, _GENERATION)) for slot in self._taken()}
        living |= {self.told().generation, max(self._layouts, default=0)}
        self._layouts = {number: each for number, each in self._layouts.items() if number in living}
        self._layouts |= {each.generation: each for each in keep}
        layout, fresh = self._columns.assign(Names(gauges, counters, verdicts), self._layouts.values())
        for column in fresh:
            self._numbers[self._born_at + column] = layout.generation
            self._numbers[self._heritage_at + column] = nan
        self._layouts[layout.generation] = layout
        return layout

    def bury(self, pid: int) -> None:
        """Inherit counters and verdicts of a worker that has ended, and free its slot. For the master."""
        for slot in self._taken():
            if self._head(slot, _PID) != pid:
                continue
            layout = self._layouts.get(int(self._head(slot, _GENERATION)))
            self._numbers[_FUNERALS] += 1
            if layout is not None:
                self._inherit(slot, layout)
            self._set_head(slot, _PID, 0)
            self.seats.clear(slot)
            self._numbers[_FUNERALS] += 1

    def _inherit(self, slot: int, layout: Layout) -> None:
        cells = self._cells(self._values_at + slot * self._count, layout, layout.generation)
        for name, value in named(layout, cells).items():
            at = self._heritage_at + layout.columns[name]
            if name in layout.counters:
                before = self._numbers[at]
                self._numbers[at] = value if isnan(before) else before + value
            elif name in layout.verdicts:
                self._numbers[at] = value
        self._numbers[_LAST_SEEN] = max(self._numbers[_LAST_SEEN], self._head(slot, _STAMP))

    def tell(self, **changes: Any) -> None:
        """Change the master's note: any of its fields by name. For the master."""
        write_note(self._note, replace(self.told(), **changes))

    def told(self) -> MasterNote:
        """Return the master's note."""
        return read_note(self._note)

    @property
    def is_stopping(self) -> bool:
        """Whether the master has been told to stop; it says so here, its workers look."""
        return self.told().is_stopping

    @is_stopping.setter
    def is_stopping(self, value: bool) -> None:
        self.tell(is_stopping=value)

    # -------------------------------------------------------------- the workers' part

    def claim(self, index: int, layout: Layout) -> Slot:
        """Return the slot `index` for the calling worker, or another one if it is taken. Its state is starting.

        Raises ValueError when all slots are taken.
        """
        half = self._slots // 2  # far from those that others are about to claim
        for slot in (index, *((index + half + step) % self._slots for step in range(self._slots))):
            if slot < self._slots and self._head(slot, _PID) in (0, os.getpid()):
                break
        else:
            raise ValueError(f"all {self._slots} slots of the board are taken")
        start = self._values_at + slot * self._count
        self._numbers[start : start + layout.width] = memoryview(struct.pack("d", nan) * layout.width).cast("d")
        self._set_head(slot, _STATE, State.STARTING)
        self._set_head(slot, _GENERATION, layout.generation)
        self._set_head(slot, _STARTED, time())
        self._set_head(slot, _STAMP, monotonic())
        self._set_head(slot, _PID, os.getpid())
        return Slot(self, slot, layout)

    def write(self, slot: int, layout: Layout, values: Mapping[str, float], state: State) -> None:
        """Store values of a slot. For its `Slot`."""
        numbers, start, columns = self._numbers, self._values_at + slot * self._count, layout.columns
        for name, value in values.items():
            column = columns.get(name)
            if column is not None:
                numbers[start + column] = value
        self._set_head(slot, _STAMP, monotonic())
        self._set_head(slot, _STATE, state)

    # -------------------------------------------------------------- reading

    def rows(self, layout: Layout) -> list[Row]:
        """Return the workers that are not buried, lowest slot first, with what they have of a layout's names."""
        return [row for row in (self._row(slot, layout) for slot in self._taken()) if row.pid]

    def heritage(self, layout: Layout) -> tuple[dict[str, float], float]:
        """Return what those that are gone left of a layout's names, and how many seconds ago the last of them wrote."""
        left = named(layout, self._cells(self._heritage_at, layout, layout.generation))
        return left, monotonic() - self._numbers[_LAST_SEEN]

    def totals(self, layout: Layout, names: Iterable[str] | None = None) -> dict[str, float]:
        """Return a layout's names, or those of them that are asked for, with what all workers have of them together.

        Counters are sums over all workers that ever were, gauges over those that live. A gauge that ends in `/up` is an
        opinion, so it is averaged: 1 means that every worker sees the backend up. What nobody has is not there.
        """
        for _ in range(_TRIES):  # a worker that is being buried must not count twice, or not at all
            funerals = self._numbers[_FUNERALS]
            rows, left = self.rows(layout), self._cells(self._heritage_at, layout, layout.generation)
            if funerals % 2 == 0 and self._numbers[_FUNERALS] == funerals:
                break
        return add_up(layout, rows, left, names)

    def _taken(self) -> list[int]:
        pids = self._numbers[self._heads_at + _PID : self._born_at : _SLOT_HEAD].tolist()
        return [slot for slot, pid in enumerate(pids) if pid]

    def _row(self, slot: int, layout: Layout) -> Row:
        at = self._heads_at + slot * _SLOT_HEAD
        pid, state, generation, started_at, stamp_s = self._numbers[at : at + _SLOT_HEAD].tolist()
        cells = self._cells(self._values_at + slot * self._count, layout, int(generation))
        return Row(
            slot=slot,
            pid=int(pid),
            state=State(int(state)) if state else State.STARTING,
            generation=int(generation),
            started_at=started_at,
            silent_s=monotonic() - stamp_s,
            layout=layout,
            cells=cells,
        )

    def _cells(self, start: int, layout: Layout, generation: int) -> Sequence[float]:
        """Return the columns of a layout, from what stands at `start` and was written with the layout of a generation."""
        cells: Sequence[float] = self._numbers[start : start + layout.width].tolist()
        born = self._numbers[self._born_at : self._born_at + layout.width].tolist()
        oldest = min(generation, layout.generation)
        if max(born, default=0) > oldest:
            return [cell if since <= oldest else nan for cell, since in zip(cells, born, strict=True)]
        return cells

    def _head(self, slot: int, which: int) -> float:
        return self._numbers[self._heads_at + slot * _SLOT_HEAD + which]

    def _set_head(self, slot: int, which: int, value: float) -> None:
        self._numbers[self._heads_at + slot * _SLOT_HEAD + which] = value


class Slot:
    """One worker's place on the board."""

    def __init__(self, board: Board, index: int, layout: Layout) -> None:
        self.index = index
        self._board = board
        self._layout = layout

    def write(self, values: Mapping[str, float], state: State = State.SERVING) -> None:
        """Publish what has changed; other numbers stay as they were, absent at first. To be called once a second."""
        self._board.write(self.index, self._layout, values, state)

    def release(self, values: Mapping[str, float]) -> None:
        """Leave the board. The counters stay until the master buries this worker, nothing else counts any more."""
        self._board.write(self.index, self._layout, values, State.GONE)

    @property
    def speaks(self) -> bool:
        """Whether this worker sends the totals: the lowest slot of the newest generation among those that serve."""
        living = [row for row in self._board.rows(NO_NAMES) if row.is_living]
        speakers = [row for row in living if row.state is not State.STARTING] or living
        newest = max((row.generation for row in speakers), default=0)
        return self.index == min((row.slot for row in speakers if row.generation == newest), default=-1)
