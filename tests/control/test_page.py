"""docs/admin.md tells what there is: the fields of the document, the paths, the flags, and what `greenproxy status` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from greenproxy.config.commands import COMMANDS
from tests.control.documents import document
from tests.control.test_table import WHOLE
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "admin.md").read_text()


def fields(found: Any) -> Iterator[str]:
    """Yield every key in a document that is a field: the reasons of retries are not."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield key
            if key != "retry_reasons":
                yield from fields(value)
    elif isinstance(found, list):
        for each in found:
            yield from fields(each)


@pytest.mark.parametrize("field", sorted(set(fields(document()))))
def test_every_field_is_explained(field: str) -> None:
    assert f"`{field}`" in PAGE.partition("## The document")[2].partition("## greenproxy status")[0]


def test_the_table_is_what_is_printed() -> None:
    shown = PAGE.partition("$ greenproxy status -c greenproxy.ini\n")[2].partition("`--json`")[0]
    assert re.sub("^    ", "", shown, flags=re.M).strip() == WHOLE


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_its_keys_are_there(command: str) -> None:
    assert f"## greenproxy {command}\n" in PAGE
    assert all(f"`{key}`" in PAGE for key in COMMANDS[command][1])


def test_commands_of_the_readme_say_whom_they_are_about() -> None:
    told = re.findall(rf"greenproxy (?:{'|'.join(COMMANDS)})\b[^`\n]*", (ROOT / "README.md").read_text())
    assert told
    assert all(each.endswith(" -c greenproxy.ini") for each in told)
