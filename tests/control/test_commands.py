"""`greenproxy status`, `reload` and `stop` against stand-ins: words and exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from greenproxy import cli
from greenproxy.control import commands
from tests.control.documents import document
from tests.control.stand_ins import Admin, Master
from tests.processes import wait_until

Answer = Callable[[Mapping[str, str]], tuple[int, Any]]


class Told:
    """What a command printed, and its exit status."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments, {})
        said = self._capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


def state(pid: int, number: int, state: str, message: str = "") -> tuple[int, Any]:
    """Return the answer of an admin whose master has this reload."""
    return 200, document(pid=pid, reload={"number": number, "state": state, "message": message})


def reloading(master: Master, *afterwards: tuple[int, Any]) -> Answer:
    """Return an admin that knows of 4 reloads until HUP came, and then gives these answers, the last one for good."""
    left = list(afterwards)

    def answer(_fields: Mapping[str, str]) -> tuple[int, Any]:
        if "SIGHUP" not in master.signals:
            return state(master.pid, 4, "done")
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


# ------------------------------------------------------------------ stop


def test_stop_waits_until_the_process_has_gone(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:
        assert told("stop", "--pid-file", str(master.pid_file)) == (0, f"greenproxy (process {master.pid}) has stopped\n", "")
        assert master.signals == ["SIGTERM"]


def test_stop_does_not_wait_for_ever(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_AFTER_GRACEFUL_S", 0.1)
    with Master(tmp_path, ends=False) as master:
        status, _, error = told("stop", "--pid-file", str(master.pid_file), "--graceful-timeout", "100ms")
        assert (status, error.count("\n")) == (1, 1)
        assert f"process {master.pid} still runs after 0.2 s; kill -QUIT {master.pid} stops it at once" in error


def test_stop_finds_the_process_by_the_admin_where_there_is_no_pid_file(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master, Admin(lambda _: state(master.pid, 0, "none")) as admin:
        assert told("stop", "--admin", admin.address)[0] == 0
        assert master.signals == ["SIGTERM"]


def test_stop_of_a_stale_pid_file_is_one_line(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:
        master.kill()
        line = f"greenproxy stop: process {master.pid} of pid-file {master.pid_file} is gone: it ended without cleaning up\n"
        assert told("stop", "--pid-file", str(master.pid_file)) == (1, "", line)


def test_stop_without_any_key_says_which_is_missing(tmp_path: Path, told: Told) -> None:
    (tmp_path / "f.ini").write_text("[greenproxy]\nworkers = 2\n")
    line = f"greenproxy stop: {tmp_path}/f.ini has no pid-file in [greenproxy], which tells whom it is about\n"
    assert told("stop", "-c", f"{tmp_path}/f.ini") == (2, "", line)


def test_stop_works_with_a_file_that_is_broken(tmp_path: Path, told: Told) -> None:
    (tmp_path / "f.ini").write_text("[greenproxy]\npid-file = pid\ngraceful-timeout = soon\nadmin = ?\n[x]\n[greenproxy:y]\nz\n")
    with Master(tmp_path):
        assert told("-c", f"{tmp_path}/f.ini", "stop")[0] == 0


# ------------------------------------------------------------------ reload


def test_reload_waits_until_it_is_done(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:
        answers = [state(master.pid, 4, "done"), state(master.pid, 5, "running"), state(master.pid, 5, "done")]
        with Admin(reloading(master, *answers)) as admin:
            said = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
        assert said == (0, f"greenproxy (process {master.pid}) has reloaded its configuration\n", "")
        assert master.signals == ["SIGHUP"]


@pytest.mark.parametrize("outcome", ["refused", "undone"])
def test_reload_that_failed_tells_why(tmp_path: Path, told: Told, outcome: str) -> None:
    with Master(tmp_path) as master, Admin(reloading(master, state(master.pid, 5, outcome, "f.ini:1: a\nf.ini:2: b"))) as admin:
        status, output, errors = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
    assert (status, output) == (1, "")
    assert errors.splitlines() == [
        f"greenproxy reload: {outcome}, everything is as before:",
        "greenproxy reload: f.ini:1: a",
        "greenproxy reload: f.ini:2: b",
    ]


def test_reload_needs_no_pid_file_where_there_is_an_admin(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master, Admin(reloading(master, state(master.pid, 5, "done"))) as admin:
        assert told("reload", "--admin", admin.address)[0] == 0


def test_reload_without_an_admin_cannot_hear_how_it_went(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:
        status, _, error = told("reload", "--pid-file", str(master.pid_file))
        assert status == 1
        said = f"process {master.pid} was told to reload; only its log tells how that went: there is no admin"
        assert error == f"greenproxy reload: {said}\n"
        wait_until(lambda: master.signals == ["SIGHUP"], "the signal")


def test_reload_may_be_what_opens_the_admin(tmp_path: Path, told: Told) -> None:
    opened = tmp_path / "s"
    with (
        Master(tmp_path) as master,
        Admin(lambda _: state(master.pid, 1, "done"), path=f"{opened}.later"),
        master.at_signal(lambda: (tmp_path / "s.later").rename(opened)),
    ):
        assert told("reload", "--pid-file", str(master.pid_file), "--admin", f"unix:{opened}")[0] == 0


def test_reload_asks_again_where_a_worker_leaves_with_the_answer(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:
        answers = [(404, b""), (500, b""), state(master.pid, 5, "done")]
        with Admin(reloading(master, *answers)) as admin:
            assert told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)[0] == 0


def test_reload_of_which_nothing_is_heard_ends(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SILENCE_S", 0.1)
    with Master(tmp_path) as master, Admin(reloading(master, state(master.pid, 4, "done"))) as admin:
        status, _, error = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
    assert (status, error) == (1, "greenproxy reload: not heard of for 0.1 s, see the log: the reload does not begin\n")


def test_reload_during_which_the_master_ends_is_told(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:

        def answer(_fields: Mapping[str, str]) -> tuple[int, Any]:
            if "SIGHUP" in master.signals:
                master.kill()
            return state(master.pid, 4, "done")

        with Admin(answer) as admin:
            status, _, error = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
    assert (status, error) == (1, f"greenproxy reload: process {master.pid} has ended meanwhile; the log tells why\n")


def test_reload_without_the_token_is_asked_for_and_not_waited_for(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master, Admin(lambda _: (401, b"")) as admin:
        status, _, error = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
        wait_until(lambda: master.signals == ["SIGHUP"], "the signal")
    said = f"process {master.pid} was told to reload; only its log tells how that went: the admin at {admin.address} wants"
    assert (status, error) == (1, f"greenproxy reload: {said} an admin-token\n")


def test_reload_that_brings_the_token_into_force_is_heard_of(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:

        def answer(_fields: Mapping[str, str]) -> tuple[int, Any]:
            left.append(0)
            return (401, b"") if len(left) < 4 else state(master.pid, 1, "done")

        left: list[int] = []
        with Admin(answer) as admin:
            (tmp_path / "f.ini").write_text(f"[greenproxy]\npid-file = pid\nadmin = {admin.address}\nadmin-token = new\n")
            assert told("reload", "-c", f"{tmp_path}/f.ini")[0] == 0


def test_reload_reaches_a_proxy_that_does_not_answer(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ACTS_WITHIN_S", 0.0)
    monkeypatch.setattr(commands, "ANSWERS_WITHIN_S", 0.1)
    with Master(tmp_path) as master:

        def answer(_fields: Mapping[str, str]) -> tuple[int, Any]:
            wait_until(lambda: master.signals, "the signal, without which nobody answers")
            return state(master.pid, 5, "done")

        with Admin(answer) as admin:
            assert told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)[0] == 0
        assert master.signals == ["SIGHUP"]


def test_reload_of_a_process_that_stops_is_not_asked_for(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master, Admin(lambda _: (200, document(pid=master.pid, state="stopping"))) as admin:
        said = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
        assert said == (1, "", f"greenproxy reload: process {master.pid} is stopping\n")
        assert master.signals == []


def test_reload_of_a_process_that_is_told_to_stop_meanwhile_ends(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master, Admin(reloading(master, (200, document(pid=master.pid, state="stopping")))) as admin:
        said = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
        assert said == (1, "", f"greenproxy reload: process {master.pid} is stopping\n")


def test_a_pid_file_that_only_the_new_file_names_is_found_by_the_admin(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master, Admin(reloading(master, state(master.pid, 5, "done"))) as admin:
        assert told("reload", "--pid-file", f"{tmp_path}/moved", "--admin", admin.address)[0] == 0


def test_reload_of_one_process_is_not_heard_of_from_another(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_TICK_S", 0.001)
    with Master(tmp_path) as master, Admin(lambda _: state(1, 4, "done")) as admin:
        status, _, error = told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)
        assert (status, master.signals) == (1, [])
    said = f"the admin is that of process 1, but the pid-file names {master.pid}; after an upgrade, wait until that has ended"
    assert error == f"greenproxy reload: {said}\n"


def test_reload_in_an_upgrade_listens_to_the_master_of_the_pid_file(tmp_path: Path, told: Told) -> None:
    with Master(tmp_path) as master:
        turns = iter(range(10**6))
        mine = reloading(master, state(master.pid, 5, "done"))
        with Admin(lambda fields: mine(fields) if next(turns) % 2 else state(1, 9, "done")) as admin:
            assert told("reload", "--pid-file", str(master.pid_file), "--admin", admin.address)[0] == 0


# ------------------------------------------------------------------ status


def test_status_is_a_table(told: Told) -> None:
    with Admin(lambda _: (200, document())) as admin:
        status, output, error = told("status", "--admin", admin.address)
    assert (status, error) == (0, "")
    assert output.startswith("greenproxy ")


def test_status_as_json_is_the_whole_document(told: Told) -> None:
    with Admin(lambda _: (200, document())) as admin:
        status, output, _ = told("status", "--json", "--admin", admin.address)
    assert (status, json.loads(output)) == (0, document())


def test_status_of_another_version_is_one_line(told: Told) -> None:
    with Admin(lambda _: (200, {"version": "9.0"})) as admin:
        line = "greenproxy status: it is another version (9.0); --json prints what it says\n"
        assert told("status", "--admin", admin.address) == (1, "", line)


def test_status_with_a_wrong_token_is_one_line(told: Told) -> None:
    with Admin(lambda _: (401, b"")) as admin:
        line = f"greenproxy status: the admin at {admin.address} does not know this admin-token\n"
        assert told("status", "--admin", admin.address, "--admin-token", "x") == (1, "", line)


def test_status_without_admin_says_what_is_missing(tmp_path: Path, told: Told) -> None:
    (tmp_path / "f.ini").write_text("[greenproxy]\nadmin = off\n")
    status, _, error = told("status", "-c", f"{tmp_path}/f.ini")
    said = "has no admin in [greenproxy], which tells where the state can be asked for, such as 127.0.0.1:9901"
    assert (status, error) == (2, f"greenproxy status: {tmp_path}/f.ini {said}\n")


def test_port_zero_cannot_be_asked(told: Told) -> None:
    line = "greenproxy status: admin has port 0, and only the log tells the real one: give it with --admin\n"
    assert told("status", "--admin", "127.0.0.1:0") == (2, "", line)
