"""Single conditions of a route."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.messages import Headers, Request
from greenproxy.routing.matchers import HeaderMatch


class Raw:
    """A request head as the parser gives it."""

    def __init__(self, block: bytes) -> None:
        self.seen = block


def asked(block: bytes) -> Request:
    return Request("GET", "/", path="/", raw=Raw(block))


@pytest.mark.parametrize(
    ("block", "holds"),
    [
        (b"Host: a\r\nx-beta:  1 \r\n", True),
        (b"X-Beta:1\r\nHost: a\r\n", True),
        (b"X-Beta: 0\r\nX-Beta: 1\r\n", True),
        (b"X-Beta: 11\r\n", False),
        (b"X-Beta: 1, 1\r\n", False),
        (b"Y-X-Beta: 1\r\n", False),
        (b"Y: X-Beta: 1\r\n", False),
        (b"Y: a\tX-Beta: 1\r\n", False),
        (b"", False),
    ],
)
def test_header_is_found_in_the_bytes_without_building_headers(block: bytes, holds: bool) -> None:
    request = asked(block)
    assert HeaderMatch("X-Beta", "1").holds(request) is holds
    assert request.headers_if_read is None


def test_header_that_a_middleware_removed_is_not_there() -> None:
    request = asked(b"X-Beta: 1\r\n")
    del request.headers["X-Beta"]
    assert not HeaderMatch("X-Beta", "1").holds(request)


def test_request_without_bytes_and_headers_has_no_header() -> None:
    assert not HeaderMatch("X-Beta", "1").holds(Request("GET", "/", path="/"))


def test_name_has_no_case_but_the_value_has() -> None:
    assert HeaderMatch("x-BETA", "One").holds(asked(b"X-Beta: One\r\n"))
    assert not HeaderMatch("X-Beta", "one").holds(asked(b"X-Beta: One\r\n"))


def test_signs_of_regular_expressions_are_ordinary() -> None:
    assert HeaderMatch("X.Beta", "a+(b)").holds(asked(b"X.Beta: a+(b)\r\n"))
    assert not HeaderMatch("X.Beta", ".").holds(asked(b"XxBeta: a\r\n"))


names = st.sampled_from(["X-A", "x-a", "X-B", "X-AA"])
values = st.sampled_from(["", "1", "11", "1 1", "X-A: 1", "\xe9"])


@given(st.lists(st.tuples(names, values), max_size=5), names, values)
def test_bytes_and_headers_give_the_same_verdict(fields: list[tuple[str, str]], name: str, value: str) -> None:
    headers = Headers(fields)
    match = HeaderMatch(name, value)
    assert match.holds(asked(headers.to_block())) is match.holds(Request("GET", "/", path="/", headers=headers))
