"""Turns: the kernel wakes one worker for a client, and not all that listen on the same socket.

epoll has a flag for that, EPOLLEXCLUSIVE, which libev does not know. So what libev has registered is registered anew with the
flag, under libev's own mark, which the kernel tells in /proc. Workers that sleep are woken in the order in which they came to
the line, one for each client; busy ones are passed over. Whoever registers anew goes to the end of the line, and sees at once
if somebody waits: no client is overlooked.

Without it each worker wakes for each client, and all but one find nothing. Measured with a connection for each request, 1,500 in
a second: two workers slept and woke 0.83 times for each client without it, 0.63 times with it, and cost 1 to 8 % less with it
(one run).

Where any of it does not work (another event loop, no /proc, a kernel that refuses the flag), all wake, as libev has it.
"""

from __future__ import annotations

import ctypes
import platform
import re
import select
from typing import Any

_ADD, _DELETE, _MODIFY = 1, 2, 3
_epoll_ctl: Any = ctypes.PyDLL(None).epoll_ctl  # it never waits, so it need not let other threads run: 0.3 us less


class _Event(ctypes.Structure):
    """struct epoll_event, which is packed on one architecture alone."""

    if platform.machine() == "x86_64":
        _pack_ = 1
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


_PLAIN = ctypes.byref(_Event(select.EPOLLIN, 0))


class Turns:
    """One listening socket's place in a loop's epoll. `is_on` says whether it is exclusive, as far as is known."""

    def __init__(self, loop: Any, descriptor: int) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._epoll = -1
        self._exclusive: Any = None
        self._is_refused = False
        self.is_on = False

    def begin(self) -> None:
        """Make the place exclusive, if the loop has registered it already."""
        if self.is_on or self._is_refused or self._loop.backend != "epoll":
            return
        self._epoll = self._loop.fileno()
        mark = self._mark()
        if mark is not None and self._control(_DELETE):
            self._exclusive = ctypes.byref(_Event(select.EPOLLIN | select.EPOLLEXCLUSIVE, mark))
            self.is_on = self._control(_ADD, self._exclusive)
            if not self.is_on:
                self._is_refused = True
                self._control(_ADD, ctypes.byref(_Event(select.EPOLLIN, mark)))  # as libev had it, which knows nothing of this

    def _mark(self) -> int | None:
        """Return what libev wrote to its registration, by which it tells events of now from those that are outdated."""
        try:
            with open(f"/proc/self/fdinfo/{self._epoll}", "rb") as file:
                found = re.search(rb"^tfd:\s*%d events:\s*[0-9a-f]+ data:\s*([0-9a-f]+)" % self._descriptor, file.read(), re.M)
        except OSError:
            return None
        return int(found[1], 16) if found else None

    def step_out(self) -> bool:
        """Be woken no more, until `step_in`. Returns False if the place is lost, and the loop must register it again.

        libev makes its epoll anew, with other marks, after events for descriptors that it has closed. Then the place is a plain
        one, which is known by that: what is exclusive the kernel refuses to modify.
        """
        if self._control(_MODIFY, _PLAIN):
            self.leave()
            return False
        return self._control(_DELETE)

    def step_in(self) -> bool:
        """Go to the end of the line. Returns False if that is not possible, and the loop must register it again."""
        self.is_on = self._control(_ADD, self._exclusive)
        return self.is_on

    def leave(self) -> None:
        """Be woken no more. libev would leave a place that nobody watches, and be woken in vain, in the place of another."""
        self.is_on = False
        self._epoll = self._loop.fileno()
        self._control(_DELETE)

    def _control(self, what: int, event: Any = None) -> bool:
        return bool(_epoll_ctl(self._epoll, what, self._descriptor, event) == 0)
