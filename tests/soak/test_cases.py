"""Every case in its short form. `scripts/soak --case NAME` runs the full one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.cases import CASES


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.short_s])
def test_what_must_hold_under_load_holds(tmp_path: Path, name: str) -> None:
    stage = CASES[name].short(tmp_path)
    assert stage.verdict.is_right, "\n".join(stage.verdict.wrongs())


@pytest.mark.parametrize("name", CASES)
def test_case_says_what_it_does_in_a_sentence(name: str) -> None:
    assert CASES[name].does.endswith(".")
