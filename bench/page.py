"""The page docs/performance.md: made whole from the figures in docs/performance.json, sentences on who wins and loses too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench import chart
from bench.figures import Summary, summaries, times
from bench.prose import BUSY, HOW, INTRODUCTION, NOTES
from bench.reading import MISSED
from bench.report import PERCENTILES
from bench.scenarios import COST, GROWTH, LATENCY, MEMORY, OTHER_TARGETS, ROUNDS, SECONDS, WHOLE

Data = dict[str, Any]
_OURS = "greenproxy"
_PEERS = ("nginx", "haproxy", "caddy", "aiohttp", "mitmproxy")
_COMPARED = ("nginx", "nginx large buffers", *_PEERS[1:])
#: Scenarios that compare greenproxy with itself, or need a base of their own; they have a table to themselves.
_APART = ("own", "logged")
_DASH = "-"
#: What is nearer than this to one is no difference.
_EVEN = 0.02


def page(data: Data) -> str:
    """Return the page."""
    parts = [
        "# Performance\n",
        "<!-- Written by `scripts/bench --write-docs` from performance.json: change bench/page.py or prose.py instead. -->\n",
        INTRODUCTION.format(**_facts(data)),
        "![Processor time per request, as a multiple of nginx's](performance-cost.svg)\n",
        "## Who wins, who loses\n",
        *verdicts(data),
        "\n## Processor time per request\n",
        NOTES["cost"],
        *_cost_table(data),
        "\n## What greenproxy's own features cost\n",
        NOTES["own"],
        *_targets(data),
        *_own_table(data),
        "\n## Latency at a fixed rate\n",
        NOTES["latency"],
        *_plain_table(data, LATENCY, _times_of),
        "\n## Memory of idle connections\n",
        NOTES["memory"],
        *_plain_table(data, MEMORY, _bytes_of),
        "\n## As things grow\n",
        "![Processor time per request as connections, backends and routes grow](performance-growth.svg)\n",
        NOTES["growth"].format(bases=_bases(data)),
        *_growth_table(data),
        *_failures(data),
        "\n## How it is measured\n",
        HOW.format(**_facts(data)),
        "## What each spoke with clients\n",
        NOTES["tls"],
        *_tls_table(data),
    ]
    return "\n".join(parts).rstrip() + "\n"


def charts(data: Data) -> dict[str, str]:
    """Return the charts of the page by their names."""
    rows = []
    for name, scenario in _of_kind(data, COST):
        found = {each.label: each for each in summaries(scenario)}
        dots = [
            chart.Dot(proxy, each.ratio, each.low or each.ratio, each.high or each.ratio)
            for proxy in (*_PEERS[1:], _OURS)
            if (each := found.get(proxy)) is not None and each.ratio is not None
        ]
        rows.append((name, dots))
    note = "Left is better. Median of the ratios within rounds; a line through a mark is their spread. Logarithmic."
    cost = chart.ratios("Processor time per request, nginx = 1", note, rows)
    note = f"As a multiple of the same proxy with {_bases(data)}."
    panels = [chart.Panel(name, _growth_lines(scenario)) for name, scenario in _of_kind(data, GROWTH)]
    grown = chart.growth("Processor time per request as things grow", note, panels)
    return {"performance-cost.svg": cost, "performance-growth.svg": grown}


def _of_kind(data: Data, kind: str) -> Iterator[tuple[str, Data]]:
    for name, scenario in data["scenarios"].items():
        if scenario["kind"] == kind and name not in _APART:
            yield name, scenario


def _facts(data: Data) -> dict[str, Any]:
    found = [f"{name} {version}" for name, version in data["versions"].items()]
    return {
        **data["machine"],
        "date": data["date"],
        "busy": BUSY.format(**data["machine"]) if data["machine"]["load_before"] > 0.25 * data["machine"]["cores"] else "",
        "versions": ", ".join(found),
        "whole": WHOLE,
        "default_rounds": ROUNDS,
        "default_seconds": f"{SECONDS:g}",
        "made": _made(data),
        "lasted": _lasted(data),
        "python_build": data.get("python_build", "built in a way that was not recorded"),
    }


def _made(data: Data) -> str:
    asked = (data["rounds"], data["seconds"])
    command = "" if asked == (ROUNDS, SECONDS) else f" --rounds {asked[0]} --seconds {asked[1]:g}"
    return f"`./scripts/bench --write-docs{command}`" + (f" in {data['took_s'] / 60:.0f} minutes" if "took_s" in data else "")


def _lasted(data: Data) -> str:
    """Return for each kind how many rounds there really were, and how long they were."""
    parts = []
    for kind in (COST, LATENCY, MEMORY, GROWTH):
        found = [scenario for scenario in data["scenarios"].values() if scenario["kind"] == kind]
        counts = sorted({max(len(cell["rounds"]) for cell in scenario["cells"].values()) for scenario in found})
        lengths = sorted({scenario.get("seconds", data["seconds"]) for scenario in found} - {0.0})
        if counts:
            text = f"{kind} {_range(counts)}"
            parts.append(text + (f" of {_range(lengths)} s" if lengths and kind != MEMORY else ""))
    return ", ".join(parts)


def _range(ordered: list[Any]) -> str:
    return f"{ordered[0]:g}" if ordered[0] == ordered[-1] else f"{ordered[0]:g} to {ordered[-1]:g}"


# ------------------------------------------------------------------ sentences


def verdicts(data: Data) -> list[str]:
    """Return a line for each peer: where greenproxy uses more processor time than it, and where less, if not by a hair."""
    lines = []
    for peer in _COMPARED:
        found = _ratios_to(peer, data, COST, "cpu_us")
        more = [each for each in found if each[0] > 1 + _EVEN]
        less = [each for each in found if each[0] < 1 - _EVEN]
        if found:
            lines.append(
                f"- Against **{peer}**: {_listed('dearer', sorted(more, reverse=True))}; {_listed('cheaper', sorted(less))}."
            )
    return [*lines, *_slower(data), *_bigger(data), *_grown(data)]


def _ratios_to(peer: str, data: Data, kind: str, figure: str) -> list[tuple[float, str]]:
    """Return what greenproxy needs as a multiple of what a peer needs, with the scenario's name, wherever both have figures."""
    found = [(times(scenario, _OURS, peer, figure), name) for name, scenario in _of_kind(data, kind)]
    return [(ratio, name) for ratio, name in found if ratio is not None]


