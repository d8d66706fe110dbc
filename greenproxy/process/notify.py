"""Notifier: tells the service manager how this process is, by the protocol of sd_notify(3).

Without one (NOTIFY_SOCKET is not set) everything here does nothing. The variables stay in the environment, because a new
master of USR2 needs them; what workers and user code send is ignored by the manager, as long as the unit says
`NotifyAccess=main`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from time import monotonic

_FORGED = str.maketrans("\n\r", "  ")


class Notifier:
    """Sends datagrams, one for each call. Never waits and never raises: a service that runs matters more than its manager."""

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = monotonic) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock = clock
        self._pid = os.getpid()
        self._ping_every_s = _watchdog_s(environ, self._pid) / 2
        self._pinged_s = float("-inf")

    @property
    def is_on(self) -> bool:
        """Whether somebody wants to know."""
        return bool(self._address)

    @property
    def ping_every_s(self) -> float:
        """How often `ping` should be called at least: half of what WatchdogSec= asks for; 0 is never."""
        return self._ping_every_s

    def ready(self, status: str) -> None:
        """Tell that the service is up, or that a reload has ended. `status` is a line for `systemctl status`."""
        self._send("READY=1", f"MAINPID={self._pid}", _status(status))

    def reloading(self, status: str) -> None:
        """Tell that a reload has begun; it lasts until `ready`, which must follow whatever comes of the reload."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1_000_000)}", _status(status))

    def stopping(self, status: str) -> None:
        """Tell that the service ends."""
        self._send("STOPPING=1", _status(status))

    def status(self, status: str) -> None:
        """Show a line in `systemctl status`."""
        self._send(_status(status))

    def main_is(self, pid: int) -> None:
        """Tell that another process is the main one from now on (USR2). Only the one that was may say so."""
        self._send(f"MAINPID={pid}")

    def ping(self) -> None:
        """Tell that this process is alive, if the manager watches it, and at most every half of the time that it allows."""
        now_s = self._clock()
        if self._ping_every_s and now_s - self._pinged_s >= self._ping_every_s:
            self._pinged_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address or os.getpid() != self._pid:  # in a child that was forked this is not ours to say
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # the manager is gone or does not read; it will see for itself how we are


def _status(text: str) -> str:
    return f"STATUS={text.translate(_FORGED)}"


def _address(text: str) -> str:
    """Return the address of a Unix socket, "" for none. `@` is the abstract namespace; other kinds (vsock) are not for us."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """Return the seconds within which the manager wants to hear from this process, 0 if it does not."""
    try:
        limit_us = int(environ.get("WATCHDOG_USEC", "0"))
        watched = int(environ.get("WATCHDOG_PID", "") or pid)
    except ValueError:
        return 0.0
    return limit_us / 1_000_000 if watched == pid and limit_us > 0 else 0.0
