"""How large the head of a response may be, to the byte, and how long a backend may be silent in the middle of one."""

from __future__ import annotations

from tests.wire.response_cases import END, HELLO, LENGTH, ONE_CHUNK, Case, Cut, Refused, bad, chunked, good, head, sized

_HEAD = "RFC 9112 section 2.2"
_TIME = "RFC 9112 section 9.5"
MAX_HEAD_BYTES = 64 * 1024


def of_size(size: int, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return a head of so many bytes."""
    return head(b"X: " + b"y" * (size - len(head(b"X: ", LENGTH, start=start))), LENGTH, start=start)


def _fields(count: int) -> bytes:
    return head(*[b"A:"] * count, LENGTH)


CASES: list[Case] = [
    good("a head one byte below the limit", of_size(MAX_HEAD_BYTES - 1) + HELLO, _HEAD),
    good("a head as large as may be", of_size(MAX_HEAD_BYTES) + HELLO, _HEAD),
    bad("a head one byte too large", of_size(MAX_HEAD_BYTES + 1) + HELLO, _HEAD),
    bad("a head twice as large", of_size(2 * MAX_HEAD_BYTES) + HELLO, _HEAD),
    bad("a head without an end", of_size(MAX_HEAD_BYTES + 10)[: MAX_HEAD_BYTES + 1], _HEAD),
    bad("a status line without an end", b"HTTP/1.1 200 " + b"x" * MAX_HEAD_BYTES, _HEAD),
    bad("a name without an end", b"HTTP/1.1 200 OK\r\n" + b"x" * MAX_HEAD_BYTES, _HEAD),
    bad("no head, and no end", b"x" * (MAX_HEAD_BYTES + 1), _HEAD),
    good("100 fields", _fields(100) + HELLO, _HEAD),
    good("1,000 fields", _fields(1000) + HELLO, _HEAD),
    good("as many fields as the limit has room for", _fields((MAX_HEAD_BYTES - 100) // 4) + HELLO, _HEAD),
    bad("more fields than that", _fields(MAX_HEAD_BYTES // 4) + HELLO, _HEAD),
    good("a long reason", sized(start=b"HTTP/1.1 200 " + b"x" * 8000), _HEAD),
    bad("an interim head that is too large", of_size(MAX_HEAD_BYTES + 1, b"HTTP/1.1 103 Early Hints"), _HEAD),
    Case("silence", b"", Refused("response-timeout", 504), _TIME, listener="hasty"),
    Case("silence in a status line", b"HTTP/1.1 2", Refused("response-timeout", 504), _TIME, listener="hasty"),
    Case("silence in a head", b"HTTP/1.1 200 OK\r\nX: y\r\n", Refused("response-timeout", 504), _TIME, listener="hasty"),
    Case(
        "silence behind a 103",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        Refused("response-timeout", 504, interim=(103,)),
        _TIME,
        listener="hasty",
    ),
    Case("silence in a length", sized()[:-2], Cut(HELLO[:-2]), _TIME, listener="hasty"),
    Case("silence in a chunk", chunked(ONE_CHUNK + b"5\r\nwo"), Cut(HELLO + b"wo"), _TIME, listener="hasty"),
    Case("silence before the last chunk", chunked(ONE_CHUNK), Cut(HELLO), _TIME, listener="hasty"),
    Case("silence in the last chunk", chunked(ONE_CHUNK + END[:-2]), Cut(HELLO), _TIME, listener="hasty"),
    Case("silence behind a body that ends with its connection", head(b"X: y") + HELLO, Cut(HELLO), _TIME, listener="hasty"),
    Case(
        "the same to HTTP/1.0",
        head(b"X: y") + HELLO,
        Cut(HELLO, by_reset=True),
        _TIME,
        version="1.0",
        listener="hasty",
    ),
]
