"""The same under plain gunicorn, as far as its own arbiter allows; docs/gunicorn.md tells what it gets wrong."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import Process, children_of, command_line, wait_until
from tests.soak.changes import BROKEN, leave, next_master, wait_until_gone
from tests.soak.load import RunningLoad
from tests.soak.single import is_closed, no_echo_from
from tests.soak.site import RAISES, Site, in_work, release
from tests.soak.stage import Stage

_CONF = """
bind = "127.0.0.1:{port}"
workers = {workers}
graceful_timeout = {graceful_s}
pidfile = "greenproxy.pid"
control_socket_disable = True
"""
_REFUSED = "the new configuration is refused, the previous one stays"
_IS_UP = "Booting worker with pid"


class Gunicorn(Process):
    """gunicorn with our worker class, its own configuration beside ours."""

    def __init__(self, site: Site, graceful_s: int) -> None:
        self._site = site
        self._graceful_s = graceful_s
        self.configure(workers=2)
        # Not `python -m gunicorn`: USR2 would start its __main__.py as a file, in whose folder `http` is another module.
        command = [str(Path(sys.executable).with_name("gunicorn")), "-c", "gunicorn.conf.py"]
        super().__init__([*command, "-k", "greenproxy.worker.ProxyWorker", "greenproxy.ini"], site.folder)

    def configure(self, *, workers: int, extra: tuple[int, ...] = (), more: str = "") -> None:
        """Write both files."""
        conf = _CONF.format(port=self._site.port, workers=workers, graceful_s=self._graceful_s)
        (self._site.folder / "gunicorn.conf.py").write_text(conf)
        (self._site.folder / "greenproxy.ini").write_text(self._site.ini(extra=extra, more=more))

    def __enter__(self) -> Gunicorn:
        self.start()
        try:
            wait_until(lambda: self.exit_status is not None or len(self.workers()) == 2, "two workers")
            wait_until(lambda: not no_echo_from(self._site.port), "an answer")
        except BaseException:
            self.kill_all()
            raise
        return self

    def workers(self) -> list[int]:
        """Return the process ids of the workers, oldest first."""
        return children_of(self.pid)


@contextmanager
def gunicorn(stage: Stage) -> Iterator[tuple[Site, Gunicorn, list[int]]]:
    """Run two backends and gunicorn before them; yield the backends' ports too."""
    with stage.site() as (site, ports), Gunicorn(site, 2 if stage.is_short else 20) as process:
        yield site, process, ports


def reload(stage: Stage) -> None:
    """Plain gunicorn: HUP again and again with other workers and listeners; a broken file, crashing middleware in between."""
    wrong: list[str] = []
    with gunicorn(stage) as (site, process, _ports):
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], stage.mix) as load:
            load.wait_until_answered(100)
            hups, end_s = 0, time.monotonic() + stage.seconds
            while not hups or time.monotonic() < end_s:
                for workers, has_extra in ((3, True),) if stage.is_short else ((3, True), (1, True), (2, False)):
                    wrong += _hup_listening(site, process, workers, has_extra)
                    hups += 1
                if not stage.is_short:
                    process.configure(workers=2, more=BROKEN)
                    _hup_refused(process, 2)
                    process.configure(workers=2, more=site.evil(RAISES))
                    _hup(process, 2)  # the new workers cannot start with that, and serve what was there before
                    hups += 2
            report = load.finish()
        stage.check("what came of the reloads", not wrong, f"{hups} HUPs; {wrong or 'as it should'}")
        stage.check_nothing_failed(report)
        stage.check_exit(process)


def _hup_listening(site: Site, process: Gunicorn, workers: int, has_extra: bool) -> list[str]:
    """Reload with or without a further listener, and return what is wrong with it."""
    port = site.extra_ports[0]
    process.configure(workers=workers, extra=(port,) if has_extra else ())
    _hup(process, workers)
    if has_extra:
        why = no_echo_from(port)
        return [f"no answer from port {port}: {why}"] if why else []
    return [] if is_closed(port) else [f"port {port} is still open"]


def _hup(process: Gunicorn, workers: int) -> None:
    """Reload, and wait until only new workers are left."""
    before = set(process.workers())
    process.send(signal.SIGHUP)

    def are_new() -> bool:
        now = set(process.workers())
        return len(now) == workers and not now & before

    try:
        wait_until(are_new, f"{workers} new workers", 40.0)
    except AssertionError as error:
        now = [(pid, pid in before, command_line(pid)) for pid in process.workers()]
        raise AssertionError(f"{error}; there are {now}\n{process.log()}") from None


def _hup_refused(process: Gunicorn, workers: int) -> None:
    """Reload with a file that is broken: it is refused, and workers of the previous configuration replace each other."""
    before = process.log().count(_REFUSED)
    _hup(process, workers)
    wait_until(lambda: process.log().count(_REFUSED) > before, "the broken file is refused")


def upgrade(stage: Stage) -> None:
    """Plain gunicorn: USR2 starts a new one beside the old one, TERM ends the old one; nobody notices."""
    with gunicorn(stage) as (site, process, _ports):
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], stage.mix) as load:
            load.wait_until_answered(100)
            pids, end_s = [process.pid], time.monotonic() + stage.seconds
            while len(pids) < 2 or time.monotonic() < end_s:
                pids.append(next_master(process, pids[-1], _IS_UP))
                if not stage.is_short:
                    wait_until_gone(stage, process, *pids[-2:])
            report = load.finish()
        if stage.is_short:
            wait_until_gone(stage, process, *pids[-2:])
        stage.check("upgrades", len(set(pids)) == len(pids) > 1, f"{len(pids) - 1}, exit status {process.exit_status}")
        stage.check_nothing_failed(report)
        leave(stage, pids[-1])


def stop(stage: Stage) -> None:
    """Plain gunicorn: TERM with a hundred requests in flight: all complete, exit status 0."""
    count = round(100 * stage.factor)
    with gunicorn(stage) as (site, process, ports):
        once = [{"kind": "once", "clients": count}]
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], once) as load:
            wait_until(lambda: in_work(ports) == count, "all requests are in flight")
            release(ports, 0.5 if stage.is_short else 2.0)
            stage.check_exit(process, within_s=20.0)
            report = load.result(20.0)
        stage.check_nothing_failed(report)
