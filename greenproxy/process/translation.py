"""Translation: what gunicorn's settings mean for greenproxy. Those that differ from gunicorn's defaults beat the file."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from greenproxy.config.schema import key_name
from greenproxy.config.settings import Address, ListenerSettings, ProcessSettings, Settings
from greenproxy.process.gunicorn_settings import given

#: What gunicorn's parser makes of limits that are 0 or larger than it likes (gunicorn/http/message.py).
_LONGEST_LINE, _LINE_WITHOUT_LIMIT, _MOST_FIELDS, _LONGEST_FIELD = 8190, 1024 * 1024, 32768, 8190
_EVERYBODY: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))

#: Field of [greenproxy] and the setting of gunicorn that beats it.
_PROCESS = {
    "worker_connections": "worker_connections",
    "max_requests": "max_requests",
    "max_requests_jitter": "max_requests_jitter",
    "graceful_timeout_s": "graceful_timeout",
    "worker_timeout_s": "timeout",
    "access_log": "accesslog",
    "statsd": "statsd_host",
    "statsd_prefix": "statsd_prefix",
    "statsd_tags": "dogstatsd_tags",
}
_LISTENER = {
    "idle_timeout_s": "keepalive",
    "keepalive_requests": "keepalive",
    "max_uri_bytes": "limit_request_line",
    "max_headers": "limit_request_fields",
    "max_header_size_bytes": "limit_request_*",
    "trusted_proxies": "forwarded_allow_ips",
    "tls_certificate": "certfile",
    "tls_key": "keyfile",
    "tls_client_ca": "ca_certs",
    "tls_client": "cert_reqs",
}


def with_gunicorn_settings(settings: Settings, cfg: Any) -> Settings:
    """Return the settings with those of gunicorn that differ from gunicorn's defaults; they beat the file."""
    found = {field: given(cfg, name) for field, name in _PROCESS.items()}
    found["statsd"] = _statsd(found["statsd"])
    found["statsd_prefix"] = found["statsd_prefix"] and found["statsd_prefix"].rstrip(".")  # we add the dot that it may end in
    found["statsd_tags"] = _tags(found["statsd_tags"])
    process = replace(
        settings.process, workers=cfg.workers, **{field: value for field, value in found.items() if value is not None}
    )
    listeners = tuple(
        _translated(listener, cfg) if listener is first_of(settings) else listener for listener in settings.listeners
    )
    return replace(settings, process=process, listeners=listeners)


def first_of(settings: Settings) -> ListenerSettings | None:
    """Return the listener that gets gunicorn's addresses: the first that speaks HTTP."""
    return next((listener for listener in settings.listeners if listener.protocol == "http"), None)


def conflicts(written: Settings, settings: Settings) -> Iterator[str]:
    """Yield a line for each key of the file (`written`) that a setting of gunicorn beats in `settings`."""
    source = f" in {written.source}" if written.source else ""
    for field in fields(ProcessSettings):
        setting = _PROCESS.get(field.name)
        before, after = getattr(written.process, field.name), getattr(settings.process, field.name)
        if setting and before != after and key_name(field) in written.process_keys:
            yield f"gunicorn's {setting} ({_shown(after)}) beats {key_name(field)} = {_shown(before)}{source}"
    first, translated = first_of(written), first_of(settings)
    if first is None or translated is None:
        return
    for field in fields(ListenerSettings):
        setting = _LISTENER.get(field.name)
        before, after = getattr(first, field.name), getattr(translated, field.name)
        if setting and before != after and before != field.default:
            where = f"{key_name(field)} = {_shown(before)} of [listener:{first.name}]"
            yield f"gunicorn's {setting} ({_shown(after)}) beats {where}{source}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _statsd(host: Any) -> Address | None:
    return Address(host=host[0], port=host[1]) if isinstance(host, tuple) else None  # a path: we speak UDP only


def _tags(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(tag.strip() for tag in text.split(",") if tag.strip())


def _translated(listener: ListenerSettings, cfg: Any) -> ListenerSettings:
    changes: dict[str, Any] = _limits(listener, cfg) | _certificates(cfg)
    keepalive = given(cfg, "keepalive")
    if keepalive:
        changes["idle_timeout_s"] = float(keepalive)
    elif keepalive == 0:
        changes["keepalive_requests"] = 1
    allowed = given(cfg, "forwarded_allow_ips")
    if allowed is not None:
        everybody = "*" in allowed
        changes["trusted_proxies"] = _EVERYBODY if everybody else tuple(ip_network(network) for network in allowed)
        changes["trust_unix"] = True  # gunicorn believes whoever has no address, always
    return replace(listener, **changes)


def _certificates(cfg: Any) -> dict[str, Any]:
    """Return gunicorn's pair, which takes the place of all others, and what it wants to know of clients."""
    if cfg.certfile is None:
        return {}
    changes: dict[str, Any] = {"tls_certificate": (cfg.certfile,), "tls_key": (cfg.keyfile,) if cfg.keyfile else ()}
    if cfg.ca_certs and cfg.cert_reqs:
        changes |= {"tls_client_ca": cfg.ca_certs, "tls_client": "required" if cfg.cert_reqs == ssl.CERT_REQUIRED else "optional"}
    return changes


def _limits(listener: ListenerSettings, cfg: Any) -> dict[str, int]:
    """Return limits that refuse nothing that gunicorn would take with its `limit_request_*`.

    gunicorn counts the line and each field for itself, we the whole head: it gets room for the most that both allow.
    """
    line, count, size = (given(cfg, f"limit_request_{what}") for what in ("line", "fields", "field_size"))
    if line is None and count is None and size is None:
        return {}
    changes: dict[str, int] = {}
    head_bytes = listener.max_header_size_bytes
    if count is not None:
        changes["max_headers"] = count if 0 < count <= _MOST_FIELDS else _MOST_FIELDS
    if count is not None or size is not None:
        most = changes.get("max_headers", listener.max_headers) or _MOST_FIELDS
        head_bytes = most * ((cfg.limit_request_field_size or _LONGEST_FIELD) + len("\r\n")) + len("\r\n")
    if line is not None:
        changes["max_uri_bytes"] = min(line, _LONGEST_LINE)  # 0 is no limit, here and there
    line_bytes = min(cfg.limit_request_line, _LONGEST_LINE) or _LINE_WITHOUT_LIMIT
    if head_bytes:
        changes["max_header_size_bytes"] = head_bytes + line_bytes + len("\r\n")
    return changes
