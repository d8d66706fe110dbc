"""What a start tells in the log, in the same words in front of both doors."""

from __future__ import annotations

import logging

from greenproxy.config.settings import BackendSettings, Settings

_MOST_SHOWN = 20


def announce_upstreams(settings: Settings, log: logging.Logger) -> None:
    """Log a line for each upstream, with its backends; of many, how many they are and some of them."""
    for upstream in settings.upstreams:
        backends = upstream.backends
        shown = ", ".join(map(_shown, backends[:_MOST_SHOWN]))
        if len(backends) > _MOST_SHOWN:
            shown = f"{len(backends)} backends: {shown} and so on"
        log.info("upstream %s: %s", upstream.name, shown)


def _shown(backend: BackendSettings) -> str:
    return f"{backend.address} ({backend.name})" if backend.name else str(backend.address)
