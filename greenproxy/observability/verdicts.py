"""Verdicts: what workers think of backends, told over the board, so that a worker that begins need not find it out again.

Workers that serve vote. Only when none of them has an opinion those that start or drain do, to whom traffic shows nothing
new, and only then those that are gone since less than 30 seconds. Checks and traffic are two questions. Where as many say
no as yes it is no: those who do have met a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.rows import State

#: For so long the opinions of the dead count.
KEEP_S = 30.0
#: The words of the status page, by their numbers on the board.
STATES = ("unknown", "up", "down", "draining")
_UNKNOWN, _UP, _DOWN, _ = range(len(STATES))


class Verdict(NamedTuple):
    """What one worker thinks of a backend.

    `state` is what the checks have shown: unknown, up or down; a success of traffic makes unknown up as well. Traffic has
    taken it out if `rests_until_s` (CLOCK_MONOTONIC) is not 0, and may try it again from then on.
    """

    state: str
    rests_until_s: float


def read_verdicts(board: Board, layout: Layout) -> dict[str, Verdict]:
    """Return what is thought of each backend, by its stem. A backend of which nothing is known is not there."""
    serving: list[Mapping[str, float]] = []
    others: list[Mapping[str, float]] = []
    gone: list[Mapping[str, float]] = []
    for row in board.rows(layout):
        if row.is_living:
            (serving if row.state is State.SERVING else others).append(row.values)
        elif row.silent_s < KEEP_S:
            gone.append(row.values)
    left, left_s = board.heritage(layout)
    if left_s < KEEP_S:
        gone.append(left)
    verdicts = {}
    for stem in {name.rpartition("/")[0] for name in layout.verdicts}:
        verdict = next(filter(None, (_agreed(_opinions(stem, workers)) for workers in (serving, others, gone))), None)
        if verdict is not None:
            verdicts[stem] = verdict
    return verdicts


def _opinions(stem: str, workers: Iterable[Mapping[str, float]]) -> list[tuple[int, float]]:
    """Return state and end of rest as each worker sees them, without those who have seen nothing."""
    state, rests_until = f"{stem}/verdict", f"{stem}/rests_until"
    told = [(int(values[state]), values[rests_until]) for values in workers if state in values and rests_until in values]
    return [opinion for opinion in told if opinion != (_UNKNOWN, 0.0)]


def _agreed(opinions: list[tuple[int, float]]) -> Verdict | None:
    if not opinions:
        return None
    states = [state for state, _ in opinions]
    ends_s = [end_s for _, end_s in opinions if end_s]
    ups, downs = states.count(_UP), states.count(_DOWN)
    state = _UNKNOWN if not ups and not downs else _DOWN if downs >= ups else _UP
    return Verdict(STATES[state], max(ends_s) if 2 * len(ends_s) >= len(opinions) else 0.0)
