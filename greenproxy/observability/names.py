"""Names: what the numbers of a configuration are called on the board, and which of its gauges statsd gets to see.

A name on the board is a path, because the name of a metric may stand for two things: `a.b` and `a_b` are one word there.
Of a backend it has upstream, scheme and address, so that a reload which renames it changes nothing, and one which gives
the name to another server lets that one begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from greenproxy.config.settings import Settings, UpstreamSettings
from greenproxy.errors import RETRY_REASONS
from greenproxy.observability.layout import Names
from greenproxy.observability.metrics import metric_word

RESPONSES = tuple(f"responses.{digit}xx" for digit in range(1, 6))
RATES = ("requests_per_s", "errors_per_s")
HANDSHAKES = ("handshakes", "resumed", "failures")  # of TLS: how many are complete, how many of those were short, the others
UPSTREAM_COUNTERS = ("requests", "failures", "retries")
_GAUGES = ("connections.active", "connections.idle", *RATES)
_COUNTERS = ("requests", "errors", *RESPONSES)
_BACKEND_GAUGES = ("up", "active", "idle")  # these go to statsd
_BACKEND_COUNTERS = ("requests", "failures")
_BACKEND_VERDICTS = ("verdict", "rests_until")
#: What the board has of a backend, in the order in which the backend tells it.
BACKEND_NUMBERS = (*_BACKEND_GAUGES, "state", *_BACKEND_COUNTERS, *_BACKEND_VERDICTS)


def of_listener(listener: str, what: str) -> str:
    """Return the name of a listener's number: its open `connections`, its `requests`, and with TLS `tls/` with HANDSHAKES."""
    return f"listener/{listener}/{what}"


def of_upstream(upstream: str, what: str) -> str:
    """Return the name of an upstream's number: queued, requests_per_s, requests, failures, retries."""
    return f"upstream/{upstream}/{what}"


def of_retries(upstream: str, reason: str) -> str:
    """Return the name of the number of an upstream's retries that had this reason, one of RETRY_REASONS."""
    return f"upstream/{upstream}/retries/{reason}"


def stems(upstream: UpstreamSettings) -> tuple[str, ...]:
    """Return what the names of each backend's numbers begin with, in the order of the backends.

    One that has the upstream, the scheme and the address of an earlier one is told from it by its place among them.
    """
    found: dict[str, int] = {}
    told = []
    for backend in upstream.backends:
        stem = f"upstream/{upstream.name}/{backend.scheme}://{backend.address}"
        twin = found[stem] = found.get(stem, 0) + 1
        told.append(stem if twin == 1 else f"{stem} {twin}")
    return tuple(told)


def of_backend(stem: str, what: str) -> str:
    """Return the name of a backend's number: up, active, idle, state, requests, failures, verdict, rests_until."""
    return f"{stem}/{what}"


def names_of(settings: Settings) -> Names:
    """Return every name that workers with these settings have."""
    gauges, counters = list(_GAUGES), list(_COUNTERS)
    verdicts: list[str] = []
    for listener in settings.listeners:
        gauges.append(of_listener(listener.name, "connections"))
        counters.append(of_listener(listener.name, "requests"))
        if listener.tls_certificate:
            counters += (of_listener(listener.name, f"tls/{what}") for what in HANDSHAKES)
    for upstream in settings.upstreams:
        gauges += (of_upstream(upstream.name, what) for what in ("queued", "requests_per_s"))
        counters += (of_upstream(upstream.name, what) for what in UPSTREAM_COUNTERS)
    for upstream in settings.upstreams:
        for stem in stems(upstream):
            gauges += (of_backend(stem, what) for what in (*_BACKEND_GAUGES, "state"))
            counters += (of_backend(stem, what) for what in _BACKEND_COUNTERS)
            verdicts += (of_backend(stem, what) for what in _BACKEND_VERDICTS)
    counters += (of_retries(upstream.name, reason) for upstream in settings.upstreams for reason in RETRY_REASONS)
    return Names(gauges, counters, verdicts)


def statsd_gauges(settings: Settings) -> Mapping[str, str]:
    """Return the gauges that statsd gets, as the board names them, with their names there (without the prefix)."""
    return dict(_statsd_gauges(settings))


def expiry_gauge(listener: str) -> str:
    """Return what statsd calls the seconds until the first certificate of a listener expires. The board does not have it."""
    return f"listener.{metric_word(listener)}.tls.expires"


def _statsd_gauges(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "connections.active", "connections.active"
    yield "connections.idle", "connections.idle"
    for upstream in settings.upstreams:
        place = f"upstream.{metric_word(upstream.name)}"
        yield of_upstream(upstream.name, "queued"), f"{place}.queued"
        for stem, backend in zip(stems(upstream), upstream.backends, strict=True):
            for what in _BACKEND_GAUGES:
                yield of_backend(stem, what), f"{place}.{metric_word(backend.label)}.{what}"
