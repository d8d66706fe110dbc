"""The examples of docs/tls.md are files that greenproxy takes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from greenproxy.config.load import load
from tests.authorities import Authority

PAGE = (Path(__file__).parent.parent.parent / "docs" / "tls.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```ini\n(.*?)```", PAGE, re.S)
UPSTREAM = "\n[upstream:shop]\nbackends = http://127.0.0.1:8000\n"


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_is_taken(tmp_path: Path, example: str) -> None:
    authority = Authority(tmp_path)
    for name in set(re.findall(r"[\w/.]+\.pem", example)):
        stem = Path(name).stem
        pair = authority.issue(stem)
        shutil.copy(pair.certificate, tmp_path / f"{stem}.pem")
        shutil.copy(pair.key, tmp_path / f"{stem}.key")
    text = example.replace("/etc/greenproxy/", "")
    file = tmp_path / "greenproxy.ini"
    file.write_text(text if "[upstream:" in text else text + UPSTREAM)
    settings = load(file, {})
    assert settings.warnings == ()
    assert any(listener.tls_certificate for listener in settings.listeners)


def test_page_has_examples() -> None:
    assert len(EXAMPLES) == 4
