from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy import __version__
from greenproxy.config.errors import ConfigErrors
from greenproxy.config.options import GROUPS, Options, build_parser, idle_variables, load_settings, parse
from greenproxy.config.schema import key_name
from greenproxy.config.settings import Address, BackendSettings, ProcessSettings, Settings

FILE = "[greenproxy]\nworkers = 2\nworker-timeout = 20s\nlog-level = error\n[listener:a]\nbind = :0\n[route:r]\nstatus = 404\n"


def refusal(argv: list[str], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as refused:
        load_settings(parse(argv, environ or {}), environ or {})
    return str(refused.value).splitlines()


def loaded(argv: list[str], environ: dict[str, str] | None = None) -> Settings:
    return load_settings(parse(argv, environ or {}), environ or {})


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "a.ini").write_text(FILE)
    return str(tmp_path / "a.ini")


def test_a_flag_beats_the_environment_the_environment_the_file_and_the_file_the_default(file: str) -> None:
    environ = {"GREENPROXY_WORKERS": "3", "GREENPROXY_WORKER_TIMEOUT": "10s"}
    process = loaded(["-c", file, "--workers", "4"], environ).process
    assert (process.workers, process.worker_timeout_s, process.log_level, process.backlog) == (4, 10.0, "error", 2048)


def test_every_key_of_the_process_has_a_flag_and_a_variable() -> None:
    for field in dataclasses.fields(ProcessSettings):
        key = key_name(field)
        variable = f"GREENPROXY_{key.upper().replace('-', '_')}"
        assert parse([f"--{key}=x"], {}).overrides == ((key, "x", f"--{key}"),)
        assert parse([], {variable: "y"}).overrides == ((key, "y", variable),)
        assert parse([f"--{key}", "x"], {variable: "y"}).overrides == ((key, "x", f"--{key}"),)


def test_every_key_of_the_process_is_in_one_group_of_the_help() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(field.name for field in dataclasses.fields(ProcessSettings))


def test_options_are_what_was_said() -> None:
    assert parse(["--config", "a.ini", "--check"], {}) == Options(config="a.ini", is_check=True)
    assert parse([], {"GREENPROXY_CONFIG": "a.ini"}) == Options(config="a.ini")
    assert parse(["-c", "b.ini"], {"GREENPROXY_CONFIG": "a.ini"}) == Options(config="b.ini")


def test_an_empty_variable_counts_as_not_set(file: str) -> None:
    assert loaded(["-c", file], {"GREENPROXY_WORKERS": "", "GREENPROXY_LOG_LEVEL": " "}).process.workers == 2


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("GREENPROXY_WORKER", " (did you mean GREENPROXY_WORKERS?)"),
        ("GREENPROXY_LOGLEVEL", " (did you mean GREENPROXY_LOG_LEVEL?)"),
        ("GREENPROXY_workers", " (did you mean GREENPROXY_WORKERS?)"),
        ("GREENPROXY_CONFIGURATION", " (did you mean GREENPROXY_CONFIG?)"),
        ("GREENPROXY_SHOP", ""),
    ],
)
def test_a_variable_that_means_nothing_is_told_with_the_nearest_that_does(file: str, variable: str, hint: str) -> None:
    environ = {variable: "3", "GREENPROXY_WORKERS": "3", "GREENPROXY_CONFIG": file}
    told = f"{variable} in the environment is no key of [greenproxy], and the file does not use it{hint}"
    assert idle_variables(environ, loaded(["-c", file], environ)) == [told]


def test_nothing_is_told_of_variables_that_are_empty_that_are_keys_or_that_the_file_uses(file: str) -> None:
    Path(file).write_text(Path(file).read_text() + "\n[middleware:m]\ntype = headers\nresponse-set = X: ${GREENPROXY_SHOP}\n")
    environ = {"GREENPROXY_SHOP": "a", "GREENPROXY_EMPTY": " ", "GREENPROXY_VIA": "off", "GREENPROXYX": "", "PATH": "/"}
    assert idle_variables(environ, loaded(["-c", file], environ)) == []


def test_a_variable_in_a_comment_or_behind_a_backslash_is_not_used(file: str) -> None:
    text = "\n# ${GREENPROXY_A}\n[middleware:m]\ntype = headers\nresponse-set = X: \\${GREENPROXY_B}\n"
    Path(file).write_text(Path(file).read_text() + text)
    environ = {"GREENPROXY_A": "a", "GREENPROXY_B": "b"}
    assert len(idle_variables(environ, loaded(["-c", file], environ))) == 2


