"""How a setting is told to people, in `--help` and in docs/configuration.md: its value, its default, its sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field
from typing import Any

from greenproxy.config.settings import Address
from greenproxy.config.values import format_duration, format_size

#: What stands for a value whose field does not tell: in a usage text, and in the reference.
_VALUES: Mapping[str, tuple[str, str]] = {
    "admin": ("ADDRESS", "address"),
    "admin_token": ("TOKEN", "text"),
    "access_log": ("PATH", "path"),
    "access_log_format": ("FORMAT", "word"),
    "backends": ("", "lines"),
    "balance": ("", "word"),
    "bind": ("ADDRESS", "addresses"),
    "error_log": ("PATH", "path"),
    "group": ("GROUP", "name or id"),
    "header": ("", "lines"),
    "health_path": ("", "path"),
    "health_status": ("", "list"),
    "host": ("", "list"),
    "host_header": ("", "word"),
    "listener": ("", "names"),
    "log_level": ("LEVEL", "word"),
    "method": ("", "list"),
    "middleware": ("", "names"),
    "path": ("", "lines"),
    "pid_file": ("PATH", "path"),
    "protocol": ("", "word"),
    "redirect": ("", "address"),
    "retry_on": ("", "list"),
    "server_header": ("TEXT", "text"),
    "statsd": ("HOST:PORT", "address"),
    "statsd_prefix": ("PREFIX", "text"),
    "statsd_tags": ("TAGS", "list"),
    "status": ("", "status"),
    "redirect_status": ("", "status"),
    "strip_prefix": ("", "path"),
    "tls_certificate": ("", "paths"),
    "tls_client": ("", "word"),
    "tls_client_ca": ("", "path"),
    "tls_key": ("", "paths"),
    "trusted_proxies": ("", "list"),
    "type": ("", "name"),
    "upstream": ("", "name"),
    "user": ("USER", "name or id"),
}

#: Defaults that depend on something else, by kind of section; "" is every kind.
_TOLD_DEFAULTS: Mapping[tuple[str, str], str] = {
    ("", "backends"): "required",
    ("", "bind"): "required",
    ("", "trusted_proxies"): "nobody's",
    ("", "workers"): "one per processor core",
    ("", "admin"): "off",
    ("", "statsd"): "off",
    ("listener", "upstream"): "the only one, where there is just one",
    ("route", "upstream"): "the only one, where there is just one",
    ("route", "listener"): "every http listener",
    ("route", "host"): "any",
    ("route", "path"): "any",
    ("route", "header"): "any",
    ("route", "method"): "all",
    ("route", "max_body_bytes"): "the listener's",
    ("middleware", "type"): "the built-in of the section's name",
}


def metavar(field: Field[Any]) -> str:
    """Return what stands for the field's value in a usage text."""
    if field.name.endswith("_s"):
        return "DURATION"
    if field.name.endswith("_bytes"):
        return "SIZE"
    if isinstance(field.default, bool):
        return "on|off"
    return _VALUES.get(field.name, ("N", ""))[0]


def value_kind(field: Field[Any]) -> str:
    """Return in one word what the field's value is."""
    if field.name.endswith("_s"):
        return "duration"
    if field.name.endswith("_bytes"):
        return "size"
    if isinstance(field.default, bool):
        return "on, off"
    return _VALUES.get(field.name, ("", "number"))[1]


def sentence(field: Field[Any]) -> str:
    """Return what the field means."""
    return str(field.metadata.get("sentence", ""))


def default_text(field: Field[Any], kind: str = "greenproxy") -> str:
    """Return the default in a section of this kind, as it would be written in a file; empty where there is none."""
    told = _TOLD_DEFAULTS.get((kind, field.name)) or _TOLD_DEFAULTS.get(("", field.name))
    if told:
        return told
    value = field.default
    if value is MISSING or value in ("", (), None) or isinstance(value, Address):
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if field.name == "status":
        return ""
    if field.name.endswith("_s"):
        return format_duration(value)
    if field.name.endswith("_bytes"):
        return format_size(value)
    if isinstance(value, tuple):
        return ", ".join(item if isinstance(item, str) else f"{item[0]}-{item[1]}" for item in value)
    return str(value)


def is_literal_default(field: Field[Any], kind: str) -> bool:
    """Return whether default_text can be written in a file as it is."""
    return bool(default_text(field, kind)) and (kind, field.name) not in _TOLD_DEFAULTS and ("", field.name) not in _TOLD_DEFAULTS
