"""The document of /api/status, from boards that are filled by hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from greenproxy import __version__
from greenproxy.config.settings import (
    Address,
    BackendSettings,
    ListenerSettings,
    PathMatch,
    RouteSettings,
    Settings,
    UpstreamSettings,
)
from greenproxy.observability import board as board_module
from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.names import names_of
from greenproxy.observability.rows import STALE_S, State
from greenproxy.observability.status import agreed_state, snapshot
from greenproxy.observability.verdicts import STATES
from tests.fakes import HandClock

BLUE = BackendSettings(address=Address(host="10.0.0.1", port=80), name="blue")
GREEN = BackendSettings(address=Address(host="10.0.0.2", port=80))
SETTINGS = Settings(
    listeners=(ListenerSettings(name="web", bind=(Address(host="", port=8080), Address(path="/run/web.sock"))),),
    upstreams=(UpstreamSettings(name="shop", backends=(BLUE, GREEN)),),
    routes=(
        RouteSettings(name="api", host=("a.test",), path=(PathMatch(kind="exact", text="/api"),), upstream="shop"),
        RouteSettings(name="old", header=(("X-Old", "1"),), redirect="https://new.test"),
    ),
)
STEM = "upstream/shop/http://10.0.0."
ONE = {
    "connections.active": 2,
    "connections.idle": 3,
    "requests": 10,
    "errors": 1,
    "responses.2xx": 9,
    "responses.5xx": 1,
    "requests_per_s": 1.25,
    "errors_per_s": 0.1,
    "listener/web/connections": 5,
    "listener/web/requests": 11,
    "upstream/shop/queued": 1,
    "upstream/shop/requests": 10,
    "upstream/shop/failures": 2,
    "upstream/shop/retries": 1,
    "upstream/shop/retries/503": 1,
    "upstream/shop/retries/504": 0,
    "upstream/shop/requests_per_s": 1.25,
    f"{STEM}1:80/state": STATES.index("up"),
    f"{STEM}1:80/active": 1,
    f"{STEM}1:80/idle": 4,
    f"{STEM}1:80/requests": 8,
    f"{STEM}1:80/failures": 0,
    f"{STEM}2:80/state": STATES.index("down"),
    f"{STEM}2:80/active": 0,
    f"{STEM}2:80/idle": 0,
    f"{STEM}2:80/requests": 2,
    f"{STEM}2:80/failures": 2,
}


def layout_of(board: Board, settings: Settings) -> Layout:
    names = names_of(settings)
    return board.layout(names.gauges, names.counters, names.verdicts)


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(slots=8, columns=100)
    yield made
    made.close()


@pytest.fixture
def layout(board: Board) -> Layout:
    return layout_of(board, SETTINGS)


@pytest.fixture
def work(board: Board, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a worker with a process id on the board."""

    def write(pid: int, state: State = State.SERVING, layout: Layout = layout, **_: Any) -> None:
        monkeypatch.setattr(os, "getpid", lambda: pid)
        board.claim(0, layout).write(ONE, state)

    return write


def told(board: Board, layout: Layout, pid: int | None = None, settings: Settings = SETTINGS) -> dict[str, Any]:
    document = snapshot(board, layout, settings, pid)
    assert document is not None
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    return document


def test_numbers_of_all_workers_are_sums(board: Board, layout: Layout, work: Any) -> None:
    work(1)
    work(2, State.DRAINING)
    document = told(board, layout)
    assert [
        (each["pid"], each["state"], each["connections"], each["requests"], each["generation"]) for each in document["workers"]
    ] == [
        (1, "serving", 5, 10, 1),
        (2, "draining", 5, 10, 1),
    ]
    assert document["connections"] == {"active": 4, "idle": 6}
    assert (document["requests"], document["errors"]) == (20, 2)
    assert document["responses"] == {"1xx": 0, "2xx": 18, "3xx": 0, "4xx": 0, "5xx": 2}
    assert document["rates"] == {"requests_per_s": 2.5, "errors_per_s": 0.2}
    assert document["listeners"] == [
        {"name": "web", "protocol": "http", "bind": [":8080", "unix:/run/web.sock"], "connections": 10, "requests": 22}
    ]
    [shop] = document["upstreams"]
    blue, green = shop.pop("backends")
    assert shop == {
        "name": "shop",
        "queued": 2,
        "requests": 20,
        "failures": 4,
        "retries": 2,
        "retry_reasons": {"503": 2},
        "rates": {"requests_per_s": 2.5},
    }
    assert blue == {
        "name": "blue",
        "address": "10.0.0.1:80",
        "state": "up",
        "active": 2,
        "idle": 8,
        "requests": 16,
        "failures": 0,
    }
    assert (green["name"], green["state"], green["failures"]) == ("10.0.0.2:80", "down", 4)


