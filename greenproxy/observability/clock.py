"""The time of day as text. A second's text is made once a second, however many requests ask for it."""

from __future__ import annotations

from time import gmtime, localtime, strftime, time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Cache:
    """The texts of one second."""

    __slots__ = ("clf", "clf_at", "http", "http_at", "iso", "iso_at")

    def __init__(self) -> None:
        self.http_at = self.clf_at = self.iso_at = -1
        self.http = b""
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


def clf_time() -> str:
    """Return now as the common log format has it: `10/Oct/2000:13:55:36 -0700`, local time."""
    now = int(time())
    if now != _cache.clf_at:
        t = localtime(now)
        _cache.clf = f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{strftime('%H:%M:%S %z', t)}"
        _cache.clf_at = now
    return _cache.clf


def iso_time() -> str:
    """Return now as RFC 3339 has it, in UTC with milliseconds: `2026-01-02T03:04:05.678Z`."""
    now = time()
    second = int(now)
    if second != _cache.iso_at:
        _cache.iso = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        _cache.iso_at = second
    return f"{_cache.iso}.{int((now - second) * 1000):03}Z"
