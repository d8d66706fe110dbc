"""Report: what the error log is told about one middleware."""

from __future__ import annotations

import traceback
from logging import Logger
from time import monotonic

_REPORT_EVERY_S = 10.0
_LIBRARIES = ("site-packages", "/gevent/", "<frozen")  # compiled modules tell their source's path: src/gevent/...


class Report:
    """Writes to `log`, always with the middleware's name."""

    __slots__ = ("_log", "_name", "_told_at_s")

    def __init__(self, name: str, log: Logger) -> None:
        self._name = name
        self._log = log
        self._told_at_s = float("-inf")

    def wrong(self, what: str) -> None:
        """Tell of a mistake that has no traceback: `returned None, not a Response`."""
        self._log.error("middleware %s %s", self._name, what)

    def failed(self, what: str, error: BaseException) -> None:
        """Tell of an exception, with its traceback."""
        self._log.error("middleware %s %s", self._name, what, exc_info=error)

    def late(self, limit_s: float, subject: str, error: BaseException | None) -> None:
        """Tell that its time was over, for which request, and where it stood then.

        Slowness can last, so this is told every ten seconds at most.
        """
        now = monotonic()
        if now - self._told_at_s >= _REPORT_EVERY_S:
            self._told_at_s = now
            self._log.warning("middleware %s took longer than %gs on %s%s", self._name, limit_s, subject, _place(error))


def _place(error: BaseException | None) -> str:
    """Return where the middleware stood: its innermost line that is not a library's, "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)[1:] if error is not None else []  # the first is our own call
    own = [frame for frame in frames if not any(mark in frame.filename for mark in _LIBRARIES)]
    return f" (in {own[-1].filename}:{own[-1].lineno}, {own[-1].name})" if own else ""
