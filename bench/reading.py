"""Reading what wrk, h2load and openssl say of a load. Text in, figures out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_SKIPPED_S = 0.3
#: How a failure begins that is none of the answers: they were right, but too few.
MISSED = "rate missed"
_served = re.compile(r"^\s+(\d+) requests in ([\d.]+)(us|ms|s|m)", re.MULTILINE)
_not_2xx = re.compile(r"^\s+Non-2xx or 3xx responses: (\d+)", re.MULTILINE)
_socket_errors = re.compile(r"^\s+Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", re.MULTILINE)
_handshakes = re.compile(r"^(\d+) connections in (\d+) real seconds", re.MULTILINE)


class Unreadable(Exception):
    """A load said something else than it should."""


@dataclass(frozen=True)
class Load:
    """What a load has done: requests that were answered, in how long, further figures, and what went wrong (else "")."""

    requests: int
    seconds: float
    failure: str = ""
    figures: dict[str, float] = field(default_factory=dict)


def read_wrk(text: str) -> Load:
    """Read the summary of wrk. An answer that is not 2xx or 3xx and every broken connection is a failure."""
    served = _served.search(text)
    if served is None:
        raise Unreadable(f"wrk did not say how much it has done: {text[-200:]!r}")
    wrongs = []
    if refused := _not_2xx.search(text):
        wrongs.append(f"{refused[1]} answers were not 2xx")
    if errors := _socket_errors.search(text):
        kinds = zip(("connect", "read", "write", "timeout"), errors.groups(), strict=True)
        wrongs += [f"{count} errors of {kind}" for kind, count in kinds if count != "0"]
    requests = int(served[1])
    if not requests and not wrongs:
        wrongs.append("no request was answered")
    return Load(requests, float(served[2]) * _UNITS_S[served[3]], ", ".join(wrongs))


def read_h2load_log(text: str, seconds: float, rate: float) -> Load:
    """Read the log of h2load: a line for each request, with the microsecond of its start, its status and its microseconds.

    The first 0.3 seconds, in which all connections are opened, do not count. Fewer than 95 % of the requests that should have
    been made are a rate missed, which has no figures either, since what came late is not in the times.
    """
    rows = [line.split("\t") for line in text.splitlines()]
    if any(len(row) != 3 for row in rows):
        raise Unreadable(f"h2load's log has a line {next(row for row in rows if len(row) != 3)}")
    begin_us = min((int(row[0]) for row in rows), default=0) + _SKIPPED_S * 1e6
    rows = [row for row in rows if int(row[0]) >= begin_us]
    seconds -= _SKIPPED_S
    times_us = sorted(int(row[2]) for row in rows if row[1].startswith("2"))
    failure = ""
    if bad := len(rows) - len(times_us):
        failure = f"{bad} answers were not 2xx"
    elif len(times_us) < 0.95 * rate * seconds:
        failure = f"{MISSED}: {len(times_us) / seconds:,.0f}/s of {rate:,.0f}/s"
    if not times_us:
        return Load(0, seconds, failure or "no request was answered")
    figures = {"p50_us": share(times_us, 0.5), "p99_us": share(times_us, 0.99), "p999_us": share(times_us, 0.999)}
    return Load(len(times_us), seconds, failure, figures)


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value below which this part of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def read_s_time(texts: Sequence[str]) -> Load:
    """Add up what several `openssl s_time -new` have said. One that made no connection is a failure."""
    counts, longest = 0, 0.0
    for text in texts:
        found = _handshakes.search(text)
        if found is None or found[1] == "0":
            return Load(0, 0.0, f"no handshake: {(text.strip().splitlines() or ['openssl was silent'])[-1][:200]}")
        counts += int(found[1])
        longest = max(longest, float(found[2]))
    return Load(counts, longest)
