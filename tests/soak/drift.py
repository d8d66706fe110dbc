"""Drift: whether a series of figures that should be level rises, on a machine that does other things as well.

A series is cut into windows of equal length, and each window is one figure (a quantile, so that outliers in it count for
nothing). Through these goes the line of Theil and Sen: the median of the slopes between all pairs, which a quarter of bad
windows cannot turn. A series drifts when that line rises by more than the bound allows, and by more than windows scatter
around it, and when its second half rises still: what settles is no leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

Point = tuple[float, float]  # a moment in seconds, and a value
Series = Sequence[Point]

WINDOWS = 24
FEWEST_WINDOWS = 6
_SCATTER = 1.4826  # of the median of distances, in standard deviations where these are normal
_SCATTERS = 2.0
_STILL_RISING = 1 / 3  # of the slope of the whole has the second half at least
_JUMP = 3.0  # so many times of what may drift is too much, however it came about


@dataclass(frozen=True)
class Bound:
    """What may be added over the time that is judged: a share of what was there in the beginning, and a little, in its unit."""

    share: float
    little: float

    def allowed(self, start: float) -> float:
        """Return what may be added to `start`."""
        return self.share * abs(start) + self.little


@dataclass(frozen=True)
class Row:
    """One series in the report. `slope` is per hour; `verdict` is "level", "drifts", "jumped", "too short" or "to compare"."""

    what: str
    unit: str
    start: float
    middle: float
    end: float
    slope: float
    grown: float
    allowed: float
    verdict: str
    decimals: int = 0

    @property
    def is_wrong(self) -> bool:
        """Return whether this must not be."""
        return self.verdict in ("drifts", "jumped")

    @property
    def was_judged(self) -> bool:
        """Return whether there was enough to judge."""
        return self.verdict not in ("too short", "to compare")


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of them is; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def windows(series: Series, share: float = 0.5, most: int = WINDOWS, fewest_in_one: int = 1) -> list[Point]:
    """Return up to `most` windows of equal length, each the quantile `share` of what is in it; some may be empty, and missing."""
    if not series:
        return []
    begun, ended = series[0][0], series[-1][0]
    count = max(1, min(most, len(series) // fewest_in_one))
    width = (ended - begun) / count or 1.0
    found: list[list[float]] = [[] for _ in range(count)]
    for at, value in series:
        found[min(count - 1, int((at - begun) / width))].append(value)
    return [(begun + (number + 0.5) * width, quantile(values, share)) for number, values in enumerate(found) if values]


def slope(points: Series) -> float:
    """Return the slope of Theil and Sen, in units per second; 0 of fewer than two points."""
    slopes = [
        (later - value) / (then - at)
        for number, (at, value) in enumerate(points)
        for then, later in points[number + 1 :]
        if then > at
    ]
    return median(slopes) if slopes else 0.0


def scatter(points: Series, rise: float) -> float:
    """Return how far points are from the line of that slope, as a standard deviation that outliers do not blow up."""
    level = median(value - rise * at for at, value in points)
    return _SCATTER * median(abs(value - rise * at - level) for at, value in points)


def judge(
    what: str,
    points: Series,
    bound: Bound,
    unit: str = "",
    *,
    scale: float = 1.0,
    decimals: int = 0,
    fewest: int = FEWEST_WINDOWS,
) -> Row:
    """Return the row of a series that is cut into windows already. Values in it are shown divided by `scale`."""
    if len(points) < max(2, fewest):
        return Row(what, unit, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, "too short", decimals)
    third = -(-len(points) // 3)
    values = [value for _, value in points]
    start, middle, end = median(values[:third]), median(values[third:-third] or values), median(values[-third:])
    rise, span = slope(points), points[-1][0] - points[0][0]
    late = slope(points[len(points) // 2 :])
    grown, allowed = rise * span, bound.allowed(start)
    noise = _SCATTERS * scatter(points, rise)
    verdict = "level"
    if grown > max(allowed, noise) and late > rise * _STILL_RISING:
        verdict = "drifts"
    elif end - start > _JUMP * allowed + noise:
        verdict = "jumped"
    start, middle, end, hourly, grown, allowed = (each / scale for each in (start, middle, end, rise * 3600, grown, allowed))
    return Row(what, unit, start, middle, end, hourly, grown, allowed, verdict, decimals)


def compared(row: Row) -> Row:
    """Return a row that is there to compare others with, and never wrong."""
    return replace(row, verdict="to compare", allowed=0.0) if row.was_judged else row