def test_a_dash_is_a_value() -> None:
    assert parse(["--access-log", "-"], {}).overrides == (("access-log", "-", "--access-log"),)


def test_no_file_is_needed_for_one_listener_and_one_upstream() -> None:
    backends = ["--backend", "http://127.0.0.1:9001 weight=2", "--backend", "http://127.0.0.1:9002"]
    found = loaded(["--bind", ":8080", "--bind=[::1]:8080", *backends, "--workers", "1"])
    assert found.source is None
    assert found.process.workers == 1
    assert [(each.name, each.bind, each.upstream) for each in found.listeners] == [
        ("web", (Address(port=8080), Address(host="::1", port=8080)), "default")
    ]
    assert [(each.name, each.backends) for each in found.upstreams] == [
        (
            "default",
            (
                BackendSettings(address=Address(host="127.0.0.1", port=9001), weight=2),
                BackendSettings(address=Address(host="127.0.0.1", port=9002)),
            ),
        )
    ]


def test_a_path_in_a_flag_counts_from_the_working_directory(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert loaded(["-c", file, "--pid-file", "p"]).process.pid_file == str(tmp_path / "here" / "p")


def test_flags_without_a_file_beat_a_file_from_the_environment() -> None:
    environ = {"GREENPROXY_CONFIG": "/no/such/file"}
    assert loaded(["--bind", ":0", "--backend", "http://a"], environ).source is None


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, ["nothing to serve: give -c FILE, or --bind and --backend"]),
        (["--bind", ":80"], {}, ["--backend: is missing: without a file both --bind and --backend are needed"]),
        (["--backend", "http://a"], {}, ["--bind: is missing: without a file both --bind and --backend are needed"]),
        (["-c", "a.ini", "--bind", ":80"], {}, ["--bind: goes without a file, and there is a.ini"]),
        (["-c", "a.ini", "--backend", "http://a"], {}, ["--backend: goes without a file, and there is a.ini"]),
        (["--wrokers", "4"], {}, ["--wrokers: unknown flag (did you mean --workers?)"]),
        (["--wrokers=4", "--xyzzy"], {}, ["--wrokers: unknown flag (did you mean --workers?)", "--xyzzy: unknown flag"]),
        (["--pool-size=4"], {}, ["--pool-size: unknown flag; it is a key of [upstream:NAME] in the file"]),
        (["--retries", "4"], {}, ["--retries: unknown flag; it is a key of [upstream:NAME] or [route:NAME] in the file"]),
        (["--work", "4"], {}, ["--work: unknown flag (did you mean --workers?)"]),
        (["--workers"], {}, ["--workers: needs a value"]),
        (["--check=1"], {}, ["--check: ignored explicit argument '1'"]),
        (["a.ini"], {}, ["unexpected argument 'a.ini' (did you mean -c a.ini?)"]),
        (["stattus"], {}, ["unexpected argument 'stattus' (did you mean greenproxy status?)"]),
        (["relaod", "-c", "a.ini"], {}, ["unexpected argument 'relaod' (did you mean greenproxy reload?)"]),
        (["strat"], {}, ["unexpected argument 'strat' (did you mean greenproxy -c FILE?)"]),
        (["--", "xyzzy"], {}, ["unexpected argument 'xyzzy'"]),
        (["--"], {}, ["nothing to serve: give -c FILE, or --bind and --backend"]),
        (
            ["--bind", "8080", "--backend", "127.0.0.1:1", "--via", "no"],
            {"GREENPROXY_WORKERS": "many", "GREENPROXY_LOG_LEVEL": "warn"},
            [
                "GREENPROXY_WORKERS: 'many' is not a whole number",
                "GREENPROXY_LOG_LEVEL: unknown value 'warn': debug, info, warning, error or critical (did you mean warning?)",
                "--via: 'no' is neither on nor off (did you mean off?)",
                "--bind: '8080' is not an address to listen on (did you mean :8080?)",
                "--backend: '127.0.0.1:1' is not http://host:port or unix:/path (did you mean http://127.0.0.1:1?)",
            ],
        ),
        (["--bind", ":80", "--backend", "http://a", "--workers", ""], {}, ["--workers: needs a value"]),
        (["--bind", ":80", "--backend", "https://a"], {}, ["--backend: https:// is not available in this version"]),
        (["--bind", ":80", "--bind", ":80", "--backend", "http://a"], {}, ["--bind: the same value stands here twice"]),
        (
            ["--bind", ":80", "--bind", "127.0.0.1:80", "--backend", "http://a"],
            {},
            ["--bind: 127.0.0.1:80 is taken by :80 of [listener:web] in line 1"],
        ),
    ],
)
def test_mistakes_name_the_flag_or_the_variable(argv: list[str], environ: dict[str, str], expected: list[str]) -> None:
    assert refusal(argv, environ) == expected


