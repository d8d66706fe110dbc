from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.load import load
from greenproxy.config.schema import CLASSES, keys_of
from greenproxy.config.sections import processor_cores
from greenproxy.config.settings import (
    Address,
    RelaySettings,
    Settings,
)
from tests.config import whole
from tests.config.inis import mistakes_in, no_code_is_wrong, settings_of


def test_a_whole_file_becomes_settings() -> None:
    assert settings_of(whole.TEXT) == whole.SETTINGS


def test_there_is_a_worker_per_processor_core_unless_told_otherwise() -> None:
    assert settings_of("[listener:a]\nbind = :0\n[upstream:b]\nbackends = http://c").process.workers == processor_cores()


def test_settings_tell_which_keys_of_the_process_somebody_gave() -> None:
    text = "[greenproxy]\nbacklog = 2048\n[listener:a]\nbind = :0\n[upstream:b]\nbackends = http://c"
    assert settings_of(text).process_keys == {"backlog"}
    assert settings_of(text, overrides=[("log-level", "info", "--log-level")]).process_keys == {"backlog", "log-level"}


def test_addresses_that_can_stand_side_by_side_are_no_mistake() -> None:
    text = """
        [listener:a]
        bind = 127.0.0.1:80, 127.0.0.2:80, [::]:80, :0
        [listener:b]
        bind = 127.0.0.1:81, :0, 127.0.0.1:0
        [upstream:x]
        backends = http://x
    """
    assert mistakes_in(text) == []


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/api/", "/api"),
        ("/api/", "/api/"),
        ("/api", "/api"),
        ("/ap", "/api"),
        ("/", "/api"),
        ("/api/", "/api/v1"),
        ("/api/v1/", "/api"),
        ("/api/v", "/api"),
        ("= /api", "/api"),
        ("= /api/v1", "/api"),
        ("~ ^/anything", "/api"),
        ("/other/\n  /api/", "/api"),
        ("/other/\n  ~ x", "/api"),
    ],
)
def test_a_prefix_that_some_request_of_the_route_may_have_can_be_stripped(path: str, prefix: str) -> None:
    text = f"[listener:a]\nbind = :80\n[upstream:x]\nbackends = http://x\n[route:r]\npath = {path}\nstrip-prefix = {prefix}"
    assert mistakes_in(text) == []
    text = f"[listener:a]\nbind = :80\n[upstream:x]\nbackends = http://x\n[route:r]\nstrip-prefix = {prefix}"
    assert mistakes_in(text) == []


def test_a_route_that_says_nothing_else_goes_to_the_only_upstream() -> None:
    text = "[listener:a]\nbind = :80\n[upstream:x]\nbackends = http://x\n[route:r]\npath = /x/\nretries = 3"
    found = settings_of(text)
    assert found.listeners[0].upstream == "x"
    assert found.routes[0].upstream == "x"
    assert found.routes[0].relay == RelaySettings(retries=3)


def test_a_route_changes_the_settings_of_its_own_upstream() -> None:
    text = """
        [listener:a]
        bind = :80
        [upstream:x]
        backends = http://x
        connect-timeout = 1s
        retries = 2
        [route:r]
        retries = 0
        [route:s]
        status = 404
        path = /s
    """
    route, plain = settings_of(text).routes
    assert route.relay == RelaySettings(connect_timeout_s=1.0, retries=0)
    assert plain.relay is None


def test_a_variable_may_hold_a_whole_list() -> None:
    text = "[listener:a]\nbind = ${BIND}\n[upstream:x]\nbackends = http://${HOST}:80"
    found = settings_of(text, {"BIND": ":80, :81", "HOST": "x"})
    assert found.listeners[0].bind == (Address(port=80), Address(port=81))
    assert found.upstreams[0].backends[0].address == Address(host="x", port=80)


def test_0_asks_for_the_longest_backlog_and_for_no_trial() -> None:
    text = "[greenproxy]\nbacklog = 0\n[listener:a]\nbind = :0\n[upstream:b]\nbackends = http://c\nfail-timeout = 0"
    found = settings_of(text)
    assert found.process.backlog == 65535
    assert found.upstreams[0].fail_timeout_s == 366 * 24 * 3600


