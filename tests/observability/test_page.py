"""docs/observability.md and the code say the same."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from greenproxy import errors
from greenproxy.config.settings import Address, BackendSettings, Settings, UpstreamSettings
from greenproxy.errors import REASONS, RETRY_REASONS, ConnectRefused, ProxyError
from greenproxy.observability.access_format import JSON_KEYS, combined_line
from greenproxy.observability.error_log import LineFormatter
from greenproxy.observability.error_pages import error_response
from greenproxy.observability.metrics import Metrics
from greenproxy.observability.names import HANDSHAKES, expiry_gauge, statsd_gauges
from greenproxy.observability.statsd import counts_of, timers_of
from tests.observability.exchanges import exchange, proxied, request

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """Return the cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def sent_metrics() -> dict[str, str]:
    """Return every metric that can be sent, with its type."""
    metrics = Metrics()
    for status in (101, 200, 302, 404, 502):
        metrics.finished(proxied("<upstream>", status=status, retried=["<reason>"], reason="<reason>"))
    for outcome in HANDSHAKES:
        metrics.shaken("<listener>", outcome)
    snapshot = metrics.drain()
    types = dict.fromkeys(counts_of(snapshot), "counter") | dict.fromkeys(timers_of(snapshot), "timer")
    backend = BackendSettings(address=Address(host="blue", port=80), name="<backend>")
    settings = Settings(upstreams=(UpstreamSettings(name="<upstream>", backends=(backend,)),))
    types |= dict.fromkeys(statsd_gauges(settings).values(), "gauge") | {expiry_gauge("<listener>"): "gauge"}
    return {re.sub("_(upstream|backend|listener)_", r"<\1>", name): kind for name, kind in types.items()}


def test_table_of_metrics_is_what_is_sent() -> None:
    told = {name: row[1] for row in rows("Metrics") for name in re.findall("`([^`]+)`", row[0])}
    assert told == sent_metrics()


def test_example_of_a_backend_name_is_true() -> None:
    from greenproxy.observability.metrics import metric_word

    backend = BackendSettings(address=Address(host="10.0.0.11", port=8000))
    settings = UpstreamSettings(name="shop", backends=(backend,))
    assert f"`{settings.backends[0].label}` is `{metric_word(backend.label)}`" in PAGE


def test_table_of_json_keys_is_complete_and_in_order() -> None:
    told = [row[0].strip("`") for row in rows("Access log")]
    assert told[told.index("retries") + 1] == "retry_reasons"
    told.remove("retry_reasons")  # the only one that is not in every line
    assert told == list(JSON_KEYS)


def test_table_of_conditions_has_every_reason_of_a_retry() -> None:
    told = {reason for row in rows("Retries") for reason in re.findall("`([^`]+)`", row[1])}
    assert told == set(RETRY_REASONS)


def test_example_of_a_combined_line_has_its_form() -> None:
    [example] = re.findall(r"^    (203\.0\.113\.7 .*)$", PAGE, re.MULTILINE)
    done = proxied(time_s=0.010)
    asked = request("/shop?id=3", block=b"User-Agent: curl/8.5.0\r\n")
    done.request = asked
    done.bytes_out = 5120
    line = combined_line(done).decode().rstrip("\n")
    assert re.sub(r"\[.*?\]", "", line) == re.sub(r"\[.*?\]", "", example)


@pytest.mark.parametrize("status", [0])
def test_answer_that_was_never_sent_is_000(status: int) -> None:
    assert b'" 000 ' in combined_line(exchange(request(), status=status))


def test_table_of_reasons_is_the_closed_list() -> None:
    table = {row[0].strip("`"): (int(row[1]), row[2].strip("`")) for row in rows("Reasons")}
    classes: dict[str, type[ProxyError]] = {}
    for cls in errors._leaves(ProxyError):
        classes.setdefault(cls.reason, cls)
    assert set(table) == set(REASONS)
    assert table == {reason: (cls.status, cls.error_type) for reason, cls in classes.items()}


def test_keys_that_reasons_mention_exist() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    mentioned = {key for row in rows("Reasons") for key in re.findall("`([a-z-]+)`", row[3])}
    assert not {key for key in mentioned if f"`{key}`" not in reference}


@pytest.mark.parametrize("accept", ["", "application/json"])
def test_examples_of_error_pages_are_true(accept: str) -> None:
    body = error_response(ConnectRefused(), accept, "greenproxy").body
    assert isinstance(body, bytes)
    assert f"\n    {body.decode()}" in section("Error pages")


def test_example_of_an_error_line_has_its_form() -> None:
    [example] = re.findall(r"^    (\d{4}-.* warning: .*)$", section("Error log"), re.MULTILINE)
    message = example.partition("warning: ")[2]
    record = logging.LogRecord("greenproxy", logging.WARNING, "", 0, message, None, None)
    head = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[\d+\] warning: ")
    assert head.sub("", LineFormatter().format(record)) == head.sub("", example) == message
