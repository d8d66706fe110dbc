"""Demo backends: children of the master that make a first try possible with nothing else installed."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.processes import ROOT, Proxy, children_of, is_running, wait_until

INI = """
[greenproxy]
workers = 1
access-log = off

[listener:web]
bind = 127.0.0.1:0

[upstream:demo]
backends =
    http://127.0.0.1:{blue}
    http://127.0.0.1:{green}

[demo:blue]
bind = 127.0.0.1:{blue}

[demo:green]
bind = 127.0.0.1:{green}
"""


#: Runs at the start of every interpreter: holds up the demo backend blue.
SLOW_DEMO = """
import sys, time
from pathlib import Path
here = Path(__file__).parent
if "blue" in sys.orig_argv:
    (here / "demo-starts").touch()
    while not (here / "go").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def ini() -> str:
    """Return the configuration, with two ports that were free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as blue, socket.create_server(("127.0.0.1", 0)) as green:
        return INI.format(blue=blue.getsockname()[1], green=green.getsockname()[1])


def who_answers(proxy: Proxy) -> str:
    """Return the name of the demo backend that answered a request."""
    with urlopen(f"http://127.0.0.1:{proxy.port()}/", timeout=10) as answer:
        return str(json.load(answer)["name"])


def test_requests_that_follow_readiness_are_answered_by_all_of_them(tmp_path: Path, ini: str) -> None:
    with Proxy(ini, tmp_path) as proxy:
        assert {who_answers(proxy) for _ in range(4)} == {"blue", "green"}
        assert proxy.stop() == 0


def test_killed_one_stays_dead_with_one_line_and_the_service_goes_on(tmp_path: Path, ini: str) -> None:
    with Proxy(ini, tmp_path) as proxy:
        os.kill(proxy.demos()[0], signal.SIGKILL)
        proxy.wait_for_log("demo backend blue was killed by SIGKILL.* and stays down")
        assert {who_answers(proxy) for _ in range(6)} == {"green"}
        assert len(proxy.demos()) == 1
        assert proxy.log().count("demo backend blue was") == 1
        assert proxy.stop() == 0


def test_they_end_with_the_master(tmp_path: Path, ini: str) -> None:
    with Proxy(ini, tmp_path) as proxy:
        demos = proxy.demos()
        assert len(demos) == 2
        assert proxy.stop() == 0
        assert not any(map(is_running, demos))


def test_they_leave_when_the_master_is_killed(tmp_path: Path, ini: str) -> None:
    with Proxy(ini, tmp_path) as proxy:
        children = children_of(proxy.pid)
        assert len(children) == 3
        proxy.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, children)), "workers and demo backends are gone")


def test_ctrl_c_leaves_them_alone_until_the_workers_have_drained(tmp_path: Path, ini: str) -> None:
    with Proxy(ini, tmp_path) as proxy, socket.create_connection(("127.0.0.1", proxy.port()), 10) as client:
        client.sendall(b"GET /?delay=500ms HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: established(proxy.demos()), "the request is at a backend")
        os.killpg(proxy.pid, signal.SIGINT)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert proxy.wait() == 0
    assert "error" not in proxy.log()


def established(pids: list[int]) -> bool:
    """Return whether one of the processes has a connection open besides its listener."""
    return any(sum("socket:" in os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()) > 1 for pid in pids)


def test_one_whose_address_is_taken_is_told_in_one_line_and_readiness_is_not_claimed_for_it(tmp_path: Path, ini: str) -> None:
    port = int(ini.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), Proxy(ini, tmp_path) as proxy:
        lines = [line.partition("] ")[2] for line in proxy.log().splitlines()]
        told = f"error: demo backend green did not start: cannot listen on 127.0.0.1:{port}: Address already in use"
        assert lines[-2:] == [told, "info: greenproxy is ready: 1 worker, without demo backend green"]
        assert not any("stays down" in line for line in lines)
        assert len(proxy.demos()) == 1
        assert proxy.stop() == 0


def test_readiness_waits_for_one_that_is_slow_to_listen(tmp_path: Path, ini: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_DEMO)
    proxy = Proxy(ini, tmp_path, environ={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    try:
        proxy.start()
        wait_until((tmp_path / "demo-starts").exists, "the demo backend has begun")
        wait_until(proxy.workers, "a worker")
        assert "is ready" not in proxy.log()
        (tmp_path / "go").touch()
        proxy.wait_until_ready()
        assert proxy.stop() == 0
    finally:
        proxy.kill_all()


def test_a_terminal_that_closes_ends_none_of_them(tmp_path: Path, ini: str) -> None:
    with Proxy(ini, tmp_path) as proxy:
        before = proxy.demos()
        os.killpg(proxy.pid, signal.SIGHUP)
        proxy.wait_for_log("reloaded: ")
        assert proxy.demos() == before
        assert who_answers(proxy) in ("blue", "green")
