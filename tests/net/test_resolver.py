"""Names: looked up in the background, one question at a time, old answers kept while new questions fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest

from greenproxy.config.settings import Address
from greenproxy.deadline import NEVER, Deadline
from greenproxy.errors import ConnectFailed, RequestTimeout
from greenproxy.net.dial import SockAddr
from greenproxy.net.resolver import RETRY_S, START_GRACE_S, Resolver, ask_system, literal
from tests.fakes import HandClock, memory_logger

SHOP = Address(host="shop.test", port=8000)


def v4(*ips: str, port: int = 0) -> tuple[SockAddr, ...]:
    return tuple(SockAddr(socket.AF_INET, (ip, port)) for ip in ips)


class NameServer:
    """Answers questions as told; runs in the resolver's threads."""

    def __init__(self) -> None:
        self.answers: dict[bytes, tuple[SockAddr, ...] | OSError | UnicodeError] = {}
        self.asked: list[bytes] = []
        self.threads: set[int] = set()
        self.most_at_once = self.at_once = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._lock = threading.Lock()

    def __call__(self, host: bytes) -> tuple[SockAddr, ...]:
        with self._lock:
            self.asked.append(host)
            self.threads.add(threading.get_ident())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.may_answer.wait(10)
        with self._lock:
            self.at_once -= 1
        answer = self.answers.get(host, OSError(-2, "Name or service not known"))
        if isinstance(answer, tuple):
            return answer
        raise answer


class Desk:
    """A resolver with its name server, its clock, its log, and a note of what each watch was told."""

    def __init__(self, interval_s: float = 30.0) -> None:
        self.server = NameServer()
        self.clock = HandClock()
        self.logger, self.log = memory_logger()
        self.resolver = Resolver(interval_s, self.logger, self.server, self.clock)
        self.told: list[tuple[tuple[SockAddr, ...], str]] = []

    def watch(self, address: Address = SHOP) -> Any:
        return self.resolver.watch(address, lambda addresses, reason: self.told.append((addresses, reason)))

    def answers(self, *ips: str) -> None:
        self.server.answers[b"shop.test"] = v4(*ips)

    def fails(self) -> None:
        self.server.answers.pop(b"shop.test", None)

    def ask_again(self, after_s: float) -> None:
        """Let time pass, and let what is due be asked and answered."""
        self.clock.turn(after_s)
        self.resolver.refresh()
        self.finish()

    def finish(self) -> None:
        """Wait until no question is open."""
        with gevent.Timeout(10, AssertionError("a question stays open")):
            while any(name.question is not None for name in self.resolver._names.values()):
                gevent.sleep(0.001)


@pytest.fixture
def make_desk() -> Iterator[Callable[..., Desk]]:
    with ExitStack() as desks:

        def make(interval_s: float = 30.0) -> Desk:
            desk = Desk(interval_s)
            desks.callback(desk.resolver.stop)
            desks.callback(desk.server.may_answer.set)
            return desk

        yield make


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


# ------------------------------------------------------------------ literals


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (Address(host="127.0.0.1", port=80), SockAddr(socket.AF_INET, ("127.0.0.1", 80))),
        (Address(host="::1", port=8443), SockAddr(socket.AF_INET6, ("::1", 8443, 0, 0))),
        (Address(path="/run/shop.sock"), SockAddr(socket.AF_UNIX, "/run/shop.sock")),
        (Address(host="localhost", port=80), None),
        (Address(host="x" * 80, port=80), None),
    ],
)
def test_literals_need_no_lookup(address: Address, expected: SockAddr | None) -> None:
    assert literal(address) == expected


def test_a_literal_is_told_at_once_and_nobody_is_asked(desk: Desk) -> None:
    desk.watch(Address(host="10.0.0.1", port=80)).cancel()
    assert desk.told == [(v4("10.0.0.1", port=80), "")]
    assert desk.server.asked == []


def test_localhost_has_both_its_addresses() -> None:
    found = ask_system(b"localhost")
    assert {each.address[0] for each in found} >= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found))


def test_the_real_system_is_asked_in_a_thread() -> None:
    log, _ = memory_logger()
    resolver = Resolver(30.0, log)
    try:
        found = resolver.lookup(Address(host="localhost", port=80), Deadline.after(10.0, RequestTimeout))
    finally:
        resolver.stop()
    assert all(each.address[1] == 80 for each in found)


# ------------------------------------------------------------------ watching


def test_a_watch_is_told_the_addresses_with_its_port(desk: Desk) -> None:
    desk.answers("10.0.0.1", "10.0.0.2")
    desk.watch()
    desk.resolver.wait_for_first_answers()
    assert desk.told == [(v4("10.0.0.1", "10.0.0.2", port=8000), "")]


