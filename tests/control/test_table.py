"""What `greenproxy status` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from greenproxy.control.table import columns, duration, rate, table
from tests.control.documents import document

WHOLE = """\
greenproxy 0.1.0, process 3943, up 3d 4h, generation 2, reload 1 done

requests     1,234,656  1,234/s  2xx 1,234,600, 3xx 40, 4xx 7, 5xx 9
errors               9    0.1/s
connections         15           10 active, 5 idle

worker  state     generation     up  connections   requests
3950    serving            2  1m 1s           12  1,234,567
3951    draining           1  3d 4h            3         89

listener  bind                                connections   requests
web       127.0.0.1:8080, unix:/run/web.sock           15  1,234,600
secure    :8443                                         0         56

tls     handshakes  resumed  failures  certificate                      expires
secure          21       13         2  /etc/greenproxy/example.com.pem  2027-02-19
                                       /etc/greenproxy/example.org.pem  2026-12-24

upstream demo: 12.3/s, 1,000,000 requests, 4 failures, 3 retries, 0 queued
  backend                state  active  idle  requests  failures
  blue (127.0.0.1:9001)  up          3     5   500,000         0
  127.0.0.1:9002         down        0     0   500,004         4"""


def shown(status: dict[str, Any], now: str = "2026-11-22T02:00:00") -> str:
    """Return the document as it is shown at a time (UTC)."""
    return table(status, datetime.fromisoformat(now).replace(tzinfo=UTC))


def test_everything_stands_in_columns() -> None:
    assert shown(document()) == WHOLE


def test_it_is_readable_on_a_hundred_columns() -> None:
    assert max(map(len, WHOLE.splitlines())) <= 100


def test_a_reload_that_failed_tells_why() -> None:
    reload = {"number": 3, "state": "refused", "message": "f.ini:1: [x] unknown section\nf.ini:2: y"}
    head = shown(document(reload=reload)).split("\n\n")[0].splitlines()
    assert head[0].endswith(", reload 3 refused")
    assert head[1:] == ["  f.ini:1: [x] unknown section", "  f.ini:2: y"]


def test_without_a_reload_none_is_told() -> None:
    assert "reload" not in shown(document(reload={"number": 0, "state": "none", "message": ""}))


def test_that_it_stops_is_told() -> None:
    assert shown(document(state="stopping")).startswith("greenproxy 0.1.0, process 3943, up 3d 4h and stopping, generation 2, ")


def test_workers_that_serve_come_first_and_then_process_ids_count() -> None:
    (worker, _) = document()["workers"]
    states = {7: "serving", 3: "draining", 5: "serving", 9: "silent", 1: "starting"}
    text = shown(document(workers=[worker | {"pid": pid, "state": state} for pid, state in states.items()]))
    assert [line.split()[0] for line in text.split("\n\n")[2].splitlines()[1:]] == ["5", "7", "1", "3", "9"]


def test_without_certificates_there_is_no_part_for_them() -> None:
    (plain, _) = document()["listeners"]
    assert "tls" not in shown(document(listeners=[plain]))


def test_certificate_that_has_expired_stands_out() -> None:
    lines = shown(document(), "2026-12-25T00:00:00").splitlines()
    assert [line.split("  ")[-1] for line in lines if ".pem" in line] == ["2027-02-19", "expired 2026-12-24"]


def test_certificate_expires_on_its_last_day_by_the_second() -> None:
    assert "expired" not in shown(document(), "2026-12-24T23:59:59")


def test_without_upstreams_there_is_no_part_for_them() -> None:
    assert "upstream" not in shown(document(upstreams=[]))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0s"), (59.9, "59s"), (60, "1m 0s"), (3600, "1h 0m"), (86399, "23h 59m"), (273_600, "3d 4h"), (1e8, "1157d 9h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(("value", "expected"), [(0, "0.0"), (99.94, "99.9"), (100.2, "100"), (12345, "12,345")])
def test_small_rates_have_a_decimal(value: float, expected: str) -> None:
    assert rate(value) == expected


def test_columns_end_where_they_should() -> None:
    assert columns([("a", "long"), ("word", "1")], "<>") == ["a     long", "word     1"]
