"""What a killed worker took along, as the kernel tells it, and which failures that explains."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeBackend
from tests.processes import Process, wait_until
from tests.scripts import close, expect_request
from tests.soak.client import Client
from tests.soak.kills import Kill, due_to, kill, unexplained
from tests.soak.sockets import connections_of
from tests.soak.tally import Failure, Report

#: Accepts one client, and leaves the next ones in the queue.
ONE_ONLY = """
import socket, time
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
client = listening.accept()
print("accepted", flush=True)
time.sleep(60)
"""
KILL = Kill(7, 10.0, frozenset({(80, 5001)}))


def failure(at_s: float, client_port: int, what: str = "end", connected_s: float = 9.0, worker: int = 0) -> Failure:
    """Return a failure in the head, of a client of port 80."""
    return Failure(at_s, "one", "head", what, worker, at_s - 0.1, 0, "", "id", 80, client_port, connected_s)


@pytest.mark.parametrize(
    ("found", "is_explained"),
    [
        (failure(10.1, 5001), True),
        (failure(10.1, 5001, what="reset"), True),
        (failure(13.0, 5001), True),  # who sends slowly notices late
        (failure(10.1, 5002), False),  # somebody else's connection, however near the moment
        (failure(10.1, 5002, worker=7), False),  # which that worker had answered, and then closed
        (failure(10.1, 0), False),
        (failure(9.9, 5001), False),  # it was lost before that
        (failure(12.0, 5001, connected_s=11.0), False),  # another client got the port of the one that is gone
        (failure(10.1, 5001, what="mixed"), False),  # no kill explains a wrong answer
        (failure(10.1, 5001, what="status 502"), False),
        (failure(10.1, 5001, what="refused"), False),
    ],
)
def test_kill_explains_only_what_the_worker_had(found: Failure, is_explained: bool) -> None:
    assert due_to([KILL], found) == is_explained


def test_what_no_kill_explains_is_told() -> None:
    mine, stray = failure(10.1, 5001, worker=7), failure(10.1, 5002, worker=8)
    assert unexplained(Report(failures=[mine, stray]), [KILL], ()) == [stray]


def test_killed_process_had_what_it_accepted_and_not_what_waits_in_its_queue(tmp_path: Path) -> None:
    with Process([sys.executable, "-c", ONE_ONLY], tmp_path) as process:
        port = int(wait_until(process.output, "it listens"))
        with socket.create_connection(("127.0.0.1", port)) as accepted, socket.create_connection(("127.0.0.1", port)):
            wait_until(lambda: "accepted" in process.output(), "a client is accepted")
            done = kill(process.pid)
            assert done.had == {(port, accepted.getsockname()[1])}
        assert process.wait() == -9


def test_process_that_has_ended_had_nothing(tmp_path: Path) -> None:
    with Process([sys.executable, "-c", ""], tmp_path) as process:
        process.wait()
        assert not kill(process.pid).had


def test_failure_knows_both_ends_of_its_connection(scripted: MakeBackend) -> None:
    report = Report()
    backend = scripted([expect_request, close])
    Client(report, "one", ("127.0.0.1", backend.port), "plain", timeout_s=5.0).echo()
    (found,) = report.failures
    assert (found.server_port, found.client_port > 0) == (backend.port, True)


def test_failure_to_connect_has_no_ends(scripted: MakeBackend) -> None:
    report = Report()
    Client(report, "one", ("127.0.0.1", scripted(is_listening=False).port), "plain", timeout_s=5.0).echo()
    assert (report.failures[0].server_port, report.failures[0].client_port) == (0, 0)


def test_connection_between_two_sockets_of_a_process_is_seen_from_both_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as there:
        here, _address = listening.accept()
        with here:
            ends = here.getsockname()[1], there.getsockname()[1]
            assert {ends, ends[::-1]} <= connections_of(os.getpid())
