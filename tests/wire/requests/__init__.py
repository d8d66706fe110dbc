"""The request side of the wire corpus: one module for each subject, `ALL` for those who want every case."""

from __future__ import annotations

from tests.wire.cases import Case
from tests.wire.requests import (
    chunks,
    codings,
    connection,
    controls,
    expectations,
    forwarded,
    hosts,
    lengths,
    limits,
    lines,
    paths,
    smuggling,
    starts,
    targets,
    trailers,
    twins,
    upgrades,
)

BODIES: list[Case] = [*chunks.CASES, *trailers.CASES]  # the head of each is the same plain one

HEADS: list[Case] = [
    *lines.CASES,
    *controls.CASES,
    *starts.CASES,
    *targets.CASES,
    *hosts.CASES,
    *lengths.CASES,
    *codings.CASES,
    *smuggling.CASES,
    *connection.CASES,
    *twins.CASES,
    *upgrades.CASES,
    *expectations.CASES,
    *limits.CASES,
    *paths.CASES,
    *forwarded.CASES,
]

ALL: list[Case] = [*HEADS, *BODIES, *trailers.LIMITS]
