"""The command line as users meet it: one clear line for every mistake, and the statuses that scripts rely on."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from greenproxy import __version__, cli
from tests.frontdoor.edge import ini
from tests.processes import Process, Proxy

WITHOUT_MIDDLEWARE = """
[listener:web]
bind = 127.0.0.1:0

[route:everything]
path = /
status = 404
"""


def run(*arguments: str, folder: Path | None = None) -> tuple[int, str, str]:
    """Return exit status, standard output and standard error of one command."""
    process = Process([sys.executable, "-m", "greenproxy", *arguments], folder or Path.cwd())
    done = subprocess.run(process.command, cwd=folder, env=process.environ, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"], {})
    assert not left.value.code
    assert capsys.readouterr().out == f"greenproxy {__version__}\n"


def test_help_names_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"], {})
    assert not left.value.code
    assert "--worker-connections" in capsys.readouterr().out


def test_check_says_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.ini"
    file.write_text(WITHOUT_MIDDLEWARE)
    assert cli.main(["-c", str(file), "--check"], {}) == 0
    assert capsys.readouterr().out == f"{file}: ok\n"


def test_variable_that_means_nothing_is_a_warning_and_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.ini"
    file.write_text(WITHOUT_MIDDLEWARE)
    assert cli.main(["-c", str(file), "--check"], {"GREENPROXY_WORKER": "3"}) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("greenproxy: warning: GREENPROXY_WORKER in the environment is no key")
    assert line.endswith("(did you mean GREENPROXY_WORKERS?)")


def test_check_reports_every_mistake_in_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.ini"
    file.write_text(WITHOUT_MIDDLEWARE + "\n[listner:typo]\nbind = :80\n\n[route:other]\nstatus = many\n")
    assert cli.main(["-c", str(file), "--check"], {}) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{file}:") for line in lines)


def test_ambiguous_routes_are_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.ini"
    file.write_text(WITHOUT_MIDDLEWARE + "\n[route:again]\npath = /\nstatus = 403\n")
    assert cli.main(["-c", str(file), "--check"], {}) == 2
    assert "[route:again]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--nonsense"],
        ["greenproxy.ini"],
        ["-c", "does-not-exist.ini"],
        ["-c"],
        ["--bind", ":8080"],
        ["demo", "--bind", "nowhere"],
        ["demo", "--nonsense"],
        ["demo", "--bind"],
        ["status"],
        ["reload"],
        ["stop"],
        ["status", "--nonsense"],
        ["stop", "now"],
        ["reload", "-c"],
        ["-c", "does-not-exist.ini", "stop"],
    ],
    ids=" ".join,
)
def test_wrong_command_is_one_line_and_status_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments, {}) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "reload", "stop"])
def test_commands_have_a_help_of_their_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"], {})
    assert not left.value.code
    told = capsys.readouterr().out
    assert told.startswith(f"usage: greenproxy {command} ")
    assert "exit status:" in told


def test_wrong_configuration_starts_nothing_and_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "f.ini").write_text("[listener:web]\nbind = nowhere\n")
    status, output, errors = run("-c", "f.ini", folder=tmp_path)
    assert (status, output) == (2, "")
    assert errors.startswith("f.ini:2: [listener:web] bind: ")
    assert "Traceback" not in errors


def test_user_code_that_cannot_be_imported_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "f.ini").write_text(ini())
    (tmp_path / "edge.py").write_text("import there_is_no_such_module\n")
    status, _, errors = run("-c", "f.ini", folder=tmp_path)
    assert status == 2
    assert "there_is_no_such_module" in errors
    assert "Traceback" not in errors


def test_user_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "f.ini").write_text(WITHOUT_MIDDLEWARE)
    status, _, errors = run("-c", "f.ini", "--user", "no-such-user", folder=tmp_path)
    assert status == 2
    assert "no-such-user" in errors
    assert "Traceback" not in errors


def test_without_a_file_flags_are_enough(tmp_path: Path) -> None:
    proxy = Proxy("", tmp_path)
    flags = ["--bind", "127.0.0.1:0", "--backend", "http://127.0.0.1:1", "--workers", "1"]
    proxy.command = [sys.executable, "-m", "greenproxy", *flags]
    with proxy:
        with socket.create_connection(("127.0.0.1", proxy.port()), 5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 502 ")
        assert proxy.stop() == 0


def test_demo_on_an_address_in_use_is_one_line_and_status_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, errors = run("demo", "--bind", f"127.0.0.1:{taken.getsockname()[1]}", "--name", "blue", folder=tmp_path)
    assert status == 1
    assert "Address already in use" in errors
    assert len(errors.splitlines()) == 1
