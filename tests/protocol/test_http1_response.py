"""Response heads: what is made of a valid one. The tables are in test_http1."""

from __future__ import annotations

import pytest

from greenproxy.protocol.http1 import ResponseHead, parse_response_head, response_body_kind
from tests.protocol.cases import response

CHUNKED = b"Transfer-Encoding: chunked"


def answered(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return parse_response_head(response(*lines, start=start, body=b""))


class TestResponseHead:
    def test_the_parts_are_the_bytes_that_came(self) -> None:
        head = answered(b"X-One:  1 ", b"Content-Length: 7", start=b"HTTP/1.1 404 Not Here")
        assert (head.status, head.reason, head.minor, head.content_length) == (404, b"Not Here", 1, 7)
        assert head.block == b"X-One:  1 \r\nContent-Length: 7\r\n"
        assert head.kept == [b"X-One:  1 ", b"Content-Length: 7"]

    def test_hop_by_hop_and_nominated_fields_are_not_kept(self) -> None:
        head = answered(
            b"Connection: keep-alive, x-hop", b"Keep-Alive: timeout=5", b"X-Hop: 1", b"Upgrade: h2c", b"Set-Cookie: a"
        )
        assert head.kept == [b"Set-Cookie: a"]
        assert head.keep_alive is True

    def test_forwarding_fields_mean_nothing_in_a_response(self) -> None:
        lines = [b"Via: 1.1 x", b"X-Forwarded-For: y", b"X_Real_IP: z"]
        assert answered(*lines).kept == lines

    def test_a_date_is_noticed(self) -> None:
        assert answered(b"date: now").has_date is True
        assert answered(b"date: now").kept == [b"date: now"]
        assert answered().has_date is False

    @pytest.mark.parametrize(
        "start", [b"HTTP/1.1 204 No Content", b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 103 Early Hints"]
    )
    def test_a_length_does_not_travel_where_it_is_not_allowed(self, start: bytes) -> None:
        assert answered(b"Content-Length: 0", b"X: y", start=start).kept == [b"X: y"]

    @pytest.mark.parametrize(
        ("line", "stays"), [(b"X: y", True), (b"Content-Length: 0", True), (b"Content-Length: 5", False), (CHUNKED, False)]
    )
    def test_behind_a_204_that_announces_a_body_nothing_is_asked(self, line: bytes, stays: bool) -> None:
        assert answered(line, start=b"HTTP/1.1 204 No Content").keep_alive is stays

    def test_an_upgrade_is_told(self) -> None:
        head = answered(b"Connection: Upgrade", b"Upgrade: websocket", start=b"HTTP/1.1 101 Switching Protocols")
        assert head.upgrade == b"websocket"

    def test_an_http_1_0_response_closes_unless_it_says_otherwise(self) -> None:
        assert answered(start=b"HTTP/1.0 200 OK").keep_alive is False
        assert answered(b"Connection: keep-alive", start=b"HTTP/1.0 200 OK").keep_alive is True

    @pytest.mark.parametrize(
        ("start", "line", "method", "kind"),
        [
            (b"HTTP/1.1 200 OK", b"Content-Length: 5", b"GET", "length"),
            (b"HTTP/1.1 200 OK", b"Content-Length: 5", b"HEAD", "none"),
            (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"GET", "chunked"),
            (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"HEAD", "none"),
            (b"HTTP/1.1 200 OK", b"X: y", b"GET", "eof"),
            (b"HTTP/1.0 200 OK", b"X: y", b"GET", "eof"),
            (b"HTTP/1.1 204 No Content", b"Content-Length: 5", b"GET", "none"),
            (b"HTTP/1.1 204 No Content", b"Transfer-Encoding: chunked", b"GET", "none"),
            (b"HTTP/1.1 304 Not Modified", b"Content-Length: 5", b"GET", "none"),
            (b"HTTP/1.1 100 Continue", b"X: y", b"POST", "none"),
            (b"HTTP/1.1 101 Switching Protocols", b"X: y", b"GET", "none"),
            (b"HTTP/1.1 205 Reset Content", b"X: y", b"GET", "eof"),
            (b"HTTP/1.1 200 OK", b"Content-Length: 5", b"CONNECT", "none"),
            (b"HTTP/1.1 407 No", b"Content-Length: 5", b"CONNECT", "length"),
        ],
    )
    def test_method_status_and_framing_decide_about_the_body(self, start: bytes, line: bytes, method: bytes, kind: str) -> None:
        assert response_body_kind(answered(line, start=start), method) == kind
