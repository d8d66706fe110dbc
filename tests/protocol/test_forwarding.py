"""What the backend is told of the hops before it."""

from __future__ import annotations

import pytest

from greenproxy.messages import Headers
from greenproxy.protocol.forwarding import (
    Hop,
    connection_lines,
    forwarding_lines,
    max_forwards,
    request_lines,
    response_block,
)

HOP = Hop("1.2.3.4", "1.2.3.4", "http", b"shop.example")
TRUSTED = Hop("10.0.0.1", "1.2.3.4", "https", b"inner.example", is_trusted=True)


def told(special: dict[bytes, list[bytes]], hop: Hop) -> dict[str, str]:
    headers = Headers.from_block(forwarding_lines(special, hop))
    assert len(set(headers)) == len(headers), "a field stands twice"
    return dict(headers.items())


class TestUntrustedPeers:
    def test_the_backend_learns_of_the_peer(self) -> None:
        assert told({}, HOP) == {
            "X-Forwarded-For": "1.2.3.4",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "shop.example",
            "X-Real-IP": "1.2.3.4",
            "Forwarded": "for=1.2.3.4;host=shop.example;proto=http",
            "Via": "1.1 greenproxy",
        }

    def test_what_the_peer_said_is_dropped(self) -> None:
        said = {
            b"x-forwarded-for": [b"6.6.6.6"],
            b"x-forwarded-proto": [b"https"],
            b"x-forwarded-host": [b"bank.example"],
            b"x-forwarded-port": [b"443"],
            b"x-real-ip": [b"6.6.6.6"],
            b"forwarded": [b"for=6.6.6.6"],
        }
        assert forwarding_lines(said, HOP) == forwarding_lines({}, HOP)

    def test_ipv6_is_quoted_and_bracketed_in_forwarded(self) -> None:
        lines = told({}, HOP._replace(peer_ip="2001:db8::1", host=b"a:80"))
        assert lines["X-Forwarded-For"] == "2001:db8::1"
        assert lines["Forwarded"] == 'for="[2001:db8::1]";host="a:80";proto=http'

    def test_a_zone_stays_at_home(self) -> None:
        lines = told({}, HOP._replace(peer_ip="fe80::1%eth0"))
        assert lines["X-Real-IP"] == "fe80::1"
        assert lines["Forwarded"].startswith('for="[fe80::1]";')

    def test_a_client_on_a_unix_socket_is_unknown(self) -> None:
        lines = told({}, HOP._replace(peer_ip="unix:", client_ip="unix:"))
        assert lines["X-Forwarded-For"] == "unknown"
        assert lines["Forwarded"] == "for=unknown;host=shop.example;proto=http"
        assert "X-Real-IP" not in lines

    def test_a_request_without_host_says_nothing_of_one(self) -> None:
        lines = told({}, HOP._replace(host=b""))
        assert "X-Forwarded-Host" not in lines
        assert lines["Forwarded"] == "for=1.2.3.4;proto=http"


class TestTrustedPeers:
    def test_what_it_said_goes_on_and_the_peer_is_appended(self) -> None:
        said = {
            b"x-forwarded-for": [b"6.6.6.6, 1.2.3.4", b"10.0.0.9"],
            b"x-forwarded-proto": [b"https"],
            b"x-forwarded-host": [b"shop.example"],
            b"x-forwarded-port": [b"443"],
            b"forwarded": [b'for=1.2.3.4;proto=https;by="_x"'],
        }
        assert told(said, TRUSTED) == {
            "X-Forwarded-For": "6.6.6.6, 1.2.3.4, 10.0.0.9, 10.0.0.1",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "shop.example",
            "X-Forwarded-Port": "443",
            "X-Real-IP": "1.2.3.4",
            "Forwarded": 'for=1.2.3.4;proto=https;by="_x", for=10.0.0.1',
            "Via": "1.1 greenproxy",
        }

    def test_what_it_said_in_one_way_is_said_in_the_others(self) -> None:
        lines = told({b"forwarded": [b"for=1.2.3.4"]}, TRUSTED)
        assert lines["X-Forwarded-For"] == "1.2.3.4, 10.0.0.1"
        lines = told({b"x-forwarded-for": [b"1.2.3.4"]}, TRUSTED)
        assert lines["Forwarded"] == "for=1.2.3.4;host=inner.example;proto=https, for=10.0.0.1"

    def test_one_that_says_nothing_is_the_client(self) -> None:
        lines = told({}, TRUSTED._replace(client_ip="10.0.0.1"))
        assert lines["X-Forwarded-For"] == "10.0.0.1"
        assert lines["X-Forwarded-Host"] == "inner.example"
        assert lines["Forwarded"] == "for=10.0.0.1;host=inner.example;proto=https"

    def test_a_malformed_forwarded_is_begun_anew(self) -> None:
        lines = told({b"forwarded": [b'for="6.6.6.6'], b"x-forwarded-for": [b"1.2.3.4"]}, TRUSTED)
        assert lines["Forwarded"] == "for=1.2.3.4;host=inner.example;proto=https, for=10.0.0.1"

    def test_a_unix_socket_adds_no_address_to_a_chain(self) -> None:
        lines = told({b"x-forwarded-for": [b"1.2.3.4"]}, TRUSTED._replace(peer_ip="unix:"))
        assert lines["X-Forwarded-For"] == "1.2.3.4"
        assert lines["Forwarded"].endswith(", for=unknown")
        assert lines["X-Real-IP"] == "1.2.3.4"

    def test_the_last_host_said_counts(self) -> None:
        assert told({b"x-forwarded-host": [b"a, b", b"c"]}, TRUSTED)["X-Forwarded-Host"] == "c"


