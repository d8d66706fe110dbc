"""`greenproxy status`, `reload` and `stop` on a whole greenproxy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenproxy import cli
from greenproxy.control import commands
from tests.frontdoor.edge import BROKEN_IN_WORKERS, MODULE, edge, get, ini, open_gate, request_in_flight
from tests.frontdoor.test_command_line import run
from tests.processes import ROOT, Proxy, is_running, wait_until


def controlled(folder: Path, **process: str) -> Proxy:
    """Return a proxy with a pid file and an admin listener."""
    return edge(folder, **{"admin": "unix:admin.sock", "pid_file": "greenproxy.pid", **process})


def test_reload_puts_the_new_file_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy:
        before = proxy.workers()
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 0
        assert capsys.readouterr().out == f"greenproxy (process {proxy.pid}) has reloaded {proxy.file}\n"
        assert get(proxy.port()) not in before


def test_reload_of_a_file_with_mistakes_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy:
        before = proxy.workers()
        with proxy.file.open("a") as file:
            file.write("\n[route:everything]\nstatus = 7\n[listener:web2]\nbind = nowhere\n")
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 1
        said = capsys.readouterr().err.splitlines()
        assert said[0] == "greenproxy reload: refused, everything is as before:"
        assert all(line.startswith(f"greenproxy reload: {proxy.file}:") for line in said[1:])
        assert len(said) > 2
        assert proxy.workers() == before


def test_reload_replaces_workers_that_are_all_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ANSWERS_WITHIN_S", 0.3)
    with controlled(tmp_path, reload_timeout="1s") as proxy, contextlib.ExitStack() as blocked:
        before = proxy.workers()
        for _ in before:
            blocked.enter_context(request_in_flight(proxy, proxy.port(), "/block"))
            (tmp_path / "arrived").unlink()
        assert cli.main(["status", "-c", str(proxy.file)], {}) == 1
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 0
        assert get(proxy.port()) not in before


def test_reload_while_it_stops_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy, request_in_flight(proxy, proxy.port()):
        proxy.send(signal.SIGTERM)
        proxy.wait_for_log("stopping")
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 1
        assert capsys.readouterr().err == f"greenproxy reload: process {proxy.pid} is stopping\n"
        assert cli.main(["status", "-c", str(proxy.file)], {}) == 0
        assert " and stopping, " in capsys.readouterr().out
        open_gate(proxy)
        assert proxy.wait() == 0


def test_reload_may_bring_another_pid_file(tmp_path: Path) -> None:
    with controlled(tmp_path) as proxy:
        proxy.file.write_text(ini(admin="unix:admin.sock", pid_file="moved.pid"))
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 0
        assert (tmp_path / "moved.pid").read_text().strip() == str(proxy.pid)


def test_reload_with_workers_that_cannot_boot_tells_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy:
        (tmp_path / "edge.py").write_text(BROKEN_IN_WORKERS + MODULE)
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 1
        assert capsys.readouterr().err.startswith("greenproxy reload: undone, everything is as before:\n")
        assert get(proxy.port()) in proxy.workers()


def test_reload_may_move_the_admin(tmp_path: Path) -> None:
    with controlled(tmp_path) as proxy:
        proxy.file.write_text(ini(admin="unix:moved.sock", pid_file="greenproxy.pid"))
        assert cli.main(["reload", "-c", str(proxy.file)], {}) == 0
        assert (tmp_path / "moved.sock").exists()
        assert not (tmp_path / "admin.sock").exists()
        assert cli.main(["status", "-c", str(proxy.file)], {}) == 0


def test_one_reload_after_another_is_heard_of(tmp_path: Path) -> None:
    with controlled(tmp_path, workers="1") as proxy:
        for _ in range(3):
            assert cli.main(["reload", "-c", str(proxy.file)], {}) == 0
        assert proxy.log().count("reloaded: ") == 3


def test_status_shows_workers_and_the_last_reload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy:
        assert cli.main(["status", "-c", str(proxy.file)], {}) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"greenproxy 0.1.0, process {proxy.pid}, up ")
        assert all(f"\n{worker}" in text for worker in proxy.workers())
        assert f"127.0.0.1:{proxy.port()}" in text
        assert cli.main(["status", "--json", "-c", str(proxy.file)], {}) == 0
        assert json.loads(capsys.readouterr().out)["pid"] == proxy.pid


def test_stop_waits_for_requests_in_flight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        proxy.send(signal.SIGTERM)  # so that the test can open the gate behind it; a second TERM changes nothing
        proxy.wait_for_log("stopping")
        open_gate(proxy)
        assert cli.main(["stop", "-c", str(proxy.file)], {}) == 0
        assert capsys.readouterr().out == f"greenproxy (process {proxy.pid}) has stopped\n"
        assert client.getresponse().status == 200
        assert proxy.wait() == 0


def test_commands_need_no_user_code_and_no_whole_file(tmp_path: Path) -> None:
    with controlled(tmp_path) as proxy:
        (tmp_path / "broken").touch()
        with proxy.file.open("a") as file:
            file.write("\n[nonsense]\n")
        status, output, errors = run("status", "-c", str(proxy.file), folder=ROOT)
        assert (status, errors) == (0, "")
        assert str(proxy.pid) in output
        status, output, errors = run("stop", "-c", str(proxy.file), folder=ROOT)
        assert (status, output, errors) == (0, f"greenproxy (process {proxy.pid}) has stopped\n", "")
        assert proxy.wait() == 0


def test_after_a_stop_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy:
        assert proxy.stop() == 0
        for command, expected in (
            ("stop", f"it does not run: there is no pid-file {tmp_path}/greenproxy.pid"),
            ("reload", f"it does not run: there is no pid-file {tmp_path}/greenproxy.pid"),
            ("status", f"nobody answers at unix:{tmp_path}/admin.sock (admin): No such file or directory"),
        ):
            assert cli.main([command, "-c", str(proxy.file)], {}) == 1
            assert capsys.readouterr().err == f"greenproxy {command}: {expected}\n"


def test_after_a_crash_the_pid_file_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with controlled(tmp_path) as proxy:
        workers = proxy.workers()
        proxy.stop(signal.SIGKILL)
        assert cli.main(["stop", "-c", str(proxy.file)], {}) == 1
        assert "is gone: it ended without cleaning up" in capsys.readouterr().err
        wait_until(lambda: not any(map(is_running, workers)), "the workers are gone")


def test_status_into_a_pipe_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    with controlled(tmp_path, workers="1") as proxy:
        ours, theirs = os.pipe()
        os.close(ours)
        command = [sys.executable, "-m", "greenproxy", "status", "--json", "-c", str(proxy.file)]
        try:
            done = subprocess.run(command, env=proxy.environ, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=20)
        finally:
            os.close(theirs)
        assert (done.returncode, done.stderr) == (0, "")
