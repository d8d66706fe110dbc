"""A table that fails says which of its rows."""

from __future__ import annotations

import pytest

from tests.tables import MOST_FAILURES, for_each


def is_even(number: int) -> None:
    assert number % 2 == 0, f"{number} is odd"


def test_every_row_is_checked() -> None:
    seen: list[int] = []
    for_each([2, 4, 6], seen.append, str)
    assert seen == [2, 4, 6]


def test_all_rows_that_fail_are_named() -> None:
    with pytest.raises(BaseExceptionGroup, match="rows that fail: '1', '3'") as failed:
        for_each([1, 2, 3, 4], is_even, str)
    assert [each.__notes__ for each in failed.value.exceptions] == [["in the row '1'"], ["in the row '3'"]]
    assert ["odd" in str(each) for each in failed.value.exceptions] == [True, True]


def test_what_should_have_been_raised_and_was_not_names_its_row() -> None:
    def is_refused(row: str) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            int(row)

    with pytest.raises(BaseExceptionGroup, match="rows that fail: '5'"):
        for_each(["x", "5", "y"], is_refused, str)


def test_it_ends_where_nobody_would_read_on() -> None:
    with pytest.raises(BaseExceptionGroup) as failed:
        for_each(range(1, 1000, 2), is_even, str)
    assert len(failed.value.exceptions) == MOST_FAILURES


def test_an_empty_table_proves_nothing() -> None:
    with pytest.raises(AssertionError, match="a table without rows"):
        for_each([], is_even, str)
