"""The flags of `greenproxy status | reload | stop`, and what they read of a file that may be broken elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from greenproxy.config.commands import COMMANDS, parse_command
from greenproxy.config.errors import ConfigErrors
from greenproxy.config.settings import Address, ProcessSettings

BROKEN = """
[greenproxy]
workers = many
error-log = /no/such/folder/error.log
admin-token = ${NOT_SET_HERE}
pid-file = greenproxy.pid
[listener:web]
bind = nowhere
[nonsense]
"""


def process(
    text: str, keys: tuple[str, ...], folder: Path, argv: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> ProcessSettings:
    """Return what `greenproxy reload` reads of a file."""
    (folder / "f.ini").write_text(text)
    return parse_command("reload", ["-c", str(folder / "f.ini"), *argv], environ or {}).process(environ or {}, keys)


def test_a_file_that_is_broken_elsewhere_will_do(tmp_path: Path) -> None:
    assert process(BROKEN, ("pid-file",), tmp_path).pid_file == str(tmp_path / "greenproxy.pid")


def test_a_mistake_in_a_key_that_is_needed_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as refused:
        process(BROKEN, ("admin-token",), tmp_path)
    assert str(refused.value) == f"{tmp_path}/f.ini:5: [greenproxy] admin-token: environment variable NOT_SET_HERE is not set"


def test_without_the_section_there_are_the_defaults(tmp_path: Path) -> None:
    assert process("", ("pid-file", "admin"), tmp_path).pid_file == ""


def test_flag_beats_variable_beats_file(tmp_path: Path) -> None:
    text = "[greenproxy]\nadmin = 127.0.0.1:1\n"
    assert process(text, ("admin",), tmp_path).admin == Address(host="127.0.0.1", port=1)
    environ = {"GREENPROXY_ADMIN": "127.0.0.1:2"}
    assert process(text, ("admin",), tmp_path, (), environ).admin == Address(host="127.0.0.1", port=2)
    assert process(text, ("admin",), tmp_path, ("--admin", "127.0.0.1:3"), environ).admin == Address(host="127.0.0.1", port=3)


def test_variables_of_other_keys_play_no_part(tmp_path: Path) -> None:
    assert process("", ("pid-file",), tmp_path, (), {"GREENPROXY_WORKERS": "many", "GREENPROXY_ADMIN": "?"}).pid_file == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_file_may_come_from_the_environment(name: str) -> None:
    assert parse_command(name, [], {"GREENPROXY_CONFIG": "a.ini"}).config == "a.ini"


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--nonsense"], "--nonsense: unknown flag"),
        (["--workers", "2"], "--workers: unknown flag"),
        (["statsu"], "unexpected argument 'statsu'"),
        (["a.ini"], "unexpected argument 'a.ini' (did you mean -c a.ini?)"),
        (["-c"], "-c/--config: needs a value"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_command(name: str, argv: list[str], expected: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        parse_command(name, argv, {})
    assert str(refused.value) == f"greenproxy {name}: {expected}"


def test_a_file_that_is_not_there_is_told() -> None:
    command = parse_command("stop", ["-c", "/nowhere/a.ini"], {})
    with pytest.raises(ConfigErrors, match=r"/nowhere/a\.ini: no such file or directory"):
        command.process({}, ("pid-file",))


def test_json_is_for_status_alone() -> None:
    assert parse_command("status", ["--json"], {}).is_json
    with pytest.raises(ConfigErrors):
        parse_command("stop", ["--json"], {})
