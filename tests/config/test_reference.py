from __future__ import annotations

import re
from pathlib import Path

import pytest

from greenproxy.config import examples, prose
from greenproxy.config.later import KEYS
from greenproxy.config.load import load
from greenproxy.config.reference import reference
from greenproxy.config.schema import CLASSES, keys_of
from greenproxy.config.settings import RelaySettings
from greenproxy.routing.table import find_ambiguities
from tests.config.inis import mistakes_in, settings_of

ROOT = Path(__file__).parent.parent.parent


def test_the_file_in_docs_is_what_the_settings_say() -> None:
    committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == reference(), "run: python -m greenproxy.config.reference > docs/configuration.md"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_key_has_its_row(kind: str) -> None:
    text = reference()
    begin = re.search(rf"^## \[{kind}(:NAME)?\]$", text, re.M)
    assert begin is not None
    part = text[begin.end() :].split("\n## ")[0]
    for name, key in keys_of(kind, Path()).items():
        sign = "→ " if kind == "upstream" and key.owner is RelaySettings else ""
        assert f"| `{name}` {sign}|" in part or (kind == "route" and key.owner is RelaySettings and f"`{name}`" in part)


def test_every_key_of_later_versions_is_named() -> None:
    text = reference()
    for keys in KEYS.values():
        for key in keys:
            assert f"`{key}`" in text


@pytest.mark.parametrize("text", [text for _, text in examples.EXAMPLES], ids=[title for title, _ in examples.EXAMPLES])
def test_every_example_is_right(text: str) -> None:
    environ = {"HOME": "/"}
    assert mistakes_in(text, environ) == []
    assert find_ambiguities(settings_of(text, environ).routes) == []


def test_the_first_example_is_right() -> None:
    text = re.findall(r"```ini\n(.*?)```", prose.HEAD, re.S)
    assert [mistakes_in(each) for each in text] == [[]]


def test_the_mistakes_that_are_shown_are_what_is_said() -> None:
    text = "\n\n[greenproxy]\nworker = 2\n[upstream:shop]\nbackends = http://a\n[listener:web]\nbind = :0\nupstream = shpo"
    shown = [line for line in prose.MISTAKES.splitlines() if line.startswith("greenproxy.ini:")]
    assert [f"greenproxy.ini:{mistake}" for mistake in mistakes_in(text)] == shown


def test_the_shipped_file_is_right_and_shows_demos_health_routes_and_middleware() -> None:
    found = load(ROOT / "greenproxy.ini", {})
    assert find_ambiguities(found.routes) == []
    assert [(demo.name, str(demo.bind)) for demo in found.demos] == [("blue", "127.0.0.1:9001"), ("green", "127.0.0.1:9002")]
    assert [str(address) for address in found.listeners[0].bind] == ["127.0.0.1:8080"]
    upstream = found.upstreams[0]
    assert (upstream.health_path, upstream.health_interval_s) == ("/healthz", 2.0)
    assert [str(backend.address) for backend in upstream.backends] == [str(demo.bind) for demo in found.demos]
    assert {middleware.type for middleware in found.middlewares} == {"request-id", "headers"}
    assert any(route.redirect for route in found.routes)
    assert any(route.status for route in found.routes)
