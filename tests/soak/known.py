"""What backends answer and clients expect: both work it out from the request's id, so that no answer can pass for another."""

from __future__ import annotations

import hashlib

#: A prime, so that a stream which was shifted by a buffer's size never fits by chance.
PERIOD_BYTES = 65521
_KEPT = 64
_patterns: dict[str, bytes] = {}


def pattern(ident: str) -> bytes:
    """Return two periods of the stream of that id. Byte `i` of the stream is byte `i % PERIOD_BYTES` of it."""
    known = _patterns.get(ident)
    if known is None:
        if len(_patterns) >= _KEPT:
            _patterns.clear()
        known = _patterns[ident] = hashlib.shake_256(ident.encode()).digest(PERIOD_BYTES) * 2
    return known


def stretch(ident: str, start: int, length: int) -> bytes:
    """Return `length` bytes (at most a period) of the stream of that id, from byte `start` on."""
    at = start % PERIOD_BYTES
    return pattern(ident)[at : at + length]


def echo_of(ident: str) -> bytes:
    """Return the body of the answer to an ordinary request."""
    return f"{ident}\n".encode()


def receipt(ident: str, digest: str, size: int) -> bytes:
    """Return the body of the answer to an upload, from the SHA-256 (hex) and the number of bytes of what came."""
    return f"{ident} {digest} {size}\n".encode()
