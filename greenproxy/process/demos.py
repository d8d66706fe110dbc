"""Demos: the `[demo:*]` backends, child processes that show balancing and failover with nothing else installed.

They start before the workers and end after them. One that dies stays dead, so that failover can be watched, until a reload.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from greenproxy.config.settings import DemoSettings
from greenproxy.process.endings import how_it_ended

#: What a demo backend tells its master, in a line on standard output, when it listens; otherwise it says why it cannot.
LISTENING = "listening"
_PATIENCE_S = 2.0
_TICK_S = 0.02


@dataclass
class _Demo:
    """One process, and what it has said so far."""

    settings: DemoSettings
    output: int  # the end of its standard output that we read, non-blocking
    said: bytes = b""
    is_leaving: bool = False  # told to end

    def listen_to(self) -> str:
        """Return the line that it has said, "" while there is none."""
        if not self.said.endswith(b"\n"):
            with contextlib.suppress(BlockingIOError):
                self.said += os.read(self.output, 4096)
        return self.said.decode(errors="replace").strip() if self.said.endswith(b"\n") else ""


class Demos:
    """Owns the processes. Their ends are told to `reaped` by whoever waits for all children of the master."""

    def __init__(self, log: logging.Logger) -> None:
        self._wanted: Sequence[DemoSettings] = ()
        self._log = log
        self._running: dict[int, _Demo] = {}

    def start(self, wanted: Sequence[DemoSettings]) -> list[int]:
        """Start those of `wanted` that do not run, without waiting until they listen; return the ids of their processes."""
        self._wanted = wanted
        running = [demo.settings for demo in self._running.values() if not demo.is_leaving]
        return [self._start(demo) for demo in wanted if demo not in running]

    def _start(self, demo: DemoSettings) -> int:
        command = [sys.executable, "-m", "greenproxy", "demo", "--bind", str(demo.bind), "--name", demo.name]
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        to_pipe = [(os.POSIX_SPAWN_DUP2, theirs, 1)]
        try:
            pid = os.posix_spawn(sys.executable, [*command, "--die-with-parent"], os.environ, file_actions=to_pipe)
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._running[pid] = _Demo(demo, ours)
        self._log.info("demo backend %s: http://%s (pid %d)", demo.name, demo.bind, pid)
        return pid

    def keep(self, wanted: Sequence[DemoSettings]) -> None:
        """Let go of all that are not in `wanted`. Does not wait."""
        self._wanted = wanted
        self.let_go([pid for pid, demo in self._running.items() if demo.settings not in wanted])

    def let_go(self, pids: Sequence[int]) -> None:
        """End some of them. Does not wait."""
        for pid in pids:
            if pid in self._running:
                self._running[pid].is_leaving = True
                self._send(signal.SIGTERM, pid)

    def are_listening(self) -> bool:
        """Return whether all that run have said that they listen."""
        return all(demo.listen_to() == LISTENING for demo in self._running.values())

    def missing(self) -> list[str]:
        """Return the names of those that do not run."""
        running = {demo.settings.name for demo in self._running.values()}
        return [demo.name for demo in self._wanted if demo.name not in running]

    def reaped(self, pid: int, status: int) -> bool:
        """Return whether a child that has ended was a demo backend; if so, say why it did not start, or that it stays down."""
        demo = self._running.pop(pid, None)
        if demo is None:
            return False
        said = demo.listen_to()
        os.close(demo.output)
        if demo.is_leaving:
            self._log.info("demo backend %s has ended: it is not in the configuration any more", demo.settings.name)
        elif said in ("", LISTENING):
            self._log.warning("demo backend %s %s and stays down", demo.settings.name, how_it_ended(status))
        else:
            self._log.error("demo backend %s did not start: %s", demo.settings.name, said)
        return True

    def stop(self) -> None:
        """End all of them and wait until they are gone."""
        for pid in self._running:
            self._send(signal.SIGTERM, pid)
        end_s = time.monotonic() + _PATIENCE_S
        while self._running and time.monotonic() < end_s:
            self._reap(os.WNOHANG)
            time.sleep(_TICK_S)
        for pid in self._running:
            self._send(signal.SIGKILL, pid)
        self._reap(0)

    @staticmethod
    def _send(signum: signal.Signals, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)

    def _reap(self, options: int) -> None:
        for pid in list(self._running):
            try:
                ended, _ = os.waitpid(pid, options)
            except ChildProcessError:
                ended = pid
            if ended:
                os.close(self._running.pop(pid).output)
