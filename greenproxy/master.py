"""The master of `greenproxy -c`: gunicorn's Arbiter with our start, our stop and our words.

The only module that overrides the Arbiter, which is no documented interface: what a new gunicorn changes is mended here.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from dataclasses import replace
from time import monotonic
from typing import Any, NoReturn

from gunicorn import systemd
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import ConfigError, HaltServer

from greenproxy import __version__
from greenproxy.config.settings import Settings
from greenproxy.observability.board import Board
from greenproxy.process.announcements import announce_upstreams
from greenproxy.process.demos import Demos
from greenproxy.process.endings import how_it_ended
from greenproxy.process.listening import CannotListen, close_sockets, open_doors, shown
from greenproxy.process.master_log import MasterLog
from greenproxy.process.pid_file import OwnPidfile, PidFileTaken
from greenproxy.process.prepared import prepare
from greenproxy.process.respawn import Respawn
from greenproxy.process.rights import group_of, may_become
from greenproxy.worker import CANNOT_BOOT, STOP_SIGNALS, StandaloneWorker

STOPPED, CANNOT_LISTEN, BAD_CONFIGURATION = 0, 1, 2
_TICK_S = 1.0
_TICK_WHILE_STARTING_S = 0.02
#: Workers cut what is left when graceful-timeout is over; so much later those that could not are killed.
_BEFORE_KILL_S = 2
_NO_LIMIT_S = 10**9


class ProxyApplication(BaseApplication):
    """Gives the Arbiter the settings as gunicorn's. Raises gunicorn's ConfigError for a user or group that does not exist."""

    def __init__(self, settings: Settings) -> None:
        workers = settings.process.workers or len(os.sched_getaffinity(0))
        self.settings = replace(settings, process=replace(settings.process, workers=workers))
        super().__init__(prog="greenproxy")

    def do_load_config(self) -> None:
        """Fill gunicorn's configuration; errors go to the caller."""
        self.load_default_config()
        self.load_config()

    def load_config(self) -> None:
        """Translate: whole seconds, rounded up, and our graceful-timeout with room for the workers to end by themselves."""
        process = self.settings.process
        given = {
            "workers": process.workers,
            "worker_class": StandaloneWorker,
            "logger_class": MasterLog,
            "errorlog": process.error_log,
            "loglevel": process.log_level,
            "timeout": math.ceil(process.worker_timeout_s),
            "graceful_timeout": math.ceil(process.graceful_timeout_s) + _BEFORE_KILL_S
            if process.graceful_timeout_s
            else _NO_LIMIT_S,
            "backlog": process.backlog,
            "pidfile": process.pid_file or None,
            "user": process.user or None,
            "group": process.group or (group_of(process.user) if process.user else None),
            "proc_name": "greenproxy",
            "control_socket_disable": True,
        }
        for name, value in given.items():
            self.cfg.set(name, value)
        if not may_become(self.cfg.uid, self.cfg.gid):
            raise ConfigError("user, group: only root can run workers as somebody else")

    def load(self) -> None:
        """Return nothing: there is no WSGI application."""


