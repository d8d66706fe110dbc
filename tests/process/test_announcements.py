"""What a start tells of upstreams."""

from __future__ import annotations

from greenproxy.config.settings import Address, BackendSettings, Settings, UpstreamSettings
from greenproxy.process.announcements import announce_upstreams
from tests.fakes import memory_logger


def told(count: int) -> str:
    backends = tuple(BackendSettings(address=Address(host="10.0.0.1", port=port)) for port in range(1, count + 1))
    logger, log = memory_logger()
    announce_upstreams(Settings(upstreams=(UpstreamSettings(name="shop", backends=backends),)), logger)
    (line,) = log
    return line


def test_all_backends_are_named() -> None:
    assert told(2) == "upstream shop: 10.0.0.1:1, 10.0.0.1:2"


def test_a_thousand_backends_are_no_line_of_twenty_kilobytes() -> None:
    line = told(1000)
    assert line.startswith("upstream shop: 1000 backends: 10.0.0.1:1, ")
    assert len(line) < 500
