"""The other front door: `gunicorn -k greenproxy.worker.ProxyWorker greenproxy.ini`."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from greenproxy import __version__
from tests.frontdoor.edge import BROKEN_IN_WORKERS, MODULE, get, open_gate, request_in_flight
from tests.frontdoor.guests import INI, Gunicorn, answers
from tests.processes import is_running, wait_until


def test_address_of_gunicorn_is_that_of_the_first_listener_and_the_others_are_open_too(tmp_path: Path) -> None:
    with Gunicorn(tmp_path) as gunicorn:
        assert get(gunicorn.port()) in gunicorn.workers()
        assert get(gunicorn.second_port()) in gunicorn.workers()
        assert (tmp_path / "second.sock").is_socket()
        assert gunicorn.stop() == 0
    assert not (tmp_path / "second.sock").exists()
    assert "Traceback" not in gunicorn.log()


def test_log_tells_the_file_the_upstreams_and_in_one_line_what_does_not_count(tmp_path: Path) -> None:
    gunicorn = Gunicorn(tmp_path)
    shop = "\n[upstream:shop]\nbackends =\n    http://127.0.0.1:1 name=blue\n    http://127.0.0.1:2\n"
    (tmp_path / "greenproxy.ini").write_text(INI.replace("[greenproxy]", "[greenproxy]\npid-file = my.pid") + shop)
    with gunicorn:
        log = gunicorn.log()
        assert gunicorn.stop() == 0
    assert f"greenproxy {__version__} serves greenproxy.ini\n" in log
    assert "upstream shop: 127.0.0.1:1 (blue), 127.0.0.1:2\n" in log
    (warning,) = [line for line in log.splitlines() if "[WARNING]" in line]
    assert warning.endswith(
        "under gunicorn, which has its own, these do not count: pid-file, bind of [listener:web] (127.0.0.1:1)"
    )


def test_file_can_be_named_in_the_environment_where_typing_mistakes_are_told(tmp_path: Path) -> None:
    environ = {"GREENPROXY_CONFIG": "greenproxy.ini", "GREENPROXY_STATS": "localhost:8125"}
    with Gunicorn(tmp_path, app="greenproxy", environ=environ) as gunicorn:
        assert gunicorn.log().count("GREENPROXY_STATS in the environment is no key of [greenproxy]") == 1
        assert get(gunicorn.port()) in gunicorn.workers()
        assert gunicorn.stop() == 0


def test_reuse_port_of_gunicorn_works(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Gunicorn(tmp_path, "--reuse-port", "-b", f"127.0.0.1:{port}") as gunicorn:
        answered = wait_until(lambda: answers("127.0.0.1", port) and get(port), "gunicorn's own address answers")
        assert answered in gunicorn.workers()
        assert get(gunicorn.second_port()) in gunicorn.workers()
        assert gunicorn.stop() == 0


def test_address_that_moves_to_another_listener_on_hup_stays_open(tmp_path: Path) -> None:
    with Gunicorn(tmp_path) as gunicorn:
        before = gunicorn.workers()
        moved = INI.replace("    unix:second.sock\n", "") + "\n[listener:third]\nbind = unix:second.sock\nmiddleware = edge\n"
        (tmp_path / "greenproxy.ini").write_text(moved)
        inode = (tmp_path / "second.sock").stat().st_ino
        gunicorn.send(signal.SIGHUP)
        wait_until(lambda: len(gunicorn.workers()) == 2 and not set(gunicorn.workers()) & set(before), "the workers are new")
        assert "refused" not in gunicorn.log()
        assert (tmp_path / "second.sock").stat().st_ino == inode
        assert get(gunicorn.second_port()) in gunicorn.workers()
        assert gunicorn.stop() == 0


def test_second_gunicorn_leaves_the_unix_socket_to_the_one_that_runs(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    path = tmp_path / "second.sock"
    with Gunicorn(tmp_path) as gunicorn:
        second = Gunicorn(tmp_path / "second")
        (tmp_path / "second" / "greenproxy.ini").write_text(INI.replace("unix:second.sock", f"unix:{path}"))
        second.start()
        assert second.wait() == 1
        assert f"cannot listen on unix:{path} (second): Address already in use" in second.log()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert gunicorn.stop() == 0
    assert not path.exists()


def test_stop_finishes_what_is_in_flight(tmp_path: Path) -> None:
    with Gunicorn(tmp_path) as gunicorn, request_in_flight(gunicorn, gunicorn.port()) as client:
        gunicorn.send(signal.SIGTERM)
        gunicorn.wait_for_log("Handling signal: term")
        wait_until(lambda: not answers("127.0.0.1", gunicorn.port()), "nobody else gets in")
        wait_until(lambda: not answers("127.0.0.1", gunicorn.second_port()), "nor by the other door")
        open_gate(gunicorn)
        assert client.getresponse().getheader("Connection") == "close"
        assert gunicorn.wait() == 0


def test_workers_leave_when_gunicorn_is_killed(tmp_path: Path) -> None:
    with Gunicorn(tmp_path) as gunicorn:
        workers = gunicorn.workers()
        gunicorn.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, workers)), "the workers are gone")


def test_gunicorns_max_requests_beats_the_file(tmp_path: Path) -> None:
    with Gunicorn(tmp_path, "--max-requests", "2") as gunicorn:
        before = gunicorn.workers()
        wait_until(lambda: get(gunicorn.port()) not in before, "another worker answers")
        assert re.search(r"has served \d+ requests and is replaced", gunicorn.log())


@pytest.mark.parametrize(
    ("app", "line"),
    [
        ("shop:app", "a WSGI application (shop:app) cannot be served in this version"),
        ("greenproxy", "GREENPROXY_CONFIG is not set"),
        ("missing.ini", "missing.ini: no such file or directory"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_status_two(tmp_path: Path, app: str, line: str) -> None:
    gunicorn = Gunicorn(tmp_path, app=app)
    gunicorn.start()
    assert gunicorn.wait() == 2
    assert line in gunicorn.log()
    assert "Traceback" not in gunicorn.log()


def test_worker_that_cannot_start_ends_gunicorn_with_its_status_three(tmp_path: Path) -> None:
    gunicorn = Gunicorn(tmp_path, "-w", "1")  # when two fail at once, gunicorn 27.0 itself trips over the second
    (tmp_path / "edge.py").write_text(BROKEN_IN_WORKERS + MODULE)
    gunicorn.start()
    assert gunicorn.wait() == 3
    assert "not in workers" in gunicorn.log()
