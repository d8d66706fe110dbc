"""The report, the charts and the page say what the figures say, the losses too."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import page
from bench.chart import Dot, Line, Panel, growth, ratios
from bench.gist import gist, put
from bench.report import report
from bench.targets import PROXIES
from tests.bench.data import everything

DOCS = Path(__file__).parent.parent.parent / "docs"
_SVG = "{http://www.w3.org/2000/svg}"


def test_report_compares_with_the_base_and_shows_the_spread() -> None:
    lines = report("small", everything()["scenarios"]["small"]).splitlines()
    assert lines[2].split() == ["greenproxy", "30.0", "us", "33,333/s", "2.50", "x", "nginx", "(2.00", "to", "3.00)"]


def test_report_shows_a_failure_as_one() -> None:
    lines = report("small", everything()["scenarios"]["small"]).splitlines()
    assert lines[3].split() == ["caddy", "FAILED:", "12", "answers", "were", "not", "2xx", "(round", "2", "of", "2)"]


def test_report_of_latency_shows_percentiles() -> None:
    assert "p99   1.50 ms" in report("rate-1k", everything()["scenarios"]["rate-1k"])


@pytest.mark.parametrize(
    "line",
    [
        "- Against **nginx**: dearer in small (2.50 x); cheaper in bulk-1m (0.50 x).",
        "- At the 99th percentile **slower** in rate-1k than nginx (1.50 x).",
        "- **More memory** in idle-memory than nginx (2.00 x).",
        "- With 1,000 routes a request costs greenproxy 1.10 x of what it costs with 1.",
        "| small: about cost | 10.0 us | **2.50 x** (2.00 to 3.00) | failed |",
        "that was not asked for lately (`asked for other targets`: 10,000 in turn, more than it remembers) costs it 1.30 x.",
        "| small | caddy | 12 answers were not 2xx (round 2 of 2) |",
    ],
)
def test_page_says_in_words_where_greenproxy_loses_and_what_failed(line: str) -> None:
    assert line in page.page(everything()).splitlines()


def test_page_says_when_the_machine_was_busy() -> None:
    data = everything()
    data["machine"]["load_before"] = 3.5
    assert "**Provisional:** the machine was busy with other things (load 3.5)." in page.page(data)
    assert "Provisional" not in page.page(everything())


@pytest.mark.parametrize("name", ["performance-cost.svg", "performance-growth.svg"])
def test_charts_of_the_page_are_well_formed(name: str) -> None:
    root = ElementTree.fromstring(page.charts(everything())[name])
    assert root.tag == f"{_SVG}svg"
    assert {"greenproxy"} <= {text.text for text in root.iter(f"{_SVG}text")}


def test_every_proxy_can_be_drawn() -> None:
    row = [Dot(proxy, 2.0, 1.5, 2.5) for proxy in PROXIES]
    assert ElementTree.fromstring(ratios("<&>", "", [("all", row)])).tag


def test_marks_stand_in_the_order_of_their_values() -> None:
    root = ElementTree.fromstring(ratios("", "", [("one", [Dot("haproxy", 3.0, 3.0, 3.0), Dot("nginx", 0.5, 0.5, 0.5)])]))
    marks = [each.attrib["transform"] for each in root.iter(f"{_SVG}path")][2:]
    right, left = (float(mark.removeprefix("translate(").split()[0]) for mark in marks)
    assert left < right


def test_line_that_grows_rises() -> None:
    root = ElementTree.fromstring(growth("", "", [Panel("routes", [Line("nginx", [(1, 1.0), (100, 2.0)])])]))
    first, last = next(root.iter(f"{_SVG}polyline")).attrib["points"].split()
    assert float(first.split(",")[1]) > float(last.split(",")[1])


@pytest.mark.parametrize(
    "told",
    [
        "with `./scripts/bench --write-docs --rounds 3 --seconds 1`",
        "cost 1 to 3 of 1 s",
        "| bulk-1m | TLSv1.3, resumes |",
    ],
)
def test_page_says_how_it_was_made(told: str) -> None:
    assert told in page.page(everything())


def test_missed_rate_is_called_one() -> None:
    data = everything()
    data["scenarios"]["rate-1k"]["cells"]["nginx"]["rounds"] = [{"failed": "rate missed: 900/s of 1,000/s"}]
    assert "| nginx | rate missed: 900/s |" in page.page(data).splitlines()


def test_gist_is_made_of_the_same_ratios_as_the_page() -> None:
    said = " ".join(gist(everything()).split())
    assert said.endswith("greenproxy takes 2.5 for small requests, 0.5 for downloads of 1 MiB.")


def test_text_without_a_place_for_figures_is_told() -> None:
    with pytest.raises(ValueError, match="has no place for figures"):
        put("# A page", "figures")


def test_sentence_of_the_readme_is_what_the_figures_of_the_manual_make() -> None:
    data, readme = json.loads((DOCS / "performance.json").read_text()), (DOCS.parent / "README.md").read_text()
    assert put(readme, gist(data)) == readme


def test_page_of_the_manual_is_what_its_figures_make() -> None:
    data = json.loads((DOCS / "performance.json").read_text())
    assert (DOCS / "performance.md").read_text() == page.page(data)


@pytest.mark.parametrize("name", ["performance-cost.svg", "performance-growth.svg"])
def test_chart_of_the_manual_is_what_its_figures_make(name: str) -> None:
    data = json.loads((DOCS / "performance.json").read_text())
    assert (DOCS / name).read_text() == page.charts(data)[name]
