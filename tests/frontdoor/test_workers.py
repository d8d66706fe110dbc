"""Workers are kept alive: replaced when they die, hang or have served enough, and not faster than makes sense."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from pathlib import Path

from tests.frontdoor.edge import HANGS_IN_WORKERS, MODULE, edge, get, open_gate, request_in_flight
from tests.processes import Proxy, wait_until


def new_worker(proxy: Proxy, before: list[int]) -> int:
    """Return the worker that has come since, as soon as there are as many as before."""

    def find() -> int | None:
        now = proxy.workers()
        return next((pid for pid in now if pid not in before), None) if len(now) == len(before) else None

    return wait_until(find, "a new worker")


def test_killed_worker_is_replaced(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        before = proxy.workers()
        os.kill(before[0], signal.SIGKILL)
        fresh = new_worker(proxy, before)
        os.kill(before[1], signal.SIGKILL)
        wait_until(lambda: get(proxy.port()) == fresh, "the new worker answers")
        assert f"worker {before[0]} was killed by SIGKILL (out of memory?); another one starts" in proxy.log()
        assert proxy.stop() == 0


def test_worker_that_is_told_to_end_finishes_and_is_replaced_meanwhile(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        before = proxy.workers()
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: get(proxy.port()) not in before, "a new worker answers, beside the old one")
        open_gate(proxy)
        assert int(client.getresponse().read()) in before
        wait_until(lambda: not set(proxy.workers()) & set(before), "the old workers are gone")
        assert "error" not in proxy.log()


def test_workers_that_die_at_once_are_replaced_ever_more_slowly(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        survivor, victim = proxy.workers()
        (tmp_path / "broken").touch()
        os.kill(victim, signal.SIGKILL)
        proxy.wait_for_log(r"ended with status 3; another one starts in 0\.4 s")
        pauses = [float(pause) for pause in re.findall(r"another one starts in (\S+) s", proxy.log())]
        assert pauses == [0.1, 0.2, 0.4]
        assert get(proxy.port()) == survivor
        (tmp_path / "broken").unlink()
        new_worker(proxy, [survivor, victim])
        proxy.wait_for_log("workers can start again: 2 workers")
        assert proxy.stop() == 0


def test_worker_whose_hub_is_blocked_tells_where_and_is_replaced(tmp_path: Path) -> None:
    with edge(tmp_path, worker_timeout="1s") as proxy:
        before = proxy.workers()
        with request_in_flight(proxy, proxy.port(), "/block"):
            new_worker(proxy, before)
        assert re.search(r"worker \d+ gave no heartbeat for \d s and is ended", proxy.log())
        assert 'get_original("time", "sleep")(60)' in proxy.log()
        assert get(proxy.port()) in proxy.workers()


def test_worker_is_replaced_after_max_requests(tmp_path: Path) -> None:
    with edge(tmp_path, max_requests="3") as proxy:
        before = proxy.workers()
        wait_until(lambda: get(proxy.port()) not in before, "another worker answers")
        proxy.wait_for_log(r"has served \d+ requests and is replaced")
        assert "error" not in proxy.log()


def test_ttin_and_ttou_change_the_number_of_workers(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        proxy.send(signal.SIGTTIN)
        wait_until(lambda: len(proxy.workers()) == 3, "one more worker")
        proxy.send(signal.SIGTTOU)
        wait_until(lambda: len(proxy.workers()) == 2, "one worker less")
        assert proxy.stop() == 0
        assert "error" not in proxy.log()


def test_the_last_worker_stays_and_the_log_says_so(tmp_path: Path) -> None:
    with edge(tmp_path, workers="1") as proxy:
        proxy.send(signal.SIGTTOU)
        proxy.wait_for_log("not one worker less: the last one stays")
        assert len(proxy.workers()) == 1


def test_workers_that_leave_are_not_taken_for_silent_ones(tmp_path: Path) -> None:
    with edge(tmp_path, worker_timeout="1s", workers="4") as proxy:
        before = proxy.workers()
        born = time.monotonic()
        wait_until(lambda: time.monotonic() - born > 1.5 or None, "they are older than worker-timeout")
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: len(proxy.workers()) == 4 and not set(proxy.workers()) & set(before), "four new workers")
        assert "heartbeat" not in proxy.log()


def test_one_worker_less_is_one_that_does_not_serve_yet(tmp_path: Path) -> None:
    with edge(tmp_path, workers="1") as proxy:
        (survivor,) = proxy.workers()
        (tmp_path / "edge.py").write_text(HANGS_IN_WORKERS + MODULE)
        proxy.send(signal.SIGTTIN)
        wait_until(lambda: len(proxy.workers()) == 2, "one more worker")
        proxy.send(signal.SIGTTOU)
        wait_until(lambda: proxy.workers() == [survivor], "one worker less")
        assert get(proxy.port()) == survivor


def test_a_master_without_descriptors_goes_on_and_recovers(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        survivor, victim = proxy.workers()
        descriptors = Path(f"/proc/{proxy.pid}/fd")
        before, limits = len(list(descriptors.iterdir())), resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (1, limits[1]))
        os.kill(victim, signal.SIGKILL)
        proxy.wait_for_log(r"a worker cannot be started: .*Too many open files.*; the next try is in 0\.2 s")
        proxy.send(signal.SIGHUP)
        proxy.wait_for_log("reload refused: the previous configuration stays")
        assert get(proxy.port()) == survivor
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, limits)
        new_worker(proxy, [survivor, victim])
        assert len(list(descriptors.iterdir())) == before
        assert proxy.stop() == 0
