"""Unix sockets to listen on: files, each of which belongs to the process that bound it.

A file outlives its process, and whoever wants the path has to tell one that was left behind from one that is in use:
only what refuses a connection is removed, and at the end only what is still our own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_LOCK_TRIES = 100
_LOCK_TICK_S = 0.01


@dataclass(frozen=True)
class SocketFile:
    """The file of a socket that this process has bound."""

    path: str
    device: int
    inode: int

    def remove(self) -> None:
        """Remove it, unless it is gone or somebody else's by now.

        Call it while the socket is open: until that is closed no other file can get the number of its inode.
        """
        with _one_at_a_time(self.path):
            try:
                if self._is(os.lstat(self.path)):
                    os.unlink(self.path)
            except FileNotFoundError:
                pass

    def change(self, mode: int, owner: tuple[int, int]) -> None:
        """Give it these rights and this owner (user and group id), if it has others and is still ours. Raises OSError.

        The name is looked up once, and no link is followed: who may write to the folder cannot turn this on another file.
        """
        try:
            file = os.open(self.path, os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            found = os.fstat(file)
            if self._is(found) and (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (mode, *owner):
                os.chmod(f"/proc/self/fd/{file}", mode)
                os.chown(f"/proc/self/fd/{file}", *owner)
        finally:
            os.close(file)

    def _is(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) == (self.device, self.inode)


def listen(
    path: str, backlog: int, *, umask: int | None = None, owner: tuple[int, int] | None = None
) -> tuple[socket.socket, SocketFile]:
    """Return a socket that listens on `path`, and its file, which belongs to `owner` (user and group id).

    A socket that a dead process left behind is replaced. Raises OSError: EADDRINUSE if somebody listens there, EEXIST if
    the file is no socket. Waits at most a second, for others that bind in the same folder.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _one_at_a_time(path):
            _remove_stale(path)
            file = _bind(server, path, umask)
            try:
                if owner is not None:
                    os.chown(path, *owner)
                server.listen(backlog)
            except BaseException:
                os.unlink(path)
                raise
    except BaseException:
        server.close()
        raise
    return server, file


def _bind(server: socket.socket, path: str, umask: int | None) -> SocketFile:
    before = os.umask(umask) if umask is not None else None
    try:
        server.bind(path)
    finally:
        if before is not None:
            os.umask(before)
    found = os.lstat(path)
    return SocketFile(path, found.st_dev, found.st_ino)


def _remove_stale(path: str) -> None:
    """Make room for a socket. Raises OSError if somebody listens on `path`, or if something else has the name."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file of this name, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # where the queue is full somebody listens too
        answer = probe.connect_ex(path)
    if answer == errno.ECONNREFUSED:
        os.unlink(path)
    elif answer in (errno.EACCES, errno.EPERM):
        raise PermissionError(answer, os.strerror(answer))
    elif answer != errno.ENOENT:  # which is gone since
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextmanager
def _one_at_a_time(path: str) -> Iterator[None]:
    """Keep others that start in this moment from the folder, while one looks whether a file is stale and takes its place.

    Where a folder cannot be locked (NFS), or somebody else keeps it locked, it goes without.
    """
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    except OSError:  # missing, or it may be written but not read: the caller's next step tells
        yield
        return
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_TICK_S)
            except OSError:
                break
            else:
                break
        yield
    finally:
        os.close(folder)
