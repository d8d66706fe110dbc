"""How a setting is told to people, in `--help` and in docs/configuration.md: its unit, its default, its sentence."""

from __future__ import annotations

from dataclasses import MISSING, Field
from typing import Any

from greenproxy.config.settings import Address
from greenproxy.config.values import format_duration, format_size

#: What stands for the value of a key whose name does not tell.
_METAVARS = {
    "access_log": "PATH",
    "error_log": "PATH",
    "pid_file": "PATH",
    "statsd": "HOST:PORT",
    "bind": "ADDRESS",
    "log_level": "LEVEL",
    "access_log_format": "FORMAT",
    "statsd_prefix": "PREFIX",
    "server_header": "TEXT",
    "user": "USER",
    "group": "GROUP",
}

#: Defaults that are found when the settings are loaded.
_FOUND_DEFAULTS = {
    "workers": "one per processor core",
    "trusted_proxies": "nobody",
}


def metavar(field: Field[Any]) -> str:
    """Return what stands for the field's value in a usage text."""
    if field.name.endswith("_s"):
        return "DURATION"
    if field.name.endswith("_bytes"):
        return "SIZE"
    if isinstance(field.default, bool):
        return "on|off"
    return _METAVARS.get(field.name, "N")


def sentence(field: Field[Any]) -> str:
    """Return what the field means."""
    return str(field.metadata.get("sentence", ""))


def default_text(field: Field[Any]) -> str:
    """Return the default as it would be written in a file; empty where there is none."""
    value = field.default
    if field.name in _FOUND_DEFAULTS:
        return _FOUND_DEFAULTS[field.name]
    if value is MISSING or value in ("", (), None) or isinstance(value, Address):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if field.name.endswith("_s"):
        return format_duration(value)
    if field.name.endswith("_bytes"):
        return format_size(value)
    if isinstance(value, tuple):
        return ", ".join(item if isinstance(item, str) else f"{item[0]}-{item[1]}" for item in value)
    return str(value)
