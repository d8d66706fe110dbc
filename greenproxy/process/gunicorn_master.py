"""gunicorn's master, as far as we must know of it and tell it something: through its hooks, and around its `stop`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class Arbiter:
    """gunicorn's master as its own hooks show it to us: what we must know of it is in no argument of a worker.

    `before_stop` is called when it begins to stop, for which there is no hook: once, or twice.
    """

    def __init__(self, before_stop: Callable[[], None]) -> None:
        self._server: Any = None
        self._before_stop = before_stop

    def watch(self, cfg: Any, before_exec: Callable[[Any], None], after_exit: Callable[[Any], None]) -> None:
        """Stand before three hooks of a configuration, to meet the master, and to be called with it before it becomes a new
        program, and with each worker that has ended.
        """
        pre_fork, pre_exec, child_exit = cfg.pre_fork, cfg.pre_exec, cfg.child_exit

        def meet(server: Any, worker: Any) -> None:
            if self._server is None:
                self._server = server
                server.stop = self._announced(server.stop)
            pre_fork(server, worker)

        def hand(server: Any) -> None:
            pre_exec(server)
            before_exec(server)

        def reap(server: Any, worker: Any) -> None:
            after_exit(worker)
            child_exit(server, worker)

        cfg.set("child_exit", reap)
        cfg.set("pre_fork", meet)
        cfg.set("pre_exec", hand)

    def _announced(self, stop: Callable[[bool], None]) -> Callable[[bool], None]:
        def announced(graceful: bool = True) -> None:
            self._before_stop()
            stop(graceful)

        return announced

    @property
    def is_one_of_two(self) -> bool:
        """Whether another master, the one before or the one after, has our sockets too."""
        if self._server is None:  # nobody was forked yet
            return "GUNICORN_PID" in os.environ
        return bool(self._server.reexec_pid or self._server.master_pid)

    def early_signals(self) -> list[int]:
        """Return the signals that a fresh worker got before it listened: they are in its copy of the master's queue."""
        found: list[int] = self._server.wait_for_signals(timeout=0) if self._server is not None else []
        return found

    def worker_exit(self, worker: Any) -> None:
        """Call the hook worker_exit, for a worker whose process ends where gunicorn would not see it."""
        if self._server is not None:
            worker.cfg.worker_exit(self._server, worker)
