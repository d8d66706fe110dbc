"""Checks: the active health checks of one upstream in one worker.

One greenlet keeps the timetable; each check runs in a child of it, and only so many at a time. A check opens a socket of its
own, outside the pool, and closes it. What it shows is noted in the backend's `Health`, which decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import gevent
from gevent.pool import Pool as Children

from greenproxy.config.settings import UpstreamSettings
from greenproxy.deadline import NEVER, Deadline
from greenproxy.errors import BackendReset, ConnectTimeout, NoDescriptor, ProxyError, ResponseTimeout
from greenproxy.net.stream import Stream
from greenproxy.protocol.probe import Probe
from greenproxy.upstream.backend import Backend

#: Checks of one upstream that may be under way at once.
AT_ONCE = 16
#: The first check comes within this time, so that a dead backend is known soon and workers do not check in step.
FIRST_WITHIN_S = 1.0
_JITTER = 0.1
_READ_BYTES = 16 * 1024


class Checks:
    """Checks every backend each `health-interval`, which must not be 0, give or take a tenth."""

    def __init__(self, settings: UpstreamSettings, backends: Sequence[Backend], clock: Callable[[], float], rng: Random) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        soon_s = min(FIRST_WITHIN_S, settings.health_interval_s)
        self._due_at_s = {backend: clock() + rng.uniform(0.0, soon_s) for backend in backends}
        self._under_way: set[Backend] = set()
        self._children = Children(AT_ONCE)
        self._timetable: gevent.Greenlet[..., None] | None = None

    def start(self) -> None:
        """Begin to check."""
        if self._timetable is None:
            self._timetable = gevent.spawn(self._run)

    def stop(self) -> None:
        """Check no more; waits until the checks under way have closed their sockets. Idempotent."""
        timetable, self._timetable = self._timetable, None
        if timetable is not None:
            timetable.kill()
        self._children.kill()

    def _run(self) -> None:
        while True:
            for backend in self.due():
                self._children.spawn(self.check, backend)
            gevent.sleep(max(0.0, min(self._due_at_s.values()) - self._clock()))

    @property
    def under_way(self) -> int:
        """How many backends are being checked now."""
        return len(self._under_way)

    def due(self) -> list[Backend]:
        """Return the backends whose check is due, and give each its next time.

        One that is still being checked, or that has no address, is passed over this time.
        """
        now = self._clock()
        due = [backend for backend, at_s in self._due_at_s.items() if at_s <= now]
        for backend in due:
            self._due_at_s[backend] = now + self._settings.health_interval_s * self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        return [backend for backend in due if backend.has_address and backend not in self._under_way]

    def check(self, backend: Backend) -> None:
        """Check a backend once and note what that showed. Waits at most health-timeout."""
        self._under_way.add(backend)
        try:
            fault = self._fault(backend)
        except NoDescriptor:  # our own lack: nothing was shown of the backend
            return
        finally:
            self._under_way.discard(backend)
        if fault:
            backend.health.check_failed(fault)
        else:
            backend.health.check_passed()

    def _fault(self, backend: Backend) -> str:
        """Return what is wrong with a backend, "" if nothing is. Raises NoDescriptor when it cannot be asked."""
        seconds = self._settings.health_timeout_s
        limit = Deadline.after(seconds, ConnectTimeout) if seconds else Deadline(NEVER.at_s, ConnectTimeout)
        try:
            stream, _ = backend.connect(limit)
        except NoDescriptor:
            raise
        except ProxyError as error:
            return error.reason
        try:
            return self._ask(backend, stream, Deadline(limit.at_s, ResponseTimeout)) if self._settings.health_path else ""
        except OSError:
            return BackendReset.reason
        except ProxyError as error:
            return error.reason
        finally:
            stream.close()

    def _ask(self, backend: Backend, stream: Stream, limit: Deadline) -> str:
        """Ask for health-path. Return "" for a status that means healthy, else what came."""
        probe = Probe(backend.host.decode("ascii"), self._settings.health_path)
        stream.send(probe.request(), limit)
        status = None
        while status is None:
            status = probe.receive(stream.recv_after_wait(_READ_BYTES, limit))
        if any(low <= status <= high for low, high in self._settings.health_status):
            return ""
        return f"status {status}"
