"""Status lines: versions, statuses, reasons."""

from __future__ import annotations

from tests.wire.response_cases import Case, all_bad, good, sized

_START = "RFC 9112 section 4"
_VERSION = "RFC 9112 section 2.3"
_STATUS = "RFC 9110 section 15"

_LINES = {
    "two spaces before the status": b"HTTP/1.1  200 OK",
    "a tab before the status": b"HTTP/1.1\t200 OK",
    "a tab before the reason": b"HTTP/1.1 200\tOK",
    "no status": b"HTTP/1.1 OK",
    "no status and no reason": b"HTTP/1.1",
    "nothing behind the version but a space": b"HTTP/1.1 ",
    "status and reason in one word": b"HTTP/1.1 200OK",
    "a request": b"GET / HTTP/1.1",
    "a field in the place of the status line": b"Content-Type: text/plain",
    "no version": b"200 OK",
}
_VERSIONS = [
    b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2", b"HTTP/2.0", b"HTTP/3", b"HTTP/1", b"HTTP/1.", b"HTTP/.1",
    b"HTTP/1.10", b"HTTP/1.01",
    b"HTTP/01.1", b"HTTP/11.1", b"HTTP/1.1x", b"HTTP/1,1", b"HTTP1.1", b"HTTP /1.1", b"HTTP/ 1.1", b"http/1.1", b"Http/1.1",
    b"ICY", b"RTSP/1.0",
    b"HTTPS/1.1", b"XHTTP/1.1", b"SIP/2.0", b"HTTP/-1.1", b"HTTP/1.\xb9",
]  # fmt: skip
_STATUSES = [
    b"0", b"00", b"000", b"1", b"20", b"2", b"99", b"099", b"0200", b"600", b"666", b"700", b"999", b"1000", b"2000",
    b"200000", b"2x0", b"20x",
    b"x00", b"+20", b"-20", b"+200", b"-200", b"2 0", b"2.0", b"200.0", b"200,", b"0x200", b"2e2", b"\xb2\xb0\xb0",
    "\u0662\u0660\u0660".encode(),
]  # fmt: skip
_REASONS = {
    "no reason, and no space": b"",
    "an empty reason": b" ",
    "a reason of spaces": b"   ",
    "a reason that begins with a space": b"  OK",
    "a reason of many words": b" Everything is as it should be",
    "a reason with a tab": b" O\tK",
    "a reason in Latin-1": b" Sch\xf6n",
    "a reason like a field": b" X: y",
    "a reason like another status": b" 404 Not Found",
}
_GOOD_STATUSES = [
    200,
    201,
    202,
    203,
    206,
    207,
    226,
    299,
    300,
    301,
    308,
    399,
    400,
    401,
    404,
    418,
    426,
    429,
    451,
    499,
    500,
    501,
    503,
    505,
    511,
    599,
]

CASES: list[Case] = [
    *all_bad(_START, ((name, sized(start=line)) for name, line in _LINES.items())),
    *all_bad(_VERSION, ((f"version {line!r}", sized(start=line + b" 200 OK")) for line in _VERSIONS)),
    *all_bad(_STATUS, ((f"status {status!r}", sized(start=b"HTTP/1.1 " + status + b" OK")) for status in _STATUSES)),
    *(good(name, sized(start=b"HTTP/1.1 200" + reason), _START) for name, reason in _REASONS.items()),
    *(good(f"status {status}", sized(start=b"HTTP/1.1 %d Some" % status), _STATUS, status=status) for status in _GOOD_STATUSES),
]
