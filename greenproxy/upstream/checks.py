"""Checks: the active health checks of one upstream in one worker.

One greenlet keeps the timetable; each check runs in a child of it, and only so many at a time. A check opens a socket of its
own, outside the pool, and closes it. What it shows is noted in the backend's `Health`, which decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapreplace
from random import Random

import gevent
from gevent.pool import Pool as Children

from greenproxy.config.settings import UpstreamSettings
from greenproxy.deadline import NEVER, Deadline
from greenproxy.errors import BackendReset, ConnectTimeout, NoDescriptor, ProxyError, ResponseTimeout
from greenproxy.net.stream import Stream
from greenproxy.protocol.probe import Probe
from greenproxy.upstream.backend import Backend

#: So many checks of one upstream may be under way at once, or a quarter of its backends where that is more.
AT_ONCE = 16
#: The first check comes within this time, so that a dead backend is known soon and workers do not check in step.
FIRST_WITHIN_S = 1.0
#: With hundreds of backends it takes longer, at this pace.
_FIRST_A_SECOND = 200
_JITTER = 0.1
#: From one look at the timetable to the next, at least; of the interval where that is short. Of a thousand backends several
#: are due then: checks that come together cost half of what each costs that wakes an idle worker, and the backend's machine.
_LOOK_EVERY_S, _LOOK_EVERY = 0.05, 0.01
_READ_BYTES = 16 * 1024


class Checks:
    """Checks every backend each `health-interval`, which must not be 0, give or take a tenth."""

    def __init__(self, settings: UpstreamSettings, backends: Sequence[Backend], clock: Callable[[], float], rng: Random) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._interval_s = settings.health_interval_s
        self._start_s = clock()
        self._within_s = min(self._interval_s, max(FIRST_WITHIN_S, len(backends) / _FIRST_A_SECOND))
        self._count = len(backends)
        first = ((self._start_s + self._share(number) * self._within_s, number) for number in range(len(backends)))
        self._due = [(at_s, number, backend, True) for (at_s, number), backend in zip(first, backends, strict=True)]
        self._under_way: set[Backend] = set()
        self._children = Children(max(AT_ONCE, len(backends) // 4))
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
            gevent.sleep(self.pause_s())

    def pause_s(self) -> float:
        """Return in how many seconds the timetable is to be looked at again."""
        return max(min(_LOOK_EVERY_S, _LOOK_EVERY * self._interval_s), self._due[0][0] - self._clock())

    def _share(self, number: int) -> float:
        """Return a place between 0 and 1 for one of the backends; all of them are spread evenly, and not in step with others."""
        return (number + self._rng.random()) / self._count

    def _next_s(self, now_s: float, number: int, is_first: bool) -> float:
        """Return when the next check of a backend is due. The second one spreads them over the interval, once and for all."""
        second_s = self._start_s + self._within_s + self._share(number) * self._interval_s
        if is_first and second_s > now_s:
            return second_s
        return now_s + self._interval_s * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    @property
    def under_way(self) -> int:
        """How many backends are being checked now."""
        return len(self._under_way)

    def due(self) -> list[Backend]:
        """Return the backends whose check is due, and give each its next time.

        One that is still being checked, or that has no address, is passed over this time.
        """
        now_s = self._clock()
        due = []
        while self._due[0][0] <= now_s:  # a heap: however many there are, only those that are due cost
            _, number, backend, is_first = self._due[0]
            heapreplace(self._due, (self._next_s(now_s, number, is_first), number, backend, False))
            if backend.has_address and backend not in self._under_way:
                due.append(backend)
        return due

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
