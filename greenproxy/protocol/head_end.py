"""Where a head ends, found as early as its bytes tell, and the faults that show before it does (RFC 9112 section 2.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from greenproxy.errors import BackendInvalid, BadRequest, HeadTooLarge, ProxyError, UriTooLong

# What no head may contain anywhere: a line end that is not CRLF (section 2.2; a CR may still wait for its LF), and controls
# (RFC 9110 section 5.5). NUL, LF and CR are what smuggles; of the others only the tab is allowed.
_find_illegal = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search


class HeadLimits(NamedTuple):
    """How large a head may be (RFC 9112 section 3, RFC 6585 section 5); 0 means no limit."""

    max_head_bytes: int = 0
    max_fields: int = 0
    max_uri_bytes: int = 0


NO_LIMITS = HeadLimits()


def find_head_end(buffer: bytes | bytearray, limits: HeadLimits = NO_LIMITS, searched: int = 0) -> int:
    """Return the index behind the request head that `buffer` begins with, or -1 while it is incomplete.

    `searched` is how much of it an earlier call has seen. Raises at once, also in an incomplete head, BadRequest for
    a bare LF or CR or another control character, UriTooLong, or HeadTooLarge.
    """
    end = buffer.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0) + 4
    if end == 3:
        if (
            buffer[:1] == b"\r"
            or _find_illegal(buffer, searched - 1 if searched else 0)
            or (len(buffer) > limits.max_uri_bytes > 0 and _is_target_long(buffer, limits.max_uri_bytes))
            or len(buffer) >= limits.max_head_bytes > 0
        ):
            raise first_fault(buffer, limits) or BadRequest()
        return -1
    if end > limits.max_head_bytes > 0:
        raise first_fault(buffer, limits) or HeadTooLarge()
    return end


def find_response_head_end(buffer: bytes | bytearray, max_head_bytes: int = 0, searched: int = 0) -> int:
    """Return the index behind the response head that `buffer` begins with, or -1 while it is incomplete.

    Raises BackendInvalid for whatever `find_head_end` refuses in a request.
    """
    end = buffer.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0) + 4
    if 3 < end <= max_head_bytes:  # nearly always
        return end
    try:
        return find_head_end(buffer, _size_limit(max_head_bytes), searched)
    except (BadRequest, HeadTooLarge) as error:
        raise BackendInvalid from error


_size_limit = lru_cache(maxsize=16)(HeadLimits)  # always the same one: 0.1 us instead of 0.3


def first_fault(buffer: bytes | bytearray, limits: HeadLimits) -> ProxyError | None:
    """Return what is wrong with a head, complete or not, as far as that takes no grammar to see.

    Of several faults it is the one that a reader of single bytes meets first, so that the answer does not depend on how they
    arrive.
    """
    faults: list[tuple[int, type[ProxyError]]] = []  # after how many bytes, and what
    if buffer[:1] == b"\r":  # an empty line, which section 2.2 would let us skip
        faults.append((1, BadRequest))
    if illegal := _find_illegal(buffer):
        faults.append((illegal.start() + (2 if illegal[0] == b"\r" else 1), BadRequest))
    if limits.max_uri_bytes and _is_target_long(buffer, limits.max_uri_bytes):
        faults.append((buffer.find(b" ") + 1 + limits.max_uri_bytes + 1, UriTooLong))
    if len(buffer) >= limits.max_head_bytes > 0 and buffer.find(b"\r\n\r\n", 0, limits.max_head_bytes) < 0:
        faults.append((limits.max_head_bytes, HeadTooLarge))
    return min(faults, key=itemgetter(0))[1]() if faults else None


def _is_target_long(buffer: bytes | bytearray, max_uri_bytes: int) -> bool:
    """Tell whether the target, complete or not, has more than `max_uri_bytes` (RFC 9112 section 3)."""
    begin = buffer.find(b" ") + 1
    if not begin:
        return False
    line_end = buffer.find(b"\r", begin)
    end = buffer.find(b" ", begin, line_end if line_end >= 0 else len(buffer))
    if end < 0:
        end = line_end if line_end >= 0 else len(buffer)
    return end - begin > max_uri_bytes
