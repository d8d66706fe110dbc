from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenproxy.process.pid_file import OwnPidfile, PidFileTaken
from tests.processes import is_running, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "greenproxy.pid"


def test_file_holds_the_process_until_it_is_removed(path: Path) -> None:
    file = OwnPidfile(str(path))
    file.create(os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"
    file.unlink()
    assert not path.exists()


def test_file_of_a_living_process_is_refused_in_our_words(path: Path) -> None:
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(PidFileTaken) as refused:
        OwnPidfile(str(path)).create(os.getpid())
    assert str(refused.value) == (
        f"pid-file {path} names process {os.getppid()}, which is running: "
        "stop it first, or remove the file if that is another program"
    )
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("content", ["", "nonsense", "dead"])
def test_file_that_says_nothing_or_names_the_dead_is_replaced(path: Path, content: str) -> None:
    if content == "dead":
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait(20)
        content = str(gone.pid)
    path.write_text(content)
    OwnPidfile(str(path)).create(os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"


def test_file_that_names_ourselves_is_left_from_an_earlier_life_and_removed_at_the_end(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")  # in a container every greenproxy is process 1
    file = OwnPidfile(str(path))
    file.create(os.getpid())
    file.unlink()
    assert not path.exists()


def test_file_in_a_folder_that_does_not_exist_is_refused_in_our_words(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "pid"
    with pytest.raises(PidFileTaken) as refused:
        OwnPidfile(str(path)).create(os.getpid())
    assert str(refused.value) == f"pid-file {path} cannot be used: No such file or directory"


def test_file_that_names_a_process_that_nobody_has_reaped_yet_is_replaced(path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: not is_running(gone.pid), "it has ended")
    path.write_text(f"{gone.pid}\n")
    OwnPidfile(str(path)).create(os.getpid())
    gone.wait(20)
    assert path.read_text() == f"{os.getpid()}\n"


def test_named_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(PidFileTaken, match="it is no ordinary file"):
        OwnPidfile(str(path)).create(os.getpid())


def test_file_that_cannot_be_written_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(PidFileTaken, match="No space left on device"):
        OwnPidfile(str(path)).create(os.getpid())
    assert list(path.parent.iterdir()) == []
