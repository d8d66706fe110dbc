"""Application: one configuration of `greenproxy -c`, as gunicorn's Arbiter and its workers want it."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack
from dataclasses import replace

from gunicorn.app.base import BaseApplication
from gunicorn.errors import ConfigError
from gunicorn.workers.base import Worker

from greenproxy.config.settings import Settings
from greenproxy.process.master_log import MasterLog
from greenproxy.process.pid_file import OwnPidfile
from greenproxy.process.prepared import Prepared
from greenproxy.process.rights import group_of, may_become

#: Workers cut what is left when graceful-timeout is over; so much later those that could not are killed.
_BEFORE_KILL_S = 2
_NO_LIMIT_S = 10**9


class ProxyApplication(BaseApplication):
    """One configuration, as gunicorn's, and what the estate has for it.

    Raises gunicorn's ConfigError for a user or group that does not exist.
    """

    prepared: Prepared
    pid_file: OwnPidfile | None = None
    undo: ExitStack

    def __init__(self, settings: Settings, worker_class: type[Worker]) -> None:
        workers = settings.process.workers or len(os.sched_getaffinity(0))
        self.settings = replace(settings, process=replace(settings.process, workers=workers))
        self._worker_class = worker_class
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
            "worker_class": self._worker_class,
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
