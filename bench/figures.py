"""Figures: from what the rounds have measured to medians, ratios and their spread. Plain numbers in and out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: What one round of one cell has measured, or {"failed": why}.
Round = dict[str, Any]
#: With fewer rounds the quarters would lie between the values, and the bracket might hold none of them.
_FEW = 4


@dataclass(frozen=True)
class Summary:
    """A cell over all rounds. Ratios are to its base within each round; None where there is nothing to compare with."""

    label: str
    failure: str
    figures: dict[str, float]
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def summarize(figure: str, label: str, rounds: Sequence[Round], base: Sequence[Round]) -> Summary:
    """Return a cell's medians, and the median of its ratios of `figure` with their spread.

    One failed round makes the whole cell a failure: figures of a proxy that lost requests would be too good.
    """
    for number, each in enumerate(rounds, 1):
        if "failed" in each:
            return Summary(label, f"{each['failed']} (round {number} of {len(rounds)})", {})
    if not rounds:
        return Summary(label, "not measured", {})
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    ratios = sorted(mine[figure] / its[figure] for mine, its in zip(rounds, base, strict=False) if its.get(figure))
    if not ratios:
        return Summary(label, "", medians)
    return Summary(label, "", medians, statistics.median(ratios), *spread(ratios))


def spread(ordered: Sequence[float]) -> tuple[float, float]:
    """Return between what the middle half of the ordered values lies, or all of them where they are too few for a half."""
    if len(ordered) < _FEW:
        return ordered[0], ordered[-1]
    return quantile(ordered, 0.25), quantile(ordered, 0.75)


def times(scenario: dict[str, Any], label: str, base: str, figure: str) -> float | None:
    """Return a cell's figure as a multiple of another's, as the median of the ratios within rounds; None where one has none."""
    cells = scenario["cells"]
    if label not in cells or base not in cells or summarize(figure, base, cells[base]["rounds"], []).failure:
        return None
    return summarize(figure, label, cells[label]["rounds"], cells[base]["rounds"]).ratio


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value at this part of the ordered values, between two of them in proportion."""
    place = (len(ordered) - 1) * part
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summaries(scenario: dict[str, Any]) -> list[Summary]:
    """Return the summaries of a scenario, as it stands in the JSON, in the order of its cells."""
    cells = scenario["cells"]
    return [
        summarize(scenario["figure"], label, cell["rounds"], cells.get(cell["base"], {"rounds": []})["rounds"])
        for label, cell in cells.items()
    ]
