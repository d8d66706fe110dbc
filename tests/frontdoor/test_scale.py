"""What a worker does not do per request, and what it loses by that: nothing."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.client import RawClient, get
from tests.ledger import ask as ask_census
from tests.processes import Process, Proxy, wait_until

INI = """
[greenproxy]
workers = 2
access-log = access.log
access-log-format = json
graceful-timeout = 10s

[listener:web]
bind = 127.0.0.1:0
upstream = nobody

[upstream:nobody]
backends = unix:nobody.sock
health-interval = 0

[route:all]
path = /
status = 204

[route:rounds]
path = /rounds
status = 204
middleware = rounds

[route:wait]
path = /wait
status = 204
middleware = wait

[middleware:rounds]
type = edge:rounds

[middleware:wait]
type = edge:wait
"""

EDGE = """
import gc
import time

from greenproxy import Response


def wait(request, call_next):
    time.sleep(0.02)
    return call_next(request)


def rounds(request, call_next):
    # how often the collector of this worker has looked at anything
    return Response(200, body=str(sum(each["collections"] for each in gc.get_stats())).encode())
"""


class Crowd:
    """Clients that ask without a pause, each time for something else. `answered` are the targets whose answers they have."""

    def __init__(self, port: int) -> None:
        self.answered: list[str] = []
        self._address = ("127.0.0.1", port)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(4)]

    def _ask(self, who: int) -> None:
        number = 0
        while not self._is_over.is_set():
            with RawClient(self._address) as client:
                for _ in range(50):
                    number += 1
                    target = f"/{who}-{number}-x"
                    answer = client.ask(get(target))
                    assert answer.status == 204
                    self.answered.append(target)
                    if answer.says_close:
                        break

    @contextmanager
    def asking(self) -> Iterator[Crowd]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join()

    def get_more(self) -> None:
        """Wait until some more have been answered."""
        enough = len(self.answered) + 60
        wait_until(lambda: len(self.answered) >= enough, "clients are answered")


def test_no_line_is_lost_or_doubled_by_rotation_reload_and_stop(tmp_path: Path) -> None:
    (tmp_path / "edge.py").write_text(EDGE)
    with Proxy(INI, tmp_path) as proxy:
        crowd = Crowd(proxy.port())
        with crowd.asking():
            crowd.get_more()
            (tmp_path / "access.log").rename(tmp_path / "access.log.1")
            proxy.send(signal.SIGUSR1)
            wait_until((tmp_path / "access.log").exists, "a new file")
            crowd.get_more()
            proxy.send(signal.SIGHUP)
            proxy.wait_for_log("reloaded|the new configuration is served")
            crowd.get_more()
        assert proxy.stop() == 0
    text = "".join((tmp_path / name).read_text() for name in ("access.log.1", "access.log"))
    logged = re.findall(r"/\d+-\d+-x", text)
    assert sorted(logged) == sorted(crowd.answered)


def test_requests_that_come_all_at_once_do_not_make_the_collector_look(tmp_path: Path) -> None:
    (tmp_path / "edge.py").write_text(EDGE)
    with Proxy(INI.replace("workers = 2", "workers = 1"), tmp_path) as proxy:
        address = ("127.0.0.1", proxy.port())
        clients = [RawClient(address) for _ in range(200)]
        before = int(clients[0].ask(get("/rounds")).body)
        for _ in range(10):
            for client in clients:
                client.send(get("/wait"))
            for client in clients:
                assert client.answer().status == 204
        rounds = int(clients[0].ask(get("/rounds")).body) - before
        for client in clients:
            client.__exit__()
    assert rounds < 20


def test_a_worker_of_gunicorn_has_the_same_to_do_as_one_of_ours(tmp_path: Path) -> None:
    """Greenlets, timers and threads are all that could make its requests dearer: the rest is the same code."""
    ini = INI.replace("workers = 2", "workers = 1\nadmin = unix:admin.sock")
    script = str(Path(sys.executable).with_name("gunicorn"))
    flags = ["-b", "127.0.0.1:0", "--no-control-socket", "-k", "greenproxy.worker.ProxyWorker", "greenproxy.ini"]
    told = []
    for folder in (tmp_path / "ours", tmp_path / "theirs"):
        folder.mkdir()
        (folder / "edge.py").write_text(EDGE)
        (folder / "greenproxy.ini").write_text(ini)
        with Proxy(ini, folder) if folder.name == "ours" else Process([sys.executable, script, *flags], folder):
            wait_until((folder / "admin.sock").exists, "somebody listens")
            held = ask_census(str(folder / "admin.sock"))
            threads = len(list(Path(f"/proc/{held['pid']}/task").iterdir()))
            told.append((held["greenlets"], held["watchers"], threads))
    assert told[0] == told[1]
