"""Which column a name has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greenproxy.observability.layout import Columns, Layout, Names

SOME_NAMES = st.lists(st.sampled_from([f"n{number}" for number in range(12)]), unique=True)


def test_a_name_that_was_known_keeps_its_column() -> None:
    columns = Columns(10)
    first, _ = columns.assign(Names(["a", "b"], ["c"]))
    second, fresh = columns.assign(Names(["z", "b"], ["c"]), [first])
    assert (second.columns["b"], second.columns["c"]) == (first.columns["b"], first.columns["c"])
    assert fresh == [second.columns["z"]] == [3]


def test_columns_that_nobody_has_are_used_again() -> None:
    columns = Columns(10)
    first, _ = columns.assign(Names(["a", "b"]))
    second, fresh = columns.assign(Names(["b", "c"]))
    assert (second.columns["c"], fresh, second.width) == (first.columns["a"], [first.columns["a"]], 2)


def test_what_does_not_fit_is_left_out_last_names_first() -> None:
    layout, _ = Columns(2).assign(Names(["a"], ["b"], ["c"]))
    assert (dict(layout.columns), layout.left_out) == ({"a": 0, "b": 1}, 1)
    assert (layout.counters, layout.verdicts) == ({"b"}, set())


@given(st.lists(st.tuples(SOME_NAMES, st.integers(0, 3)), max_size=12), st.integers(4, 40))
def test_over_any_reloads_no_column_has_two_names_that_live(reloads: list[tuple[list[str], int]], count: int) -> None:
    columns = Columns(count)
    keep: list[Layout] = []
    for names, ended in reloads:
        keep = keep[ended:]
        layout, fresh = columns.assign(Names(names), keep)
        known = {name: column for each in keep for name, column in each.columns.items()}
        owners = {column: name for name, column in known.items()}
        for name, column in layout.columns.items():
            assert column < layout.width <= count
            assert known.get(name, column) == column
            assert owners.get(column, name) == name
            assert (column in fresh) <= (name not in known)
        assert len(set(layout.columns.values())) + layout.left_out == len(names)
        keep.append(layout)
