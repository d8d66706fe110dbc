"""Show: what a case found out, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tests.soak.drift import Row
from tests.soak.stage import Stage
from tests.soak.tally import Report, Tally

_CLIENTS = (
    f"{'clients':26s}{'answers':>9s}{'failed':>8s}{'MB':>9s}{'median':>12s}{'99 %':>12s}{'slowest':>12s}   closed: told, idle"
)
_ROWS = f"{'':56s}{'start':>9s}{'middle':>9s}{'end':>9s}{'per hour':>10s}{'grown':>9s}{'may grow':>10s}"


def lines(stage: Stage) -> Iterator[str]:
    """Yield the report as text: the traffic, the figures, the rows, and the verdict."""
    for report in stage.verdict.reports:
        yield from _traffic(report)
        yield ""
    yield from map(str, stage.verdict.figures)
    if stage.verdict.rows:
        yield _ROWS
        yield from map(row_line, stage.verdict.rows)
        yield ""
    if stage.verdict.is_right:
        yield (
            "what was seen held; it was too short to judge whether anything drifts"
            if stage.verdict.is_too_short
            else "everything held"
        )
        return
    yield f"WRONG; the files are in {stage.folder}"
    for line in stage.verdict.wrongs():
        yield f"  {line}"


def row_line(row: Row) -> str:
    """Return one row of figures as a line."""
    name = f"{row.what}{f' ({row.unit})' if row.unit else ''}"
    if row.verdict == "too short":
        return f"{name:56s}{'not judged: too short':>56s}"
    digits = row.decimals
    levels = "".join(f"{value:9.{digits}f}" for value in (row.start, row.middle, row.end))
    changes = f"{row.slope:+10.{digits}f}{row.grown:+9.{digits}f}{row.allowed:10.{digits}f}"
    return f"{name:56s}{levels}{changes}  {row.verdict.upper() if row.is_wrong else row.verdict}"


def _traffic(report: Report) -> Iterator[str]:
    if report.of:
        yield report.of
    yield _CLIENTS
    for kind, tally in sorted(report.tallies.items()):
        yield _tally_line(kind, tally)
    yield f"all: {report.requests} answers, {report.failure_count} failed, longest silence {report.longest_silence_s:.2f} s"


def _tally_line(kind: str, tally: Tally) -> str:
    times = "".join(f"{value * 1000:9.1f} ms" for value in (tally.within_s(0.5), tally.within_s(0.99), tally.slowest_s))
    counts = f"{tally.requests:9d}{tally.failed:8d}{tally.received / 1e6:9.1f}"
    return f"{kind:26s}{counts}{times}{tally.told:12d}, {tally.idle_ends}"


def as_data(stage: Stage, case: str, took_s: float) -> dict[str, Any]:
    """Return the report as JSON can have it."""
    verdict = stage.verdict
    return {
        "case": case,
        "took_s": round(took_s, 1),
        "is_right": verdict.is_right,
        "was_interrupted": verdict.was_interrupted,
        "wrong": verdict.wrongs(),
        "checks": [asdict(check) for check in verdict.checks],
        "rows": [asdict(row) for row in verdict.rows],
        "traffic": [_traffic_data(report) for report in verdict.reports],
    }


def _traffic_data(report: Report) -> dict[str, Any]:
    return {
        "of": report.of,
        "answers": report.requests,
        "failed": report.failure_count,
        "longest_silence_s": report.longest_silence_s,
        "kinds": {
            kind: {
                "answers": tally.requests,
                "failed": tally.failed,
                "bytes": tally.received,
                "median_s": tally.within_s(0.5),
                "p99_s": tally.within_s(0.99),
                "slowest_s": tally.slowest_s,
            }
            for kind, tally in sorted(report.tallies.items())
        },
    }
