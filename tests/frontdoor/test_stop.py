"""The stop, and the signals of the master."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.frontdoor.edge import edge, get, open_gate, request_in_flight
from tests.processes import is_running, wait_until


def is_given_up(client: http.client.HTTPConnection) -> bool:
    """Return whether a request was not served: cut, or told so while that was still possible."""
    try:
        return client.getresponse().status == 503
    except (http.client.HTTPException, OSError):
        return True


def is_refused(port: int) -> bool:
    """Return whether nobody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_graceful_stop_finishes_what_is_in_flight(tmp_path: Path, signum: signal.Signals) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        workers = proxy.workers()
        proxy.send(signum)
        proxy.wait_for_log("stopping: requests in flight may finish within 15 s")
        wait_until(lambda: is_refused(proxy.port()), "the workers to drain")
        open_gate(proxy)
        answer = client.getresponse()
        assert int(answer.read()) in workers
        assert answer.getheader("Connection") == "close"
        assert proxy.wait() == 0
    assert proxy.log().splitlines()[-1].endswith("info: greenproxy has stopped")
    assert "error" not in proxy.log()


def test_ctrl_c_reaches_master_and_workers_at_once_and_is_graceful(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        os.killpg(proxy.pid, signal.SIGINT)  # as a terminal does
        proxy.wait_for_log("stopping")
        open_gate(proxy)
        assert client.getresponse().status == 200
        assert proxy.wait() == 0
    assert "error" not in proxy.log()


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGQUIT])
def test_second_int_makes_the_stop_fast(tmp_path: Path, second: signal.Signals) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        proxy.send(signal.SIGINT)
        proxy.wait_for_log("stopping")
        assert proxy.stop(second, within_s=8) == 0
        assert is_given_up(client)


def test_quit_is_fast_also_when_it_comes_together_with_term(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        proxy.send(signal.SIGSTOP)  # so that it finds both
        proxy.send(signal.SIGTERM)
        proxy.send(signal.SIGQUIT)
        proxy.send(signal.SIGCONT)
        assert client.getresponse().status == 503
        assert proxy.wait() == 0
        assert "stopping at once" in proxy.log()


def test_quit_is_fast(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        assert proxy.stop(signal.SIGQUIT, within_s=8) == 0
        assert is_given_up(client)


def test_client_that_outlasts_graceful_timeout_is_told_so(tmp_path: Path) -> None:
    with edge(tmp_path, graceful_timeout="500ms") as proxy, request_in_flight(proxy, proxy.port()) as client:
        assert proxy.stop(within_s=8) == 0
        answer = client.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (503, "1")
    assert "killed" not in proxy.log()


def test_workers_leave_when_the_master_is_killed(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        workers = proxy.workers()
        assert len(workers) == 2
        proxy.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, workers)), "the workers are gone")


def test_winch_of_a_terminal_means_nothing(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        before = proxy.workers()
        os.killpg(proxy.pid, signal.SIGWINCH)
        proxy.send(signal.SIGUSR1)  # handled after it
        proxy.wait_for_log("log files are open again")
        assert proxy.workers() == before
        assert "WINCH" not in proxy.log()


def test_usr1_opens_the_logs_of_all_processes_again(tmp_path: Path) -> None:
    proxy = edge(tmp_path, error_log="error.log", access_log="access.log", workers="1")
    log, access_log = tmp_path / "error.log", tmp_path / "access.log"
    proxy.start()
    try:
        wait_until(lambda: log.exists() and "is ready" in log.read_text(), "ready")
        port = int(log.read_text().partition("127.0.0.1:")[2].partition(" ")[0])
        for file in (log, access_log):
            file.rename(f"{file}.1")
        proxy.send(signal.SIGUSR1)
        wait_until(lambda: log.exists() and "log files are open again" in log.read_text(), "a new error log")
        wait_until(access_log.exists, "a new access log")
        get(port)
        wait_until(lambda: "GET / " in access_log.read_text(), "a line in the new access log")
        assert proxy.stop() == 0
        assert "greenproxy has stopped" in log.read_text()
    finally:
        proxy.kill_all()


def test_a_stop_that_has_to_kill_says_so(tmp_path: Path) -> None:
    with (
        edge(tmp_path, workers="1", graceful_timeout="100ms", worker_timeout="0") as proxy,
        request_in_flight(proxy, proxy.port(), "/block"),
    ):
        (worker,) = proxy.workers()
        assert proxy.stop() == 0
        assert f"worker {worker} did not end in time and was killed" in proxy.log()
