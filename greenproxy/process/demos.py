"""Demos: the `[demo:*]` backends, child processes that show balancing and failover with nothing else installed.

They start before the workers and end after them. One that dies stays dead, so that failover can be watched.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from greenproxy.config.settings import Address, DemoSettings
from greenproxy.process.endings import how_it_ended

_PATIENCE_S = 2.0
_TICK_S = 0.02


class Demos:
    """Owns the processes. Their ends are told to `reaped` by whoever waits for all children of the master."""

    def __init__(self, settings: Sequence[DemoSettings], log: logging.Logger) -> None:
        self._settings = settings
        self._log = log
        self._running: dict[int, DemoSettings] = {}
        self._silent: list[Address] = []  # those that do not accept connections yet

    def start(self) -> None:
        """Start all of them, without waiting until they listen."""
        for demo in self._settings:
            command = [sys.executable, "-m", "greenproxy", "demo", "--bind", str(demo.bind), "--name", demo.name]
            pid = os.posix_spawn(sys.executable, [*command, "--die-with-parent"], os.environ)
            self._running[pid] = demo
            self._silent.append(demo.bind)
            self._log.info("demo backend %s: http://%s (pid %d)", demo.name, demo.bind, pid)

    def are_listening(self) -> bool:
        """Return whether all that run accept connections. Tries those that did not so far, without waiting."""
        alive = {demo.bind for demo in self._running.values()}
        self._silent = [address for address in self._silent if address in alive and not _accepts(address)]
        return not self._silent

    def reaped(self, pid: int, status: int) -> bool:
        """Return whether a child that has ended was a demo backend; if so, say that it stays down."""
        demo = self._running.pop(pid, None)
        if demo is None:
            return False
        self._log.warning("demo backend %s %s and stays down", demo.name, how_it_ended(status))
        return True

    def stop(self) -> None:
        """End all of them and wait until they are gone."""
        self._send(signal.SIGTERM)
        end_s = time.monotonic() + _PATIENCE_S
        while self._running and time.monotonic() < end_s:
            self._reap(os.WNOHANG)
            time.sleep(_TICK_S)
        self._send(signal.SIGKILL)
        self._reap(0)

    def _send(self, signum: signal.Signals) -> None:
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def _reap(self, options: int) -> None:
        for pid in list(self._running):
            try:
                ended, _ = os.waitpid(pid, options)
            except ChildProcessError:
                ended = pid
            if ended:
                del self._running[pid]


def _accepts(address: Address) -> bool:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    target: str | tuple[str, int] = (address.host or "127.0.0.1", address.port)
    if address.path:
        family, target = socket.AF_UNIX, address.path
    with socket.socket(family) as probe:
        probe.settimeout(_TICK_S)
        return probe.connect_ex(target) == 0