def test_user_code_that_cannot_be_used_is_a_mistake_in_the_line_of_its_type() -> None:
    def one_is_wrong(middlewares: object, folder: Path) -> dict[str, str]:
        assert [each.name for each in middlewares] == ["a", "b"]  # type: ignore[attr-defined]
        assert folder == Path("/etc/greenproxy")
        return {"b": "ImportError: no"}

    text = "[middleware:a]\ntype = m:a\n[middleware:b]\nx = 1\ntype = m:b\n[listener:c]\nbind = :0\n[route:d]\nstatus = 404"
    with pytest.raises(ConfigErrors) as refused:
        settings_of(text, try_code=one_is_wrong)
    assert str(refused.value) == "f.ini:5: [middleware:b] type: ImportError: no"


# ------------------------------------------------------------------ files


def test_a_file_is_read_and_its_paths_count_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[greenproxy]\naccess-log = a.log\n[listener:a]\nbind = :0\n[route:r]\nstatus = 404\n")
    found = load(tmp_path / "a.ini", {})
    assert found.source == tmp_path / "a.ini"
    assert found.process.access_log == str(tmp_path / "a.log")


@pytest.mark.parametrize(("name", "reason"), [("missing.ini", "no such file or directory"), (".", "is a directory")])
def test_a_file_that_cannot_be_read_is_a_mistake_too(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load(tmp_path / name, {})
    assert str(refused.value) == f"{tmp_path / name}: {reason}"


def test_a_name_that_no_file_can_have_is_a_mistake_too() -> None:
    with pytest.raises(ConfigErrors):
        load("a\0b", {})


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_bytes(
        b"# caf\xe9\n[greenproxy]\nuser = caf\xe9\n[listener:a]\nbind = :0\n[route:r]\nstatus = 404\n"
    )
    with pytest.raises(ConfigErrors) as refused:
        load(tmp_path / "a.ini", {})
    assert str(refused.value) == f"{tmp_path / 'a.ini'}:3: [greenproxy] a control character, or bytes that are not UTF-8"


def test_checks_of_other_rooms_see_what_is_right_and_add_their_mistakes(tmp_path: Path) -> None:
    seen: list[Settings] = []

    def check(found: Settings) -> list[ConfigError]:
        seen.append(found)
        return [ConfigError(file=str(found.source), line=6, section="route:r", message="is odd")]

    file = tmp_path / "a.ini"
    file.write_text("[listener:a]\nbind = :0\n[route:bad]\npath = x\nstatus = 404\n[route:r]\nstatus = 404\n")
    with pytest.raises(ConfigErrors) as refused:
        load(file, {}, extra_checks=[check])
    assert [route.name for route in seen[0].routes] == ["r"]
    assert str(refused.value).splitlines() == [
        f"{file}:4: [route:bad] path: 'x' does not begin with a slash (did you mean /x?)",
        f"{file}:6: [route:r] is odd",
    ]


# ------------------------------------------------------------------ anything at all

_keys = st.sampled_from(sorted({name for kind in CLASSES for name in keys_of(kind, Path("/"))} | {"app", "admin", "x"}))
_names = st.sampled_from(["a", "b"])
_values = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["a", "b", "0", "1", "on", ":80", "5s", "http://a", "/a", "~ (", "${X}", "${Y}", "m:c", "unix:", "GET", "A: b"]
    ),
    st.lists(st.sampled_from(["a", "b", ":80", ":81", "/", "http://b weight=2"]), max_size=3).map("\n  ".join),
)
_kinds = st.sampled_from(["listener", "upstream", "route", "middleware", "demo", "app", "x"])
_sections = st.builds("[{}:{}]".format, _kinds, _names)
_headers = st.one_of(_sections, st.sampled_from(["[greenproxy]", "[listener]", "[", "x"]))
_lines = st.one_of(_headers, st.builds("{} = {}".format, _keys, _values), st.text(max_size=10))


@settings(max_examples=300, deadline=None)
@given(st.lists(_lines, max_size=25).map("\n".join), st.text(max_size=5))
def test_any_text_is_settings_or_mistakes_with_lines(text: str, variable: str) -> None:
    count = text.count("\n") + 1
    try:
        found = settings_of(text, {"X": variable})
    except ConfigErrors as refused:
        told = refused.errors
    else:
        assert found.listeners
        return
    assert told
    for error in told:
        assert re.match(r"f\.ini:\d+: ", str(error))
        assert 1 <= error.line <= count


def test_nothing_is_tried_where_there_is_no_user_code() -> None:
    assert no_code_is_wrong([], Path(os.curdir)) == {}
    assert settings_of("[listener:a]\nbind = :0\n[route:r]\nstatus = 404", try_code=lambda *_: pytest.fail("tried")).listeners
