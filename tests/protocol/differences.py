"""Where h11 and httptools read something else than we do in a message that we accept, and why ours is right.

A difference is exact: for every message that it speaks of, the other parser says what `theirs` returns, and for every
other message just what we say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tests.protocol.oracles import Judgement, Reading, Verdict, has_no_end

#: What llhttp knows. Spelt otherwise it is unknown too.
_HTTPTOOLS_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE OPTIONS TRACE PATCH CONNECT M-SEARCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND "
    b"REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK SOURCE "
    b"QUERY".split()
)


class Difference(NamedTuple):
    """One kind of difference. `theirs` gets the bytes and our reading, and returns None where it does not apply.

    `example` is a short message that shows it, `why` the reason why ours stands.
    """

    name: str
    theirs: Callable[[bytes, Reading], Judgement | None]
    example: bytes
    why: str
    method: bytes = b"GET"


def _options(ours: Reading, *names: bytes) -> list[bytes]:
    values = b",".join([value for name, value in ours.fields if name in names])
    return [option.strip(b" \t") for option in values.lower().split(b",")]


def _has(ours: Reading, wanted: bytes) -> bool:
    return any(name == wanted for name, _ in ours.fields)


def _head_and_rest(data: bytes, ours: Reading) -> tuple[bytes, bytes]:
    """Return the final head and everything behind it."""
    for _ in ours.interim:
        data = data.partition(b"\r\n\r\n")[2]
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _closes_10(_: bytes, ours: Reading) -> Judgement | None:
    return ours._replace(keeps_alive=False) if ours.first_line[2] == b"1.0" and ours.keeps_alive else None


def _keeps_after_204(_: bytes, ours: Reading) -> Judgement | None:
    announces = any(name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in ours.fields)
    keeps = ours.first_line[2] == b"1.1" and b"close" not in _options(ours, b"connection")
    return ours._replace(keeps_alive=True) if ours.first_line[0] == b"204" and announces and keeps else None


def _knows_no_such_method(_: bytes, ours: Reading) -> Judgement | None:
    return Verdict.REFUSES if ours.first_line[0] not in _HTTPTOOLS_METHODS else None


def _asks_upgrade(ours: Reading) -> bool:
    return b"upgrade" in _options(ours, b"connection", b"proxy-connection") and _has(ours, b"upgrade")


def _stops_at_upgrade(data: bytes, ours: Reading) -> Judgement | None:
    _, rest = _head_and_rest(data, ours)
    return ours._replace(payload=b"", trailers=[], excess=rest) if _asks_upgrade(ours) and rest != ours.excess else None


def _hears_other_options(_: bytes, ours: Reading) -> Judgement | None:
    """In HTTP/1.0 keep-alive beats close, and Proxy-Connection counts as Connection in either version."""
    if ours.first_line[0].isdigit() and has_no_end(ours, b"GET"):
        return None
    options = _options(ours, b"connection", b"proxy-connection")
    keeps_alive = b"keep-alive" in options if ours.first_line[2] == b"1.0" else b"close" not in options
    return ours._replace(keeps_alive=keeps_alive) if keeps_alive is not ours.keeps_alive else None


def _ends_in_tab(data: bytes, ours: Reading) -> bool:
    lines = _head_and_rest(data, ours)[0].lower().split(b"\r\n")
    return any(line.startswith(b"transfer-encoding:") and line.rstrip(b" ").endswith(b"\t") for line in lines)


def _refuses_a_tab(data: bytes, ours: Reading) -> Judgement | None:
    return Verdict.REFUSES if _ends_in_tab(data, ours) and not _asks_upgrade(ours) else None


def _reads_no_chunks(data: bytes, ours: Reading) -> Judgement | None:
    return Verdict.WANTS_MORE if _ends_in_tab(data, ours) and ours.first_line[0] not in (b"204", b"304") else None


def _has_blank_extension(data: bytes, ours: Reading) -> bool:
    """Tell whether a chunk line has white space outside quotes. We accept the message, so every line is where it should be."""
    if (b"transfer-encoding", b"chunked") not in ours.fields or (ours.first_line[0] in (b"204", b"304")):
        return False
    _, rest = _head_and_rest(data, ours)
    size = 1
    while size:
        line, _, rest = rest.partition(b"\r\n")
        if re.search(rb"[ \t]", re.sub(rb'"(?:\\.|[^"\\])*"', b"", line)):
            return True
        size = int(line.partition(b";")[0], 16)
        rest = rest[size + 2 :]
    return False


def _refuses_blanks(data: bytes, ours: Reading) -> Judgement | None:
    return Verdict.REFUSES if _has_blank_extension(data, ours) and not _asks_upgrade(ours) else None


def _ends_with_interim(data: bytes, ours: Reading) -> Judgement | None:
    heads = data.split(b"\r\n\r\n")[: len(ours.interim)]
    fields = [line for head in heads for line in (head + b"\r\n").lower().split(b"\r\n")]
    closes = any(re.match(rb"(proxy-)?connection:(.*,)?[ \t]*close[ \t]*(,|\Z)", line) for line in fields)
    return Verdict.REFUSES if closes else None


_BLANKS = (
    "httptools takes no white space in chunk extensions. RFC 9112 section 7.1.1 has it, and RFC 9110 section 5.6.3 has it read "
    "and removed. Extensions end with us."
)
_TEN = "h11 never keeps a connection of HTTP/1.0. RFC 9112 section 9.3 says that it persists when keep-alive is named."
_OPTIONS_WHY = (
    "httptools believes keep-alive where RFC 9112 section 9.3 looks for close first, and takes Proxy-Connection, which "
    "appendix C.2.2 has ignored, for Connection. It is about who may send the next request, never about where this one ends; "
    "both fields end with us."
)

H11_REQUESTS = [
    Difference(
        "HTTP/1.0 with keep-alive",
        _closes_10,
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        _TEN,
    ),
]
H11_RESPONSES = [
    Difference(
        "HTTP/1.0 with keep-alive",
        _closes_10,
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        _TEN,
    ),
    Difference(
        "204 that announces a body",
        _keeps_after_204,
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "Everybody reads no body, as RFC 9112 section 6.3 says. But a server that announces one may send it, and it would be the "
        "answer to the next request: such a connection is not used again.",
    ),
]
HTTPTOOLS_REQUESTS = [
    Difference(
        "unknown method",
        _knows_no_such_method,
        b"FOOBAR / HTTP/1.1\r\nHost: a\r\n\r\n",
        "httptools knows a list of methods. RFC 9110 section 9.1 leaves them open, and backends serve their own; nothing in the "
        "framing of a request depends on its method but for CONNECT, which has no body here.",
    ),
    Difference(
        "white space behind chunked that ends in a tab",
        _refuses_a_tab,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        "httptools strips only spaces there. RFC 9110 section 5.5 has white space of either kind removed before a value is "
        "read. The field ends with us: what leaves is always a plain `chunked`.",
    ),
    Difference(
        "white space in chunk extensions",
        _refuses_blanks,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0; a = b\r\n\r\n",
        _BLANKS,
    ),
    Difference(
        "body of a request that asks for an upgrade",
        _stops_at_upgrade,
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello",
        "httptools stops at the head and takes the body for the new protocol. RFC 9110 section 7.8 has the new protocol begin "
        "behind the complete request. We pass such a request on without its Upgrade, so that nobody behind us is in doubt.",
    ),
    Difference(
        "close and keep-alive in HTTP/1.0",
        _hears_other_options,
        b"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
        _OPTIONS_WHY,
    ),
    Difference(
        "Proxy-Connection",
        _hears_other_options,
        b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n",
        _OPTIONS_WHY,
    ),
]
HTTPTOOLS_RESPONSES = [
    Difference(
        "white space behind chunked that ends in a tab",
        _reads_no_chunks,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        "httptools strips only spaces there, and then reads until the connection ends. RFC 9110 section 5.5 has white space of "
        "either kind removed before a value is read. The field ends with us: what leaves is always a plain `chunked`.",
    ),
    Difference(
        "white space in chunk extensions",
        _refuses_blanks,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0; a = b\r\n\r\n",
        _BLANKS,
    ),
    Difference(
        "close and keep-alive in HTTP/1.0",
        _hears_other_options,
        b"HTTP/1.0 200 OK\r\nConnection: close, keep-alive\r\nContent-Length: 0\r\n\r\n",
        _OPTIONS_WHY,
    ),
    Difference(
        "close in an interim response",
        _ends_with_interim,
        b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "httptools takes nothing behind it. RFC 9110 section 15.2: an interim response is followed by a final one, and RFC 9112 "
        "section 9.6 has the connection closed behind the response, which is complete only then. It is not passed on.",
    ),
]


def explained(differences: list[Difference], data: bytes, ours: Reading) -> Judgement:
    """Return what the other parser must say of `data` in which we read `ours`: the same, or what the list makes of it."""
    for difference in differences:
        theirs = difference.theirs(data, ours)
        if isinstance(theirs, Verdict):
            return theirs
        ours = theirs or ours
    return ours
