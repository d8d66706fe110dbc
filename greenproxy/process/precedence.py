"""Precedence under gunicorn: what of our configuration does not count there, because gunicorn has its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from greenproxy.config.settings import Address, ListenerSettings, Settings

#: Keys of [greenproxy] that gunicorn has for itself.
_GUNICORNS = ("backlog", "error-log", "group", "log-level", "pid-file", "reload-timeout", "user")


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
