"""docs/security.md names the tests that hold what it says: they must be there, and no known class of holes is without one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))
CLASSES = [
    line.strip("|").split(" | ")
    for line in PAGE.partition("## Known classes of holes")[2].partition("## How it is tested")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| class ")
]


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_the_page_names_is_there(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).exists()
    if function:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: str(row[0]).strip())
def test_every_class_of_holes_is_held_by_a_test(row: list[str]) -> None:
    assert len(row) == 4
    assert "`tests/" in row[-1]


def test_the_table_of_classes_is_not_empty() -> None:
    assert len(CLASSES) > 20
