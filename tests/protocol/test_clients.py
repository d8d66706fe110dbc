"""Who asks: chains of addresses read from the right, as far as they are trusted."""

from __future__ import annotations

from ipaddress import ip_network
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.protocol.clients import address_of, effective_client, forwarded_elements

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PROXY = "10.0.0.1"


def chain(*values: bytes) -> dict[bytes, list[bytes]]:
    return {b"x-forwarded-for": list(values)}


class TestEffectiveClient:
    def test_an_unknown_peer_is_the_client_whatever_it_says(self) -> None:
        said = {**chain(b"1.2.3.4"), b"x-forwarded-proto": [b"https"], b"forwarded": [b"for=1.2.3.4"], b"x-real-ip": [b"1.2.3.4"]}
        assert effective_client("9.9.9.9", said, TRUSTED) == ("9.9.9.9", "")
        assert effective_client("9.9.9.9", said, ()) == ("9.9.9.9", "")

    def test_a_trusted_peer_that_says_nothing_is_the_client(self) -> None:
        assert effective_client(PROXY, {}, TRUSTED) == (PROXY, "")

    @pytest.mark.parametrize(
        ("values", "client"),
        [
            ([b"1.2.3.4"], "1.2.3.4"),
            ([b"6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ([b"6.6.6.6", b"1.2.3.4"], "1.2.3.4"),
            ([b"6.6.6.6, 1.2.3.4, 10.0.0.7, fd00::1"], "1.2.3.4"),
            ([b"10.0.0.9, 10.0.0.7"], "10.0.0.9"),
            ([b"1.2.3.4:5678"], "1.2.3.4"),
            ([b"[2001:db8::1]:5678"], "2001:db8::1"),
            ([b"2001:DB8::1"], "2001:db8::1"),
            ([b"::ffff:1.2.3.4"], "1.2.3.4"),
            ([b"6.6.6.6, ::ffff:10.0.0.7"], "6.6.6.6"),
            ([b"1.2.3.4, unknown, 10.0.0.7"], "10.0.0.7"),
            ([b"1.2.3.4, nonsense"], PROXY),
            ([b"1.2.3.4, 1.2.3.4.5"], PROXY),
            ([b"1.2.3.4,, "], "1.2.3.4"),
            ([b""], PROXY),
            ([b"1" * 5000], PROXY),
        ],
    )
    def test_the_first_untrusted_address_from_the_right_is_the_client(self, values: list[bytes], client: str) -> None:
        assert effective_client(PROXY, chain(*values), TRUSTED)[0] == client

    def test_forwarded_is_read_where_there_is_no_x_forwarded_for(self) -> None:
        said = {b"forwarded": [b'for=6.6.6.6;proto=http, for="[2001:db8::1]:99";Proto=HTTPS', b"for=10.0.0.7"]}
        assert effective_client(PROXY, said, TRUSTED) == ("2001:db8::1", "https")
        assert effective_client(PROXY, {**said, **chain(b"1.2.3.4")}, TRUSTED)[0] == "1.2.3.4"

    def test_x_real_ip_is_read_where_there_is_no_chain(self) -> None:
        assert effective_client(PROXY, {b"x-real-ip": [b"1.2.3.4"]}, TRUSTED) == ("1.2.3.4", "")

    def test_a_peer_on_a_unix_socket_is_vouched_for_by_the_caller(self) -> None:
        assert effective_client("unix:", chain(b"6.6.6.6, 1.2.3.4"), ()) == ("1.2.3.4", "")
        assert effective_client("unix:", {}, ()) == ("unix:", "")

    def test_ipv4_in_ipv6_and_zones_do_not_hide_a_trusted_peer(self) -> None:
        assert effective_client("::ffff:10.0.0.1", chain(b"1.2.3.4"), TRUSTED)[0] == "1.2.3.4"
        assert effective_client("fd00::1%eth0", chain(b"1.2.3.4"), TRUSTED)[0] == "1.2.3.4"

    @pytest.mark.parametrize(
        ("protos", "addresses", "scheme"),
        [
            (b"https", b"1.2.3.4", "https"),
            (b"HTTPS", b"1.2.3.4, 10.0.0.7", "https"),
            (b"http, https", b"6.6.6.6, 1.2.3.4", "https"),
            (b"https, http", b"6.6.6.6, 1.2.3.4", "http"),
            (b"https, http", b"1.2.3.4, 10.0.0.7", "https"),
            (b"http, https", b"", "https"),
            (b"wss", b"1.2.3.4", "https"),
            (b"ftp", b"1.2.3.4", ""),
            (b"", b"1.2.3.4", ""),
        ],
    )
    def test_the_scheme_is_the_one_of_the_clients_hop(self, protos: bytes, addresses: bytes, scheme: str) -> None:
        assert effective_client(PROXY, {**chain(addresses), b"x-forwarded-proto": [protos]}, TRUSTED)[1] == scheme

    @given(st.lists(st.sampled_from([b"6.6.6.6", b"10.9.9.9", b"unknown", b"", b"::1"]), max_size=5))
    def test_what_a_client_writes_in_front_changes_nothing(self, forged: list[bytes]) -> None:
        said = chain(b", ".join([*forged, b"1.2.3.4", b"10.0.0.7"]))
        assert effective_client(PROXY, said, TRUSTED)[0] == "1.2.3.4"


class TestForwarded:
    def test_elements_have_unquoted_parameters(self) -> None:
        values = [b'For="[::1]:80";host="a\\"b,c;d" ;by=_x', b"for=1.2.3.4,, proto=https;"]
        assert forwarded_elements(values) == [
            {b"for": b"[::1]:80", b"host": b'a"b,c;d', b"by": b"_x"},
            {b"for": b"1.2.3.4"},
            {b"proto": b"https"},
        ]

    @pytest.mark.parametrize(
        "value", [b"for", b"for=", b'for="a', b"for=a b", b"for=a;for=b", b"for =a", b"for=[::1]", b"for=a,=", b""]
    )
    def test_what_is_malformed_says_nothing(self, value: bytes) -> None:
        assert forwarded_elements([value]) == []

    def test_what_stands_in_two_lines_is_read_as_it_is_sent_on(self) -> None:
        assert forwarded_elements([b'for="a', b'b"']) == forwarded_elements([b'for="a, b"'])

    def test_a_long_run_of_blanks_is_read_once(self) -> None:
        begin = process_time()
        assert forwarded_elements([b" " * 200_000 + b'"']) == []
        assert process_time() - begin < 2  # minutes if every way to split the run were tried

    @given(st.text(st.sampled_from('for=,;"\\ a[]:\t'), max_size=30))
    def test_anything_can_be_read_without_harm(self, text: str) -> None:
        for element in forwarded_elements([text.encode()]):
            assert element


@pytest.mark.parametrize("node", [b"", b"a", b"1.2.3", b"1.2.3.4:", b"[1.2.3.4]:80", b"::1%1", b"[::1", b"1.2.3.4:x", b"_hidden"])
def test_what_is_no_address_is_none(node: bytes) -> None:
    assert address_of(node) is None
