"""The time of day as text. A second's text is made once a second, however many requests ask for it."""

from __future__ import annotations

from math import floor
from time import gmtime, localtime, monotonic, strftime, time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: What stands behind the point of a number of seconds: "000" to "999".
THOUSANDTHS = tuple(f"{n:03}" for n in range(1000))


class _Cache:
    """The texts of one second. Those of the log hold from `log_from_s` until `log_until_s` of the monotonic clock."""

    __slots__ = ("clf", "http", "http_at", "iso", "log_from_s", "log_until_s")

    def __init__(self) -> None:
        self.http_at = -1
        self.http = b""
        self.log_from_s = self.log_until_s = 0.0
        self.clf = self.iso = ""


_cache = _Cache()


def http_date() -> bytes:
    """Return now as a Date field has it (IMF-fixdate, RFC 9110 section 5.6.7), independent of the locale."""
    now = int(time())
    if now != _cache.http_at:
        t = gmtime(now)
        text = f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} {strftime('%H:%M:%S', t)} GMT"
        _cache.http = text.encode()
        _cache.http_at = now
    return _cache.http


def clf_time(at_s: float) -> str:
    """Return `at_s` of the monotonic clock as the common log format has it: `10/Oct/2000:13:55:36 -0700`, local time."""
    if not _cache.log_from_s <= at_s < _cache.log_until_s:
        _begin_second(at_s)
    return _cache.clf


def iso_time(at_s: float) -> str:
    """Return `at_s` of the monotonic clock as RFC 3339 has it, in UTC with milliseconds: `2026-01-02T03:04:05.678Z`."""
    if not _cache.log_from_s <= at_s < _cache.log_until_s:
        _begin_second(at_s)
    return f"{_cache.iso}.{THOUSANDTHS[int((at_s - _cache.log_from_s) * 1000)]}Z"


def _begin_second(at_s: float) -> None:
    """Make the texts of the second in which `at_s` is. Asks both clocks, so that a step of the time of day is heeded then."""
    ahead_s = time() - monotonic()
    second = floor(at_s + ahead_s)
    t = localtime(second)
    _cache.clf = f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{strftime('%H:%M:%S %z', t)}"
    _cache.iso = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
    _cache.log_from_s = min(at_s, second - ahead_s)
    _cache.log_until_s = _cache.log_from_s + 1
