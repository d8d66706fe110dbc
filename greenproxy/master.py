"""The master of `greenproxy -c`: gunicorn's Arbiter with our start, our reload, our stop and our words.

The only module that overrides the Arbiter, which is no documented interface: what a new gunicorn changes is mended here, and
tests/frontdoor/test_gunicorn_contract.py says so. What happens in a reload and in an upgrade stands in `process`; here
are the workers and the signals.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import ConfigError, HaltServer

from greenproxy import __version__
from greenproxy.certificates import BadPair
from greenproxy.config.settings import Settings
from greenproxy.net.tls_contexts import tls_contexts
from greenproxy.process.certificate_watch import CertificateWatch
from greenproxy.process.endings import how_it_ended
from greenproxy.process.estate import Estate
from greenproxy.process.inherited import Inherited, take
from greenproxy.process.listening import CannotListen, close_sockets
from greenproxy.process.master_log import MasterLog
from greenproxy.process.notify import Notifier
from greenproxy.process.pid_file import OwnPidfile, PidFileTaken
from greenproxy.process.prepared import Prepared
from greenproxy.process.reading import Reading
from greenproxy.process.reload import Reload
from greenproxy.process.respawn import Respawn
from greenproxy.process.rights import group_of, may_become
from greenproxy.process.upgrade import Predecessor, Successor
from greenproxy.worker import CANNOT_BOOT, HELD_SIGNALS, STOP_SIGNALS, StandaloneWorker

STOPPED, CANNOT_LISTEN, BAD_CONFIGURATION = 0, 1, 2
_TICK_S = 1.0
_TICKS_PER_TIMEOUT = 8  # so that a worker that hangs is replaced within worker-timeout and not thereafter
_TICK_WHILE_CHANGING_S = 0.02
#: Workers cut what is left when graceful-timeout is over; so much later those that could not are killed.
_BEFORE_KILL_S = 2
_NO_LIMIT_S = 10**9
#: A worker that is told to say what it does, and die, has this long for it.
_LAST_WORDS_S = 1.0


class ProxyApplication(BaseApplication):
    """One configuration, as gunicorn's, and what the estate has for it.

    Raises gunicorn's ConfigError for a user or group that does not exist.
    """

    prepared: Prepared
    pid_file: OwnPidfile | None = None
    undo: ExitStack

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
    """Starts the workers, keeps them alive, replaces them for a new configuration, and ends them in order.

    Workers belong to the application they were started for (`worker.app`): to the one that is in force, to the one that a
    reload tries, or to one of before, which they drain for.
    """

    app: ProxyApplication

    def __init__(self, app: ProxyApplication, load: Callable[[], Settings]) -> None:
        super().__init__(app)
        os.environ.pop("SERVER_SOFTWARE", None)  # gunicorn's, for WSGI applications
        self.WORKERS: dict[int, StandaloneWorker] = {}
        self._say: logging.Logger = self.log.error_log
        self._load = load
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._estate = Estate(self.log, os.getpid(), self._has_other)
        self._reload: Reload[ProxyApplication] = Reload(self, self._say)
        self._respawn = Respawn()  # while workers die
        self._refork = Respawn()  # while there is no room for one more process
        self._notifier = Notifier()
        self._certificates = CertificateWatch()
        self._inherited = take(os.environ)
        self._predecessor = Predecessor(self._inherited.predecessor, os.environ)
        self._successor = Successor(self._say)
        self._is_ready = False  # all workers have served once
        self._is_stopping = False
        self._cannot_start = False  # some worker could not, and was not replaced yet

    # -------------------------------------------------------------- the start

    def start(self) -> None:
        """Open the listeners and start the demo backends. Exits with status 1 if an address cannot be had."""
        settings = self.app.settings
        self.pid = os.getpid()
        self._say.info("greenproxy %s starts with %s (pid %d)", __version__, settings.source or "no file", self.pid)
        self.init_signals()
        self._estate.pid_file_suffix = ".2" if self._predecessor.pid else ""
        try:
            self._estate.move_in(self.app, None, self._inherited)
        except (CannotListen, PidFileTaken, BadPair, OSError) as error:
            for line in str(error).splitlines():
                self._say.error("%s", line)
            sys.exit(CANNOT_LISTEN)
        self._estate.settle(self.app, None)
        self._tell_of(self._inherited)

    def _tell_of(self, inherited: Inherited) -> None:
        """Close sockets that were handed to us in vain, and say so."""
        for line in inherited.warnings:
            self._say.warning("%s", line)
        for address in inherited.close_rest():
            if inherited.is_activated:
                self._say.warning("systemd has given a socket on %s, but no listener binds that: it is closed", address)
            else:
                self._say.info("no longer listening on %s", address)

    def _greet(self) -> None:
        """Say once that everything is up, as soon as it is."""
        demos = self._estate.demos
        if not self.all_serve(self.app) or not demos.are_listening():
            return
        self._is_ready = True
        missing = f", without demo backend {', '.join(demos.missing())}" if demos.missing() else ""
        self._say.info("greenproxy is ready: %s%s", _counted(self.num_workers), missing)
        self._tell_ready()
        self._predecessor.tell_ready()

    def _tell_ready(self, more: str = "") -> None:
        self._notifier.ready(f"serving with {_counted(self.num_workers)}{more}")

    # -------------------------------------------------------------- the workers

    def manage_workers(self) -> None:
        """Start workers that are missing, unless they die young; end those that are too many."""
        self._notifier.ping()
        self._reload.step()
        self._successor.look()
        if self._is_ready and not self._reload.is_running:
            self._look_at_certificates()
        if self._reload.trial is not None:
            self._fill(self._reload.trial, self._reload.trial.cfg.workers)
        if not self._respawn.remaining_s():
            self._fill(self.app, self.num_workers)
        serving = self._serving(self.app)
        spare = sorted(serving, key=lambda worker: (worker.has_served, worker.age))  # first those that nobody would miss
        for worker in spare[: max(0, len(serving) - self.num_workers)]:
            self._let_go(worker)
        if not self._is_ready:
            self._greet()
        elif self._cannot_start and self.all_serve(self.app):
            self._cannot_start = False
            self._say.info("workers can start again: %s", _counted(self.num_workers))

    def _serving(self, app: ProxyApplication) -> list[StandaloneWorker]:
        """Return the workers of a configuration that are there to stay, oldest first."""
        mine = [worker for worker in self.WORKERS.values() if worker.app is app and not worker.is_leaving]
        return sorted(mine, key=lambda worker: worker.age)

    def _fill(self, app: ProxyApplication, wanted: int) -> None:
        """Start the workers that a configuration lacks."""
        if self._refork.remaining_s():
            return
        for _ in range(wanted - len(self._serving(app))):
            try:
                with self._as(app):
                    self.spawn_worker()
                self._refork = Respawn()
            except OSError as error:  # no process, no memory, no descriptor; in a child gunicorn sees to everything
                StandaloneWorker.bury_unborn(self.WORKERS.values())
                os.umask(self._umask)  # gunicorn changes it for a moment, and does not come to change it back
                pause_s = self._refork.died(0.0, has_served=False)
                self._say.error("a worker cannot be started: %s; the next try is in %.1f s", error, pause_s)
                return

    @contextmanager
    def _as(self, app: ProxyApplication) -> Iterator[None]:
        """Let gunicorn's methods see another configuration for a moment."""
        before = self.app
        self.app, self.cfg, self.timeout, self.LISTENERS = app, app.cfg, app.cfg.timeout, self._estate.open_sockets
        try:
            yield
        finally:
            self.app, self.cfg, self.timeout, self.LISTENERS = before, before.cfg, before.cfg.timeout, []

    def _let_go(self, worker: StandaloneWorker) -> None:
        """End a worker: one that serves after what it has, one that has not begun at once."""
        if not worker.is_draining:
            worker.is_draining = True
            self.kill_worker(worker.pid, signal.SIGTERM if worker.has_served else signal.SIGKILL)

    def spawn_worker(self) -> Any:
        """Fork a worker. Signals that would stop it wait until it listens to them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            if os.getpid() == self.pid:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    def wait_for_signals(self, timeout: float = _TICK_S) -> Any:
        """Wait for signals, shorter while something is to be seen or started soon."""
        if not self._is_ready or self._reload.is_running:
            timeout = _TICK_WHILE_CHANGING_S
        limits_s = [self._worker_timeout_s / _TICKS_PER_TIMEOUT, self._notifier.ping_every_s / 2, self._respawn.remaining_s()]
        limits_s.append(self._refork.remaining_s())
        signals = super().wait_for_signals(min([timeout, *filter(None, limits_s)]))
        # The first that stops leaves the loop, and QUIT behind it would never be seen.
        return [signal.SIGQUIT] if signal.SIGQUIT in signals else signals

    def signal_chld(self, sig: int, frame: FrameType | None) -> None:
        """Wake the loop up; not that of a stop, which looks by itself, and takes one signal every tenth of a second."""
        if not self._is_stopping:
            super().signal_chld(sig, frame)

    @property
    def _worker_timeout_s(self) -> float:
        return self.app.settings.process.worker_timeout_s

    def murder_workers(self) -> None:
        """End workers that give no heartbeat, those that hang before their first one too."""
        for pid, worker in list(self.WORKERS.items()):
            if worker.silent_s <= worker.patience_s:
                continue
            if not worker.aborted:
                worker.aborted, worker.aborted_at_s = True, monotonic()
                self._say.critical("worker %d gave no heartbeat for %d s and is ended", pid, worker.silent_s)
                self.kill_worker(pid, signal.SIGABRT)
            elif monotonic() - worker.aborted_at_s >= min(_LAST_WORDS_S, worker.patience_s / 4):
                self.kill_worker(pid, signal.SIGKILL)

    def reap_workers(self) -> None:
        """Take note of all children that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if self._estate.demos.reaped(pid, status) or self._successor.reaped(pid, status):
                continue
            worker = self.WORKERS.pop(pid, None)
            if worker is not None:  # else one that has read the configuration, or an orphan of somebody's in a container
                self._worker_ended(worker, status)

    def _worker_ended(self, worker: StandaloneWorker, status: int) -> None:
        is_leaving, has_served, why = worker.is_leaving, worker.has_served, worker.last_words
        worker.tmp.close()
        self._estate.board.bury(worker.pid)
        code = os.waitstatus_to_exitcode(status)
        if (is_leaving or self._is_stopping) and (code == 0 or not has_served):
            self._say.debug("worker %d has ended", worker.pid)
        elif worker.app is self._reload.trial and not has_served:
            how = f"cannot start: {why}" if why else f"{how_it_ended(status)} before it served anyone"
            how = f"worker {worker.pid} {how}"
            self._reload.worker_ended(how, was_killed=code < 0)
        elif self._is_ready or self._is_stopping or has_served:
            self._mourn(worker, status, has_served)
        else:
            if code != CANNOT_BOOT:  # else it has said why
                self._say.error("worker %d %s before it served anyone", worker.pid, how_it_ended(status))
            raise HaltServer("workers cannot start", CANNOT_BOOT)
        self._tell_of_the_last(worker)

    def _tell_of_the_last(self, worker: StandaloneWorker) -> None:
        """Say that nobody is left from before a reload, when that is so."""
        in_force = (self.app, self._reload.trial)
        if worker.app not in in_force and all(each.app in in_force for each in self.WORKERS.values()) and not self._is_stopping:
            self._say.info("all workers from before the reload have ended")

    def _mourn(self, worker: StandaloneWorker, status: int, has_served: bool) -> None:
        """Say that a worker died, and when it is replaced."""
        next_is = ""
        if worker.app in (self.app, self._reload.trial) and not self._is_stopping and not worker.is_draining:
            self._cannot_start = self._cannot_start or not has_served
            pause_s = self._respawn.died(monotonic() - worker.born_s, has_served=has_served)
            next_is = f"; another one starts in {pause_s:.1f} s" if pause_s else "; another one starts"
        self._say.error("worker %d %s%s", worker.pid, how_it_ended(status), next_is)

    # -------------------------------------------------------------- the reload, see process/reload.py

    def handle_hup(self) -> None:
        """HUP: read the configuration again."""
        self._say.info("reloading %s", self.app.settings.source or "the same flags")
        self._reload.ask()

    def _look_at_certificates(self) -> None:
        """Reload if files of certificates have changed and are good; else go on with those of before, and try again later."""
        source = self.app.settings.source
        if not self._certificates.have_changed(self.app.prepared.certificates, str(source or "")):
            return
        try:
            tls_contexts(self.app.settings)
        except (BadPair, OSError) as error:
            why = f"the certificates have changed and cannot be used, those of before stay: {error}"
            self._reload.refuse(why, is_again=self._certificates.is_again)
            return
        if not self._certificates.is_again:
            self._say.info("the certificates have changed: reloading %s", source or "the same flags")
        self._reload.ask(is_again=self._certificates.is_again)

    def read(self) -> Reading:
        """Begin to read the configuration."""
        return Reading(self._load, lambda: close_sockets(self._estate.open_sockets, leaves_files=True))

    def move_in(self, settings: Settings) -> ProxyApplication:
        """Get what the workers of a new configuration need; they are started next."""
        new = ProxyApplication(settings)
        self._estate.move_in(new, self.app)
        return new

    def all_serve(self, new: ProxyApplication) -> bool:
        """Return whether all workers of a configuration serve."""
        serving = [worker for worker in self._serving(new) if worker.has_served]
        wanted: int = self.num_workers if new is self.app else new.cfg.workers
        return len(serving) >= wanted

    def settle(self, new: ProxyApplication) -> None:
        """Put a configuration in force, and let the workers of before go."""
        before, self.app = self.app, new
        self.cfg, self.timeout, self.num_workers = new.cfg, new.cfg.timeout, new.cfg.workers
        self._respawn = Respawn()
        for worker in self._serving(before):
            self._let_go(worker)
        self._estate.settle(new, before)
        leaving = len([worker for worker in self.WORKERS.values() if worker.app is not new])
        self._say.info("reloaded: %s; %d from before finish what they have", _counted(self.num_workers), leaving)

    def move_out(self, new: ProxyApplication) -> None:
        """Let the workers of a configuration go that is not to be, and what they had."""
        for worker in self._serving(new):
            self._let_go(worker)
        self._estate.move_out(new)

    def tell(self, state: str, message: str) -> None:
        """Publish how a reload stands."""
        board = self._estate.board
        number = board.told().reload_number + (state == "running")
        board.tell(reload_number=number, reload_state=state, reload_message=message)
        if state == "running":
            self._notifier.reloading("reloading")
        else:
            self._tell_ready(f"; the last reload was {state}")

    # -------------------------------------------------------------- other signals

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
        """USR2: start the program that is installed now, beside this one."""
        self.maybe_promote_master()  # the predecessor may have gone a moment ago
        if self._predecessor.pid:
            self._say.error("USR2 is refused: the program before this one (pid %d) still runs", self._predecessor.pid)
        elif self._reload.is_running:
            self._say.error("USR2 is refused: a reload is under way")
        else:
            self._successor.start(self._estate.heirlooms)

    def _has_other(self) -> bool:
        return bool(self._successor.pid or self._predecessor.pid)

    def maybe_promote_master(self) -> None:
        """Take the place of the predecessor when it has gone."""
        if self._predecessor.has_gone():
            self._say.info("the program before this one has gone: greenproxy %s goes on alone (pid %d)", __version__, self.pid)
            self._estate.take_pid_file_over(self.app)
            if self._reload.trial is not None and self._reload.trial.pid_file is not self.app.pid_file:
                self._estate.take_pid_file_over(self._reload.trial)
            if self._is_ready:  # told before, but then a service manager listened to nobody but the predecessor
                self._tell_ready()

    def handle_winch(self) -> None:
        """WINCH: nothing. Terminals send it whenever they change their size."""
        self._say.debug("WINCH means nothing to greenproxy")

    def handle_ttin(self) -> None:
        """TTIN: one worker more."""
        self._say.info("one worker more: %d", self.num_workers + 1)
        super().handle_ttin()

    def handle_ttou(self) -> None:
        """TTOU: one worker less, but never none."""
        if self.num_workers > 1:
            self._say.info("one worker less: %d", self.num_workers - 1)
        super().handle_ttou()

    # -------------------------------------------------------------- the end

    def stop(self, graceful: bool = True) -> None:
        """End the workers, then the demo backends. Waits for both; a second INT or QUIT makes it fast."""
        self._is_stopping = True
        self._keep_stop_signals()
        # Also to workers that leave in peace, because others serve on.
        self._estate.board.tell(is_stopping=True, is_one_of_two=self._has_other())
        if self._successor.is_ready:
            self._notifier.main_is(self._successor.pid)  # not earlier: the end of the main process is that of the service
        else:
            self._notifier.stopping("stopping")
        self._reload.cancel()
        for worker in list(self.WORKERS.values()):
            if not worker.has_served:  # nothing to finish, and user code that hangs in its import hears no signal
                self.kill_worker(worker.pid, signal.SIGKILL)
        self._estate.close_doors(keeps_admin=True)
        super().stop(graceful)
        for pid in self.WORKERS:  # gunicorn has killed them, and does not wait
            os.waitpid(pid, 0)
            self._say.error("worker %d did not end in time and was killed", pid)
        self._estate.close_doors()
        self._estate.demos.stop()

    def _keep_stop_signals(self) -> None:
        """Let nothing stand in the queue before what makes a stop fast."""
        for _ in range(self.SIG_QUEUE.qsize()):
            signum = self.SIG_QUEUE.get()
            if signum in STOP_SIGNALS:
                self.SIG_QUEUE.put(signum)

    def halt(self, reason: str | None = None, exit_status: int = STOPPED) -> NoReturn:
        """Stop and leave with a status."""
        self.stop()
        if self.app.pid_file is not None:
            self.app.pid_file.unlink()
        if exit_status:
            self._say.error("greenproxy has stopped: %s", reason)
        else:
            self._say.info("greenproxy has stopped")
        sys.exit(exit_status)


def _counted(workers: int) -> str:
    return f"{workers} worker" if workers == 1 else f"{workers} workers"


def serve(settings: Settings, load: Callable[[], Settings]) -> NoReturn:
    """Run a master with these settings until it is told to stop. A reload calls `load` again, in a process of its own.

    Raises SystemExit with 0 (stopped), 1 (cannot listen), 2 (configuration) or 3 (workers cannot start).
    """
    for descriptor in range(3):  # else the next file that is opened becomes standard output
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    try:
        arbiter = ProxyArbiter(ProxyApplication(settings), load)
    except ConfigError as error:
        print(f"greenproxy: {error}", file=sys.stderr)
        sys.exit(BAD_CONFIGURATION)
    except OSError as error:
        print(f"error-log: cannot open {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(BAD_CONFIGURATION)
    arbiter.run()
    sys.exit(STOPPED)
