"""Framing: the rules one by one; the tables of whole messages are in test_http1."""

from __future__ import annotations

import pytest

from greenproxy.errors import BackendInvalid, BadRequest, ProxyError, UnknownExpectation, UnsupportedTransferCoding
from greenproxy.protocol.framing import content_length, is_chunked_request, is_chunked_response, is_continue_expected


def test_a_length_has_up_to_18_digits() -> None:
    assert content_length([b"9" * 18], BadRequest) == 10**18 - 1
    with pytest.raises(BadRequest):
        content_length([b"9" * 19], BadRequest)


@pytest.mark.parametrize("refusal", [BadRequest, BackendInvalid])
def test_a_doubtful_length_is_the_fault_of_its_side(refusal: type[ProxyError]) -> None:
    with pytest.raises(refusal):
        content_length([b"5", b"5"], refusal)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([b"gzip"], UnsupportedTransferCoding),
        ([b"gzip, chunked"], UnsupportedTransferCoding),
        ([b"gzip", b"deflate", b"chunked"], UnsupportedTransferCoding),
        ([b'gzip;a="b;c", chunked'], UnsupportedTransferCoding),
        ([b"identity, chunked"], UnsupportedTransferCoding),
        ([b"chunked, gzip"], BadRequest),
        ([b"chunked, chunked"], BadRequest),
        ([b"gzip, chunked;a=b"], BadRequest),
        ([b"gzip, chunked, chunked"], BadRequest),
        ([b"gzip,, chunked"], BadRequest),
    ],
)
def test_other_codings_are_unsupported_and_misused_chunked_is_malformed(values: list[bytes], error: type[ProxyError]) -> None:
    with pytest.raises(error):
        is_chunked_request(values, 1, has_length=False)


@pytest.mark.parametrize(
    ("minor", "has_length", "told"),
    [
        (1, True, "The request states its length in two ways."),
        (0, False, "Transfer-Encoding is not for HTTP/1.0."),
        (0, True, "Transfer-Encoding is not for HTTP/1.0."),
    ],
)
def test_a_client_is_told_what_is_wrong_with_its_framing(minor: int, has_length: bool, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        is_chunked_request([b"chunked"], minor, has_length)


@pytest.mark.parametrize(
    ("values", "minor", "has_length"),
    [([b"chunked"], 0, False), ([b"chunked"], 1, True), ([b"gzip"], 1, False), ([b"chunked", b"chunked"], 1, False)],
)
def test_a_response_is_chunked_plainly_or_not_at_all(values: list[bytes], minor: int, has_length: bool) -> None:
    assert is_chunked_response([b"Chunked"], 1, has_length=False)
    with pytest.raises(BackendInvalid):
        is_chunked_response(values, minor, has_length)


def test_http_1_0_knows_no_expectations() -> None:
    assert is_continue_expected([b"anything"], 0) is False
    assert is_continue_expected([b"100-continue", b"100-CONTINUE"], 1) is True
    with pytest.raises(UnknownExpectation):
        is_continue_expected([b"100-continue", b"anything"], 1)
