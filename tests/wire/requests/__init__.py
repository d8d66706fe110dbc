"""The request side of the wire corpus: one module for each subject; `TABLES` by subject, `ALL` for those who want every case."""

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

#: By the name of the subject.
_BODIES = {"chunks": chunks.CASES, "trailers": trailers.CASES}

HEAD_TABLES: dict[str, list[Case]] = {
    "lines": lines.CASES,
    "controls": controls.CASES,
    "starts": starts.CASES,
    "targets": targets.CASES,
    "hosts": hosts.CASES,
    "lengths": lengths.CASES,
    "codings": codings.CASES,
    "smuggling": smuggling.CASES,
    "connection": connection.CASES,
    "twins": twins.CASES,
    "upgrades": upgrades.CASES,
    "expectations": expectations.CASES,
    "limits": limits.CASES,
    "paths": paths.CASES,
    "forwarded": forwarded.CASES,
}

TABLES: dict[str, list[Case]] = {**HEAD_TABLES, **_BODIES, "limits of trailers": trailers.LIMITS}

BODIES: list[Case] = [case for table in _BODIES.values() for case in table]  # the head of each is the same plain one
HEADS: list[Case] = [case for table in HEAD_TABLES.values() for case in table]
ALL: list[Case] = [case for table in TABLES.values() for case in table]
