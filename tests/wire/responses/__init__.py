"""The response side of the wire corpus: one module for each subject; `TABLES` by subject, `ALL` for those who want every case."""

from __future__ import annotations

from tests.wire.response_cases import Case
from tests.wire.responses import behind, chunks, framing, hops, interim, lines, sizes, starts

#: By the name of the subject.
TABLES: dict[str, list[Case]] = {
    "lines": lines.CASES,
    "starts": starts.CASES,
    "framing": framing.CASES,
    "chunks": chunks.CASES,
    "interim": interim.CASES,
    "behind": behind.CASES,
    "hops": hops.CASES,
    "sizes": sizes.CASES,
}

ALL: list[Case] = [case for table in TABLES.values() for case in table]
