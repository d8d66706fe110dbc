"""Reading: a child reads the configuration, and whatever becomes of it the master learns of it without waiting."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import pytest

from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.settings import RouteSettings, Settings
from greenproxy.process.reading import Reading, Unreadable
from tests.processes import wait_until


def nothing() -> None:
    """Close nothing."""


def result(load: Callable[[], Settings], close: Callable[[], None] = nothing, time_limit_s: float = 10.0) -> Settings:
    """Return what a reading comes to."""
    reading = Reading(load, close, time_limit_s)
    try:
        return wait_until(reading.poll, "a result")
    finally:
        os.waitpid(reading.pid, 0)


def test_settings_come_back_however_many_they_are() -> None:
    settings = Settings(routes=tuple(RouteSettings(name=f"r{n}", host=("x" * 200,)) for n in range(2000)))
    assert result(lambda: settings) == settings


def test_mistakes_come_back_as_lines() -> None:
    def load() -> Settings:
        raise ConfigErrors([ConfigError(message="one", line=1, file="f"), ConfigError(message="two", line=2, file="f")])

    with pytest.raises(Unreadable, match=r"^f:1: one\nf:2: two$"):
        result(load)


def test_a_bug_is_told() -> None:
    def load() -> Settings:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(Unreadable, match=r"^ZeroDivisionError: division by zero$"):
        result(load)


def test_an_exit_in_the_child_is_told() -> None:
    with pytest.raises(Unreadable, match=r"^SystemExit: 5$"):
        result(lambda: sys.exit(5))


def test_a_child_that_is_killed_is_told() -> None:
    def load() -> Settings:
        os.kill(os.getpid(), signal.SIGKILL)
        return Settings()

    with pytest.raises(Unreadable, match="killed"):
        result(load)


def test_a_child_that_hangs_is_ended() -> None:
    def load() -> Settings:
        time.sleep(60)
        return Settings()

    with pytest.raises(Unreadable, match=r"longer than 0\.05 s"):
        result(load, time_limit_s=0.05)


def test_polling_does_not_wait() -> None:
    ours, theirs = os.pipe()

    def load() -> Settings:
        os.read(ours, 1)
        return Settings()

    reading = Reading(load, nothing)
    assert reading.poll() is None
    os.write(theirs, b"!")
    assert wait_until(reading.poll, "a result") == Settings()
    os.waitpid(reading.pid, 0)
    os.close(ours)
    os.close(theirs)


def test_the_child_does_not_keep_listening_sockets_open() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    ours, theirs = os.pipe()
    reading = Reading(lambda: Settings(variables=frozenset(os.read(ours, 1).decode())), server.close)
    address = server.getsockname()
    server.close()

    def is_free() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(address) != 0

    wait_until(is_free, "nobody listens")
    os.write(theirs, b"!")
    wait_until(reading.poll, "a result")
    os.waitpid(reading.pid, 0)
    os.close(ours)
    os.close(theirs)


def test_the_child_hears_signals_as_a_plain_program_does() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        settings = result(lambda: Settings(variables=frozenset([str(signal.getsignal(signal.SIGTERM))])))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert settings.variables == {str(signal.SIG_DFL)}


def test_a_process_that_cannot_be_had_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError("no more processes")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", no_fork)
    with pytest.raises(BlockingIOError):
        Reading(Settings, nothing)
    assert len(os.listdir("/proc/self/fd")) == before