class ProxyArbiter(Arbiter):
    """Starts the demo backends and the workers, keeps the workers alive, and ends them in order."""

    def __init__(self, app: ProxyApplication) -> None:
        super().__init__(app)
        os.environ.pop("SERVER_SOFTWARE", None)  # gunicorn's, for WSGI applications
        self.WORKERS: dict[int, StandaloneWorker] = {}
        self._say: logging.Logger = self.log.error_log
        self._demos = Demos(app.settings.demos, self._say)
        self._respawn = Respawn()
        self._is_ready = False  # all workers have served once
        self._is_stopping = False

    # -------------------------------------------------------------- the start

    def start(self) -> None:
        """Open the listeners and start the demo backends. Exits with status 1 if an address cannot be had."""
        settings = self.app.settings
        self.pid = os.getpid()
        self._say.info("greenproxy %s starts with %s (pid %d)", __version__, settings.source or "no file", self.pid)
        self.init_signals()
        try:
            self._take_pid_file()
            doors = open_doors(settings.listeners, self.cfg)
        except (CannotListen, PidFileTaken) as error:
            self._give_up(error)
        self.LISTENERS = [sock for door in doors for sock in door.sockets]
        self.app.prepared = prepare(settings, doors, Board(), self._say)
        for door in doors:
            for sock in door.sockets:
                self._say.info("listening on %s (%s)", shown(sock), door.listener.name)
        announce_upstreams(settings, self._say)
        self._demos.start()

    def _take_pid_file(self) -> None:
        if self.cfg.pidfile:
            self.pidfile = OwnPidfile(self.cfg.pidfile)
            self.pidfile.create(self.pid)

    def _give_up(self, error: Exception) -> NoReturn:
        for line in str(error).splitlines():
            self._say.error("%s", line)
        if self.pidfile is not None:
            self.pidfile.unlink()
        sys.exit(CANNOT_LISTEN)

    def _greet(self) -> None:
        """Say once that everything is up, as soon as it is."""
        ready = [worker for worker in self.WORKERS.values() if worker.has_served]
        if len(ready) < self.num_workers or not self._demos.are_listening():
            return
        self._is_ready = True
        missing = f", without demo backend {', '.join(self._demos.missing())}" if self._demos.missing() else ""
        self._say.info("greenproxy is ready: %d %s%s", len(ready), "worker" if len(ready) == 1 else "workers", missing)
        systemd.sd_notify("READY=1\nSTATUS=greenproxy is ready", self.log)

    # -------------------------------------------------------------- the workers

    def manage_workers(self) -> None:
        """Start workers that are missing, unless they die young; end those that are too many."""
        serving = sorted((worker for worker in self.WORKERS.values() if not worker.is_leaving), key=lambda worker: worker.age)
        if not self._respawn.remaining_s():
            for _ in range(self.num_workers - len(serving)):
                self.spawn_worker()
        for worker in serving[: max(0, len(serving) - self.num_workers)]:
            worker.is_draining = True
            self.kill_worker(worker.pid, signal.SIGTERM)
        if not self._is_ready:
            self._greet()

    def spawn_worker(self) -> Any:
        """Fork a worker. Signals that would stop it wait until it listens to them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            if os.getpid() == self.pid:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def wait_for_signals(self, timeout: float = _TICK_S) -> Any:
        """Wait for signals, shorter while something is to be seen or started soon."""
        if not self._is_ready:
            timeout = _TICK_WHILE_STARTING_S
        return super().wait_for_signals(min(timeout, self._respawn.remaining_s() or timeout))

    def murder_workers(self) -> None:
        """End workers that give no heartbeat, those that hang before their first one too."""
        for pid, worker in list(self.WORKERS.items()):
            if not self.timeout or worker.silent_s <= self.timeout:
                continue
            if worker.aborted:
                self.kill_worker(pid, signal.SIGKILL)
            else:
                worker.aborted = True
                self._say.critical("worker %d gave no heartbeat for %d s and is ended", pid, worker.silent_s)
                self.kill_worker(pid, signal.SIGABRT)

    def reap_workers(self) -> None:
        """Take note of all children that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self._demos.reaped(pid, status):
                continue
            worker = self.WORKERS.pop(pid, None)
            if worker is not None:  # else an orphan that became ours because we are process 1
                self._worker_ended(worker, status)

    def _worker_ended(self, worker: StandaloneWorker, status: int) -> None:
        is_leaving, has_served = worker.is_leaving, worker.has_served
        worker.tmp.close()
        code = os.waitstatus_to_exitcode(status)
        if (is_leaving and code == 0) or (self._is_stopping and (code == 0 or not has_served)):
            self._say.debug("worker %d has ended", worker.pid)
        elif self._is_ready or self._is_stopping or has_served:
            self._mourn(worker, status)
        else:
            if code != CANNOT_BOOT:  # else it has said why
                self._say.error("worker %d %s before it served anyone", worker.pid, how_it_ended(status))
            raise HaltServer("workers cannot start", CANNOT_BOOT)

    def _mourn(self, worker: StandaloneWorker, status: int) -> None:
        """Say that a worker died, and when it is replaced."""
        next_is = ""
        if not self._is_stopping:
            pause_s = self._respawn.died(monotonic() - worker.born_s)
            next_is = f"; another one starts in {pause_s:.1f} s" if pause_s else "; another one starts"
        self._say.error("worker %d %s%s", worker.pid, how_it_ended(status), next_is)

    # -------------------------------------------------------------- signals

    def handle_hup(self) -> None:
        """HUP: there is no reload yet."""
        self._say.error("reload is not available in this version; restart instead")

    def handle_int(self) -> None:
        """INT: as TERM; a second one, during the stop, is fast."""
        self.handle_term()

    def handle_term(self) -> None:
        """TERM: stop, after what is in flight."""
        limit_s = self.app.settings.process.graceful_timeout_s
        within = f" within {limit_s:g} s" if limit_s else ""
        self._say.info("stopping: requests in flight may finish%s", within)
        super().handle_term()

    def handle_quit(self) -> None:
        """QUIT: stop at once."""
        self._say.info("stopping at once")
        super().handle_quit()

    def handle_usr1(self) -> None:
        """USR1: open the log files again, here and in the workers."""
        super().handle_usr1()
        self._say.info("log files are open again")

    def handle_usr2(self) -> None:
        """USR2: there is no change of the binary yet."""
        self._say.error("changing the program in flight (USR2) is not available in this version; restart instead")

    def handle_winch(self) -> None:
        """WINCH: nothing. Terminals send it whenever they change their size."""
        self._say.debug("WINCH means nothing to greenproxy")

    def handle_ttin(self) -> None:
        """TTIN: one worker more."""
        self._say.info("one worker more: %d", self.num_workers + 1)
        super().handle_ttin()

    def handle_ttou(self) -> None:
        """TTOU: one worker less, but never none."""
        self._say.info("one worker less: %d", max(1, self.num_workers - 1))
        super().handle_ttou()

    # -------------------------------------------------------------- the end

    def stop(self, graceful: bool = True) -> None:
        """End the workers, then the demo backends. Waits for both; a second INT or QUIT makes it fast."""
        self._is_stopping = True
        self.app.prepared.board.is_stopping = True  # also to workers that leave in peace, because others serve on
        for worker in list(self.WORKERS.values()):
            if not worker.has_served:  # nothing to finish, and user code that hangs in its import hears no signal
                self.kill_worker(worker.pid, signal.SIGKILL)
        close_sockets(self.LISTENERS)  # gunicorn's way to close them removes the Unix sockets of others, and trips over none
        self.LISTENERS = []
        super().stop(graceful)
        self._demos.stop()

    def halt(self, reason: str | None = None, exit_status: int = STOPPED) -> NoReturn:
        """Stop and leave with a status."""
        self.stop()
        if self.pidfile is not None:
            self.pidfile.unlink()
        if exit_status:
            self._say.error("greenproxy has stopped: %s", reason)
        else:
            self._say.info("greenproxy has stopped")
        sys.exit(exit_status)


def serve(settings: Settings) -> NoReturn:
    """Run a master with these settings until it is told to stop.

    Raises SystemExit with 0 (stopped), 1 (cannot listen), 2 (configuration) or 3 (workers cannot start).
    """
    try:
        arbiter = ProxyArbiter(ProxyApplication(settings))
    except (ConfigError, OSError) as error:
        print(f"greenproxy: {error}", file=sys.stderr)
        sys.exit(BAD_CONFIGURATION)
    arbiter.run()
    sys.exit(STOPPED)
