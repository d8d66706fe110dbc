"""The master of `greenproxy -c`: gunicorn's Arbiter with our start, our reload, our stop and our words.

The only module that overrides the Arbiter, which is no documented interface: what a new gunicorn changes is mended here, and
tests/frontdoor/test_gunicorn_contract.py says so. What happens in a reload and in an upgrade stands in `process`; here
are the workers and the signals.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.errors import ConfigError, HaltServer

from greenproxy import __version__
from greenproxy.certificates import BadPair
from greenproxy.config.settings import Settings
from greenproxy.process.application import ProxyApplication
from greenproxy.process.casualties import Casualties
from greenproxy.process.crew import Crew
from greenproxy.process.endings import how_it_ended
from greenproxy.process.estate import Estate
from greenproxy.process.inherited import take
from greenproxy.process.listening import CannotListen, close_sockets
from greenproxy.process.notify import Notifier
from greenproxy.process.pid_file import PidFileTaken
from greenproxy.process.reading import Reading
from greenproxy.process.reload import Reload
from greenproxy.process.renewal import Renewal
from greenproxy.process.upgrade import Predecessor, Successor
from greenproxy.worker import CANNOT_BOOT, HELD_SIGNALS, STOP_SIGNALS, StandaloneWorker

STOPPED, CANNOT_LISTEN, BAD_CONFIGURATION = 0, 1, 2
_TICK_S = 1.0
_TICKS_PER_TIMEOUT = 8  # so that a worker that hangs is replaced within worker-timeout and not thereafter
_TICK_WHILE_CHANGING_S = 0.02
#: A worker that is told to say what it does, and die, has this long for it.
_LAST_WORDS_S = 1.0


class ProxyArbiter(Arbiter):
    """Starts the workers, keeps them alive, replaces them for a new configuration, and ends them in order.

    Workers belong to the application they were started for (`worker.app`), see `process/crew.py`.
    """

    app: ProxyApplication

    def __init__(self, app: ProxyApplication, load: Callable[[], Settings]) -> None:
        super().__init__(app)
        os.environ.pop("SERVER_SOFTWARE", None)  # gunicorn's, for WSGI applications
        self.WORKERS: dict[int, StandaloneWorker] = {}
        self._crew = Crew(self.WORKERS)
        self._say: logging.Logger = self.log.error_log
        self._load = load
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._estate = Estate(self.log, os.getpid(), self._has_other)
        self._reload: Reload[ProxyApplication] = Reload(self, self._say)
        self._casualties = Casualties(self._say)
        self._notifier = Notifier()
        self._renewal = Renewal(self._reload, self._say)
        self._inherited = take(os.environ)
        self._predecessor = Predecessor(self._inherited.predecessor, os.environ)
        self._successor = Successor(self._say)
        self._is_ready = False  # all workers have served once
        self._is_stopping = False

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
        self._inherited.close_rest(self._say)

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
            self._renewal.look(self.app.settings, self.app.prepared.certificates)
        if self._reload.trial is not None:
            self._fill(self._reload.trial, self._reload.trial.cfg.workers)
        if not self._casualties.pause_s:
            self._fill(self.app, self.num_workers)
        for worker in self._crew.spare(self.app, self.num_workers):
            self._let_go(worker)
        if not self._is_ready:
            self._greet()
        elif self._casualties.is_one_missing and self.all_serve(self.app):
            self._casualties.recovered(_counted(self.num_workers))

    def _fill(self, app: ProxyApplication, wanted: int) -> None:
        """Start the workers that a configuration lacks."""
        if self._casualties.fork_pause_s:
            return
        for _ in range(wanted - len(self._crew.of(app))):
            try:
                with self._as(app):
                    self.spawn_worker()
                self._casualties.forked()
            except OSError as error:  # no process, no memory, no descriptor; in a child gunicorn sees to everything
                StandaloneWorker.bury_unborn(self.WORKERS.values())
                os.umask(self._umask)  # gunicorn changes it for a moment, and does not come to change it back
                self._casualties.failed_to_fork(error)
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
        casualties, worker_timeout_s = self._casualties, self.app.settings.process.worker_timeout_s
        limits_s = [worker_timeout_s / _TICKS_PER_TIMEOUT, self._notifier.ping_every_s / 2]
        limits_s += [casualties.pause_s, casualties.fork_pause_s]
        signals = super().wait_for_signals(min([timeout, *filter(None, limits_s)]))
        # The first that stops leaves the loop, and QUIT behind it would never be seen.
        return [signal.SIGQUIT] if signal.SIGQUIT in signals else signals

    def signal_chld(self, sig: int, frame: FrameType | None) -> None:
        """Wake the loop up; not that of a stop, which looks by itself, and takes one signal every tenth of a second."""
        if not self._is_stopping:
            super().signal_chld(sig, frame)

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
            self._reload.worker_ended(f"worker {worker.pid} {how}", was_killed=code < 0)
        elif self._is_ready or self._is_stopping or has_served:
            stays = worker.app in (self.app, self._reload.trial) and not self._is_stopping and not worker.is_draining
            lived_s = monotonic() - worker.born_s
            self._casualties.died(worker.pid, status, lived_s, has_served=has_served, is_replaced=stays)
        else:
            if code != CANNOT_BOOT:  # else it has said why
                self._say.error("worker %d %s before it served anyone", worker.pid, how_it_ended(status))
            raise HaltServer("workers cannot start", CANNOT_BOOT)
        self._tell_of_the_last(worker)

    def _tell_of_the_last(self, worker: StandaloneWorker) -> None:
        """Say that nobody is left from before a reload, when that is so."""
        in_force = (self.app, self._reload.trial)
        if worker.app not in in_force and not self._crew.others_than(*in_force) and not self._is_stopping:
            self._say.info("all workers from before the reload have ended")

    # -------------------------------------------------------------- the reload, see process/reload.py

    def handle_hup(self) -> None:
        """HUP: read the configuration again."""
        self._say.info("reloading %s", self.app.settings.source or "the same flags")
        self._reload.ask()

    def read(self) -> Reading:
        """Begin to read the configuration."""
        return Reading(self._load, lambda: close_sockets(self._estate.open_sockets, leaves_files=True))

    def move_in(self, settings: Settings) -> ProxyApplication:
        """Get what the workers of a new configuration need; they are started next."""
        new = ProxyApplication(settings, StandaloneWorker)
        self._estate.move_in(new, self.app)
        return new

    def all_serve(self, new: ProxyApplication) -> bool:
        """Return whether all workers of a configuration serve."""
        return self._crew.have_served(new, self.num_workers if new is self.app else new.cfg.workers)

    def settle(self, new: ProxyApplication) -> None:
        """Put a configuration in force, and let the workers of before go."""
        before, self.app = self.app, new
        self.cfg, self.timeout, self.num_workers = new.cfg, new.cfg.timeout, new.cfg.workers
        self._casualties.begin_anew()
        for worker in self._crew.of(before):
            self._let_go(worker)
        self._estate.settle(new, before)
        leaving = len(self._crew.others_than(new))
        self._say.info("reloaded: %s; %d from before finish what they have", _counted(self.num_workers), leaving)

    def move_out(self, new: ProxyApplication) -> None:
        """Let the workers of a configuration go that is not to be, and what they had."""
        for worker in self._crew.of(new):
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
        else:
            self._say.info("not one worker less: the last one stays")
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
        arbiter = ProxyArbiter(ProxyApplication(settings, StandaloneWorker), load)
    except ConfigError as error:
        print(f"greenproxy: {error}", file=sys.stderr)
        sys.exit(BAD_CONFIGURATION)
    except OSError as error:
        print(f"error-log: cannot open {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(BAD_CONFIGURATION)
    arbiter.run()
    sys.exit(STOPPED)
