from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from gunicorn.config import Config

from greenproxy.config.settings import Address, ListenerSettings, ProcessSettings, Settings
from greenproxy.process.translation import conflicts, with_gunicorn_settings

FILE = Settings(
    process=ProcessSettings(
        worker_connections=77,
        max_requests=5,
        graceful_timeout_s=3.0,
        worker_timeout_s=4.0,
        statsd_prefix="file",
        access_log="a.log",
    ),
    listeners=(ListenerSettings(name="web", idle_timeout_s=9.0), ListenerSettings(name="other", idle_timeout_s=9.0)),
)


def gunicorn(**settings: object) -> Config:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    return cfg


def test_file_holds_where_gunicorn_has_its_defaults() -> None:
    found = with_gunicorn_settings(FILE, gunicorn(workers=3))
    assert found.process == ProcessSettings(
        workers=3,
        worker_connections=77,
        max_requests=5,
        graceful_timeout_s=3.0,
        worker_timeout_s=4.0,
        statsd_prefix="file",
        access_log="a.log",
    )
    assert found.listeners == FILE.listeners


@pytest.mark.parametrize(
    ("gunicorns", "ours", "value"),
    [
        ({"worker_connections": 5}, "worker_connections", 5),
        ({"max_requests": 9}, "max_requests", 9),
        ({"max_requests_jitter": 2}, "max_requests_jitter", 2),
        ({"graceful_timeout": 7}, "graceful_timeout_s", 7),
        ({"timeout": 8}, "worker_timeout_s", 8),
        ({"accesslog": "-"}, "access_log", "-"),
        ({"statsd_prefix": "shop."}, "statsd_prefix", "shop"),
        ({"statsd_host": "127.0.0.1:8125"}, "statsd", Address(host="127.0.0.1", port=8125)),
        ({"dogstatsd_tags": "env:prod, canary"}, "statsd_tags", ("env:prod", "canary")),
    ],
)
def test_setting_of_gunicorn_beats_the_file(gunicorns: dict[str, object], ours: str, value: object) -> None:
    found = with_gunicorn_settings(FILE, gunicorn(**gunicorns))
    assert getattr(found.process, ours) == value


def test_keepalive_is_that_of_the_listener_on_gunicorns_addresses() -> None:
    found = with_gunicorn_settings(FILE, gunicorn(keepalive=75))
    assert [listener.idle_timeout_s for listener in found.listeners] == [75.0, 9.0]


@pytest.mark.parametrize(
    ("gunicorns", "ours", "value"),
    [
        ({"keepalive": 0}, "keepalive_requests", 1),
        ({"limit_request_line": 2000}, "max_uri_bytes", 2000),
        ({"limit_request_line": 0}, "max_uri_bytes", 0),
        ({"limit_request_line": 9000}, "max_uri_bytes", 8190),
        ({"limit_request_line": 2000}, "max_header_size_bytes", 32768 + 2000 + 2),
        ({"limit_request_line": 0}, "max_header_size_bytes", 32768 + 1024 * 1024 + 2),
        ({"limit_request_fields": 200}, "max_headers", 200),
        ({"limit_request_fields": 0}, "max_headers", 32768),
        ({"limit_request_fields": 200}, "max_header_size_bytes", 200 * 8192 + 2 + 4094 + 2),
        ({"limit_request_field_size": 100}, "max_header_size_bytes", 100 * 102 + 2 + 4094 + 2),
        ({"limit_request_field_size": 100}, "max_headers", 100),
        ({"limit_request_field_size": 0}, "max_header_size_bytes", 100 * 8192 + 2 + 4094 + 2),
        ({"forwarded_allow_ips": "10.0.0.0/8,::2"}, "trusted_proxies", (ip_network("10.0.0.0/8"), ip_network("::2"))),
        ({"forwarded_allow_ips": "*"}, "trusted_proxies", (ip_network("0.0.0.0/0"), ip_network("::/0"))),
        ({"forwarded_allow_ips": ""}, "trusted_proxies", ()),
        ({"forwarded_allow_ips": ""}, "trust_unix", True),
    ],
)
def test_setting_of_gunicorn_is_that_of_the_first_listener(gunicorns: dict[str, object], ours: str, value: object) -> None:
    found = with_gunicorn_settings(FILE, gunicorn(**gunicorns))
    assert getattr(found.listeners[0], ours) == value
    assert found.listeners[1] == FILE.listeners[1]


def test_unix_socket_for_statsd_leaves_what_the_file_says() -> None:
    assert with_gunicorn_settings(FILE, gunicorn(statsd_host="unix:///run/statsd")).process.statsd is None


def test_each_key_that_is_beaten_has_its_line() -> None:
    cfg = gunicorn(graceful_timeout=7, timeout=4, statsd_prefix="shop", keepalive=75, max_requests=9)
    written = replace(
        FILE, source=Path("g.ini"), process_keys=frozenset({"graceful-timeout", "worker-timeout", "statsd-prefix", "workers"})
    )
    assert list(conflicts(written, with_gunicorn_settings(written, cfg))) == [
        "gunicorn's graceful_timeout (7) beats graceful-timeout = 3 in g.ini",
        "gunicorn's statsd_prefix (shop) beats statsd-prefix = file in g.ini",
        "gunicorn's keepalive (75) beats idle-timeout = 9 of [listener:web] in g.ini",
    ]


def test_nothing_is_beaten_where_gunicorn_has_its_defaults() -> None:
    assert list(conflicts(FILE, with_gunicorn_settings(FILE, Config()))) == []
