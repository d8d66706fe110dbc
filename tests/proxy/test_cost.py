"""What a small exchange costs, counted and not timed: calls of ours and of the kernel, on the way from a client and back.

The bounds are what it takes today and a little. Whoever needs more for every request should know it.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

import greenproxy
from tests.client import get
from tests.conftest import MakeBackend
from tests.fronts import MakeFront
from tests.hub import HubClient
from tests.proxy.edge import MakeEdge
from tests.scripts import always, answer

OURS = str(Path(greenproxy.__file__).parent)
REQUESTS = 50
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml",
    "Accept-Language: en-GB,en;q=0.5",
    "Cookie: session=8c1f5d0a3b7e4e7f9d2b6a1c0e5f4d3b; theme=dark",
)


@pytest.fixture
def client(scripted: MakeBackend, edge: MakeEdge, front: MakeFront) -> HubClient:
    """A client in front of a proxy whose one connection to its backend is open already."""
    client = front(edge(scripted([always(answer(b"x" * 70))])).proxy.__call__).connect()
    for _ in range(5):
        assert client.ask(get()).status == 200
    return client


class Count:
    """What was called while this was the profiler of the thread, save what is not ours and what the collector does."""

    def __init__(self) -> None:
        self.functions: Counter[str] = Counter()
        self.builtins: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(OURS):
            return
        if event == "call":
            self.functions[code.co_qualname] += 1
        elif event == "c_call":
            self.builtins[getattr(argument, "__qualname__", "")] += 1


def cost_of(client: HubClient, requests: list[bytes]) -> Count:
    """Return what the requests cost, one after the other."""
    count = Count()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for each in requests:
            client.ask(each)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("lines", [(), BROWSER], ids=["small", "browser"])
def test_a_small_exchange_makes_two_receives_and_two_sends(client: HubClient, lines: tuple[str, ...]) -> None:
    calls = cost_of(client, [get("/", *lines)] * REQUESTS).builtins
    assert {name: calls[f"socket.{name}"] / REQUESTS for name in ("recv", "send")} == {"recv": 2, "send": 2}


@pytest.mark.parametrize("lines", [(), BROWSER], ids=["small", "browser"])
def test_a_request_that_comes_again_takes_few_calls(client: HubClient, lines: tuple[str, ...]) -> None:
    functions = cost_of(client, [get("/", *lines)] * REQUESTS).functions
    assert functions.total() / REQUESTS <= 58, functions


def test_a_request_for_something_else_takes_few_calls(client: HubClient) -> None:
    functions = cost_of(client, [get(f"/{n}", *BROWSER) for n in range(REQUESTS)]).functions
    assert functions.total() / REQUESTS <= 63, functions


def test_an_exchange_looks_at_the_clock_seldom(client: HubClient) -> None:
    assert cost_of(client, [get()] * REQUESTS).builtins["monotonic"] / REQUESTS <= 6
