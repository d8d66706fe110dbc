"""Limits: one below, exactly, and one above. The listener `small` has low ones (see `house.py`)."""

from __future__ import annotations

from tests.wire.cases import END, SERVED, Case, chunked, get, head, post
from tests.wire.house import MAX_BODY_BYTES, MAX_FIELDS, MAX_HEAD_BYTES, MAX_URI_BYTES

_URI = "RFC 9110 section 15.5.15"
_HEAD = "RFC 6585 section 5"
_BODY = "RFC 9110 section 15.5.14"
_AROUND = (-1, 0, 1)


def _of(more: int) -> str:
    return {-1: "one below the limit", 0: "at the limit", 1: "one above the limit"}[more]


def _status(more: int, refusal: int) -> int:
    return refusal if more > 0 else SERVED


def _head_of(size: int) -> bytes:
    return head(b"X: " + b"y" * (size - len(head(b"X: "))))


def _fields_of(count: int) -> bytes:
    return head(*[b"X: y"] * (count - 1))


def _uri_of(size: int) -> bytes:
    return get(b"/" + b"a" * (size - 1))


def _query_of(size: int) -> bytes:
    return get(b"/?" + b"a" * (size - 2))


def _length_of(size: int) -> bytes:
    return post(b"Content-Length: %d" % size, body=b"b" * size)


def _chunks_of(size: int) -> bytes:
    return chunked(b"1\r\nb\r\n" * size + END)


def _chunk_of(size: int) -> bytes:
    return chunked(b"%x\r\n%b\r\n%b" % (size, b"b" * size, END))


_HEADS = [
    ("a head", _head_of, MAX_HEAD_BYTES, 431, _HEAD),
    ("as many fields,", _fields_of, MAX_FIELDS, 431, _HEAD),
    ("a target", _uri_of, MAX_URI_BYTES, 414, _URI),
    ("a query", _query_of, MAX_URI_BYTES, 414, _URI),
]
_BODIES = [("a length", _length_of), ("a body in chunks", _chunks_of), ("a body in one chunk", _chunk_of)]
_FAR_CHUNK = chunked(b"ffffffff\r\n" + b"b" * 2 * MAX_BODY_BYTES)

CASES = [
    *[
        Case(f"{name} {_of(n)}", build(limit + n), _status(n, refusal), rule, listener="small")
        for name, build, limit, refusal, rule in _HEADS
        for n in _AROUND
    ],
    *[
        Case(
            f"an absolute form {_of(n)}",
            get(b"http://a/" + b"b" * (MAX_URI_BYTES + n - 9)),
            _status(n, 414),
            _URI,
            listener="small",
            target=b"/" + b"b" * (MAX_URI_BYTES + n - 9),
        )
        for n in _AROUND
    ],
    *[
        Case(f"{name} {_of(n)}", build(size), _status(n, 413), _BODY, b"b" * size, listener="small")
        for name, build in _BODIES
        for n, size in ((n, MAX_BODY_BYTES + n) for n in _AROUND)
    ],
    Case("a chunk size far above the limit", _FAR_CHUNK, 413, _BODY, listener="small"),
    Case("a length far above the limit", post(b"Content-Length: 999999999999999999"), 413, _BODY, listener="small"),
    Case("a head far above the limit", _head_of(10 * MAX_HEAD_BYTES), 431, _HEAD, listener="small"),
    Case("a head without an end", _head_of(10 * MAX_HEAD_BYTES)[:-4], 431, _HEAD, listener="small"),
    Case("a target without an end", b"GET /" + b"a" * 2 * MAX_HEAD_BYTES, 414, _URI, listener="small"),
    Case("a method without an end", b"A" * 2 * MAX_HEAD_BYTES, 431, _HEAD, listener="small"),
    Case("a target and a head above their limits", get(b"/" + b"a" * 2 * MAX_HEAD_BYTES), 414, _URI, listener="small"),
    Case("many empty fields", head(*[b"a:"] * (MAX_FIELDS + 1)), 431, _HEAD, listener="small"),
    Case("hop-by-hop fields count too", head(*[b"Keep-Alive: x"] * MAX_FIELDS), 431, _HEAD, listener="small"),
    # ---- the defaults of the listener `web`
    Case("a target of 8 KiB", _uri_of(8192), SERVED, _URI),
    Case("a target of 8 KiB and a byte", _uri_of(8193), 414, _URI),
    Case("a head of 32 KiB", _head_of(32768), SERVED, _HEAD),
    Case("a head of 32 KiB and a byte", _head_of(32769), 431, _HEAD),
    Case("100 fields", _fields_of(100), SERVED, _HEAD),
    Case("101 fields", _fields_of(101), 431, _HEAD),
]
