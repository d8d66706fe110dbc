from __future__ import annotations

from dataclasses import replace

import pytest
from gunicorn.config import Config

from greenproxy.config.settings import Address, ListenerSettings, ProcessSettings, Settings
from greenproxy.process.precedence import what_does_not_count

EIGHTY = Address(host="127.0.0.1", port=80)
FILE = Settings(process=ProcessSettings(workers=4), listeners=(ListenerSettings(name="web", bind=(EIGHTY,)),))


def gunicorn(*bind: str, workers: int = 4) -> Config:
    cfg = Config()
    cfg.set("bind", list(bind or ["127.0.0.1:80"]))
    cfg.set("workers", workers)
    return cfg


def untold(settings: Settings, cfg: Config, *bound: Address) -> list[str]:
    return what_does_not_count(settings, settings.listeners[0], cfg, bound)


def test_nothing_is_told_of_a_file_that_counts_as_it_is() -> None:
    assert untold(replace(FILE, process_keys=frozenset({"max-requests", "statsd", "workers"})), gunicorn()) == []


@pytest.mark.parametrize("key", ["backlog", "error-log", "group", "log-level", "pid-file", "reload-timeout", "user"])
def test_keys_that_gunicorn_has_for_itself_are_named_when_somebody_gave_them(key: str) -> None:
    assert untold(replace(FILE, process_keys=frozenset({key})), gunicorn()) == [key]


def test_workers_are_named_when_gunicorn_has_another_number() -> None:
    given = replace(FILE, process_keys=frozenset({"workers"}))
    assert untold(given, gunicorn(workers=2)) == ["workers"]
    assert untold(FILE, gunicorn(workers=2)) == []


@pytest.mark.parametrize(
    ("bind", "gunicorns", "told"),
    [
        (("127.0.0.1:80",), ("0.0.0.0:80",), "127.0.0.1:80"),
        ((":80",), ("0.0.0.0:80",), ""),
        ((":80", "[::]:80"), (":80", "[::]:80"), ""),
        ((":80", "[::1]:81", "unix:/s"), (":80",), "[::1]:81, unix:/s"),
        (("unix:/s",), ("unix:/s",), ""),
        ((":0",), (":0",), ""),
    ],
)
def test_addresses_of_the_first_listener_that_gunicorn_does_not_bind_are_named(
    bind: tuple[str, ...], gunicorns: tuple[str, ...], told: str
) -> None:
    first = replace(FILE.listeners[0], bind=tuple(map(address, bind)))
    found = untold(replace(FILE, listeners=(first,)), gunicorn(*gunicorns))
    assert found == ([f"bind of [listener:web] ({told})"] if told else [])


def test_address_that_gunicorn_got_from_somebody_else_counts() -> None:
    assert untold(FILE, gunicorn("127.0.0.1:8000"), EIGHTY) == []


def address(text: str) -> Address:
    if text.startswith("unix:"):
        return Address(path=text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    return Address(host=host.strip("[]"), port=int(port))
