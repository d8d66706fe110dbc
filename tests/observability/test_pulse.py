"""What a worker does with its numbers once a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import gevent
import pytest

from greenproxy.certificates import Facts
from greenproxy.config.settings import Address, BackendSettings, Settings, UpstreamSettings
from greenproxy.observability import pulse as module
from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.metrics import Metrics
from greenproxy.observability.names import names_of
from greenproxy.observability.pulse import Pulse
from greenproxy.observability.rows import State
from tests.fakes import memory_logger
from tests.hub import settle, until
from tests.observability.exchanges import exchange, request


class Sender:
    """Stands in for statsd."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Mapping[str, float]]] = []
        self.is_closed = False

    def start(self) -> None:
        """Nothing is looked up."""

    def send(self, snapshot: Any, gauges: Mapping[str, float]) -> None:
        self.sent.append((snapshot.requests, gauges))

    def close(self) -> None:
        self.is_closed = True


class Worker:
    """A pulse and all that it needs."""

    def __init__(self, board: Board, layout: Layout, index: int = 0, settings: Settings | None = None, **given: Any) -> None:
        self.metrics = Metrics()
        self.sender = Sender()
        self.numbers: dict[str, float] = {"connections.active": 3}
        self.logger, self.log = memory_logger()
        sender: Any = self.sender
        self.pulse = Pulse(self.metrics, self.read, sender, settings or Settings(), self.logger, **given)
        self.pulse.start(board, layout, index)

    def read(self) -> dict[str, float]:
        if not self.numbers:
            raise KeyError("a bug")
        return self.numbers

    def request(self) -> None:
        self.metrics.finished(exchange(request()))


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(slots=2, columns=4)
    yield made
    made.close()


@pytest.fixture
def layout(board: Board) -> Layout:
    return board.layout(("connections.active",), ("requests",))


@pytest.fixture
def worker(board: Board, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.005)
    made = Worker(board, layout)
    yield made
    made.pulse.stop()


def test_it_beats_by_itself(worker: Worker, board: Board, layout: Layout) -> None:
    worker.pulse.become(State.SERVING)
    for count in range(1, 4):
        worker.request()
        while board.totals(layout) != {"connections.active": 3, "requests": count}:
            gevent.sleep(0.001)
    until(lambda: worker.sender.sent[-1][0] == 0)
    assert sum(requests for requests, _ in worker.sender.sent) == 3
    assert worker.sender.sent[-1][1] == {"connections.active": 3}


def test_seconds_until_a_certificate_expires_are_a_gauge_that_is_never_below_0(
    board: Board, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.005)
    monkeypatch.setattr(module, "time", lambda: 1000.0)
    ends = {"web": (1500, 1300), "old": (900,)}
    facts = {
        name: [("web.pem", Facts((), datetime.now(UTC), datetime.fromtimestamp(at, UTC))) for at in each]
        for name, each in ends.items()
    }
    worker = Worker(board, layout, certificates=facts)
    worker.pulse.become(State.SERVING)
    until(lambda: worker.sender.sent and len(worker.sender.sent[-1][1]) == 3)
    gauges = worker.sender.sent[-1][1]
    worker.pulse.stop()
    assert (gauges["listener.web.tls.expires"], gauges["listener.old.tls.expires"]) == (300.0, 0.0)


def test_what_a_worker_becomes_is_told_at_once(worker: Worker, board: Board, layout: Layout) -> None:
    assert [row.state for row in board.rows(layout)] == [State.STARTING]
    for state in (State.SERVING, State.DRAINING):
        worker.pulse.become(state)
        assert [row.state for row in board.rows(layout)] == [state]


def test_news_does_not_wait_for_the_next_second(board: Board, layout: Layout) -> None:
    worker = Worker(board, layout)
    worker.pulse.become(State.SERVING)
    settle()
    worker.numbers = {"connections.active": 9}
    worker.pulse.news()
    settle()
    assert board.totals(layout)["connections.active"] == 9
    assert worker.sender.sent == []
    worker.pulse.stop()


def test_last_counts_stay_on_the_board(board: Board, layout: Layout) -> None:
    worker = Worker(board, layout)
    worker.request()
    worker.pulse.stop()
    assert worker.sender.sent == [(1, {})]
    assert worker.sender.is_closed
    assert board.totals(layout) == {"requests": 1}


def test_a_room_that_fails_costs_a_second_and_no_more(worker: Worker, board: Board, layout: Layout) -> None:
    worker.numbers = {}
    worker.request()
    until(lambda: worker.log)
    worker.numbers = {"connections.active": 1}
    until(lambda: board.totals(layout) == {"connections.active": 1, "requests": 1})
    assert set(worker.log) == {"the numbers of this second are lost; please report this"}


def test_a_board_without_room_costs_one_line(board: Board, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.005)
    for pid in (1, 2):
        with monkeypatch.context() as other:
            other.setattr("os.getpid", lambda pid=pid: pid)
            board.claim(0, layout)
    worker = Worker(board, layout)
    worker.request()
    until(lambda: worker.sender.sent)
    gevent.sleep(0)
    worker.pulse.stop()
    assert worker.log == ["this worker is not seen by others: all 2 slots of the board are taken"]
    assert sum(requests for requests, _ in worker.sender.sent) == 1


def test_of_many_gauges_those_that_stay_as_they_are_are_sent_every_tenth_time(monkeypatch: pytest.MonkeyPatch) -> None:
    backends = tuple(BackendSettings(address=Address(host="127.0.0.1", port=port)) for port in range(1, 101))
    settings = Settings(upstreams=(UpstreamSettings(name="shop", backends=backends),))
    monkeypatch.setattr(module, "BEAT_EVERY_S", 0.001)
    names = names_of(settings)
    board = Board(slots=1, columns=len(names.all()))
    layout = board.layout(names.gauges, names.counters, names.verdicts)
    worker = Worker(board, layout, settings=settings)
    worker.numbers = dict.fromkeys(names.gauges, 1.0)
    worker.pulse.become(State.SERVING)
    sent = worker.sender.sent
    until(lambda: len(sent) >= 15)
    worker.numbers = {"upstream/shop/queued": 7.0}
    until(lambda: any(gauges["upstream.shop.queued"] == 7 for _, gauges in sent if "upstream.shop.queued" in gauges))
    worker.pulse.stop()
    board.close()
    assert len(sent[0][1]) == 303
    assert {len(gauges) for _, gauges in sent[1:15]} == {30, 31}
    assert {name for _, gauges in sent[1:11] for name in gauges} == set(sent[0][1])
