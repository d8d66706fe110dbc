"""A worker whose hub is blocked tells by what while it is, is replaced, and disturbs nobody; in front of both doors."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frontdoor.edge import get, request_in_flight
from tests.frontdoor.edge import ini as edge_ini
from tests.frontdoor.test_gunicorn import Gunicorn
from tests.processes import Process, Proxy, is_running, wait_until

#: Ways to block a hub. `while True: pass`, a system call that does not know gevent, and what never gives up the interpreter.
MODULE = """
import faulthandler
import os
import re
import time
from pathlib import Path

from gevent.monkey import get_original
from greenproxy import Handler, Request, Response

here = Path(__file__).parent


def spins() -> None:
    while not (here / "go").exists() or (here / "for ever").exists():
        pass


def sleeps() -> None:
    while not (here / "go").exists():
        get_original("time", "sleep")(0.01)


def backtracks() -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")


def counts() -> None:
    sum(range(150_000_000))


def forks() -> None:
    child = os.fork()
    if not child:
        time.sleep(0.5)  # which is gevent's here, and turns the hub that was inherited
        faulthandler.cancel_dump_traceback_later()  # as the interpreter does at its end
        os._exit(0)
    os.waitpid(child, 0)


ways = {"/fork": forks, "/spin": spins, "/sleep": sleeps, "/regex": backtracks, "/count": counts}


def edge(request: Request, call_next: Handler) -> Response:
    if request.path in ways:
        (here / "arrived").touch()
        ways[request.path]()
    return Response(200, body=b"%d" % os.getpid())
"""


def proxy_of(folder: Path, **process: str) -> Proxy:
    """Return a proxy with two workers and the middleware above."""
    (folder / "edge.py").write_text(MODULE)
    return Proxy(edge_ini(**process), folder)


def since(begun_s: float) -> float:
    return time.monotonic() - begun_s


def blocked(process: Process, by: str) -> re.Match[str]:
    """Return the record of a worker that is blocked by that function, as soon as it is there."""
    return process.wait_for_log(
        rf"error: worker (\d+) is blocked since (\S+) s by {by} \(\S*edge\.py:\d+\) for GET \S+:\n(.*\n)+?.*in {by}\n"
    )


@pytest.mark.parametrize(("path", "function"), [("/spin", "spins"), ("/sleep", "sleeps")])
def test_stack_is_in_the_log_within_two_seconds_and_the_end_of_it_too(tmp_path: Path, path: str, function: str) -> None:
    with proxy_of(tmp_path) as proxy, request_in_flight(proxy, proxy.port(), path):
        begun_s = time.monotonic()
        found = blocked(proxy, function)
        assert since(begun_s) < 2
        assert 1 < float(found[2]) < 2
        (tmp_path / "go").touch()
        proxy.wait_for_log(rf"warning: worker {found[1]} turns again after \S+ s\n")
        assert len(re.findall("is blocked since", proxy.log())) == 1


def test_blocked_worker_is_replaced_within_worker_timeout_and_the_other_goes_on(tmp_path: Path) -> None:
    (tmp_path / "for ever").touch()
    with proxy_of(tmp_path, worker_timeout="3s") as proxy, request_in_flight(proxy, proxy.port(), "/spin"):
        begun_s, before = time.monotonic(), proxy.workers()
        slowest_s = 0.0
        served_by = set()
        while len(set(proxy.workers()) - set(before)) == 0:
            asked_s = time.monotonic()
            served_by.add(get(proxy.port()))
            slowest_s = max(slowest_s, since(asked_s))
            assert since(begun_s) < 3
        stuck = int(blocked(proxy, "spins")[1])
        assert served_by == set(before) - {stuck}
        assert slowest_s < 1
        assert not is_running(stuck)


@pytest.mark.parametrize(("path", "function"), [("/regex", "backtracks"), ("/count", "counts")])
def test_code_that_never_gives_up_the_interpreter_is_told_as_plain_text(tmp_path: Path, path: str, function: str) -> None:
    with proxy_of(tmp_path, worker_timeout="1s") as proxy, request_in_flight(proxy, proxy.port(), path):
        stuck = proxy.workers()
        proxy.wait_for_log(rf"Timeout \(0:00:00\.6\d*\)!\n(.*\n)*?.*edge\.py\", line \d+ in {function}\n")
        wait_until(lambda: len(proxy.workers()) == 2 and proxy.workers() != stuck, "it is replaced")


def files_of(pid: int) -> set[str]:
    """Return what the descriptors of a process lead to."""
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(entry.path))
    return found


def test_report_follows_a_log_file_that_is_opened_again(tmp_path: Path) -> None:
    proxy = proxy_of(tmp_path, workers="1", worker_timeout="1s", error_log="error.log")
    old, new = tmp_path / "error.log.1", tmp_path / "error.log"
    with proxy_with_log_file(proxy, new):
        (worker,) = proxy.workers()
        port = proxy.port()
        new.rename(old)
        proxy.send(signal.SIGUSR1)
        wait_until(lambda: str(old) not in files_of(worker), "the worker, and its watchdog, have left the old file")
        with request_in_flight(proxy, port, "/spin"):
            blocked(proxy, "spins")


@contextlib.contextmanager
def proxy_with_log_file(proxy: Proxy, log: Path) -> Iterator[None]:
    """Run a proxy whose log is a file."""
    log.touch()
    proxy.log = log.read_text  # type: ignore[method-assign]  # which is what tells that it is ready
    with proxy:
        yield


def test_worker_that_hangs_ends_itself_when_the_master_is_gone(tmp_path: Path) -> None:
    (tmp_path / "for ever").touch()
    with proxy_of(tmp_path, worker_timeout="2s", workers="1") as proxy, request_in_flight(proxy, proxy.port(), "/spin"):
        (worker,) = proxy.workers()
        os.kill(proxy.pid, signal.SIGKILL)
        wait_until(lambda: not is_running(worker), "it has ended itself")
        assert re.search(rf"the master is gone, and worker {worker}, blocked since \S+ s, ends itself", proxy.log())


def test_child_that_user_code_forks_goes_on_with_the_hub(tmp_path: Path) -> None:
    with proxy_of(tmp_path, worker_timeout="1s") as proxy:
        before = proxy.workers()
        assert get(proxy.port(), "/fork") in before


def test_under_plain_gunicorn_its_log_tells_the_same(tmp_path: Path) -> None:
    command = Gunicorn(tmp_path)
    (tmp_path / "edge.py").write_text(MODULE)
    with command as gunicorn, request_in_flight(gunicorn, gunicorn.port(), "/spin"):
        found = gunicorn.wait_for_log(r"\[ERROR\] worker (\d+) is blocked since \S+ s by spins \(\S*edge\.py:\d+\) for GET \S+:")
        (tmp_path / "go").touch()
        gunicorn.wait_for_log(rf"\[WARNING\] worker {found[1]} turns again after \S+ s")
