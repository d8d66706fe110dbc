"""ProxyWorker: one worker process, under `greenproxy -c` and under plain gunicorn alike.

`__init__` and `prepare` run in the master, everything else in the child. The rules:

- gevent gets its hub after the fork, and the standard library is patched before user code is imported;
- signal handlers may run in the middle of anything, in the hub too: they set flags and an event, the main greenlet acts;
- the main greenlet gives the heartbeat, so a heartbeat means that the hub turns, and the first one that clients are served.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - found by name, at the first look-up: after rights are given up it may be out of reach
import logging
import math
import os
import random
import signal
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, ClassVar, NoReturn

import gevent
from gevent import monkey
from gevent.event import Event
from gevent.util import format_run_info
from gunicorn.workers.base import Worker

from greenproxy.assembly import House
from greenproxy.config.user_code import module_path
from greenproxy.process.boots import Departure
from greenproxy.process.garbage import Garbage
from greenproxy.process.guest import Guest, import_nothing
from greenproxy.process.leave import Leave
from greenproxy.process.listening import Door, close_sockets
from greenproxy.process.prepared import Prepared, free_slot
from greenproxy.process.reload import start_limit_s
from greenproxy.process.rights import leave_groups
from greenproxy.process.watchdog import Watchdog

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
#: Blocked by our master around a fork, so that none is lost before the worker listens.
HELD_SIGNALS = (*STOP_SIGNALS, signal.SIGUSR1)
#: The exit status of a worker that could not begin to serve; gunicorn's arbiter knows it by this number too.
CANNOT_BOOT = 3
_TICK_S = 1.0
_TICK_WITH_MAX_REQUESTS_S = 0.1
_TICK_WHILE_STAYING_S = 0.05
#: A heartbeat file is born with the time of day and then holds the monotonic clock, which is smaller for 31 years of uptime.
_TIME_OF_DAY_S = 1e9
#: The mark in the heartbeat file of a worker that leaves. It must not touch the time, which is the heartbeat.
_LEAVING_MODE = 0o400
_MOST_WORDS = 2000
#: gunicorn's master kills when graceful_timeout is over; by then the worker must have cut what is left, and logged it.
_BEFORE_KILL_S = 0.5


_stacks: Callable[[], list[str]] = format_run_info  # type: ignore[assignment]  # its stub says that it returns nothing


class ProxyWorker(Worker):
    """A worker of gunicorn's arbiter that serves a House. `slot` is its place on the board.

    `lane` is its place among the workers of its configuration that are there to stay, None under plain gunicorn.
    """

    _guest: ClassVar[Guest] = Guest()
    _siblings: ClassVar[list[ProxyWorker]] = []
    alive: bool
    slot: int
    lane: int | None = None
    prepared: Prepared
    sockets: list[Any]

    @classmethod
    def setup(cls) -> None:
        """Prepare gunicorn's master, which calls this before anything else, for a file instead of an application."""
        import_nothing()

    def __init__(self, age: int, ppid: int, sockets: list[Any], app: Any, timeout: float, cfg: Any, log: Any) -> None:
        super().__init__(age, ppid, sockets, app, timeout, cfg, log)
        self.born_s = monotonic()
        self.is_draining = False  # the master's note: it was told to end
        self.aborted_at_s = math.inf  # the master's note: since when it is told to say what it does, and die
        self.prepared = self.prepare()
        living = [worker for worker in ProxyWorker._siblings if not worker.has_ended]
        self.slot = free_slot(worker.slot for worker in living)
        ProxyWorker._siblings = [*living, self]

    @classmethod
    def bury_unborn(cls, born: Container[ProxyWorker]) -> None:
        """Close what workers hold that were made and could not be forked; in the master, which knows those that were."""
        for worker in cls._siblings:
            if worker not in born:
                worker.tmp.close()

    def prepare(self) -> Prepared:
        """Return what this worker serves. Called in the master, before the fork."""
        return self._guest.prepare(self.app, self.sockets, self.cfg, self.log)

    def doors(self) -> Sequence[Door]:
        """Return what this worker listens on, in the child: with reuse_port gunicorn opens its addresses only there."""
        first, *others = self.prepared.doors
        return [first._replace(sockets=tuple(self.sockets)), *others]

    # -------------------------------------------------------------- what the master reads

    @property
    def has_ended(self) -> bool:
        """Whether the master has reaped it: it closes the heartbeat file then."""
        try:
            self.tmp.fileno()
        except ValueError:
            return True
        return False

    @property
    def has_served(self) -> bool:
        """Whether it has begun to serve, which is when the first heartbeat is given."""
        return bool(self.tmp.last_update() < _TIME_OF_DAY_S)

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to end, or wants to by itself and waits for nothing but its last exchanges."""
        return self.is_draining or os.fstat(self.tmp.fileno()).st_mode & 0o777 == _LEAVING_MODE

    @property
    def last_words(self) -> str:
        """Why it could not start, as far as it said so."""
        return os.pread(self.tmp.fileno(), _MOST_WORDS, 0).decode(errors="replace")

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat; since its birth when there was none yet."""
        return monotonic() - (self.tmp.last_update() if self.has_served else self.born_s)

    @property
    def patience_s(self) -> float:
        """Seconds of silence after which it is ended: so much before worker-timeout that it is replaced within that."""
        process = self.prepared.settings.process
        if not self.has_served:
            return start_limit_s(process)
        limit_s = process.worker_timeout_s or math.inf
        return limit_s - min(2 * _TICK_S, limit_s / 4)

    # -------------------------------------------------------------- the start, in the child

    def init_process(self) -> None:
        """Make this process gevent's and leave the master's groups, set up and serve; returns when the worker has ended."""
        self._wake = Event()
        self._interrupts = 0
        self._is_fast = False
        self._should_reopen = False
        self._garbage = Garbage()
        self._why = ""  # it could not start
        self._listen_to_signals()  # until now they went to the master's queue, of which this process has a copy
        for signum in self._guest.early_signals():
            if signum in STOP_SIGNALS:
                self._stop(is_fast=signum != signal.SIGTERM)
            elif signum == signal.SIGUSR1:
                self._should_reopen = True
        leave_groups(self.cfg.uid, self.cfg.gid)
        gevent.reinit()
        monkey.patch_all()
        self._guest.watch_files(self.cfg)
        super().init_process()

    def init_signals(self) -> None:
        """Install the handlers; the wake-up pipe of the base class is not needed, since the hub sees signals itself."""
        super().init_signals()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal tells everyone; reloading is the master's business
        self._listen_to_signals()

    def _listen_to_signals(self) -> None:
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_int)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    def load_wsgi(self) -> None:
        """Open the house. Exits when that fails, with status 3 when nobody ever served: the master gives up then."""
        self.wsgi = None
        for prepared in self.candidates():
            self.prepared = prepared
            try:
                self._open_house()
            except Exception as error:  # user code runs in there, and may raise anything
                self._why = f"{type(error).__name__}: {error}"
                self._log.error("worker %d cannot start: %s", os.getpid(), self._why)
                self._log.debug("where it happened:", exc_info=error)
            else:
                self._guest.has_booted()
                return
        self.give_up()

    def _open_house(self) -> None:
        settings = self.prepared.settings
        folder = settings.source.absolute().parent if settings.source else Path.cwd()
        sys.path[:] = module_path(folder)
        prepared = self.prepared
        board, layout, tls, lane = prepared.board, prepared.layout, prepared.tls, self.lane
        self._house = House(settings, log=self._log, board=board, layout=layout, slot=self.slot, lane=lane, tls=tls)
        self._house.start([door.raw() for door in self.doors()])
        self._garbage.begin()

    def candidates(self) -> Iterator[Prepared]:
        """Yield what this worker may serve: what it was made for, and after that, what was served before."""
        yield self.prepared
        yield from self._guest.spares(self.sockets)

    def give_up(self) -> NoReturn:
        """Leave without having served. gunicorn's master ends the service for status 3, so it gets another when that runs."""
        os.write(self.tmp.fileno(), self._why.encode()[:_MOST_WORDS])
        pause_s = self._guest.gives_up()
        if pause_s is None:
            sys.exit(CANNOT_BOOT)
        self._wake.wait(pause_s)
        sys.exit(1)

    @property
    def _log(self) -> logging.Logger:
        log: logging.Logger = self.log.error_log
        return log

    # -------------------------------------------------------------- the work

    def run(self) -> None:
        """Give heartbeats until there is a reason to end, then drain."""
        limit = self._request_limit()
        timeout_s = self.prepared.settings.process.worker_timeout_s
        tick_s = min(_TICK_WITH_MAX_REQUESTS_S if limit else _TICK_S, timeout_s / 5 or _TICK_S)
        watchdog = Watchdog(self._log, timeout_s, self.ppid)
        watchdog.start()
        self.notify()
        self._poke_master()
        while self.alive or self._stays():
            self._wake.wait(tick_s if self.alive else _TICK_WHILE_STAYING_S)
            self._wake.clear()
            self._beat()
            if self.ppid != os.getppid():
                self._log.warning("the master is gone: worker %d stops", os.getpid())
                self.alive = False
            elif self.alive and limit and self._house.requests >= limit:
                self._log.info("worker %d has served %d requests and is replaced", os.getpid(), self._house.requests)
                self.alive = False
        self._leave()
        watchdog.stop()

    def _stays(self) -> bool:
        """Whether to serve on although it was told to end: gunicorn does so on HUP before it knows that others can begin."""
        if self._is_fast or self.ppid != os.getppid():
            return False
        departure = self._guest.departure(self.cfg.graceful_timeout)
        if departure is Departure.NEVER:
            self._log.error("the new workers cannot start: worker %d goes on", os.getpid())
        self.alive = departure in (Departure.NEVER, Departure.ECHO)
        return departure is not Departure.NOW

    def _request_limit(self) -> int:
        process = self.prepared.settings.process
        return process.max_requests and process.max_requests + random.randint(0, process.max_requests_jitter)

    def _beat(self) -> None:
        self.notify()
        self._garbage.look()
        if self._should_reopen:
            self._should_reopen = False
            self.log.reopen_files()
            self._house.reopen_logs()

    def _leave(self) -> None:
        """Drain. A mark in the heartbeat file asks the master for a successor that serves meanwhile."""
        os.fchmod(self.tmp.fileno(), _LEAVING_MODE)
        self._poke_master()
        self._house.stop(self.leave())
        if self._is_fast:
            self.cfg.worker_int(self)
        for signum in STOP_SIGNALS:  # the interpreter's end resets handlers: one more TERM would look like a violent death
            signal.signal(signum, signal.SIG_IGN)

    def leave(self) -> Leave:
        """Return how this worker leaves. gunicorn's master kills graceful_timeout after TERM, on reload and on stop."""
        until_killed_s: float = self.cfg.graceful_timeout - _BEFORE_KILL_S
        process = self.prepared.settings.process
        return Leave(process, self.is_replaced, self._others_serve, lambda: self._is_fast, self._beat, max(0.0, until_killed_s))

    def is_replaced(self) -> bool:
        """Return whether others serve on in its place. gunicorn's master says nothing; a later HUP tells."""
        return self.ppid == os.getppid() and self._guest.is_replaced()

    def _others_serve(self) -> bool:
        return self.is_replaced() or self.prepared.board.told().is_one_of_two or self._guest.another_master_serves()

    def _poke_master(self) -> None:
        """Make the master look at its workers now instead of within a second."""
        if self.ppid == os.getppid():
            with contextlib.suppress(PermissionError):  # as another user, a second it is
                os.kill(self.ppid, signal.SIGCHLD)

    # -------------------------------------------------------------- signals: flags only

    def handle_exit(self, _sig: int, _frame: FrameType | None) -> None:
        """TERM: end, after what is in flight."""
        self._stop()

    def handle_int(self, _sig: int, _frame: FrameType | None) -> None:
        """INT: end at once, as gunicorn's workers do."""
        self._stop(is_fast=True)

    def handle_quit(self, _sig: int, _frame: FrameType | None) -> None:
        """QUIT: end at once."""
        self._stop(is_fast=True)

    def _stop(self, is_fast: bool = False) -> None:
        self.alive = False
        self._is_fast = self._is_fast or is_fast
        self._wake.set()

    def handle_usr1(self, _sig: int, _frame: FrameType | None) -> None:
        """USR1: open the log files again."""
        self._should_reopen = True
        self._wake.set()

    def handle_abort(self, _sig: int, _frame: FrameType | None) -> None:
        """ABRT: the master has missed the heartbeat. Tell what every greenlet does, and end without waiting for anyone."""
        log = self._log
        about = f"worker {os.getpid()} gave no heartbeat; this is what it does:"
        # As the stack of the record, because only that may have several lines in the log.
        log.handle(log.makeRecord(log.name, logging.CRITICAL, __file__, 0, about, (), None, sinfo="\n".join(_stacks())))
        self.cfg.worker_abort(self)
        self._guest.worker_exit(self)
        os._exit(1)


