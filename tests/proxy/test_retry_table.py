"""What is tried again, and where: every fault with every method, body, list and number of backends, from one table.

The rules of one try are pure (`test_retry.py`); here a real reverse proxy meets real streams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from greenproxy.config.settings import RelaySettings
from greenproxy.errors import RETRY_REASONS, ProxyError
from greenproxy.net.recycler import Recycler
from greenproxy.proxy.reverse import ReverseProxy
from tests.hub import poll, until
from tests.proxy.faults import BODIES, CONNECT_FAULTS, FAULTS, WHOLE, FaultyUpstream, asked

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
OTHERS = ("POST", "PATCH")
METHODS = (*IDEMPOTENT, *OTHERS)
EVERYTHING = ("connect", "reset", "timeout", "502", "503", "504")

ANY = METHODS
NONE: tuple[str, ...] = ()
ALL_BODIES = tuple(BODIES)
HELD = tuple(each for each in BODIES if each != "half of it gone")


class Rule(NamedTuple):
    """A fault on a fresh connection or on a used one: the condition of `retry-on` it falls under, and for which requests.

    `once_more`: the only backend is asked again, on a fresh connection.
    """

    fault: str
    is_used: bool
    condition: str
    methods: tuple[str, ...]
    bodies: tuple[str, ...]
    reason: str
    once_more: bool = False


FRESH, USED = False, True
RULES = [
    # Nobody has got a byte: anything may be sent to somebody else. (Of `broken` more below.)
    Rule("connect refused", FRESH, "connect", ANY, ALL_BODIES, "connect-refused"),
    Rule("connect failed", FRESH, "connect", ANY, ALL_BODIES, "connect-failed"),
    Rule("connect timeout", FRESH, "connect", ANY, ALL_BODIES, "connect-timeout"),
    Rule("broken", USED, "reset", IDEMPOTENT, ALL_BODIES, "backend-reset", once_more=True),
    # It was written, and not a byte came back: what may be done twice, if all that was taken of it is here.
    Rule("reset", FRESH, "reset", IDEMPOTENT, HELD, "backend-reset"),
    Rule("reset", USED, "reset", IDEMPOTENT, HELD, "backend-reset", once_more=True),
    Rule("closed", FRESH, "reset", IDEMPOTENT, HELD, "backend-closed"),
    Rule("closed", USED, "reset", IDEMPOTENT, HELD, "backend-closed", once_more=True),
    Rule("silent", FRESH, "timeout", IDEMPOTENT, HELD, "response-timeout"),
    Rule("silent", USED, "timeout", IDEMPOTENT, HELD, "response-timeout"),
    # An answer came that says as much.
    Rule("502", FRESH, "502", IDEMPOTENT, HELD, "502"),
    Rule("503", FRESH, "503", IDEMPOTENT, HELD, "503"),
    Rule("504", FRESH, "504", IDEMPOTENT, HELD, "504"),
    Rule("503", USED, "503", IDEMPOTENT, HELD, "503"),
    Rule("503 and the end", FRESH, "503", IDEMPOTENT, HELD, "503"),
    # A byte of the answer came, or went to the client: it stands.
    Rule("closed in the head", FRESH, "reset", NONE, (), "backend-closed"),
    Rule("closed in the head", USED, "reset", NONE, (), "backend-closed"),
    Rule("closed behind 103", FRESH, "reset", NONE, (), "backend-closed"),
    Rule("closed behind 103", USED, "reset", NONE, (), "backend-closed"),
    Rule("503 behind 103", FRESH, "503", NONE, (), "503"),
    Rule("500", FRESH, "500", NONE, (), "500"),
    Rule("no HTTP", FRESH, "invalid", NONE, (), "backend-invalid"),
    Rule("no HTTP", USED, "invalid", NONE, (), "backend-invalid"),
]


class Outcome(NamedTuple):
    """What came of a request: the status (that of the error that was raised), why it was tried again, what backends got."""

    status: int
    reasons: tuple[str, ...]
    tries: list[tuple[str, bool]]
    bodies: list[bytes]


@contextmanager
def faulty(rule: Rule, backends: int) -> Iterator[FaultyUpstream]:
    upstream = FaultyUpstream(backends, rule.fault)
    try:
        yield upstream
        until(lambda: not any(each.in_flight for each in upstream.backends))
    finally:
        upstream.stop()


def play(rule: Rule, retry_on: tuple[str, ...], method: str, body: str, backends: int) -> Outcome:
    with faulty(rule, backends) as upstream:
        proxy = ReverseProxy(upstream, RelaySettings(retry_on=retry_on), Recycler(), via=False, replaces_host=False)
        if rule.is_used:
            for _ in range(backends):
                proxy(asked("GET", "none"))
            poll()  # what was idle for less than a turn of the loop is looked at when it is taken
        it = asked(method, body)
        upstream.arm(it, body)
        try:
            status = proxy(it).status
        except ProxyError as error:
            status = error.status
        upstream.let_it_come()
    return Outcome(status, it.trace.retry_reasons, upstream.tries, upstream.bodies)


def expected(rule: Rule, retry_on: tuple[str, ...], method: str, body: str, backends: int) -> bool:
    """Return whether the table wants another try."""
    allowed = rule.condition in retry_on and method in rule.methods and body in rule.bodies
    return allowed and (backends > 1 or rule.once_more)


def is_as_expected(outcome: Outcome, rule: Rule, body: str, backends: int, is_retried: bool) -> bool:
    first, *others = outcome.tries
    if first[1] != rule.is_used:
        return False
    if not is_retried:
        return outcome.status >= 500 and not others and outcome.reasons == ()
    if outcome.status != 200 or len(others) != 1 or outcome.reasons != (rule.reason,):
        return False
    if outcome.bodies != [b"" if body == "none" else WHOLE]:
        return False
    return others[0][0] != first[0] if backends > 1 else others == [(first[0], False)]


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.fault}, {'used' if rule.is_used else 'fresh'}")
def test_a_request_is_tried_again_as_the_table_says(rule: Rule, is_listed: bool) -> None:
    retry_on = (rule.condition,) if is_listed else tuple(each for each in EVERYTHING if each != rule.condition)
    wrong = []
    methods = IDEMPOTENT if rule.fault == "broken" else METHODS
    for method, body, backends in itertools.product(methods, BODIES, (1, 2, 3)):
        is_retried = expected(rule, retry_on, method, body, backends)
        outcome = play(rule, retry_on, method, body, backends)
        if not is_as_expected(outcome, rule, body, backends, is_retried):
            wrong.append((method, body, backends, is_retried, outcome))
    assert wrong == []


@pytest.mark.parametrize("method", OTHERS)
def test_what_may_not_be_sent_twice_looks_at_a_used_connection_before_it_takes_it(method: str) -> None:
    rule = Rule("broken", USED, "reset", ANY, ALL_BODIES, "")
    wrong = []
    for body, backends in itertools.product(BODIES, (1, 2, 3)):
        outcome = play(rule, (), method, body, backends)
        if (outcome.status, outcome.reasons, outcome.tries[-1][1]) != (200, (), FRESH):
            wrong.append((body, backends, outcome))
    assert wrong == []


def test_the_table_has_every_fault() -> None:
    assert {rule.fault for rule in RULES} == {"broken", *CONNECT_FAULTS, *FAULTS}


def test_the_table_has_every_reason_of_a_retry() -> None:
    assert {rule.reason for rule in RULES if rule.methods} == set(RETRY_REASONS)