class TestVia:
    def test_via_is_appended_with_the_version_that_came(self) -> None:
        lines = told({b"via": [b"1.0 fred", b"1.1 p.example (x)"]}, HOP._replace(minor=0))
        assert lines["Via"] == "1.0 fred, 1.1 p.example (x), 1.0 greenproxy"

    def test_via_can_be_off_and_then_passes(self) -> None:
        assert "Via" not in told({}, HOP._replace(adds_via=False))
        assert told({b"via": [b"1.0 fred"]}, HOP._replace(adds_via=False))["Via"] == "1.0 fred"


class TestNeighbours:
    def test_most_requests_need_no_connection_line(self) -> None:
        assert connection_lines({}) == b""
        assert connection_lines({b"te": [b"gzip;q=1"]}) == b""

    def test_a_client_that_takes_trailers_is_told_of(self) -> None:
        assert connection_lines({b"te": [b"deflate, Trailers"]}) == b"Connection: TE\r\nTE: trailers\r\n"

    def test_an_upgrade_is_nominated(self) -> None:
        assert connection_lines({}, b"websocket") == b"Connection: upgrade\r\nUpgrade: websocket\r\n"
        assert (
            connection_lines({b"te": [b"trailers"]}, b"websocket")
            == b"Connection: upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers\r\n"
        )

    @pytest.mark.parametrize(
        ("method", "values", "expected"),
        [
            (b"OPTIONS", [b"0"], 0),
            (b"TRACE", [b"10"], 10),
            (b"GET", [b"0"], None),
            (b"TRACE", [b"-1"], None),
            (b"TRACE", [b"1", b"2"], None),
            (b"TRACE", [b""], None),
            (b"TRACE", [b"9" * 30], None),
        ],
    )
    def test_max_forwards_counts_for_options_and_trace(self, method: bytes, values: list[bytes], expected: int | None) -> None:
        assert max_forwards(method, {b"max-forwards": values}) == expected
        assert max_forwards(method, {}) is None


class TestStripping:
    def test_request_fields_that_must_not_travel_go(self) -> None:
        touched = Headers(
            [
                ("Host", "a"),
                ("Connection", "close"),
                ("X_Forwarded_For", "2"),
                ("Via", "3"),
                ("TE", "trailers"),
                ("X-Kept", "4"),
                ("Expect", "100-continue"),
            ]
        )
        assert request_lines(touched) == [b"Host: a", b"X-Kept: 4"]

    def test_response_fields_that_must_not_travel_go(self) -> None:
        touched = Headers([("Via", "1"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", "5"), ("X-Kept", "\xe9")])
        assert response_block(touched, keeps_length=True) == (b"Via: 1\r\nX-Kept: \xe9\r\n", False, False)

    def test_no_fields_stay_no_fields(self) -> None:
        assert request_lines(Headers()) == []
        assert response_block(Headers([("Connection", "close")]), keeps_length=True) == (b"", False, False)

    def test_of_a_response_the_length_goes_unless_it_is_still_true(self) -> None:
        touched = Headers([("Content-Length", "5"), ("Date", "today"), ("A", "1")])
        assert response_block(touched, keeps_length=True) == (b"Content-Length: 5\r\nDate: today\r\nA: 1\r\n", True, True)
        assert response_block(touched, keeps_length=False) == (b"Date: today\r\nA: 1\r\n", True, False)

    def test_what_is_too_long_to_be_remembered_goes_out_as_well(self) -> None:
        long = Headers([("X-Long", "x" * 5000), ("TE", "trailers")])
        assert request_lines(long) == [b"X-Long: " + b"x" * 5000]
        assert response_block(long, keeps_length=True)[0].startswith(b"X-Long: x")

    def test_a_twin_with_underscores_of_a_field_that_is_there_goes(self) -> None:
        said = Headers([("X_User", "root"), ("x-User", "me"), ("X_Other", "1"), ("A_B-C", "2"), ("A-B-C", "3")])
        assert request_lines(said) == [b"x-User: me", b"X_Other: 1", b"A-B-C: 3"]
