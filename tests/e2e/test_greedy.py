"""A thousand slow or greedy clients at once: what they cost is bounded, others are served, and they end as the settings say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.herd import Herd
from tests.e2e.siege import HERD, HONEST, KIB, REQUESTS, SLACK_BYTES, Cost, Fort, Report, Situation, besiege, open_fort, opening
from tests.e2e.test_seen import Statsd
from tests.processes import wait_until

#: Of the configuration of the fort. `web` has the pools as they come; `roomy` has room for all, where the backend itself is slow.
WEB, ROOMY = "web", "roomy"
UPLOAD = opening("/upload", "Content-Length: 100000", method="POST")
CHUNKED = opening("/upload", "Transfer-Encoding: chunked", method="POST")
STARTED_UPLOAD = opening("/upload", "Content-Length: 1000000", method="POST") + bytes(80_000)
FIELDS = b"X-Field: value\r\n" * 2200
GONE, SERVED = (499, "client-gone"), (200, None)


def last(target: str) -> bytes:
    return opening(target, "Connection: close")


CUT, BUSY = (200, "send-timeout"), ((503, "queue-full"), (503, "queue-timeout"))
#: What one may cost that waits for a request; whose request is served: a greenlet and a socket to its backend; that sends a body:
#: another greenlet, and the beginning of the body; that reads slowly: what is read ahead of it (response-buffer).
WAITING, SERVING, UPLOADING = Cost(2 * KIB, 0, 1), Cost(24 * KIB, 1, 2), Cost(40 * KIB, 2, 2)
STARTED, READING = Cost(112 * KIB, 2, 2), Cost(288 * KIB, 1, 2)
#: The cheap ones come first: what is free again of the memory that they took stays with the process.
SITUATIONS = (
    Situation("who say nothing", WEB, WAITING, ends=("closed",)),
    Situation(
        "slow heads", WEB, WAITING, (opening("/")[:-2] + b"X-A: ",), (b"x",), ends=("408",), logged=((408, "header-timeout"),),
    ),
    Situation("gone in mid head", WEB, WAITING, (opening("/")[:-2],), is_half_closed=True, ends=("closed",)),
    Situation("half-closed", ROOMY, SERVING, (opening("/"),), is_half_closed=True, ends=("200", "closed"), logged=(SERVED, GONE)),
    Situation("asking and leaving", ROOMY, SERVING, (opening("/"),), leaves_at_once=True),
    Situation(
        "asking what trickles", ROOMY, SERVING, (last("/trickle/head"), last("/trickle/body")),
        ends=("504", "200"), logged=((504, "response-timeout"), (504, "request-timeout"), (200, "request-timeout")),
    ),
    Situation(
        "slow bodies", WEB, UPLOADING, (UPLOAD, CHUNKED), (b"x", b"1\r\nx\r\n"),
        ends=("408", "503"), logged=((408, "body-timeout"), *BUSY),
    ),
    Situation("gone in mid body", ROOMY, UPLOADING, (UPLOAD + b"x",), is_half_closed=True, ends=("closed",), logged=(GONE,)),
    Situation(
        "without end", ROOMY, UPLOADING,
        (opening("/")[:-2] + FIELDS, b"GET /" + b"x" * 20_000, CHUNKED + b"1;" + FIELDS, CHUNKED + b"0\r\n" + FIELDS),
        ends=("431", "414", "400"), logged=((431, "head-too-large"), (414, "uri-too-long"), (400, "bad-request")),
    ),
    Situation(
        "asking what has no end", ROOMY, Cost(80 * KIB, 1, 2),
        [last(f"/endless/{part}") for part in ("interim", "head", "extension", "trailer")],
        ends=("102", "200", "502"), logged=((200, "backend-invalid"), (502, "backend-invalid")),
    ),
    Situation(
        "large bodies that slow down", WEB, STARTED, (STARTED_UPLOAD,), (b"x",),
        may_refuse=True, ends=("408", "503"), logged=((408, "body-timeout"), *BUSY),
    ),
    Situation(
        "reading 200 KiB slowly", WEB, READING, (last("/size/204800"),), receive_buffer=4096, reads=False, sips_bytes=50,
        may_refuse=True, ends=("200", "503"), logged=(SERVED, CUT, *BUSY),
    ),
    Situation(
        "reading 2 MiB slowly", WEB, READING, (last("/size/2097152"),), receive_buffer=4096, reads=False, sips_bytes=50,
        may_refuse=True, ends=("200", "503"), logged=(SERVED, CUT, *BUSY),
    ),
    Situation(
        "pipelines that nobody reads", ROOMY, READING, (opening("/size/100000") * 5,), receive_buffer=4096, reads=False,
        ends=("200",), logged=(SERVED, CUT),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def statsd() -> Iterator[Statsd]:
    """What the fort sends to statsd."""
    server = Statsd()
    yield server
    server.sock.close()


@pytest.fixture(scope="module")
def fort(tmp_path_factory: pytest.TempPathFactory, statsd: Statsd) -> Iterator[Fort]:
    """One proxy for all sieges."""
    with open_fort(tmp_path_factory.mktemp("greedy"), statsd.port) as proxy:
        yield proxy


@pytest.fixture(scope="module", params=SITUATIONS, ids=str)
def report(request: pytest.FixtureRequest, fort: Fort, statsd: Statsd) -> Report:
    """Of one siege, which the tests of its situation share."""
    statsd.read()
    return besiege(fort, request.param)


def test_honest_clients_are_served_meanwhile_and_afterwards(report: Report) -> None:
    assert [dict(crowd.statuses) for crowd in report.honest] == [{200: HONEST * REQUESTS}] * 2, str(report)


def test_honest_clients_wait_a_moment_at_most(report: Report) -> None:
    assert max(report.honest_s) < report.situation.patience_s, str(report)


def test_memory_is_bounded(report: Report) -> None:
    assert report.spent.memory_bytes <= HERD * report.situation.cost.memory_bytes + SLACK_BYTES, str(report)


def test_greenlets_are_bounded(report: Report) -> None:
    assert report.spent.greenlets <= HERD * report.situation.cost.greenlets + HONEST, str(report)


def test_descriptors_are_bounded(report: Report) -> None:
    assert report.spent.descriptors <= HERD * report.situation.cost.descriptors + 2 * HONEST, str(report)


def test_they_end_as_the_settings_say(report: Report) -> None:
    assert set(report.ends) <= set(report.situation.ends), str(report)


def test_the_log_says_why(report: Report) -> None:
    assert set(report.logged) <= set(report.situation.logged), str(report)


def test_the_kernel_holds_little_for_who_does_not_read(fort: Fort) -> None:
    """It would take 4 MiB for each; what it is told to take unsent is 256 KiB, beside what is on its way."""
    queued = [0]
    with Herd(fort.running.address(ROOMY), 20, (last("/size/8000000"),), receive_buffer=4096) as herd:

        def is_over() -> bool:
            queued.extend(herd.queued_bytes())
            return not fort.resources()["clients"]["open"]

        wait_until(is_over, "send-timeout")
    assert 128 * KIB < max(queued) < 512 * KIB, f"at most {max(queued)} bytes in the kernel for one"


def test_the_metrics_count_what_the_log_says(fort: Fort, statsd: Statsd) -> None:
    """Behind all the sieges: one line and one count for each."""

    def differences() -> dict[str, tuple[float, int]]:
        reasons = Counter(entry["reason"] for entry in map(json.loads, fort.running.access_log()) if entry["reason"])
        counted = {reason: statsd.total(f"greenproxy.errors.{reason}") for reason in reasons}
        return {reason: (counted[reason], count) for reason, count in reasons.items() if counted[reason] != count}

    wait_until(lambda: not differences(), f"metrics as in the log: {differences()}")