def _listed(word: str, found: list[tuple[float, str]]) -> str:
    if not found:
        return f"{word} in none"
    return f"{word} in " + ", ".join(f"{name} ({ratio:.2f} x)" for ratio, name in found)


def _lost(data: Data, kind: str, figure: str) -> list[str]:
    found = [(name, peer, ratio) for peer in _PEERS for ratio, name in _ratios_to(peer, data, kind, figure)]
    order = list(data["scenarios"])
    found.sort(key=lambda each: order.index(each[0]))
    return [f"{name} than {peer} ({ratio:.2f} x)" for name, peer, ratio in found if ratio > 1]


def _slower(data: Data) -> list[str]:
    lost = _lost(data, LATENCY, "p99_us")
    return [f"- At the 99th percentile **slower** in {', '.join(lost)}."] if lost else []


def _bigger(data: Data) -> list[str]:
    lost = _lost(data, MEMORY, "bytes")
    return [f"- **More memory** in {', '.join(lost)}."] if lost else []


def _base_at(scenario: Data) -> int:
    """Return with how many of what grows the multiples are one."""
    cells = scenario["cells"].values()
    return int(next((scenario["cells"][cell["base"]]["at"] for cell in cells if cell["base"] in scenario["cells"]), 0))


def _bases(data: Data) -> str:
    return ", ".join(f"{_base_at(scenario):,} {name}" for name, scenario in _of_kind(data, GROWTH))


def _grown(data: Data) -> list[str]:
    lines = []
    for name, scenario in _of_kind(data, GROWTH):
        most = max(cell["at"] for cell in scenario["cells"].values())
        found = [
            f"{cell['proxy']} {each.ratio:.2f} x"
            for label, each in _found(scenario).items()
            if (cell := scenario["cells"][label])["at"] == most and each.ratio is not None
        ]
        if found:
            lines.append(
                f"- With {most:,} {name} a request costs {', '.join(found)} of what it costs with {_base_at(scenario):,}."
            )
    return lines


def _targets(data: Data) -> list[str]:
    """Return what another target with every request costs greenproxy, if that was measured."""
    own = data["scenarios"].get("own", {"cells": {}})
    ratio = times(own, OTHER_TARGETS, _OURS, "cpu_us")
    return [NOTES["targets"].format(ratio=ratio)] if ratio is not None else []


# ------------------------------------------------------------------ tables


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _found(scenario: Data) -> dict[str, Summary]:
    return {each.label: each for each in summaries(scenario)}


