"""Tables whose rows one test goes through, and a failure that names the rows.

A test costs some milliseconds whatever it does: each process that runs tests collects it, looks for what it left behind and
reports it. The tables of messages have thousands of rows, which take less than that themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

Row = TypeVar("Row")
MOST_FAILURES = 5  # behind these nobody reads on, and rows that wait for what does not come would use up the test's time


def for_each(rows: Iterable[Row], check: Callable[[Row], object], name: Callable[[Any], str] = lambda row: row.name) -> None:
    """Call `check` with every row, and fail with the names of those that failed; an empty table fails too."""
    count = 0
    failures: dict[str, BaseException] = {}
    for row in rows:
        count += 1
        try:
            check(row)
        except Exception as error:
            failures[name(row)] = error
        except pytest.fail.Exception as error:  # among others that the test has had its time
            failures[name(row)] = error
            break
        if len(failures) == MOST_FAILURES:
            break
    assert count, "a table without rows"
    if failures:
        for row_name, failure in failures.items():
            failure.add_note(f"in the row {row_name!r}")
        raise BaseExceptionGroup(f"rows that fail: {', '.join(map(repr, failures))}", list(failures.values()))
