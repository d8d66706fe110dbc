"""`user` and `group`: the master stays root, workers are somebody else, and everything that is theirs goes on working."""

from __future__ import annotations

import grp
import http.client
import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frontdoor.edge import MODULE, get
from tests.processes import Proxy, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")

USER = "nobody"
INI = """
[greenproxy]
workers = 1
user = nobody
pid-file = master/pid
access-log = logs/access.log
error-log = logs/error.log
admin = unix:run/admin.sock
worker-timeout = 2s

[listener:web]
bind = 127.0.0.1:0
    unix:run/web.sock
middleware = edge

[route:everything]
path = /
status = 404

[middleware:edge]
type = edge:edge
"""


class Place:
    """A folder that somebody else may enter, with one folder for logs that is theirs, and one that is the master's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "logs" / "error.log"
        self.access_log = folder / "logs" / "access.log"
        self.socket = folder / "run" / "web.sock"
        them = pwd.getpwnam(USER)
        folder.chmod(0o755)
        for name in ("logs", "run", "master"):
            (folder / name).mkdir()
        os.chown(folder / "logs", them.pw_uid, them.pw_gid)
        (folder / "edge.py").write_text(MODULE)
        self.proxy = Proxy(INI, folder)
        self.proxy.log = lambda: self.log.read_text() if self.log.exists() else ""  # type: ignore[method-assign]


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="greenproxy-"))  # pytest's own folders are closed to others
    try:
        yield Place(folder)
    finally:
        shutil.rmtree(folder)


def ids(pid: int) -> dict[str, list[int]]:
    """Return the users and groups of a process: real, effective, saved, of files."""
    lines = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: [int(word) for word in rest.split()] for name, rest in lines if name in ("Uid", "Gid", "Groups")}


def get_by_file(path: Path) -> int:
    """Return the process id of the worker that answers on a Unix socket."""
    connection = http.client.HTTPConnection("edge")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def test_workers_are_the_user_and_in_its_groups_alone(place: Place) -> None:
    them = pwd.getpwnam(USER)
    theirs = {them.pw_gid, *(group.gr_gid for group in grp.getgrall() if USER in group.gr_mem)}
    with place.proxy as proxy:
        (worker,) = proxy.workers()
        found = ids(worker)
        assert set(found["Uid"]) == {them.pw_uid}
        assert set(found["Gid"]) == {them.pw_gid}
        assert set(found["Groups"]) <= theirs
        assert set(ids(proxy.pid)["Uid"]) == {0}


def test_unix_socket_is_the_users_and_clients_are_served_on_it(place: Place) -> None:
    with place.proxy as proxy:
        assert get_by_file(place.socket) in proxy.workers()
        assert place.socket.owner() == USER
        assert (place.folder / "run" / "admin.sock").owner() == USER
        assert not (place.folder / "run" / "admin.sock").stat().st_mode & stat.S_IRWXO
        assert proxy.stop() == 0
        assert not place.socket.exists()


def test_pid_file_is_the_masters_and_is_removed(place: Place) -> None:
    file = place.folder / "master" / "pid"
    with place.proxy as proxy:
        assert (int(file.read_text()), file.owner()) == (proxy.pid, "root")
        assert proxy.stop() == 0
        assert not file.exists()


def test_reload_starts_workers_of_the_same_user_and_keeps_the_sockets(place: Place) -> None:
    with place.proxy as proxy:
        before = proxy.workers()
        proxy.send(signal.SIGHUP)
        wait_until(lambda: get_by_file(place.socket) not in before, "new workers answer")
        wait_until(lambda: not set(proxy.workers()) & set(before), "the old ones are gone")
        assert get(proxy.port()) not in before
        assert {ids(worker)["Uid"][0] for worker in proxy.workers()} == {pwd.getpwnam(USER).pw_uid}
        assert "error" not in proxy.log()


def test_log_files_are_opened_again_by_master_and_workers(place: Place) -> None:
    with place.proxy as proxy:
        port = proxy.port()
        get(port)
        wait_until(lambda: place.access_log.exists() and place.access_log.read_text(), "a line of the access log")
        for log in (place.access_log, place.log):
            log.rename(f"{log}.1")
        proxy.send(signal.SIGUSR1)
        wait_until(lambda: place.access_log.exists() and place.log.exists(), "both are there again")
        get(port)
        wait_until(place.access_log.read_text, "a line in the new one")
        assert "cannot reopen" not in place.log.read_text() + Path(f"{place.log}.1").read_text()
        assert {place.log.owner(), place.access_log.owner()} == {USER}


def test_error_log_that_was_there_is_not_given_away(place: Place) -> None:
    elsewhere = place.folder / "master" / "important"
    elsewhere.touch()
    place.log.symlink_to(elsewhere)
    with place.proxy:
        assert elsewhere.owner() == "root"


def test_worker_that_is_killed_is_replaced_by_one_of_the_same_user(place: Place) -> None:
    with place.proxy as proxy:
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGKILL)
        fresh = wait_until(lambda: next((pid for pid in proxy.workers() if pid != worker), None), "another worker")
        wait_until(lambda: get(proxy.port()) == fresh, "it answers")
        assert ids(fresh)["Uid"][0] == pwd.getpwnam(USER).pw_uid
