"""Pulse: what a worker does with its numbers once a second. It is the only one that drains the metrics.

What was counted goes to the tally and to statsd, everything that can be known of this worker to its slot of the board.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from logging import Logger
from time import monotonic, time
from types import MappingProxyType

import gevent
from gevent.event import Event

from greenproxy.certificates import Facts
from greenproxy.config.settings import Settings
from greenproxy.observability.board import Board, Slot
from greenproxy.observability.layout import Layout
from greenproxy.observability.metrics import Metrics, Snapshot
from greenproxy.observability.names import expiry_gauge, statsd_gauges
from greenproxy.observability.rows import State
from greenproxy.observability.statsd import Statsd
from greenproxy.observability.tally import Tally

BEAT_EVERY_S = 1.0
#: Of so many gauges (of a thousand backends, mostly) those that have not changed go to statsd only in every tenth second.
MANY_GAUGES = 100
TOLD_AGAIN_AFTER = 10
_BETWEEN_NEWS_S = 0.05  # when a hundred backends go down together, that is not published a hundred times


class Pulse:
    """`read` returns what the worker's rooms know of themselves, by the names on the board, or what of it has changed.

    Without `statsd` the board alone is served. `certificates` are those of each listener: a file, and what it says.
    """

    def __init__(
        self,
        metrics: Metrics,
        read: Callable[[], Mapping[str, float]],
        statsd: Statsd | None,
        settings: Settings,
        log: Logger,
        certificates: Mapping[str, Sequence[tuple[str, Facts]]] = MappingProxyType({}),
    ) -> None:
        self._metrics = metrics
        self._read = read
        self._statsd = statsd
        self._shown = statsd_gauges(settings)
        self._log = log
        self._expiries = {
            expiry_gauge(name): min(facts.not_after.timestamp() for _, facts in found)
            for name, found in certificates.items()
            if found
        }
        self._tally = Tally(monotonic(), (upstream.name for upstream in settings.upstreams))
        self._state = State.STARTING
        self._board: Board | None = None
        self._layout: Layout | None = None
        self._slot: Slot | None = None
        self._told: dict[str, float] = {}  # to statsd
        self._turn = 0
        self._has_news = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self, board: Board, layout: Layout, index: int) -> None:
        """Take the slot `index` of the board, as a worker that is starting, and begin to beat."""
        self._board, self._layout = board, layout
        try:
            self._slot = board.claim(index, layout)
        except ValueError as error:
            self._log.error("this worker is not seen by others: %s", error)
        if self._statsd is not None:
            self._statsd.start()
        self._greenlet = gevent.spawn(self._run)

    @property
    def index(self) -> int | None:
        """Which slot of the board it has; None when all were taken."""
        return None if self._slot is None else self._slot.index

    def become(self, state: State) -> None:
        """Tell the others at once what this worker does from now on. Raises nothing."""
        self._state = state
        self._beat(None)

    def news(self) -> None:
        """Publish as soon as this greenlet waits what cannot wait for the next second: it is what others will begin with."""
        self._has_news.set()

    def stop(self) -> None:
        """Count and send what is left, and leave the board. Waits a moment for statsd if its name is not known yet."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
        self._state = State.GONE
        self._beat(self._metrics.drain())
        if self._statsd is not None:
            self._statsd.close()

    def _run(self) -> None:
        due_s = monotonic() + BEAT_EVERY_S
        while True:
            if self._has_news.wait(max(0.0, due_s - monotonic())):
                self._has_news.clear()
                self._beat(None)
                gevent.sleep(_BETWEEN_NEWS_S)
            now_s = monotonic()
            if now_s >= due_s:
                due_s = max(due_s + BEAT_EVERY_S, now_s)
                self._beat(self._metrics.drain())

    def _beat(self, snapshot: Snapshot | None) -> None:
        """Publish what is known, with what was counted meanwhile. Never waits."""
        try:
            if snapshot is not None:
                self._tally.add(snapshot, monotonic())
            if self._slot is not None:
                self._slot.write({**self._tally.values(), **self._read()}, self._state)
            if self._statsd is not None and snapshot is not None:
                self._statsd.send(snapshot, self._gauges())
        except Exception:  # the next second is another chance, and what was counted is in the tally
            self._log.exception("the numbers of this second are lost; please report this")

    def _gauges(self) -> dict[str, float]:
        """Return the gauges of all workers, by their names in statsd, if this worker is the one to send them."""
        if self._slot is None or self._board is None or self._layout is None or not self._slot.speaks:
            return {}
        totals = self._board.totals(self._layout, self._shown)
        gauges = {theirs: totals[ours] for ours, theirs in self._shown.items() if ours in totals}
        # Below 0 statsd would take it for a change of the gauge.
        gauges |= {name: max(0.0, at - time()) for name, at in self._expiries.items()}
        return gauges if len(gauges) <= MANY_GAUGES else self._due(gauges)

    def _due(self, gauges: dict[str, float]) -> dict[str, float]:
        """Return the gauges that have changed, and of the others those whose turn it is."""
        told, self._told = self._told, gauges
        self._turn = (self._turn + 1) % TOLD_AGAIN_AFTER
        return {
            name: value
            for at, (name, value) in enumerate(gauges.items())
            if at % TOLD_AGAIN_AFTER == self._turn or told.get(name) != value
        }
