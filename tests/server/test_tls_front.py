"""TlsFront: what it says of handshakes that fail, and how often. The rest is seen from outside: tests/e2e/test_tls.py."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest

from greenproxy.config.settings import ListenerSettings
from greenproxy.net.recycler import Recycler
from greenproxy.server import tls_front
from greenproxy.server.front import Services
from greenproxy.server.tls_front import TOLD_EVERY_S, TlsFront
from tests.fakes import HandClock, memory_logger


class Failed:
    """A greeting that came to nothing, as far as a front looks at it."""

    address: Any = ("192.0.2.7", 4711)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(tls_front, "monotonic", clock)
    return clock


def make(log: logging.Logger) -> tuple[TlsFront, list[tuple[str, str]]]:
    counted: list[tuple[str, str]] = []
    nothing: Any = None
    services = Services(Recycler(), nothing, nothing, lambda: None)
    front = TlsFront(
        ListenerSettings(name="web"), nothing, services, nothing, lambda name, what: counted.append((name, what)), log
    )
    return front, counted


def test_failures_are_one_line_a_minute_that_counts_the_others(clock: HandClock) -> None:
    log, lines = memory_logger()
    log.setLevel(logging.INFO)
    front, counted = make(log)
    failed: Any = Failed()
    for why in ("no shared cipher", "unknown ca", "bad record mac"):
        front.failed(failed, why)
    clock.turn(TOLD_EVERY_S)
    front.failed(failed, "it took longer than header-timeout")
    assert lines == [
        "no TLS with 192.0.2.7 on listener web: no shared cipher",
        "no TLS with 192.0.2.7 on listener web: it took longer than header-timeout (3 have failed since the last such line)",
    ]
    assert counted == [("web", "failures")] * 4


@pytest.mark.usefixtures("clock")
def test_each_failure_is_told_at_level_debug() -> None:
    log, lines = memory_logger()
    log.setLevel(logging.DEBUG)
    front, _ = make(log)
    failed: Any = Failed()
    front.failed(failed, "unknown ca")
    front.failed(failed, "unknown ca")
    assert lines == ["no TLS with 192.0.2.7 on listener web: unknown ca"] * 2


def test_why_a_certificate_was_refused_is_told() -> None:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")
    error.reason, error.verify_message = "CERTIFICATE_VERIFY_FAILED", "certificate has expired"
    assert tls_front._reason(error) == "the client's certificate was refused: certificate has expired"


def test_reasons_are_words() -> None:
    error = ssl.SSLError(1, "[SSL: UNKNOWN_CA] unknown ca (_ssl.c:1)")
    error.reason = "TLSV1_ALERT_UNKNOWN_CA"
    assert tls_front._reason(error) == "tlsv1 alert unknown ca"
    assert tls_front._reason(ConnectionResetError(104, "Connection reset by peer")) == "Connection reset by peer"
    assert (
        tls_front._reason(ConnectionAbortedError("the client left during the handshake"))
        == "the client left during the handshake"
    )