def _cost_table(data: Data) -> list[str]:
    scenarios = dict(_of_kind(data, COST))
    labels = list(dict.fromkeys(label for scenario in scenarios.values() for label in scenario["cells"]))
    others = [label for label in labels if label not in ("nginx", _OURS)]
    rows = []
    for name, scenario in scenarios.items():
        found = _found(scenario)
        base = found["nginx"].figures.get("cpu_us") if "nginx" in found else None
        row = [f"{name}: {scenario['about']}", f"{base:,.1f} us" if base else _DASH, _ratio_with_spread(found.get(_OURS))]
        rows.append([*row, *(_ratio(found.get(label)) for label in others)])
    return _table(["", "nginx", f"**{_OURS}**", *others], rows)


def _ratio(found: Summary | None) -> str:
    if found is None:
        return _DASH
    if found.failure:
        return "failed"
    return f"{found.ratio:.2f} x" if found.ratio is not None else f"{found.figures['cpu_us']:,.1f} us"


def _ratio_with_spread(found: Summary | None) -> str:
    if found is None or found.ratio is None:
        return _ratio(found)
    return f"**{found.ratio:.2f} x** ({found.low:.2f} to {found.high:.2f})"


def _own_table(data: Data) -> list[str]:
    rows = []
    for name in _APART:
        for label, each in _found(data["scenarios"].get(name, {"cells": {}, "figure": "cpu_us"})).items():
            base = data["scenarios"][name]["cells"][label]["base"]
            cost = f"{each.figures['cpu_us']:,.1f} us" if "cpu_us" in each.figures else "failed"
            rows.append([label, cost, _DASH if base == label else f"{_ratio_with_spread(each)} {base}"])
    return _table(["", "processor time", "ratio"], rows)


def _plain_table(data: Data, kind: str, cell: Callable[[Summary | None], str]) -> list[str]:
    """Return a table of all scenarios of a kind, one in each column, with what `cell` makes of each figure."""
    scenarios = dict(_of_kind(data, kind))
    labels = list(dict.fromkeys(label for scenario in scenarios.values() for label in scenario["cells"]))
    rows = [[label, *(cell(_found(scenario).get(label)) for scenario in scenarios.values())] for label in labels]
    return _table(["", *(scenario["about"] for scenario in scenarios.values())], rows)


def _times_of(found: Summary | None) -> str:
    if found is None:
        return _DASH
    if found.failure:
        return found.failure.partition(" (round")[0].partition(" of ")[0] if found.failure.startswith(MISSED) else "failed"
    return " / ".join(f"{found.figures[key] / 1000:.2f}" for key in PERCENTILES.values()) + " ms"


def _bytes_of(found: Summary | None) -> str:
    if found is None or found.failure:
        return _DASH if found is None else "failed"
    return f"{found.figures['bytes']:,.0f} bytes each"


def _growth_table(data: Data) -> list[str]:
    lines = []
    for name, scenario in _of_kind(data, GROWTH):
        cells = scenario["cells"]
        places = sorted({cell["at"] for cell in cells.values()})
        proxies = list(dict.fromkeys(cell["proxy"] for cell in cells.values()))
        found = _found(scenario)
        rows = [[proxy, *(_ratio(found.get(f"{proxy} {place}")) for place in places)] for proxy in proxies]
        lines += [*_table([name, *(f"{place:,}" for place in places)], rows), ""]
    return lines


def _growth_lines(scenario: Data) -> list[chart.Line]:
    points: dict[str, list[tuple[float, float]]] = {}
    for label, each in _found(scenario).items():
        if each.ratio is not None:
            cell = scenario["cells"][label]
            points.setdefault(cell["proxy"], []).append((cell["at"], each.ratio))
    return [chart.Line(proxy, sorted(points[proxy])) for proxy in sorted(points, key=lambda proxy: proxy == _OURS)]


def _tls_table(data: Data) -> list[str]:
    scenarios = {
        name: {label: cell["tls"] for label, cell in scenario["cells"].items() if "tls" in cell}
        for name, scenario in data["scenarios"].items()
    }
    labels = list(dict.fromkeys(label for found in scenarios.values() for label in found))
    rows = [[name, *(_tls(found.get(label)) for label in labels)] for name, found in scenarios.items() if found]
    return _table(["", *labels], rows)


def _tls(found: Data | None) -> str:
    return _DASH if found is None else f"{found['version']}, {'resumes' if found['resumes'] else 'does not resume'}"


def _failures(data: Data) -> list[str]:
    rows = [
        [name, each.label, each.failure.replace("|", "/")]
        for name, scenario in data["scenarios"].items()
        for each in summaries(scenario)
        if each.failure
    ]
    return ["\n## What failed\n", NOTES["failures"], *_table(["scenario", "proxy", "why"], rows)] if rows else []
