from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from greenproxy.config.describe import default_text, is_literal_default, sentence, value_kind
from greenproxy.config.later import KEYS, is_later_key
from greenproxy.config.reader import Entry, Line
from greenproxy.config.schema import CLASSES, Key, key_name, keys_of
from greenproxy.config.settings import UpstreamSettings

EVERY_KEY = [(kind, name, key) for kind in CLASSES for name, key in keys_of(kind, Path("/")).items()]
every_key = pytest.mark.parametrize(("kind", "name", "key"), EVERY_KEY, ids=[f"{kind}-{name}" for kind, name, _ in EVERY_KEY])


def test_a_key_is_the_field_with_dashes_and_without_its_unit() -> None:
    fields = {field.name: key_name(field) for field in dataclasses.fields(UpstreamSettings)}
    assert fields["pool_idle_timeout_s"] == "pool-idle-timeout"
    assert fields["health_status"] == "health-status"


@every_key
def test_every_key_says_what_it_is(kind: str, name: str, key: Key) -> None:
    assert sentence(key.field), f"[{kind}] {name} has no sentence"
    assert value_kind(key.field)


@every_key
def test_a_default_that_is_shown_is_read_as_the_default(kind: str, name: str, key: Key) -> None:
    if is_literal_default(key.field, kind):
        text = default_text(key.field, kind)
        assert key.shape(Entry(name, 1, [Line(1, text)])) == key.field.default


@every_key
def test_no_key_of_this_version_is_settled_for_a_later_one(kind: str, name: str, key: Key) -> None:
    assert key.field.name
    assert name not in KEYS[kind]
    assert kind == "middleware" or not is_later_key(kind, name)
