"""Charts as SVG, small and by hand: text for a terminal's reader too, legible on light and on dark pages.

Each proxy has a colour and a mark of its own, so that colours alone tell nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _ROW = 860, 150, 40, 30
_TOP = 74
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.dim { fill: #59636e; font-size: 12px }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.base { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .dim { fill: #9198a1 } .grid { stroke: #3d444d } .base { stroke: #9198a1 }
}
</style>"""
#: Colours that hold against white and against near-black, and marks as paths around 0, 0.
_LOOKS = {
    "greenproxy": ("#1f9d55", "M0-7A7 7 0 1 1 0 7A7 7 0 1 1 0-7Z"),
    "nginx": ("#7a828e", "M-5-5H5V5H-5Z"),
    "haproxy": ("#3b82f6", "M0-6L6 5H-6Z"),
    "caddy": ("#d97706", "M0-7L6 0L0 7L-6 0Z"),
    "aiohttp": ("#a855f7", "M-6-5H6L0 6Z"),
    "mitmproxy": ("#e5484d", "M-6-2H-2V-6H2V-2H6V2H2V6H-2V2H-6Z"),
}


@dataclass(frozen=True)
class Dot:
    """A ratio of one proxy, with its spread."""

    proxy: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One proxy's values over what grows."""

    proxy: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A small chart of lines: what grows along the bottom, logarithmically, and what that makes of the cost."""

    title: str
    lines: Sequence[Line]


def _mark(proxy: str, x: float, y: float) -> str:
    colour, path = _LOOKS[proxy]
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{path}" fill="{colour}"/>'


def _legend(proxies: Sequence[str], y: float) -> list[str]:
    parts, x = [], float(_LEFT)
    for proxy in (each for each in _LOOKS if each in proxies):
        parts += [_mark(proxy, x + 7, y - 4), f'<text x="{x + 20:.0f}" y="{y:.0f}">{escape(proxy)}</text>']
        x += 38 + 7.5 * len(proxy)
    return parts


def _page(height: float, title: str, note: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(title)}">'
    )
    titles = [
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
        f'<text class="dim" x="12" y="42">{escape(note)}</text>',
    ]
    return "\n".join([head, _STYLE, *titles, *parts, "</svg>"]) + "\n"


def ratios(title: str, note: str, rows: Sequence[tuple[str, Sequence[Dot]]]) -> str:
    """Return a chart with a row for each scenario and a mark for each proxy, on a logarithmic axis; 1 is the base.

    A thin line through a mark is its spread.
    """
    dots = [dot for _, row in rows for dot in row]
    low = min([0.5, *(dot.low for dot in dots)]) / 1.15
    high = max([2.0, *(dot.high for dot in dots)]) * 1.15
    bottom = _TOP + _ROW * len(rows)

    def x(value: float) -> float:
        share = math.log(value / low) / math.log(high / low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    parts = _legend(list(dict.fromkeys(dot.proxy for dot in dots)), 62)
    for tick in (value for value in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low <= value <= high):
        kind = "base" if tick == 1 else "grid"
        parts.append(f'<line class="{kind}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="dim" x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g} x</text>')
    for number, (name, row) in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for dot in row:
            spread = f'x1="{x(dot.low):.1f}" x2="{x(dot.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'<line {spread} stroke="{_LOOKS[dot.proxy][0]}" stroke-width="2"/>')
        # The heaviest is drawn last, so that nothing hides greenproxy where marks meet.
        parts += [_mark(dot.proxy, x(dot.value), y) for dot in sorted(row, key=lambda dot: dot.proxy == "greenproxy")]
    return _page(bottom + 28, title, note, parts)


def growth(title: str, note: str, panels: Sequence[Panel]) -> str:
    """Return panels side by side, each with one line for a proxy: its cost as a multiple of that at its base."""
    lines = [line for panel in panels for line in panel.lines]
    most = max([1.5, *(value for line in lines for _, value in line.points)]) * 1.05
    least = min([0.8, *(value for line in lines for _, value in line.points)]) * 0.95
    width, height = (_WIDTH - 60) / max(1, len(panels)), 200
    parts = _legend(list(dict.fromkeys(line.proxy for line in lines)), 62)
    for number, panel in enumerate(panels):
        parts += _panel(panel, (50 + number * width, _TOP + 24, width - 40, height), least, most)
    return _page(_TOP + height + 60, title, note, parts)


def _panel(panel: Panel, box: tuple[float, float, float, float], least: float, most: float) -> list[str]:
    left, top, width, height = box
    places = sorted({place for line in panel.lines for place, _ in line.points})
    first, last = math.log(places[0]), math.log(places[-1])

    def x(place: float) -> float:
        return left + (math.log(place) - first) / ((last - first) or 1) * width

    def y(value: float) -> float:
        share = math.log(value / least) / math.log(most / least)
        return top + height - share * height

    parts = [f'<text x="{left:.0f}" y="{top - 8:.0f}">{escape(panel.title)}</text>']
    for tick in (value for value in (0.5, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100) if least <= value <= most):
        kind = "base" if tick == 1 else "grid"
        parts.append(f'<line class="{kind}" x1="{left:.1f}" x2="{left + width:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="dim" x="{left - 6:.1f}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for place in places:
        parts.append(f'<text class="dim" x="{x(place):.1f}" y="{top + height + 18:.1f}" text-anchor="middle">{place:,.0f}</text>')
    for line in panel.lines:
        corners = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in line.points)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{_LOOKS[line.proxy][0]}" stroke-width="2"/>')
        parts += [_mark(line.proxy, x(place), y(value)) for place, value in line.points]
    return parts
