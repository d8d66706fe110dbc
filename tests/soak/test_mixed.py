"""The mixed traffic notices leaks, each of its kind, and ends on demand with the report so far."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.processes import Process, wait_until
from tests.soak.__main__ import main
from tests.soak.cases import Case
from tests.soak.mixed import Plan, mixed
from tests.soak.stage import Stage
from tests.soak.terrain import LEAKS

_LEAKY_S = 3.0
Interrupted = tuple[int, str, list[int | Path]]


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Return what a short run makes of a proxy that leaks in every way at once, and more of it than in ten minutes would do."""
    sizes = {"leak_bytes": 500_000, "leak_s": 0.3}
    stage = Stage(tmp_path_factory.mktemp("leaky"), _LEAKY_S, 0.4, is_short=True, leaks=LEAKS, leak_sizes=sizes)
    mixed(stage)
    return stage


def wrong(stage: Stage, what: str) -> list[str]:
    """Return the wrongs that tell of `what`."""
    return [line for line in stage.verdict.wrongs() if what in line]


def test_descriptor_per_aborted_answer_is_noticed(leaky: Stage) -> None:
    (line,) = wrong(leaky, "behind all traffic")
    assert "descriptors: socket" in line


def test_greenlet_per_upgrade_is_noticed(leaky: Stage) -> None:
    (line,) = wrong(leaky, "behind all traffic")
    assert "greenlets: Event.wait" in line


def test_memory_per_request_is_noticed(leaky: Stage) -> None:
    assert wrong(leaky, " memory: "), leaky.verdict.rows


def test_latency_that_grows_is_noticed(leaky: Stage) -> None:
    assert wrong(leaky, "the proxy adds"), leaky.verdict.rows


def test_nothing_is_wrong_but_the_leaks(leaky: Stage) -> None:
    assert not [check for check in leaky.verdict.checks if not check.is_right and "behind all traffic" not in check.what]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Interrupt a run in the middle of its upgrade: return its exit status, its output, and what is left of it."""
    folder = tmp_path_factory.mktemp("interrupted")
    command = [sys.executable, "-m", "tests.soak", "--time", "1m", "--clients", "0.3", "--json"]
    with Process(command, folder, {"TMPDIR": str(folder)}) as soak:
        wait_until(lambda: "the new program starts" in log_of_the_restless(folder), "the upgrade has begun", 40.0)
        status = soak.stop(signal.SIGINT, 50.0)
    return status, soak.output(), [*processes_in(folder), *folder.glob("soak-*")]


def log_of_the_restless(folder: Path) -> str:
    """Return the log of the proxy that is upgraded, as far as there is one."""
    return "".join(file.read_text() for file in folder.glob("soak-mixed-*/restless/stderr"))


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in this folder or below."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(folder)):
                found.append(int(entry.name))
        except OSError:
            continue  # gone, or somebody else's
    return found


def test_interrupted_run_tells_what_it_has_seen(interrupted: Interrupted) -> None:
    told = json.loads(interrupted[1])
    assert told["was_interrupted"]
    assert not told["wrong"]
    assert all(traffic["answers"] for traffic in told["traffic"])


def test_interrupted_upgrade_comes_to_its_end(interrupted: Interrupted) -> None:
    (figure,) = [
        check["figure"] for check in json.loads(interrupted[1])["checks"] if check["what"] == "what was done to the restless one"
    ]
    assert figure.startswith("upgrades: 1,")


def test_run_that_was_too_short_to_judge_has_status_2(interrupted: Interrupted) -> None:
    assert interrupted[0] == 2


def test_interrupted_run_leaves_nothing_behind(interrupted: Interrupted) -> None:
    assert not interrupted[2]


def test_a_case_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak", "--case", "reload", "--seconds", "30"]
    with Process(command, tmp_path, {"TMPDIR": str(tmp_path)}) as soak:
        wait_until(lambda: list(tmp_path.glob("soak-reload-*/load/spec.json")), "the load has begun", 40.0)
        status = soak.stop(signal.SIGTERM, 50.0)
    assert (status, processes_in(tmp_path)) == (2, []), soak.output()


def test_list_names_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert {"mixed", "reload", "chaos"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize("words", [["--time", "soon"], ["--seconds", "-1"], ["--case", "none"], ["--leak", "money"]])
def test_mistake_on_the_command_line_has_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_case_that_does_not_leak_refuses_to(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Case, "full", lambda *_: pytest.fail("it ran"))
    with pytest.raises(SystemExit, match="2"):
        main(["--case", "reload", "--leak", "memory"])
    assert "error: --leak is for the case mixed alone: reload would leak nothing" in capsys.readouterr().err


def test_day_is_watched_with_as_few_samples_as_an_hour() -> None:
    hour, day = Plan(3600.0, is_short=False), Plan(86_400.0, is_short=False)
    assert day.seconds / day.sample_s <= 2000 >= hour.seconds / hour.sample_s
    assert day.seconds * day.times_per_s <= 200_000
    assert day.warm_up_s <= 300.0
