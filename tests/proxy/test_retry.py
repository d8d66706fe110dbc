"""The retry rules, every combination of them, against the sentences of the contract.

- connect: any method.
- reset: idempotent methods, if no byte of the body was taken from the client or all of it is still held; other methods
  only if not a byte of the request was written.
- timeout, 502, 503, 504: the same methods, only if listed.
"""

from __future__ import annotations

import itertools

import pytest

from greenproxy.config.settings import RelaySettings
from greenproxy.errors import (
    BackendClosed,
    BackendInvalid,
    BackendReset,
    ClientGone,
    ConnectFailed,
    ConnectRefused,
    ConnectTimeout,
    NoBackend,
    ProxyError,
    QueueTimeout,
    ReadTimeout,
    RequestTimeout,
    ResponseTimeout,
)
from greenproxy.proxy.retry import may_retry_error, may_retry_status

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
OTHERS = ["POST", "PATCH", "PROPFIND", "get"]
EVERYTHING = ("connect", "reset", "timeout", "502", "503", "504")

CONDITIONS: dict[type[ProxyError], str] = {
    ConnectRefused: "connect",
    ConnectFailed: "connect",
    ConnectTimeout: "connect",
    BackendReset: "reset",
    BackendClosed: "reset",
    ResponseTimeout: "timeout",
}
NEVER = [BackendInvalid, ReadTimeout, RequestTimeout, QueueTimeout, NoBackend, ClientGone]
LISTS = [(), ("connect", "reset"), EVERYTHING, *[(each,) for each in EVERYTHING]]
YES_NO = (False, True)


def may(error: type[ProxyError], method: str, written: bool, held: bool, retry_on: tuple[str, ...] = EVERYTHING) -> bool:
    relay = RelaySettings(retry_on=retry_on)
    return may_retry_error(error(), relay, method, was_written=written, body_is_held=held)


def allowed(condition: str, method: str, written: bool, held: bool) -> bool:
    """Return what the contract says about a listed condition."""
    if not held:
        return condition == "connect" and not written  # what was taken and is gone cannot be sent again
    if condition == "connect":
        return True
    return method in IDEMPOTENT or (condition == "reset" and not written)


@pytest.mark.parametrize("error", CONDITIONS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("method", IDEMPOTENT + OTHERS)
def test_a_listed_error_is_tried_again_as_the_contract_says(error: type[ProxyError], method: str) -> None:
    wrong = [
        (written, held)
        for written, held in itertools.product(YES_NO, YES_NO)
        if may(error, method, written, held) != allowed(CONDITIONS[error], method, written, held)
    ]
    assert wrong == []


@pytest.mark.parametrize("error", CONDITIONS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: "+".join(listed) or "none")
def test_an_error_is_tried_again_only_if_it_is_listed(error: type[ProxyError], listed: tuple[str, ...]) -> None:
    wrong = [
        (method, written, held)
        for method, written, held in itertools.product(IDEMPOTENT + OTHERS, YES_NO, YES_NO)
        if CONDITIONS[error] not in listed and may(error, method, written, held, listed)
    ]
    assert wrong == []


@pytest.mark.parametrize("error", NEVER, ids=lambda error: error.__name__)
def test_other_errors_are_never_tried_again(error: type[ProxyError]) -> None:
    states = itertools.product(IDEMPOTENT + OTHERS, YES_NO, YES_NO)
    assert not any(may(error, method, written, held) for method, written, held in states)


@pytest.mark.parametrize("status", [200, 404, 429, 500, 501, 502, 503, 504, 505, 599])
@pytest.mark.parametrize("held", YES_NO)
def test_a_status_is_tried_again_only_if_it_is_listed_and_the_method_allows_it(status: int, held: bool) -> None:
    wrong = [
        (method, listed)
        for method, listed in itertools.product(IDEMPOTENT + OTHERS, LISTS)
        if may_retry_status(status, RelaySettings(retry_on=listed), method, body_is_held=held)
        != (str(status) in listed and method in IDEMPOTENT and held)
    ]
    assert wrong == []


def test_by_default_an_unsafe_method_that_was_written_is_tried_again_only_where_nothing_was_connected() -> None:
    relay = RelaySettings()
    tried = [each for each in CONDITIONS if may_retry_error(each(), relay, "POST", was_written=True, body_is_held=True)]
    assert tried == [ConnectRefused, ConnectFailed, ConnectTimeout]
