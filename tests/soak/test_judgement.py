"""What a case makes of failures and figures: who was shut out, and what is still flat."""

from __future__ import annotations

import socket

from tests.soak.drift import Bound, Row, judge
from tests.soak.endings import is_shut_out
from tests.soak.figures import Figures, grown
from tests.soak.show import lines
from tests.soak.single import is_closed
from tests.soak.stage import Stage, Verdict
from tests.soak.tally import Failure, Report

MIB = 1024 * 1024


def failure(at_s: float, worker: int = 0, what: str = "reset", began_s: float = 0.0, received: int = 0) -> Failure:
    """Return a failure in the head."""
    return Failure(at_s, "one", "head", what, worker, began_s or at_s - 0.1, received, "", "id")


def test_client_of_a_service_that_ends_is_shut_out_only_before_it_was_let_in() -> None:
    assert is_shut_out(failure(1.0, what="refused"))
    assert is_shut_out(failure(1.0, what="reset"))
    assert not is_shut_out(failure(1.0, what="stale", worker=7))
    assert not is_shut_out(failure(1.0, what="end", worker=7))
    assert not is_shut_out(failure(1.0, what="end", received=10))


def test_flat_is_what_settles_within_a_tenth_and_a_little() -> None:
    before = Figures("start", 20 * MIB, 8, (20 * MIB, 22 * MIB), (50, 60))
    assert not grown(before, Figures("end", 22 * MIB, 9, (23 * MIB, 23 * MIB), (70, 80)))
    (memory,) = grown(before, Figures("end", 24 * MIB, 8, (20 * MIB, 20 * MIB), (50, 60)))
    assert memory == "the master's memory went from 20.0 to 24.0 MiB"
    (workers,) = grown(before, Figures("end", 20 * MIB, 8, (30 * MIB, 20 * MIB), (50, 60)))
    assert workers == "the mean worker's memory went from 21.0 to 25.0 MiB"
    (descriptors,) = grown(before, Figures("end", 20 * MIB, 12, (20 * MIB,), (50,)))
    assert descriptors == "the master's descriptors went from 8 to 12"


def test_verdict_without_a_check_or_with_a_wrong_one_is_wrong() -> None:
    assert not Verdict().is_right
    stage = Stage(folder=None, seconds=1.0)  # type: ignore[arg-type]  # nothing is written
    stage.check("good", True)
    assert stage.verdict.is_right
    stage.check("bad", False, 3)
    assert not stage.verdict.is_right
    assert stage.verdict.wrongs() == ["bad: 3"]


def shown(*rows: Row) -> list[str]:
    """Return the report of a run of which every check held, with traffic of a proxy that has a name."""
    stage = Stage(folder=None, seconds=1.0)  # type: ignore[arg-type]  # nothing is written
    stage.check("good", True)
    stage.keep(Report(), "the calm proxy")
    stage.verdict.rows += rows
    return list(lines(stage))


def test_report_does_not_say_that_everything_held_when_nothing_was_judged() -> None:
    short, long = judge("memory", [], Bound(0, 1)), judge("memory", [(float(at), 1.0) for at in range(9)], Bound(0, 1))
    assert shown(short)[-1] == "what was seen held; it was too short to judge whether anything drifts"
    assert shown(short, long)[-1] == "everything held"


def test_table_of_traffic_says_whose_it_is() -> None:
    assert shown()[0] == "the calm proxy"


def test_door_is_closed_when_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        assert not is_closed(port, within_s=0.05)
    assert is_closed(port)