def test_routes_have_the_conditions_that_they_have(board: Board, layout: Layout) -> None:
    assert told(board, layout)["routes"] == [
        {"name": "api", "host": ["a.test"], "path": ["= /api"], "upstream": "shop"},
        {"name": "old", "header": ["X-Old: 1"], "redirect": "https://new.test"},
    ]


def test_the_master_and_its_last_reload_are_told(board: Board, layout: Layout) -> None:
    board.tell(reload_number=2, reload_state="refused", reload_message="line 3: no such key", generation=1)
    document = told(board, layout)
    assert (document["version"], document["pid"], document["generation"]) == (__version__, os.getpid(), 1)
    assert 0 <= document["uptime"] < 60
    assert document["reload"] == {"number": 2, "state": "refused", "message": "line 3: no such key"}


def test_that_the_master_stops_is_told(board: Board, layout: Layout) -> None:
    assert told(board, layout)["state"] == "serving"
    board.tell(is_stopping=True)
    assert told(board, layout)["state"] == "stopping"


def test_before_any_worker_everything_is_there_and_nothing_has_happened(board: Board, layout: Layout) -> None:
    document = told(board, layout)
    assert (document["workers"], document["requests"]) == ([], 0)
    assert [backend["state"] for backend in document["upstreams"][0]["backends"]] == ["unknown", "unknown"]


def test_one_worker_is_told_alone(board: Board, layout: Layout, work: Any) -> None:
    work(1)
    board.bury(1)
    work(2)
    work(3)
    document = told(board, layout, 3)
    assert [each["pid"] for each in document["workers"]] == [3]
    assert (document["requests"], document["upstreams"][0]["requests"]) == (10, 10)
    assert told(board, layout)["requests"] == 30
    assert snapshot(board, layout, SETTINGS, 1) is None


def test_worker_that_is_silent_is_told_and_its_gauges_are_not(
    board: Board, layout: Layout, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    monkeypatch.setattr(board_module, "monotonic", clock)
    work(1)
    clock.turn(STALE_S)
    document = told(board, layout)
    assert [each["state"] for each in document["workers"]] == ["silent"]
    assert (document["connections"], document["requests"]) == ({"active": 0, "idle": 0}, 10)


def test_workers_of_two_configurations_are_told_by_either(board: Board, layout: Layout, work: Any) -> None:
    work(1, State.DRAINING)
    settings = replace(SETTINGS, upstreams=(UpstreamSettings(name="shop", backends=(GREEN,)), UpstreamSettings(name="new")))
    newer = layout_of(board, settings)
    work(2, layout=newer)
    document = told(board, newer, settings=settings)
    assert [(each["pid"], each["generation"]) for each in document["workers"]] == [(1, 1), (2, 2)]
    assert [(each["name"], each["requests"], len(each["backends"])) for each in document["upstreams"]] == [
        ("shop", 20, 1),
        ("new", 0, 0),
    ]
    assert document["upstreams"][0]["backends"][0]["failures"] == 4
    of_before = told(board, layout)["upstreams"][0]
    assert [backend["requests"] for backend in of_before["backends"]] == [8, 4]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ([], "unknown"),
        (["unknown", "unknown"], "unknown"),
        (["up", "unknown"], "up"),
        (["up", "up", "down"], "up"),
        (["up", "down"], "down"),
        (["unknown", "unknown", "down"], "unknown"),
        (["draining", "draining"], "draining"),
        (["draining", "up"], "up"),
    ],
)
def test_state_of_a_backend_over_workers(said: list[str], state: str) -> None:
    assert agreed_state([STATES.index(each) for each in said]) == state
