"""HTTP/1 heads: the tables, and what is made of a valid head."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from greenproxy.errors import HeadTooLarge, ProxyError, UriTooLong
from greenproxy.protocol.body import Malformed
from greenproxy.protocol.http1 import (
    HeadLimits,
    RequestHead,
    parse_request_head,
)
from greenproxy.protocol.target import parse_target
from tests.protocol.cases import ACCEPTED_RESPONSES, REFUSED_RESPONSES, Accepted, Refused, request
from tests.protocol.reading import NEXT, byte_by_byte, read_request, read_response, whole
from tests.tables import for_each
from tests.wire.cases import SERVED, UNFINISHED, Case
from tests.wire.house import MAX_FIELDS, MAX_HEAD_BYTES, MAX_URI_BYTES
from tests.wire.requests import HEAD_TABLES

Cut = Callable[[bytes], Iterable[bytes]]

both_cuts = pytest.mark.parametrize("cut", [whole, byte_by_byte])


# Limits of bodies are the server's; a route, a middleware or the method may answer what the protocol accepts.
REQUESTS = {subject: [case for case in table if case.status != 413] for subject, table in HEAD_TABLES.items()}
ANSWERED_BY_OTHERS = (200, 403, 405)
SMALL = HeadLimits(MAX_HEAD_BYTES, MAX_FIELDS, MAX_URI_BYTES)


def verdict(pieces: Iterable[bytes], limits: HeadLimits) -> tuple[bytes, bytes] | int:
    """Return (payload, what is behind it) of a whole request, or UNFINISHED, or the status of the refusal."""
    try:
        message = read_request(pieces, limits)
        if message.head is not None and message.head.method != b"CONNECT":  # refused whatever it asks for
            parse_target(message.head.target, message.head.method)
    except ProxyError as refusal:
        return refusal.status
    except Malformed:
        return 400
    return (message.payload, message.excess) if message.is_done else UNFINISHED


def parsed(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> RequestHead:
    return parse_request_head(request(*lines, start=start))


class TestTables:
    @pytest.mark.parametrize("subject", REQUESTS)
    def test_a_request_has_one_verdict_however_its_bytes_arrive(self, subject: str) -> None:
        for_each(REQUESTS[subject], self.assert_has_one_verdict)

    @staticmethod
    def assert_has_one_verdict(case: Case) -> None:
        refusal = case.status if case.status not in ANSWERED_BY_OTHERS else SERVED
        limits = SMALL if case.listener == "small" else HeadLimits(32 * 1024, 100, 8 * 1024)
        verdicts = {verdict(cut(case.data), limits) for cut in (whole, byte_by_byte)}
        behind = {verdict(cut(case.data + NEXT), limits) for cut in (whole, byte_by_byte)}
        if refusal == SERVED:
            assert (verdicts, behind) == ({(case.body, b"")}, {(case.body, NEXT)})
        elif refusal == UNFINISHED:
            assert verdicts == {UNFINISHED}
        else:
            assert verdicts == behind == {refusal}

    @both_cuts
    def test_an_unambiguous_response_is_accepted(self, cut: Cut) -> None:
        def is_read(row: Accepted) -> None:
            message = read_response(cut(row.data))
            assert (message.is_done, message.payload, message.excess) == (True, row.payload, b"")

        for_each(ACCEPTED_RESPONSES, is_read)

    @both_cuts
    def test_a_response_leaves_the_next_one_alone(self, cut: Cut) -> None:
        def is_read(row: Accepted) -> None:
            message = read_response(cut(row.data + NEXT))
            assert (message.is_done, message.payload, message.excess) == (True, row.payload, NEXT)

        for_each(ACCEPTED_RESPONSES, is_read)

    @both_cuts
    def test_a_doubtful_response_is_refused(self, cut: Cut) -> None:
        def is_refused(row: Refused) -> None:
            with pytest.raises(row.error):
                read_response(cut(row.data))

        for_each(REFUSED_RESPONSES, is_refused)


class TestRequestHead:
    def test_the_parts_are_the_bytes_that_came(self) -> None:
        head = parsed(b"X-One:  1 ", b"x-TWO:2", start=b"PUT /a?b=c HTTP/1.1")
        assert (head.method, head.target, head.minor) == (b"PUT", b"/a?b=c", 1)
        assert head.block == b"Host: a\r\nX-One:  1 \r\nx-TWO:2\r\n"
        assert head.kept == [b"Host: a", b"X-One:  1 ", b"x-TWO:2"]

    def test_hop_by_hop_fields_are_not_kept(self) -> None:
        gone = [
            b"Connection: x",
            b"Keep-Alive: 5",
            b"Proxy-Connection: close",
            b"TE: trailers",
            b"Upgrade: h2c",
            b"Max-Forwards: 3",
        ]
        head = parsed(*gone, b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Trailer: X")
        assert head.kept == [b"Host: a", b"Trailer: X"]
        assert head.special[b"te"] == [b"trailers"]

    @pytest.mark.parametrize(
        "name",
        [b"X-Forwarded-For", b"x_forwarded_for", b"X-Forwarded_Proto", b"X-FORWARDED-ANYTHING", b"X-Real-IP", b"X_Real_IP",
         b"X-Real_IP", b"Forwarded", b"Via"],
    )  # fmt: skip
    def test_fields_that_tell_of_forwarding_are_not_kept(self, name: bytes) -> None:
        assert parsed(name + b": 1").kept == [b"Host: a"]

    @pytest.mark.parametrize("name", [b"Transfer_Encoding", b"Content_Length", b"Proxy_Connection", b"Max_Forwards"])
    def test_what_a_gateway_interface_would_take_for_a_special_field_is_not_kept(self, name: bytes) -> None:
        head = parsed(name + b": chunked")
        assert head.kept == [b"Host: a"]
        assert set(head.special) == {b"host"}

    def test_only_the_real_spelling_of_forwarding_fields_is_heard(self) -> None:
        head = parsed(b"X_Forwarded_For: 6.6.6.6", b"X-Forwarded-For: 1.2.3.4", b"x-forwarded-for: 5.6.7.8")
        assert head.special[b"x-forwarded-for"] == [b"1.2.3.4", b"5.6.7.8"]
        assert set(head.special) == {b"host", b"x-forwarded-for"}

    def test_fields_that_connection_names_are_not_kept(self) -> None:
        head = parsed(b"X-Hop: 1", b"Connection: close, x-hop,, X-Other", b"x-other: 2", b"X-Kept: 3")
        assert head.kept == [b"Host: a", b"X-Kept: 3"]

    def test_fields_that_others_need_cannot_be_nominated_away(self) -> None:
        lines = [b"Content-Length: 5", b"Authorization: x", b"Cookie: y", b"Content-Type: z"]
        head = parsed(*lines, b"Connection: host, content-length, authorization, cookie, content-type")
        assert head.kept == [b"Host: a", *lines]

    @pytest.mark.parametrize(
        ("start", "connection", "expected"),
        [
            (b"GET / HTTP/1.1", b"keep-alive", True),
            (b"GET / HTTP/1.1", b"Close", False),
            (b"GET / HTTP/1.1", b"close, keep-alive", False),
            (b"GET / HTTP/1.1", b"upgrade", True),
            (b"GET / HTTP/1.1", b"", True),
            (b"GET / HTTP/1.0", b"Keep-Alive", True),
            (b"GET / HTTP/1.0", b"close", False),
            (b"GET / HTTP/1.0", b"x, keep-alive", True),
            (b"GET / HTTP/1.0", b"x", False),
        ],
    )
    def test_version_and_connection_say_whether_the_connection_stays(
        self, start: bytes, connection: bytes, expected: bool
    ) -> None:
        assert parsed(b"Connection: " + connection, start=start).keep_alive is expected

    def test_connection_in_two_lines_is_one_list(self) -> None:
        assert parsed(b"Connection: keep-alive", b"Connection: close").keep_alive is False

    def test_without_connection_the_version_decides(self) -> None:
        assert parsed().keep_alive is True
        assert parsed(start=b"GET / HTTP/1.0").keep_alive is False

    def test_an_upgrade_counts_when_connection_names_it(self) -> None:
        assert parsed(b"Connection: Upgrade", b"Upgrade: websocket").upgrade == b"websocket"
        assert parsed(b"Upgrade: websocket").upgrade == b""
        assert parsed(b"Connection: upgrade", b"Upgrade: websocket", start=b"GET / HTTP/1.0").upgrade == b""

    def test_an_upgrade_with_a_body_is_an_ordinary_request(self) -> None:
        asks = [b"Connection: Upgrade", b"Upgrade: websocket"]
        assert parsed(*asks, b"Content-Length: 0").upgrade == b"websocket"
        assert parsed(*asks, b"Content-Length: 1").upgrade == b""
        assert parsed(*asks, b"Transfer-Encoding: chunked").upgrade == b""

    def test_a_continue_is_expected_only_for_a_body_in_http_1_1(self) -> None:
        assert parsed(b"Expect: 100-continue", b"Content-Length: 5").expects_continue is True
        assert parsed(b"Expect: 100-continue", b"Transfer-Encoding: chunked").expects_continue is True
        assert parsed(b"Expect: 100-continue").expects_continue is False
        assert parsed(b"Expect: 100-continue", b"Content-Length: 0").expects_continue is False
        assert parsed(b"Expect: 100-continue", b"Content-Length: 5", start=b"PUT / HTTP/1.0").expects_continue is False

    def test_the_host_of_an_absolute_target_counts(self) -> None:
        head = parsed(b"X: y", start=b"GET http://shop.example:81/a HTTP/1.1")
        assert head.host == b"shop.example:81"
        assert head.kept == [b"Host: shop.example:81", b"X: y"]
        assert head.block == b"Host: shop.example:81\r\nX: y\r\n"

    def test_a_host_is_replaced_in_its_place(self) -> None:
        head = parse_request_head(b"GET / HTTP/1.1\r\nX: y\r\nhost:a\r\nZ: z\r\n\r\n")
        head.replace_host(b"b")
        assert head.kept == [b"X: y", b"Host: b", b"Z: z"]
        assert head.block == b"X: y\r\nHost: b\r\nZ: z\r\n"

    def test_a_host_is_put_first_where_there_was_none(self) -> None:
        head = parse_request_head(b"GET / HTTP/1.0\r\nX: y\r\n\r\n")
        assert head.host == b""
        head.replace_host(b"b")
        assert head.kept == [b"Host: b", b"X: y"]
        assert head.block == b"Host: b\r\nX: y\r\n"

    def test_too_many_fields_are_refused(self) -> None:
        head = request(*[b"X: y"] * 9)
        assert len(parse_request_head(head, HeadLimits(max_fields=10)).kept) == 10
        with pytest.raises(HeadTooLarge):
            parse_request_head(head, HeadLimits(max_fields=9))

    def test_a_long_target_is_refused(self) -> None:
        with pytest.raises(UriTooLong):
            parse_request_head(request(start=b"GET /abc HTTP/1.1"), HeadLimits(max_uri_bytes=3))
