"""Finding a running greenproxy by its pid file, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from greenproxy.control.refusal import CannotDo
from greenproxy.control.target import Target, read_pid_file
from tests.control.stand_ins import Master
from tests.processes import wait_until


def refusal(file: Path) -> str:
    with pytest.raises(CannotDo) as refused:
        read_pid_file(str(file))
    return str(refused.value)


def test_the_process_of_the_pid_file_gets_the_signal(tmp_path: Path) -> None:
    with Master(tmp_path) as master:
        target = read_pid_file(str(master.pid_file))
        assert target.pid == master.pid
        target.send(signal.SIGHUP)
        wait_until(lambda: master.signals == ["SIGHUP"], "the signal")
        assert not target.has_gone


def test_a_process_that_ended_has_gone_though_nobody_has_reaped_it(tmp_path: Path) -> None:
    with Master(tmp_path) as master:
        target = read_pid_file(str(master.pid_file))
        master.kill()
        assert target.has_gone
        assert "is gone" in refusal(master.pid_file)


def test_a_signal_to_a_process_that_has_gone_meanwhile_is_told(tmp_path: Path) -> None:
    with Master(tmp_path) as master:
        target = read_pid_file(str(master.pid_file))
    with pytest.raises(CannotDo, match="has gone meanwhile"):
        target.send(signal.SIGTERM)


def test_a_process_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    with Master(tmp_path, program="nginx") as master:
        (tmp_path / "pid").write_text(f"{master.pid}\n")
        assert "is no greenproxy but" in refusal(tmp_path / "pid")
        assert master.signals == []


def test_a_master_of_gunicorn_may_run_greenproxy(tmp_path: Path) -> None:
    with Master(tmp_path, program="gunicorn") as master:
        assert read_pid_file(str(master.pid_file)).pid == master.pid


def test_without_the_file_nothing_runs(tmp_path: Path) -> None:
    assert refusal(tmp_path / "pid") == f"it does not run: there is no pid-file {tmp_path}/pid"


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1 2", "99999999999999999999999", "\u0661"])
def test_what_is_no_process_id_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert refusal(tmp_path / "pid") == f"pid-file {tmp_path}/pid holds no process id"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("cannot be read: Is a directory")


def test_nobody_acts_on_itself(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert "is gone" in refusal(tmp_path / "pid")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_process_of_another_user_is_told(tmp_path: Path) -> None:
    with Master(tmp_path) as master:
        target = Target(master.pid, "a test")
        os.setresuid(65534, 65534, 0)
        try:
            with pytest.raises(CannotDo, match="is another user's: no permission to send it SIGTERM"):
                target.send(signal.SIGTERM)
        finally:
            os.setresuid(0, 0, 0)
