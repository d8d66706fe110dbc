"""The response side of the wire corpus: one module for each subject, `ALL` for those who want every case."""

from __future__ import annotations

from tests.wire.response_cases import Case
from tests.wire.responses import behind, chunks, framing, hops, interim, lines, sizes, starts

ALL: list[Case] = [
    *lines.CASES,
    *starts.CASES,
    *framing.CASES,
    *chunks.CASES,
    *interim.CASES,
    *behind.CASES,
    *hops.CASES,
    *sizes.CASES,
]
