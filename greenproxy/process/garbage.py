"""Garbage: when a worker's collector looks for cycles.

The proxy makes none: what a request leaves dies with its last reference. Code of users may, so the collector must look, but
by its own rules it would look whenever 700 things more are alive than before. Every burst of requests is that, and a tenth of
a busy worker's time went into finding nothing. So it looks once a second, at what is new; at everything only when what has
stayed has grown by a quarter, and that is not by clients who come and go.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import monotonic

#: By itself the collector looks when so many things are new (several hundred requests at once), then at two rounds of those.
_THRESHOLDS = (10_000, 2, 10)
_EVERY_S = 1.0
_WORTH = 700  # new things; with fewer there is no hurry
_GROWTH = 4  # the part of what had stayed when it last looked at everything


class Garbage:
    """The collector of this process, from `begin` on."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._looked_s = clock()
        self._stayed = 0

    def begin(self) -> None:
        """Look at everything once, and never again at what is here now: it belongs to the house, and stays."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)

    def look(self) -> None:
        """Look at what is new, if that is worth it. To be called at least once a second."""
        now_s = self._clock()
        new, rounds, old = gc.get_count()
        if new < _WORTH or now_s < self._looked_s + _EVERY_S:
            return
        self._looked_s = now_s
        if rounds <= _THRESHOLDS[1]:
            gc.collect(0)
            return
        gc.collect(1)
        if old >= _THRESHOLDS[2]:
            self._look_at_all()

    def _look_at_all(self) -> None:
        """Look at what has stayed, if there is much more of it than there was behind the last such look."""
        if len(gc.get_objects(generation=2)) * _GROWTH > self._stayed * (_GROWTH + 1):
            gc.collect()
            self._stayed = len(gc.get_objects(generation=2))
