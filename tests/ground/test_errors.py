"""Errors answer three questions: what the client is told, whose fault it is, may another backend be tried."""

from __future__ import annotations

import pytest

from greenproxy import errors
from greenproxy.errors import REASONS, Blame, MethodNotAllowed, ProxyError, Retry, Unavailable

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProxyError)]
KINDS.remove(errors.UpstreamError)  # only what is below it is ever raised
#: The registry of RFC 9209 section 2.3, as far as it is used.
REGISTERED = {
    "destination_not_found", "destination_unavailable", "connection_refused", "connection_terminated", "connection_timeout",
    "connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "http_request_error",
    "http_response_incomplete", "http_response_timeout", "http_protocol_error", "proxy_internal_error",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_registered_type_and_a_sentence(kind: type[ProxyError]) -> None:
    assert kind.error_type in REGISTERED
    assert kind.message.endswith(".")
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_only_failures_of_backends_are_tried_elsewhere(kind: type[ProxyError]) -> None:
    assert kind.retry is Retry.NEVER or kind.blame is Blame.UPSTREAM


def test_a_reason_has_one_status() -> None:
    statuses: dict[str, set[int]] = {}
    for kind in KINDS:
        statuses.setdefault(kind.reason, set()).add(kind.status)
    assert {reason: found for reason, found in statuses.items() if len(found) > 1} == {}
    assert set(statuses) == set(REASONS)


def test_the_next_try_is_at_least_a_second_away() -> None:
    assert [Unavailable(retry_after_s=n).retry_after_s for n in (-1, 0, 1, 7)] == [1, 1, 1, 7]


def test_a_sentence_of_its_own_replaces_the_general_one() -> None:
    assert (str(ProxyError()), str(ProxyError("Just so."))) == (ProxyError.message, "Just so.")


def test_a_refused_method_tells_those_that_work() -> None:
    assert MethodNotAllowed(("GET", "HEAD")).allow == ("GET", "HEAD")
