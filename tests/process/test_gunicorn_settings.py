from __future__ import annotations

from pathlib import Path

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

from greenproxy.process.gunicorn_settings import SETTINGS, Fate, given, given_with, rows

DOCS = Path(__file__).parent.parent.parent / "docs" / "gunicorn.md"


def gunicorn(**settings: object) -> Config:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    return cfg


def test_every_setting_of_gunicorn_has_its_fate_and_none_is_invented() -> None:
    known = {setting.name for setting in KNOWN_SETTINGS}
    assert known - set(SETTINGS) == set(), "a new gunicorn has new settings: decide what becomes of them"
    assert set(SETTINGS) - known == set(), "gunicorn has given them up"


@pytest.mark.parametrize("fate", Fate)
def test_documentation_has_the_table(fate: Fate) -> None:
    missing = [row for row in rows(fate) if row not in DOCS.read_text().splitlines()]
    assert not missing, "\n".join(missing)


def test_default_is_nothing_given() -> None:
    assert [given_with(Config(), fate) for fate in (Fate.NOTHING, Fate.REFUSED)] == [[], []]


def test_what_differs_from_the_default_is_given() -> None:
    def before_request(worker: object, req: object) -> None:
        """A hook."""

    cfg = gunicorn(threads=2, http_protocols="h1", header_map="refuse", pre_request=before_request, paste="a.ini")
    assert given_with(cfg, Fate.NOTHING) == ["threads", "pre_request", "header_map"]
    assert given_with(cfg, Fate.REFUSED) == ["paste"]


def test_default_that_comes_from_the_environment_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = gunicorn()
    assert given(cfg, "forwarded_allow_ips") is None
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
    assert given(cfg, "forwarded_allow_ips") == ["127.0.0.1", "::1"]
