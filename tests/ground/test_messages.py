"""Headers, requests and responses as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy import Headers, Request, Response
from greenproxy.messages import NO_BODY

NAMES = st.from_regex(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,12}", fullmatch=True)
VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f" + "".join(map(chr, range(0x80, 0xA0))))
)


class Raw:
    """A head that was parsed elsewhere."""

    def __init__(self, block: bytes) -> None:
        self.seen = block


def test_the_first_of_several_values_is_the_value() -> None:
    headers = Headers([("Accept", "a"), ("accept", "b")])
    assert (headers["ACCEPT"], headers.get_all("aCCept")) == ("a", ["a", "b"])


def test_a_name_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="X-Gone"):
        Headers()["X-Gone"]


def test_setting_replaces_all_of_a_name_in_the_place_of_the_first() -> None:
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")])
    headers["A"] = "5"
    assert headers.items() == [("A", "5"), ("B", "2"), ("C", "4")]


def test_setting_a_new_name_appends_it() -> None:
    headers = Headers({"A": "1"})
    headers["B"] = "2"
    assert headers.items() == [("A", "1"), ("B", "2")]


def test_deleting_takes_every_spelling_and_none_is_no_error() -> None:
    headers = Headers([("A", "1"), ("a", "2"), ("B", "3")])
    del headers["A"], headers["Z"]
    assert headers.items() == [("B", "3")]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é", "a\x00"])
def test_a_name_that_is_not_legal_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a header name"):
        Headers().add(name, "x")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\x00b", "\x7f", "\u20ac"])
def test_a_value_that_could_split_a_message_is_refused(value: str) -> None:
    headers = Headers({"A": "1"})
    with pytest.raises(ValueError, match="not a value for the header A"):
        headers["A"] = value
    assert headers.items() == [("A", "1")]


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_fields_survive_the_wire(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(pairs)
    assert Headers.from_block(headers.to_block()).items() == headers.items()


def test_headers_that_differ_in_case_alone_are_equal() -> None:
    assert Headers({"A": "x"}) == Headers({"a": "x"}) != Headers({"a": "X"})


def test_a_head_is_split_only_when_somebody_asks() -> None:
    request = Request("GET", "/", path="/", raw=Raw(b"A: 1\r\nB:2 \r\n"))
    assert request.headers_if_read is None
    assert request.headers.items() == [("A", "1"), ("B", "2")]
    assert request.headers_if_read is request.headers


def test_a_response_without_a_head_has_empty_headers() -> None:
    assert len(Response(204).headers) == 0


def test_a_response_takes_its_headers_in_any_form() -> None:
    wanted = [("A", "1")]
    assert [Response(200, form).headers.items() for form in (Headers(wanted), dict(wanted), wanted)] == [wanted] * 3


def test_the_body_that_a_backend_sent_is_known_until_it_is_replaced() -> None:
    response = Response(200, body=b"x", raw=Raw(b""))
    assert response.relayed is response.body
    response.body = b"y"
    assert response.relayed is not response.body


def test_reading_a_body_keeps_it_and_closes_what_gave_it() -> None:
    class Pieces:
        is_closed = False

        def __iter__(self):
            return iter([b"a", b"b"])

        def close(self) -> None:
            self.is_closed = True

    pieces = Pieces()
    response = Response(200, body=pieces)
    assert (response.read(), response.read(), response.body, pieces.is_closed) == (b"ab", b"ab", b"ab", True)


@pytest.mark.parametrize(("body", "pieces"), [(b"ab", [b"ab"]), ([b"a", b"b"], [b"a", b"b"])])
def test_the_pieces_of_a_body_are_bytes_in_either_form(body: bytes | list[bytes], pieces: list[bytes]) -> None:
    assert list(Response(200, body=body).pieces()) == pieces


def test_a_request_without_a_body_has_one_that_is_empty() -> None:
    request = Request("GET", "/", path="/")
    assert (request.body, request.body.read(), list(request.body), request.body.is_complete) == (NO_BODY, b"", [], True)


def test_state_is_shared_within_a_request_and_not_beyond() -> None:
    first, second = Request("GET", "/", path="/"), Request("GET", "/", path="/")
    first.state["user"] = 1
    assert (first.state, second.state) == ({"user": 1}, {})
