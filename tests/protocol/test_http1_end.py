"""Where a head ends: found early, refused early, and the same however its bytes arrive."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.errors import BackendInvalid, BadRequest, HeadTooLarge, ProxyError, UriTooLong
from greenproxy.protocol.body import Malformed
from greenproxy.protocol.http1 import NO_LIMITS, HeadLimits, find_head_end, find_response_head_end
from tests.protocol.cases import request
from tests.protocol.messages import requests
from tests.protocol.reading import NEXT, byte_by_byte, read_request, whole


class TestArrival:
    @settings(max_examples=300, deadline=None)
    @given(requests())
    def test_the_verdict_on_a_request_does_not_depend_on_how_it_arrives(self, data: bytes) -> None:
        assert self.verdict(whole(data)) == self.verdict(byte_by_byte(data))

    @settings(max_examples=300, deadline=None)
    @given(requests(), st.builds(HeadLimits, st.integers(0, 120), st.integers(0, 4), st.integers(0, 20)))
    def test_nor_does_it_with_limits(self, data: bytes, limits: HeadLimits) -> None:
        assert self.verdict(whole(data + NEXT), limits) == self.verdict(byte_by_byte(data + NEXT), limits)

    @pytest.mark.parametrize(
        ("data", "refusal"),
        [
            (b"GET / HTTP/1.1\nX: " + b"y" * 300 + b"\r\n\r\n", BadRequest),  # a bare LF, then too long a head
            (b"GET / HTTP/1.1\r\nX: " + b"y" * 300 + b"\n\r\n\r\n", HeadTooLarge),
            (b"GET /" + b"y" * 50 + b" HTTP/1.1\nX: y\r\n\r\n", UriTooLong),  # too long a target, then a bare LF
            (b"GET /" + b"y" * 50 + b" HTTP/1.2\r\n\r\n", UriTooLong),
            (b"GET /\x00" + b"y" * 50 + b" HTTP/1.1\r\n\r\n", BadRequest),
            (b"\r\nGET /" + b"y" * 300, BadRequest),
        ],
    )
    def test_of_several_faults_the_first_is_told(self, data: bytes, refusal: type[ProxyError]) -> None:
        limits = HeadLimits(max_head_bytes=200, max_uri_bytes=40)
        assert self.verdict(whole(data), limits) is self.verdict(byte_by_byte(data), limits) is refusal

    @staticmethod
    def verdict(pieces: Iterable[bytes], limits: HeadLimits = NO_LIMITS) -> object:
        try:
            message = read_request(pieces, limits)
        except (ProxyError, Malformed) as refusal:
            return type(refusal)
        return message.head and message.head.block, message.payload, message.trailers, message.excess, message.is_done


class TestFindHeadEnd:
    def test_the_end_is_behind_the_empty_line(self) -> None:
        head = request(b"X: y")
        assert find_head_end(head + b"body\r\n\r\n") == len(head)

    @pytest.mark.parametrize("back", [1, 2, 3, 4])
    def test_an_end_that_straddles_two_reads_is_found(self, back: int) -> None:
        head = request(b"X: y")
        assert find_head_end(head[:-back]) == -1
        assert find_head_end(head, searched=len(head) - back) == len(head)

    def test_an_incomplete_head_is_awaited(self) -> None:
        head = request(b"X: y")
        assert {find_head_end(head[:size]) for size in range(len(head))} == {-1}

    @pytest.mark.parametrize("data", [b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\rH", b"GET /\x00", b"\r", b"\x16\x03\x01"])
    def test_bytes_that_no_head_has_are_refused_before_it_is_complete(self, data: bytes) -> None:
        with pytest.raises(BadRequest):
            find_head_end(data)

    def test_a_line_feed_that_comes_alone_is_refused_if_no_carriage_return_came_before(self) -> None:
        assert find_head_end(b"GET / HTTP/1.1\r") == -1
        assert find_head_end(b"GET / HTTP/1.1\r\n", searched=15) == -1
        with pytest.raises(BadRequest):
            find_head_end(b"GET / HTTP/1.1\n", searched=14)

    def test_a_head_as_large_as_its_limit_passes(self) -> None:
        head = request(b"X: y")
        assert find_head_end(head, HeadLimits(max_head_bytes=len(head))) == len(head)

    def test_a_head_over_its_limit_is_refused(self) -> None:
        head = request(b"X: y")
        with pytest.raises(HeadTooLarge):
            find_head_end(head, HeadLimits(max_head_bytes=len(head) - 1))

    def test_a_head_is_refused_when_it_can_only_get_too_large(self) -> None:
        with pytest.raises(HeadTooLarge):
            find_head_end(request(b"X: y")[:-1], HeadLimits(max_head_bytes=27))

    def test_a_target_over_its_limit_is_refused_before_it_ends(self) -> None:
        assert find_head_end(b"GET /" + b"a" * 9, HeadLimits(max_uri_bytes=10)) == -1
        with pytest.raises(UriTooLong):
            find_head_end(b"GET /" + b"a" * 10, HeadLimits(max_uri_bytes=10))

    def test_a_long_head_with_a_short_target_is_no_long_target(self) -> None:
        assert find_head_end(b"GET / HTTP/1.1\r\nX: " + b"a" * 50, HeadLimits(max_uri_bytes=10)) == -1

    def test_a_long_target_is_told_from_a_long_head(self) -> None:
        head = request(start=b"GET /" + b"a" * 100 + b" HTTP/1.1")
        with pytest.raises(UriTooLong):
            find_head_end(head, HeadLimits(max_head_bytes=50, max_uri_bytes=20))

    def test_zero_is_no_limit(self) -> None:
        head = request(b"X: " + b"y" * 100_000)
        assert find_head_end(head, HeadLimits(0, 0, 0)) == len(head)

    def test_a_response_head_that_is_too_large_is_the_backends_fault(self) -> None:
        with pytest.raises(BackendInvalid):
            find_response_head_end(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100, 50)
