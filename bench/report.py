"""The report on the terminal: a few lines for each scenario, as soon as it is measured."""

from __future__ import annotations

from typing import Any

from bench.figures import Summary, summaries
from bench.scenarios import LATENCY, MEMORY


def report(name: str, scenario: dict[str, Any]) -> str:
    """Return the lines of a scenario, as it stands in the JSON."""
    lines = [f"{name}: {scenario['about']}"]
    for found in summaries(scenario):
        base = scenario["cells"][found.label]["base"]
        lines.append(f"  {found.label:22}{_figures(scenario['kind'], found)}{_ratio(found, base)}")
    return "\n".join(lines)


def _figures(kind: str, found: Summary) -> str:
    if found.failure:
        return f"FAILED: {found.failure}"
    figures = found.figures
    if kind == MEMORY:
        return f"{figures['bytes']:9,.0f} bytes each"
    cost = f"{figures['cpu_us']:9.1f} us"
    if kind == LATENCY:
        times = "  ".join(f"{name} {figures[key] / 1000:6.2f} ms" for name, key in PERCENTILES.items())
        return f"{times}  {cost} of processor time"
    return f"{cost}  {figures['per_s']:9,.0f}/s"


PERCENTILES = {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us"}


def _ratio(found: Summary, base: str) -> str:
    if found.failure or found.ratio is None or base == found.label:
        return ""
    return f"  {found.ratio:6.2f} x {base}  ({found.low:.2f} to {found.high:.2f})"
