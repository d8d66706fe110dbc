"""gunicorn's signals with our workers, while clients ask all the time: nobody is refused, cut or answered by nobody."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.frontdoor.edge import BROKEN_IN_WORKERS, MODULE, get, open_gate, request_in_flight
from tests.frontdoor.guests import INI, Busy, Gunicorn
from tests.processes import children_of, is_running, wait_until

GRACE_S = "5"  # shorter than a start may take, and longer than a client of a busy machine needs for its next request
THIRD = "\n[listener:third]\nbind = 127.0.0.1:0\nmiddleware = edge\n"


def test_reloads_lose_nothing_whatever_is_wrong_with_the_new_configuration(tmp_path: Path) -> None:
    with Gunicorn(tmp_path, "--graceful-timeout", GRACE_S) as gunicorn, Busy(gunicorn.port(), gunicorn.second_port()) as busy:
        workers = gunicorn.workers()
        for number, wrong in enumerate(("[listner:third]\n", "[listener:third]\nbind = 127.0.0.1:0\n    192.0.2.1:0\n", THIRD)):
            gunicorn.write(f"{INI}\n{wrong}")
            gunicorn.send(signal.SIGHUP)
            workers = gunicorn.renewed(workers)
            assert gunicorn.log().count("the previous one stays") == min(number + 1, 2)
        busy.go_on()
        assert busy.failures == []
        third = int(gunicorn.wait_for_log(r"listening on http://127\.0\.0\.1:(\d+) \(third\)")[1])
        assert get(third) in workers


def test_user_code_that_does_not_import_any_more_leaves_the_old_workers_serving(tmp_path: Path) -> None:
    with Gunicorn(tmp_path, "--graceful-timeout", GRACE_S) as gunicorn, Busy(gunicorn.port(), gunicorn.second_port()) as busy:
        before = gunicorn.workers()
        wait_until(lambda: busy.workers >= set(before), "both have imported it")
        for number, broken in enumerate(("1 +", BROKEN_IN_WORKERS + MODULE), start=1):
            (tmp_path / "edge.py").write_text(broken)
            gunicorn.send(signal.SIGHUP)
            gunicorn.wait_for_log(rf"(?s)(worker \d+ goes on.*){{{2 * number}}}")
            wait_until(lambda: gunicorn.workers() == before, "the new ones are gone")
            busy.go_on()
        (tmp_path / "edge.py").write_text(MODULE)
        gunicorn.send(signal.SIGHUP)
        gunicorn.renewed(before)
        busy.go_on()
        assert busy.failures == []
    assert "exited with code 3" not in gunicorn.log()


def test_configuration_that_no_worker_can_start_with_gives_way_to_the_previous_one(tmp_path: Path) -> None:
    with Gunicorn(tmp_path, "--graceful-timeout", GRACE_S) as gunicorn, Busy(gunicorn.port(), gunicorn.second_port()) as busy:
        before = gunicorn.workers()
        os.mkfifo(tmp_path / "pipe")  # the check lets it pass, but nobody reads
        gunicorn.write(INI.replace("access-log = off", "access-log = pipe"))
        gunicorn.send(signal.SIGHUP)
        before = gunicorn.renewed(before)
        assert "cannot start" in gunicorn.log()
        os.kill(before[0], signal.SIGKILL)
        gunicorn.wait_for_log("workers could not start with the new configuration: the previous one is served again")
        wait_until(lambda: len(gunicorn.workers()) == 2, "another worker")
        cut = len(busy.failures)  # whoever asked the worker that was killed
        busy.go_on()
        assert len(busy.failures) == cut


def test_workers_come_and_go_with_ttin_and_ttou(tmp_path: Path) -> None:
    with Gunicorn(tmp_path) as gunicorn, Busy(gunicorn.port()) as busy:
        for signum, count in ((signal.SIGTTIN, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1), (signal.SIGTTOU, 1)):
            gunicorn.send(signum)
            wait_for_workers(gunicorn, count)
            busy.go_on()
        assert busy.failures == []


def wait_for_workers(gunicorn: Gunicorn, count: int) -> None:
    wait_until(lambda: len(gunicorn.workers()) == count, f"{count} workers")


def test_second_master_has_all_listeners_and_whichever_is_stopped_leaves_them_to_the_other(tmp_path: Path) -> None:
    gunicorn = Gunicorn(tmp_path, "--pid", "gunicorn.pid")
    gunicorn.configure("def pre_exec(server): open('executed', 'w').close()")
    gunicorn.write(INI.replace("[greenproxy]", "[greenproxy]\nadmin = unix:admin.sock"))
    with gunicorn, Busy(gunicorn.port(), gunicorn.second_port()) as busy:
        old = gunicorn.workers()
        gunicorn.send(signal.SIGUSR2)
        new = second_master(gunicorn)
        assert (tmp_path / "executed").exists()
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not is_running(new), "the new one is gone")
        assert unix_answers(tmp_path / "second.sock")
        wait_until(lambda: not Path(f"/proc/{new}").exists(), "gunicorn knows: until then it refuses another USR2")
        gunicorn.write(INI.replace("[greenproxy]", "[greenproxy]\nadmin = unix:admin.sock") + THIRD)
        gunicorn.send(signal.SIGUSR2)
        new = second_master(gunicorn)
        assert gunicorn.stop() == 0
        assert not any(map(is_running, old))
        busy.go_on()
        wait_until(lambda: _read(tmp_path / "gunicorn.pid").split() == [str(new)], "the new one has the pid file")
        assert unix_answers(tmp_path / "second.sock")
        assert unix_answers(tmp_path / "admin.sock", "/readyz")
        assert busy.failures == []
        os.kill(new, signal.SIGTERM)
        busy.__exit__()
        wait_until(lambda: not is_running(new), "the new one is gone")
        assert not (tmp_path / "second.sock").exists()
        assert not (tmp_path / "admin.sock").exists()


def second_master(gunicorn: Gunicorn) -> int:
    """Return the process id of the master that USR2 has started, as soon as its workers serve."""
    new = int(wait_until(lambda: _read(gunicorn.folder / "gunicorn.pid.2"), "its pid file"))
    wait_until(lambda: len(children_of(new)) == 2, "its workers")
    return new


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def unix_answers(path: Path, target: str = "/") -> bool:
    """Return whether a worker answers on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(path))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        return client.recv(4096).startswith(b"HTTP/1.1 200")


def test_worker_that_gets_quit_ends_at_once_and_one_that_gets_term_when_it_is_done(tmp_path: Path) -> None:
    with Gunicorn(tmp_path) as gunicorn:
        before = gunicorn.workers()
        with request_in_flight(gunicorn, gunicorn.port()) as client:
            for worker in before:
                os.kill(worker, signal.SIGTERM)
                os.kill(worker, signal.SIGTERM)
            wait_until(lambda: len(set(gunicorn.workers()) & set(before)) == 1, "the idle one has ended")
            open_gate(gunicorn)
            assert int(client.getresponse().read()) in before
        gunicorn.renewed(before)
        (tmp_path / "go").unlink()
        (tmp_path / "arrived").unlink()
        with request_in_flight(gunicorn, gunicorn.port()) as client:
            before = gunicorn.workers()
            for worker in before:
                os.kill(worker, signal.SIGQUIT)
            assert client.getresponse().status == 503
        gunicorn.renewed(before)
        (tmp_path / "arrived").unlink()
        with request_in_flight(gunicorn, gunicorn.port()) as client:
            gunicorn.send(signal.SIGINT)
            assert client.getresponse().status == 503
        assert gunicorn.wait() == 0
