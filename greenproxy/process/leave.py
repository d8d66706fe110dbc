"""Leave: how much time a worker that ends gives to what it still has."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from greenproxy.config.settings import ProcessSettings

#: Idle connections stay open so long, because a request may be on its way. Whoever was replaced has time: clients that
#: think for a few seconds between two requests meet no connection that closes in the same moment.
LINGER_S, LINGER_WHEN_REPLACED_S = 1.0, 10.0


class Leave:
    """The end of one worker: reload-timeout as long as others serve on in its place, graceful-timeout from when all stop.

    `is_replaced()` says which of the two holds; it is asked on every turn, because a master may be told to stop while a
    replaced worker still drains. `others_serve()` says whether the clients go on with somebody: with other workers, or with
    another master's (USR2). `is_fast()` says that nothing is waited for, `beat()` gives a heartbeat. `at_most_s` bounds both
    times: a master that is not ours may kill earlier.
    """

    def __init__(
        self,
        process: ProcessSettings,
        is_replaced: Callable[[], bool],
        others_serve: Callable[[], bool],
        is_fast: Callable[[], bool],
        beat: Callable[[], None],
        at_most_s: float = math.inf,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._process = process
        self._ask = is_replaced
        self._others_serve = others_serve
        self._at_most_s = at_most_s
        self._clock = clock
        self._is_replaced = is_replaced()
        self._begun_s = clock()
        self.is_fast = is_fast
        self.beat = beat

    @property
    def limit(self) -> str:
        """The key that bounds it."""
        if self._at_most_s < (self._wanted_s or math.inf):
            return "gunicorn's graceful_timeout"
        return "reload-timeout" if self._is_replaced else "graceful-timeout"

    @property
    def linger_s(self) -> float:
        """Seconds for which idle connections stay."""
        return LINGER_WHEN_REPLACED_S if self._is_replaced or self._others_serve() else LINGER_S

    def remaining_s(self) -> float:
        """Return the seconds that are left; infinite without a limit."""
        if self._is_replaced and not self._ask():
            self._is_replaced = False
            self._begun_s = self._clock()
        return min(self._wanted_s or math.inf, self._at_most_s) - (self._clock() - self._begun_s)

    @property
    def _wanted_s(self) -> float:
        return self._process.reload_timeout_s if self._is_replaced else self._process.graceful_timeout_s
