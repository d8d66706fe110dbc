"""One configuration, as gunicorn's Arbiter sees it."""

from __future__ import annotations

import os

import pytest
from gunicorn.errors import ConfigError
from gunicorn.workers.base import Worker

from greenproxy.config.settings import ProcessSettings, Settings
from greenproxy.process.application import ProxyApplication


def application(**process: object) -> ProxyApplication:
    """Return what a master makes of these settings."""
    return ProxyApplication(Settings(process=ProcessSettings(**process)), Worker)  # type: ignore[arg-type]  # as the test says


def test_gunicorn_kills_later_than_workers_cut_by_themselves() -> None:
    assert application(graceful_timeout_s=1.5).cfg.graceful_timeout > 1.5 + 1


def test_without_a_graceful_timeout_gunicorn_kills_nobody_for_years() -> None:
    assert application(graceful_timeout_s=0.0).cfg.graceful_timeout > 365 * 24 * 3600


def test_there_is_a_worker_for_each_core_that_this_process_may_use() -> None:
    assert application(workers=0).settings.process.workers == len(os.sched_getaffinity(0))


def test_rights_that_a_master_cannot_give_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="only root"):
        application(user="root")
