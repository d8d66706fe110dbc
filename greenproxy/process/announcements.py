"""What a start tells in the log, in the same words in front of both doors."""

from __future__ import annotations

import logging

from greenproxy.config.settings import BackendSettings, Settings


def announce_upstreams(settings: Settings, log: logging.Logger) -> None:
    """Log a line for each upstream, with its backends."""
    for upstream in settings.upstreams:
        log.info("upstream %s: %s", upstream.name, ", ".join(map(_shown, upstream.backends)))


def _shown(backend: BackendSettings) -> str:
    return f"{backend.address} ({backend.name})" if backend.name else str(backend.address)
