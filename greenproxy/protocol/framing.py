"""How long a message is: Content-Length, Transfer-Encoding and Expect, with every doubt refused (RFC 9112 section 6)."""

from __future__ import annotations

import re

from greenproxy.errors import BackendInvalid, BadRequest, ProxyError, UnknownExpectation, UnsupportedTransferCoding
from greenproxy.protocol.fields import TOKEN

_MAX_LENGTH_DIGITS = 18  # they fit in a signed 64-bit integer: no backend behind us overflows
# transfer-coding = token *( OWS ";" OWS transfer-parameter ) (RFC 9112 section 7), what is in the parameters left open
_is_coding = re.compile(TOKEN + rb"[ \t]*(?:;" + rb"[\t\x20-\x7e\x80-\xff]*)?").fullmatch


def content_length(values: list[bytes], refusal: type[ProxyError]) -> int:
    """Return the length that the values of Content-Length state (RFC 9110 section 8.6, RFC 9112 section 6.3 item 5).

    Raises `refusal` unless there is exactly one, of 1 to 18 digits: several equal ones, which a recipient may take for one,
    are refused too.
    """
    value = values[0]
    if len(values) != 1 or not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:  # bytes.isdigit knows ASCII only
        raise refusal
    return int(value)


def is_chunked_request(values: list[bytes], minor: int, has_length: bool) -> bool:
    """Return True for the values of a Transfer-Encoding that we can read: exactly one plain `chunked` (RFC 9112 section 6.1).

    Raises UnsupportedTransferCoding for other codings that end in chunked or have none (501, section 6.1), BadRequest when the
    framing is contradictory: in HTTP/1.0 (section 6.1), with Content-Length (section 6.3 item 3), chunked with parameters
    (section 7.1), repeated (section 6.1) or not last (section 6.3 item 4).
    """
    if minor == 0:
        raise BadRequest("Transfer-Encoding is not for HTTP/1.0.")
    if has_length:
        raise BadRequest("The request states its length in two ways.")
    if len(values) == 1 and values[0].lower() == b"chunked":
        return True
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    if not all(map(_is_coding, codings)):
        raise BadRequest
    names = [coding.partition(b";")[0].strip(b" \t") for coding in codings]
    if b"chunked" in names[:-1] or (names[-1] == b"chunked" and codings[-1] != b"chunked"):
        raise BadRequest
    raise UnsupportedTransferCoding


def is_chunked_response(values: list[bytes], minor: int, has_length: bool) -> bool:
    """Return True for the values of a Transfer-Encoding that we can read. Raises BackendInvalid for every other.

    RFC 9112 section 6.3 has some of them read until the connection ends; nobody can tell such a body from half of one.
    """
    if minor == 0 or has_length or len(values) != 1 or values[0].lower() != b"chunked":
        raise BackendInvalid
    return True


def is_continue_expected(values: list[bytes], minor: int) -> bool:
    """Tell whether Expect asks for a 100 (RFC 9110 section 10.1.1); in HTTP/1.0 it is ignored.

    Raises UnknownExpectation for any other expectation, in a list too: a 417 is always allowed, and nobody sends them.
    """
    if minor == 0:
        return False
    if any(value.lower() != b"100-continue" for value in values):
        raise UnknownExpectation
    return True
