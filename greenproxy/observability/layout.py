"""Layout: which column of the board a name has. Made in the master, one for each configuration; no memory, no processes.

A name keeps its column for as long as a layout that still lives has it, so that what was counted goes on over a reload. The
column of a name that nobody has any more is given to another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """The columns of one configuration. `generation` counts the configurations of a master, from 1."""

    generation: int
    columns: Mapping[str, int]
    counters: frozenset[str]
    verdicts: frozenset[str]
    width: int  # every column is below it
    left_out: int = 0  # names for which there was no column: they are absent everywhere


@dataclass(frozen=True)
class Names:
    """The names of one configuration, the most important first.

    Gauges hold for this moment, counters only grow, and verdicts are opinions that outlive whoever had them for a while.
    """

    gauges: Sequence[str] = ()
    counters: Sequence[str] = ()
    verdicts: Sequence[str] = ()

    def all(self) -> tuple[str, ...]:
        """Return every name once."""
        return tuple(dict.fromkeys((*self.gauges, *self.counters, *self.verdicts)))


class Columns:
    """The master's book of columns, `count` of them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._column_of: dict[str, int] = {}
        self._width = 0
        self._generation = 0

    def assign(self, names: Names, keep: Iterable[Layout] = ()) -> tuple[Layout, list[int]]:
        """Return the next layout, and the columns that hold something else in it than before.

        Names of the layouts in `keep` keep their columns too.
        """
        wanted = names.all()
        needed = set(wanted).union(*(layout.columns for layout in keep))
        self._column_of = {name: column for name, column in self._column_of.items() if name in needed}
        new = [name for name in wanted if name not in self._column_of]
        taken = set(self._column_of.values())
        free = (column for column in range(self._count) if column not in taken)
        given = dict(zip(new, free, strict=False))
        self._column_of |= given
        self._width = max([self._width, *(column + 1 for column in given.values())])
        self._generation += 1
        columns = {name: self._column_of[name] for name in wanted if name in self._column_of}
        layout = Layout(
            generation=self._generation,
            columns=columns,
            counters=frozenset(names.counters) & columns.keys(),
            verdicts=frozenset(names.verdicts) & columns.keys(),
            width=self._width,
            left_out=len(wanted) - len(columns),
        )
        return layout, sorted(given.values())
