"""Precedence under gunicorn: which of the two configurations counts, and what the log says of that."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

from greenproxy import __version__
from greenproxy.config.options import idle_variables
from greenproxy.config.settings import Address, ListenerSettings, Settings
from greenproxy.process.announcements import announce_upstreams
from greenproxy.process.gunicorn_settings import Fate, given_with
from greenproxy.process.translation import conflicts, first_of

#: Keys of [greenproxy] that gunicorn has for itself.
_GUNICORNS = ("backlog", "error-log", "group", "log-level", "pid-file", "reload-timeout", "reuse-port", "user")


def what_does_not_count(settings: Settings, first: ListenerSettings, cfg: Any, bound: Iterable[Address]) -> list[str]:
    """Return the names of what somebody gave in vain.

    `settings` are as they were read, `first` is the listener on gunicorn's addresses, `bound` is what gunicorn listens on,
    as far as its master knows: with reuse_port it is only in `cfg`.
    """
    found = [key for key in _GUNICORNS if key in settings.process_keys]
    if "workers" in settings.process_keys and settings.process.workers != cfg.workers:
        found.append("workers")
    gunicorns = {_comparable(address) for address in [*bound, *map(_address, cfg.address)] if address is not None}
    lost = ", ".join(str(address) for address in first.bind if _comparable(address) not in gunicorns)
    return [*found, f"bind of [listener:{first.name}] ({lost})"] if lost else found


def _address(name: Any) -> Address | None:
    if isinstance(name, tuple):
        return Address(host=name[0], port=name[1])
    return Address(path=name) if isinstance(name, str) else None  # an open file: its socket is bound


def _comparable(address: Address) -> Address:
    return Address(port=address.port) if address.host == "0.0.0.0" else address


def announce(written: Settings, settings: Settings, cfg: Any, bound: Sequence[Address], log: logging.Logger) -> None:
    """Log what is served, what of the file and what of gunicorn's settings counts, and what does not."""
    log.info("greenproxy %s serves %s", __version__, settings.source)
    announce_upstreams(settings, log)
    for line in idle_variables(os.environ, settings):
        log.warning("%s", line)
    for line in conflicts(written, settings):
        log.info("%s", line)
    first = first_of(written)
    not_counting = what_does_not_count(written, first, cfg, bound) if first is not None else []
    if not_counting:
        log.warning("under gunicorn, which has its own, these do not count: %s", ", ".join(not_counting))
    idle = given_with(cfg, Fate.NOTHING)
    if isinstance(cfg.statsd_host, str):
        idle.append("statsd_host (a Unix socket)")
    if idle:
        log.warning("these settings of gunicorn mean nothing to greenproxy (docs/gunicorn.md): %s", ", ".join(idle))
    graceful_s = settings.process.graceful_timeout_s
    if not 0 < graceful_s <= cfg.graceful_timeout:
        log.warning("graceful-timeout is longer than gunicorn's, which is %d s: give it --graceful-timeout", cfg.graceful_timeout)
    if settings.demos:
        log.info("demo backends are not started under gunicorn: greenproxy demo --bind ADDRESS --name NAME does")
