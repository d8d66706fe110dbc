"""Listener: accepts clients, raw and in the hub, and survives running out of descriptors."""

from __future__ import annotations

import _socket
import errno
import socket
from collections.abc import Callable
from typing import Any

import gevent.socket
from gevent.event import Event
from gevent.server import StreamServer

from greenproxy.server.shortage import Shortage
from greenproxy.server.turns import Turns

#: Errors of accept() that are about the one connection, which is gone (accept(2)).
_CONNECTION_ERRORS = frozenset(
    {
        errno.ECONNABORTED,
        errno.EINTR,
        errno.ENETDOWN,
        errno.EPROTO,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EPERM,
    }
)
Accept = Callable[[_socket.socket, Any], None]
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 1.0
_MOST_AT_ONCE = 4096
_TCP_NOTSENT_LOWAT = 25  # `socket` has it from Python 3.12
#: What the kernel takes for a client that does not read, beyond what is on its way: else up to 4 MiB each (tcp(7)).
_MOST_UNSENT_BYTES = 256 * 1024


class Listener(StreamServer):
    """Hands each accepted socket to `accept(sock, address)`, in the hub, unless `is_full()`: then more wait in the backlog.

    When the process is out of descriptors, accepting pauses: for a moment when `shortage` made room, else each time twice as long
    (up to 1 s). How it shares the clients with the listeners of other workers on the same socket: see `balance`.
    """

    _watcher: Any  # the base class's: there is one while it accepts
    _stop_event: Event  # the base class's too

    def __init__(
        self,
        sock: socket.socket,
        accept: Accept,
        is_full: Callable[[], bool],
        shortage: Shortage,
        *,
        max_accept: int,
    ) -> None:
        if sock.family != socket.AF_UNIX:
            # Accepted sockets inherit both: calls less for each.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _MOST_UNSENT_BYTES)
        listening = gevent.socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self._raw: Any = listening._sock  # type: ignore[attr-defined]  # the raw socket, as gevent's own accept uses it
        self._kind = (listening.family, listening.type, listening.proto)
        self._accept = accept
        self._shortage = shortage
        self._pause_s = 0.0
        self._is_out = False  # it rests, and keeps its watcher
        self._resume: Any = None
        self._is_full = is_full
        #: Whether other workers accept from this socket, too; gunicorn's `reuse_port` gives each worker one for itself.
        self.is_shared = not listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        self.max_accept = max_accept
        super().__init__(listening, handle=accept, spawn=None)
        self._turns = Turns(self.loop, listening.fileno())

    def full(self) -> bool:
        """Whether accepting must stop, or has stopped meanwhile; `resume` starts it again."""
        return self._is_out or self._watcher is None or self._is_full()

    def do_read(self) -> Any:
        """Return (raw socket, address) of one accepted connection; None when there is none."""
        try:
            fd, address = self._raw._accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _CONNECTION_ERRORS:
                self._pause(error)
            return None
        self._pause_s = 0.0
        family, kind, proto = self._kind
        return _socket.socket(family, kind, proto, fileno=fd), address

    def do_handle(self, *args: Any) -> None:
        """Hand over an accepted socket; its new owner closes it (the base class would do that at once)."""
        self._accept(*args)

    def _pause(self, error: OSError) -> None:
        has_room = self._shortage.relieve(f"cannot accept connections for now: {error}")
        self._pause_s = _FIRST_PAUSE_S if has_room else min(_LONGEST_PAUSE_S, self._pause_s * 2 or _FIRST_PAUSE_S)
        self.rest(self._pause_s)

    def rest(self, for_s: float) -> None:
        """Accept nobody for some seconds."""
        self._stop_resume()
        self._is_out = self._turns.is_on and self._turns.step_out()
        if not self._is_out:
            self.stop_accepting()
        self._resume = self.loop.timer(for_s)
        self._resume.start(self.resume, update=True)

    def stop_accepting(self) -> None:
        """Accept no more for now, and be woken for nobody."""
        if self._watcher is not None:
            self._turns.leave()
        self._is_out = False
        super().stop_accepting()

    def watch(self, wanted: bool) -> None:
        """Accept from now on, or no more for now. A socket that does not listen yet is left alone."""
        if self.closed or wanted == self.started:
            return
        if not wanted:
            self._stop_event.set()
            self._stop_resume()
            self.stop_accepting()
        elif self._listens():
            self.start()

    def _listens(self) -> bool:
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def take_turns(self) -> None:
        """Be woken in turn with the listeners of other workers. To be called every second, since that may be lost.

        So may a client: whoever is woken for it alone may be stopped, or out of descriptors. Those who come anew see who waits;
        without that it would wait for good.
        """
        if self._watcher is None or self._is_out:
            return
        if self._turns.is_on:
            self.pass_on()
        else:
            self._turns.begin()

    def pass_on(self) -> None:
        """Let the others be woken first for the next clients. Who waits now, and whom nobody else takes, is accepted here."""
        if self._turns.is_on and not (self._turns.step_out() and self._turns.step_in()):
            self.stop_accepting()
            self.start_accepting()

    def empty(self) -> None:
        """Accept what waits in the backlog now, as far as there is room. Never waits."""
        if self.closed or not self._listens():
            return
        for _ in range(_MOST_AT_ONCE):
            if self._is_full():
                return
            accepted = self.do_read()
            if accepted is None:
                return
            self.do_handle(*accepted)

    def resume(self) -> None:
        """Accept again, unless the listener was closed."""
        self._stop_resume()
        if self._is_out:
            self._is_out = False
            if not self._turns.step_in():
                self.stop_accepting()
        if self.started:
            self.start_accepting()

    def _stop_resume(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            resume.stop()
            resume.close()

    def close(self) -> None:
        """Close the listening socket; connections that were accepted are not touched."""
        self._stop_resume()
        super().close()