def test_mistakes_of_flags_and_of_the_file_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "a.ini"
    file.write_text(FILE.replace("workers = 2", "workers = x"))
    assert refusal(["-c", str(file), "--workers", "y"]) == [
        "--workers: 'y' is not a whole number",
        f"{file}:2: [greenproxy] workers: 'x' is not a whole number",
    ]


def test_the_help_tells_every_flag_with_its_value_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(["--help"], {"GREENPROXY_WORKERS": "3"})
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--worker-timeout DURATION a worker that hangs for this long is replaced (default: 30s)" in text
    assert "--workers N worker processes (default: one per processor core)" in text
    assert "--via on|off whether forwarded requests carry a Via field (default: on)" in text
    for field in dataclasses.fields(ProcessSettings):
        assert f"--{key_name(field)} " in text


def test_the_help_is_plain_text() -> None:
    assert "`" not in build_parser().format_help()


def test_no_line_of_the_help_is_too_long_for_a_terminal() -> None:
    assert max(len(line) for line in build_parser().format_help().splitlines()) <= 110


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(["--version"], {})
    assert left.value.code == 0
    assert capsys.readouterr().out == f"greenproxy {__version__}\n"


_words = st.one_of(
    st.text(max_size=6), st.sampled_from(["-c", "--bind", "--backend", "--workers", "--via=", "--check", "--", "-", "x.ini"])
)


@settings(deadline=None)
@given(st.lists(_words, max_size=6), st.text("ab[]-, ", max_size=6))
def test_any_command_line_is_options_or_mistakes(argv: list[str], variable: str) -> None:
    words = [word for word in argv if not word.startswith(("-h", "--h", "--v"))]
    try:
        parse(words, {"GREENPROXY_WORKERS": variable, "GREENPROXY_CONFIG": variable})
    except ConfigErrors as refused:
        told = str(refused)
    else:
        return
    assert told


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (["--admin", ":9901"], {}, "--admin: :9901 can be reached from elsewhere: "),
        ([], {"GREENPROXY_ADMIN": "10.0.0.1:9901"}, "GREENPROXY_ADMIN: 10.0.0.1:9901 can be reached from elsewhere: "),
        (["--admin-token", "abc"], {}, "--admin-token: guards nothing: "),
        ([], {"GREENPROXY_ADMIN_TOKEN": "abc"}, "GREENPROXY_ADMIN_TOKEN: guards nothing: "),
        (["--admin", "127.0.0.1:80"], {}, "--admin: 127.0.0.1:80 is taken by 127.0.0.1:80 of --bind"),
    ],
)
def test_a_mistake_with_admin_is_told_where_it_was_said(argv: list[str], environ: dict[str, str], expected: str) -> None:
    (line,) = refusal(["--bind", "127.0.0.1:80", "--backend", "http://127.0.0.1:9001", *argv], environ)
    assert line.startswith(expected)


@pytest.mark.parametrize("argv", [["--admin", ":9901"], ["--admin", "off"]])
def test_a_token_may_stand_beside_any_admin(argv: list[str]) -> None:
    settings = loaded(["--bind", ":80", "--backend", "http://b", *argv], {"GREENPROXY_ADMIN_TOKEN": "abc"})
    assert settings.process.admin_token == "abc"


@pytest.mark.parametrize("local", ["127.0.0.1:9901", "127.3.2.1:0", "[::1]:9901", "localhost:9901", "unix:admin.sock"])
def test_an_admin_that_only_this_machine_reaches_needs_no_token(local: str) -> None:
    assert loaded(["--bind", ":80", "--backend", "http://b", "--admin", local]).process.admin is not None
