"""Rows: what can be read of the workers on the board, and how their numbers are added up. No memory, no processes."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from operator import add

from greenproxy.observability.layout import Layout

#: Workers write once a second; one that has not for so long counts no more. CLOCK_MONOTONIC is the same in all processes.
STALE_S = 5.0
#: For those who want to know who is there, and nothing else.
NO_NAMES = Layout(generation=0, columns={}, counters=frozenset(), verdicts=frozenset(), width=0)


class State(enum.IntEnum):
    """What a worker does. One that is gone has left its counters behind, and nothing else."""

    STARTING = 1
    SERVING = 2
    DRAINING = 3
    GONE = 4


@dataclass(frozen=True)
class Row:
    """One slot: a worker that has not been buried. `started_at` is the time of day; `cells` are a layout's columns."""

    slot: int
    pid: int
    state: State
    generation: int
    started_at: float
    silent_s: float  # since it wrote
    layout: Layout
    cells: Sequence[float]

    @cached_property
    def values(self) -> Mapping[str, float]:
        """What it has of the layout's names, by name."""
        return named(self.layout, self.cells)

    @property
    def is_living(self) -> bool:
        """Whether it writes."""
        return self.state is not State.GONE and self.silent_s < STALE_S


def named(layout: Layout, cells: Sequence[float]) -> dict[str, float]:
    """Return the cells that are not absent by their names in a layout."""
    told = {name: cells[column] for name, column in layout.columns.items()}
    return {name: value for name, value in told.items() if not isnan(value)}


def add_up(layout: Layout, rows: Sequence[Row], left: Sequence[float], names: Iterable[str] | None = None) -> dict[str, float]:
    """Return the totals of rows and of the cells that are `left` of earlier workers, as `Board.totals` says."""
    felt, voters = _sums(layout.width, [row.cells for row in rows if row.is_living])
    gone = [row.cells for row in rows if not row.is_living]
    others, _ = _sums(layout.width, [*gone, left] if left else gone)
    totals = {}
    columns = layout.columns
    for name in columns if names is None else names:
        column = columns.get(name, -1)
        if column < 0:
            continue
        if name in layout.counters:
            totals[name] = felt[column] + others[column]
        elif voters[column] and name not in layout.verdicts:
            totals[name] = felt[column] / voters[column] if name.endswith("/up") else felt[column]
    return totals


def _sums(width: int, rows: Iterable[Sequence[float]]) -> tuple[list[float], list[int]]:
    """Return the sums of columns, and how many rows have each."""
    sums, voters = [0.0] * width, [0] * width
    for cells in rows:
        if isnan(sum(cells)):
            sums = [total if isnan(cell) else total + cell for total, cell in zip(sums, cells, strict=True)]
            voters = [count + (not isnan(cell)) for count, cell in zip(voters, cells, strict=True)]
        else:  # nothing is absent, nearly always
            sums = list(map(add, sums, cells))
            voters = [count + 1 for count in voters]
    return sums, voters
