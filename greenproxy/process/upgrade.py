"""Upgrade: USR2 starts the program anew beside the one that runs, with the sockets that it listens on.

The *predecessor* is the master that was told, the *successor* the one that it started, from whatever is installed by then,
with the same command line. Both serve until one of them is told to stop: TERM to the predecessor completes the upgrade, TERM
to the successor takes it back. A successor that cannot start, or dies, costs nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, NoReturn

from greenproxy.config.settings import Address
from greenproxy.process.endings import how_it_ended
from greenproxy.process.inherited import hand_over

#: The descriptor into which a successor writes that it is ready; its name begins so that it is no key of the configuration.
_READY = "_GREENPROXY_READY"
_IS_READY = b"ready"
_CONTAINER_INIT = 1
#: The ends of pipes that this master has. Workers must not keep them: the end of a successor would be heard only behind theirs.
_pipes: set[int] = set()


def _forget_pipes() -> None:
    """In a forked child: close what only its parent talks through."""
    while _pipes:
        os.close(_pipes.pop())


os.register_at_fork(after_in_child=_forget_pipes)


def _close(pipe: int) -> None:
    _pipes.discard(pipe)
    os.close(pipe)


class Successor:
    """What the predecessor knows of the other one: `pid`, 0 when there is none, and whether it is ready."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._folder = os.getcwd()
        self._pipe = -1
        self._said = b""
        self.pid = 0
        self.is_ready = False

    def start(self, sockets: Iterable[tuple[Address, Any]]) -> None:
        """Start it, with listening sockets and where they were to listen, or say in the log why that is not possible."""
        if self.pid:
            self._log.error("USR2 is refused: the new program (pid %d) runs already", self.pid)
        elif os.getpid() == _CONTAINER_INIT:
            self._log.error("USR2 is refused: the container ends with this process (pid 1); start another container instead")
        else:
            try:
                self._start(list(sockets))
            except OSError as error:
                self._log.error("the new program cannot be started: %s", error)
            else:
                self._log.info("the new program starts (pid %d)", self.pid)

    def _start(self, sockets: Sequence[tuple[Address, Any]]) -> None:
        ours, theirs = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(ours)
            os.close(theirs)
            raise
        if not self.pid:
            _become(sockets, theirs, self._folder)
        os.close(theirs)
        os.set_blocking(ours, False)
        self._pipe, self._said, self.is_ready = ours, b"", False
        _pipes.add(ours)

    def look(self) -> None:
        """Take note of what it has said. Never waits."""
        if self._pipe < 0:
            return
        try:
            chunk = os.read(self._pipe, 4096)
        except BlockingIOError:
            return
        self._said += chunk
        if self._said != _IS_READY and chunk:
            return
        self._close_pipe()
        if self._said == _IS_READY:
            self._log.info("the new program is ready: TERM to this one (pid %d) lets it go on alone", os.getpid())
            self.is_ready = True

    def reaped(self, pid: int, status: int) -> bool:
        """Return whether a child that has ended was the successor; if so, say what that means."""
        if pid != self.pid:
            return False
        self.look()
        for line in self._said.removeprefix(_IS_READY).decode(errors="replace").splitlines():
            self._log.error("the new program: %s", line)
        level = logging.ERROR if status else logging.INFO  # it was taken back
        self._log.log(level, "the new program (pid %d) is gone, this one goes on: %s", pid, how_it_ended(status))
        self._close_pipe()
        self.pid, self.is_ready = 0, False
        return True

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            _close(self._pipe)
            self._pipe = -1


def _become(sockets: Sequence[tuple[Address, Any]], pipe: int, folder: str) -> NoReturn:
    """In the forked child: become the new program; say why not if that fails."""
    try:
        environ = dict(os.environ)
        hand_over(sockets, environ, os.getppid())
        os.set_inheritable(pipe, True)
        environ[_READY] = f"{os.getpid()} {pipe}"
        os.chdir(folder)
        program = _program(sys.orig_argv)
        os.execve(program[0], program, environ)
    except BaseException as error:  # nothing of this may go on as a second master
        os.write(pipe, f"it cannot be started: {error}".encode())
    finally:
        os._exit(1)


def _program(command: Sequence[str]) -> list[str]:
    """Return how to start it again. A script names its interpreter itself: a new version may be in another environment."""
    _, script, *_ = command
    if os.path.isfile(script) and os.access(script, os.X_OK):
        with open(script, "rb") as file:
            if file.read(2) == b"#!":
                return list(command[1:])
    return [sys.executable, *command[1:]]


def tell_failure(environ: MutableMapping[str, str], text: str) -> None:
    """Tell the predecessor, if there is one, why this program cannot start: its log may be a file, and ours is not open yet."""
    heir, _, pipe = environ.get(_READY, "").partition(" ")
    if heir == str(os.getpid()):
        with contextlib.suppress(OSError):
            os.write(int(pipe), text.encode())


class Predecessor:
    """What the successor knows of the other one; `pid` 0 when it was started by nobody of the kind, or is alone by now."""

    def __init__(self, pid: int, environ: MutableMapping[str, str]) -> None:
        heir, _, pipe = environ.pop(_READY, "").partition(" ")
        self._pipe = int(pipe) if heir == str(os.getpid()) else -1
        self.pid = pid
        if self._pipe >= 0:
            os.set_inheritable(self._pipe, False)
            _pipes.add(self._pipe)

    def tell_ready(self) -> None:
        """Tell it that this program serves."""
        if self._pipe >= 0:
            try:
                os.write(self._pipe, _IS_READY)
            except BrokenPipeError:  # it is gone
                pass
            _close(self._pipe)
            self._pipe = -1

    def has_gone(self) -> bool:
        """Return whether it has just ended; true once."""
        if self.pid and os.getppid() != self.pid:
            self.pid = 0
            return True
        return False
