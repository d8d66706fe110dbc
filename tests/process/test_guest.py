from __future__ import annotations

import pytest
from gunicorn.config import Config

from greenproxy.config.errors import ConfigErrors
from greenproxy.config.settings import Address, ListenerSettings, ProcessSettings, Settings
from greenproxy.process.guest import configuration_file
from greenproxy.process.translation import with_gunicorn_settings

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
    ],
)
def test_setting_of_gunicorn_beats_the_file(gunicorns: dict[str, object], ours: str, value: object) -> None:
    found = with_gunicorn_settings(FILE, gunicorn(**gunicorns))
    assert getattr(found.process, ours) == value


def test_keepalive_is_that_of_the_listener_on_gunicorns_addresses() -> None:
    found = with_gunicorn_settings(FILE, gunicorn(keepalive=75))
    assert [listener.idle_timeout_s for listener in found.listeners] == [75.0, 9.0]


@pytest.mark.parametrize("file", ["greenproxy.ini", "/etc/greenproxy/edge.conf"])
def test_positional_argument_names_the_file(file: str) -> None:
    assert configuration_file(file, {"GREENPROXY_CONFIG": "other.ini"}) == file


def test_environment_names_the_file() -> None:
    assert configuration_file("greenproxy", {"GREENPROXY_CONFIG": "other.ini"}) == "other.ini"


@pytest.mark.parametrize(("app_uri", "environ"), [("greenproxy", {}), ("shop:app", {"GREENPROXY_CONFIG": "other.ini"})])
def test_anything_else_is_refused_in_one_line(app_uri: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigErrors) as refused:
        configuration_file(app_uri, environ)
    assert len(str(refused.value).splitlines()) == 1