def test_questions_never_run_in_the_threads_of_the_hub(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.watch()
    desk.finish()
    assert threading.get_ident() not in desk.server.threads


def test_a_name_has_one_question_under_way_however_many_ask(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.server.may_answer.clear()
    for port in range(1, 6):
        desk.watch(Address(host="shop.test", port=port))
    desk.resolver.refresh()
    desk.server.may_answer.set()
    desk.finish()
    assert desk.server.asked == [b"shop.test"]
    assert sorted(addresses[0].address[1] for addresses, _ in desk.told) == [1, 2, 3, 4, 5]


def test_a_later_watch_is_told_what_is_known_without_a_question(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.watch()
    desk.finish()
    desk.watch()
    assert len(desk.told) == 2
    assert len(desk.server.asked) == 1


def test_many_names_share_a_few_threads(desk: Desk) -> None:
    for n in range(20):
        desk.watch(Address(host=f"host{n}.test", port=80))
    desk.finish()
    assert len(desk.server.asked) == 20
    assert desk.server.most_at_once <= 4


def test_names_are_asked_for_again_when_the_interval_is_over(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.watch()
    desk.finish()
    desk.ask_again(29.9)
    assert len(desk.server.asked) == 1
    desk.answers("10.0.0.2")
    desk.ask_again(0.1)
    assert desk.told[1:] == [(v4("10.0.0.2", port=8000), "")]


def test_the_same_addresses_in_another_order_are_no_news(desk: Desk) -> None:
    desk.answers("10.0.0.1", "10.0.0.2")
    desk.watch()
    desk.finish()
    desk.answers("10.0.0.2", "10.0.0.1")
    desk.ask_again(30.0)
    assert len(desk.told) == 1


def test_with_interval_zero_an_answer_is_for_ever(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(0.0)
    desk.answers("10.0.0.1")
    desk.watch()
    desk.finish()
    desk.ask_again(1e9)
    assert len(desk.server.asked) == 1


def test_old_addresses_stay_in_use_while_questions_fail_and_the_log_says_so_once(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.watch()
    desk.finish()
    desk.fails()
    desk.ask_again(30.0)
    desk.ask_again(30.0)
    assert len(desk.told) == 1
    assert desk.log == [
        "the name shop.test does not resolve any more (Name or service not known): its last addresses stay in use"
    ]
    desk.answers("10.0.0.1")
    desk.ask_again(30.0)
    assert desk.log[1:] == ["the name shop.test resolves again"]


def test_a_name_without_an_answer_is_told_once_and_asked_for_again_soon(desk: Desk) -> None:
    desk.watch()
    desk.finish()
    desk.ask_again(RETRY_S)
    desk.ask_again(RETRY_S)
    assert desk.told == [((), "shop.test does not resolve: Name or service not known")]
    assert len(desk.server.asked) == 3
    desk.answers("10.0.0.1")
    desk.ask_again(RETRY_S)
    assert desk.told[1:] == [(v4("10.0.0.1", port=8000), "")]


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "shop..test", "\ud800.test"])
def test_a_name_that_is_none_is_a_name_that_does_not_resolve(desk: Desk, host: str) -> None:
    desk.watch(Address(host=host, port=80))
    desk.finish()
    ((addresses, reason),) = desk.told
    assert addresses == ()
    assert "does not resolve" in reason


def test_a_cancelled_watch_is_told_nothing(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    watch = desk.watch()
    watch.cancel()
    watch.cancel()
    desk.finish()
    assert desk.told == []


def test_names_that_nobody_watches_are_forgotten(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.watch().cancel()
    desk.finish()
    desk.ask_again(30.0)
    desk.watch()
    desk.finish()
    assert len(desk.server.asked) == 2


def test_the_refresh_runs_by_itself(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(0.02)
    desk.resolver.start()
    desk.answers("10.0.0.1")
    desk.watch()
    desk.finish()
    desk.clock.turn(1.0)
    with gevent.Timeout(10):
        while len(desk.server.asked) < 2:
            gevent.sleep(0.001)


# ------------------------------------------------------------------ starting and stopping


def test_a_start_waits_for_first_answers_but_not_for_ever(desk: Desk) -> None:
    desk.server.may_answer.clear()
    desk.watch()
    desk.resolver._grace_ends_s = desk.clock() + 0.02
    desk.resolver.wait_for_first_answers()
    assert desk.told == []


def test_the_grace_of_a_start_is_one_for_all_upstreams(desk: Desk) -> None:
    desk.resolver.wait_for_first_answers()
    desk.clock.turn(START_GRACE_S)
    desk.server.may_answer.clear()
    desk.watch()
    with gevent.Timeout(1.0, AssertionError("it waits again")):
        desk.resolver.wait_for_first_answers()


def test_stopping_with_a_question_open_does_not_hang(desk: Desk) -> None:
    desk.server.may_answer.clear()
    desk.watch()
    gevent.sleep(0)
    with gevent.Timeout(5.0, AssertionError("it hangs")):
        desk.resolver.stop()
    assert desk.told == []


# ------------------------------------------------------------------ lookups that wait


def test_a_lookup_waits_for_the_answer_and_then_uses_it(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    assert desk.resolver.lookup(SHOP, NEVER) == v4("10.0.0.1", port=8000)
    assert desk.resolver.lookup(SHOP, NEVER) == v4("10.0.0.1", port=8000)
    assert len(desk.server.asked) == 1


def test_a_lookup_of_an_old_name_answers_at_once_and_asks_in_the_background(desk: Desk) -> None:
    desk.answers("10.0.0.1")
    desk.resolver.lookup(SHOP, NEVER)
    desk.answers("10.0.0.2")
    desk.clock.turn(30.0)
    assert desk.resolver.lookup(SHOP, NEVER) == v4("10.0.0.1", port=8000)
    desk.finish()
    assert desk.resolver.lookup(SHOP, NEVER) == v4("10.0.0.2", port=8000)


def test_a_lookup_that_fails_says_why(desk: Desk) -> None:
    with pytest.raises(ConnectFailed, match=r"shop\.test does not resolve: Name or service not known"):
        desk.resolver.lookup(SHOP, NEVER)
    with pytest.raises(ConnectFailed):  # and does not ask again for a moment
        desk.resolver.lookup(SHOP, NEVER)
    assert len(desk.server.asked) == 1


def test_a_lookup_is_bounded(desk: Desk) -> None:
    desk.server.may_answer.clear()
    with pytest.raises(RequestTimeout):
        desk.resolver.lookup(SHOP, Deadline.after(0.01, RequestTimeout))
    assert desk.resolver.lookup(Address(host="::1", port=1), NEVER)
