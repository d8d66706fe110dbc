from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenproxy import unix_socket
from greenproxy.unix_socket import SocketFile, listen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def running(path: Path) -> Iterator[socket.socket]:
    """A server of somebody else's that listens on the path."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        yield server


def refused(path: Path) -> OSError:
    """Return the error of an attempt to listen there."""
    try:
        server, _ = listen(str(path), 1)
    except OSError as error:
        return error
    server.close()
    pytest.fail("it listens")


def test_free_path_is_bound_and_answers(path: Path) -> None:
    server, file = listen(str(path), 1)
    with server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert path.is_socket()
        assert not os.get_inheritable(server.fileno())
        file.remove()
    assert not path.exists()


def test_socket_that_a_dead_process_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen(1)
    with listen(str(path), 1)[0], socket.socket(socket.AF_UNIX) as client:
        assert client.connect_ex(str(path)) == 0


def test_socket_that_somebody_listens_on_is_in_use_and_stays(path: Path, running: socket.socket) -> None:
    before = path.stat().st_ino
    assert refused(path).errno == errno.EADDRINUSE
    assert path.stat().st_ino == before
    running.accept()[0].close()  # it was asked, and is as it was


def test_socket_with_a_full_queue_is_in_use(path: Path, running: socket.socket) -> None:
    clients: list[socket.socket] = []
    try:
        while True:
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
            if clients[-1].connect_ex(str(path)) == errno.EAGAIN:
                break
        assert refused(path).errno == errno.EADDRINUSE
    finally:
        for client in clients:
            client.close()
    assert running.fileno() >= 0


def test_socket_of_another_kind_is_in_use(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        assert refused(path).errno == errno.EADDRINUSE
    assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_stays(path: Path, tmp_path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    assert refused(path).strerror == "there is a file of this name, and it is no socket"
    assert stat.S_IFMT(path.lstat().st_mode) != stat.S_IFSOCK


def test_folder_that_does_not_exist_is_the_systems_error(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing" / "s").errno == errno.ENOENT


def test_file_has_the_rights_that_the_umask_leaves_and_the_umask_is_back(path: Path) -> None:
    before = os.umask(0o022)
    try:
        server, file = listen(str(path), 1, umask=0o117)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    file.remove()
    server.close()


def test_file_that_cannot_be_given_to_its_owner_does_not_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chown(_path: str, _uid: int, _gid: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", chown)
    with pytest.raises(PermissionError):
        listen(str(path), 1, owner=(1, 1))
    assert not path.exists()


def test_file_that_is_gone_already_is_no_error(path: Path) -> None:
    server, file = listen(str(path), 1)
    path.unlink()
    file.remove()
    server.close()
    assert not path.exists()


def test_file_that_is_somebody_elses_by_now_stays(path: Path) -> None:
    server, file = listen(str(path), 1)
    path.unlink()
    other, others = listen(str(path), 1)
    file.remove()
    assert path.is_socket()
    others.remove()
    assert not path.exists()
    server.close()
    other.close()


def test_of_many_that_come_at_once_one_gets_it(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:  # each of them sees it, and would remove what another has put there
        left.bind(str(path))
    found: list[tuple[socket.socket, SocketFile]] = []
    failed: list[int | None] = []
    ready = threading.Barrier(8)

    def try_it() -> None:
        ready.wait(10)
        try:
            found.append(listen(str(path), 1))
        except OSError as error:
            failed.append(error.errno)

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failed == [errno.EADDRINUSE] * 7
    ((server, file),) = found
    file.remove()
    server.close()


def test_folder_that_somebody_else_has_locked_is_waited_for_in_vain_only_for_a_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "_LOCK_TRIES", 2)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        unix_socket.fcntl.flock(folder, unix_socket.fcntl.LOCK_SH)  # as programs do that keep a cleaner out of their folder
        server, file = listen(str(path), 1)
        assert path.is_socket()
        file.remove()
        server.close()
    finally:
        os.close(folder)