class StandaloneWorker(ProxyWorker):
    """A worker whose master is ours, `greenproxy -c`."""

    def __init__(self, age: int, ppid: int, sockets: list[Any], app: Any, timeout: float, cfg: Any, log: Any) -> None:
        super().__init__(age, ppid, sockets, app, timeout, cfg, log)
        if self.prepared.settings.process.reuse_port:
            others = [worker for worker in ProxyWorker._siblings if worker is not self and worker.app is app]
            self.lane = free_slot(each.lane for each in others if each.lane is not None and not each.is_leaving)

    def prepare(self) -> Prepared:
        """Return what the master has prepared for all workers."""
        prepared: Prepared = self.app.prepared
        return prepared

    def doors(self) -> Sequence[Door]:
        """Return all doors, which the master has opened."""
        return self.prepared.doors

    def init_process(self) -> None:
        """Leave the master's sockets that are not served here, then go on as every worker does."""
        mine = [sock for door in self.doors() for sock in door.sockets]
        # Of a configuration on its way in or out: while anybody has such a socket open, clients connect to it and wait.
        close_sockets([sock for sock in self.sockets if sock not in mine], leaves_files=True)
        self.sockets = mine
        super().init_process()

    def leave(self) -> Leave:
        """Return how this worker leaves: in peace while the master goes on, within graceful-timeout when that stops too."""
        return Leave(self.prepared.settings.process, self.is_replaced, self._others_serve, lambda: self._is_fast, self._beat)

    def handle_int(self, _sig: int, _frame: FrameType | None) -> None:
        """INT: end, after what is in flight; a second one: at once."""
        self._interrupts += 1
        self._stop(is_fast=self._interrupts > 1)

    def is_replaced(self) -> bool:
        """Return whether the master goes on without it."""
        return self.ppid == os.getppid() and not self.prepared.board.is_stopping
