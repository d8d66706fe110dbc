"""Conversations: what one client says over one connection, and a model of what must come of it.

The model knows the rules (RFC 9112 sections 6 and 9, the retry rules) and nothing of the code. It predicts every answer
in its order, what the backend sees, and whether the connection lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from tests.wire.obedient import LARGE

KEEPALIVE_REQUESTS = 6
MAX_BODY = 5_000
#: What every body has in it: a proxy that loses count would take it for a request, and the backend would tell.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Id: smuggled\r\n\r\n"
IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
TUNNELLED = b"\x81\x85tunnelled" + SMUGGLED


@dataclass(frozen=True)
class Turn:
    """One well-formed request, and what the backend shall do about it. `framing`: none, length, chunked or trailers."""

    act: str = "ok"
    method: str = "GET"
    version: str = "1.1"
    connection: str = ""
    framing: str = "none"
    repeats: int = 1
    expects: bool = False
    upgrade: str = ""

    @property
    def has_body(self) -> bool:
        return self.framing in ("chunked", "trailers") or (self.framing == "length" and self.repeats > 0)

    @property
    def wants(self) -> bool:
        """Whether the client asks for the connection to stay."""
        return self.connection == "keep-alive" if self.version == "1.0" else self.connection != "close"

    @property
    def waits(self) -> bool:
        """Whether the client waits for a 100 (Continue)."""
        return self.expects and self.version == "1.1" and self.has_body

    @property
    def switches(self) -> bool:
        """Whether an upgrade may come of it: in HTTP/1.1, to a protocol that is allowed, without a body."""
        return self.upgrade == "websocket" and self.version == "1.1" and not self.has_body

    def payload(self, number: str) -> bytes:
        """Return what the backend must see as the body."""
        return (number.encode() + b":" + SMUGGLED) * self.repeats if self.has_body else b""

    def trailers(self, number: str) -> bytes:
        """Return what it must see as trailer fields."""
        return b"X-Sum: " + number.encode() + b"\r\n" if self.framing == "trailers" else b""

    def head(self, number: str) -> bytes:
        """Return the head with its empty line."""
        lines = [f"{self.method} /{number} HTTP/{self.version}", "Host: a", f"X-Id: {number}", f"X-Do: {self.act}"]
        options = [option for option in (self.connection, "upgrade" if self.upgrade else "") if option]
        lines += [f"Connection: {', '.join(options)}"] if options else []
        lines += [f"Upgrade: {self.upgrade}"] if self.upgrade else []
        lines += ["Expect: 100-continue"] if self.expects else []
        if self.framing == "length":
            lines.append(f"Content-Length: {len(self.payload(number))}")
        elif self.framing != "none":
            lines.append("Transfer-Encoding: chunked")
        return "\r\n".join([*lines, "", ""]).encode()

    def body(self, number: str) -> bytes:
        """Return the body as it is framed."""
        payload = self.payload(number)
        if self.framing in ("none", "length"):
            return payload
        middle = len(payload) // 2
        chunks = [b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in (payload[:middle], payload[middle:]) if part]
        return b"".join(chunks) + b"0\r\n" + self.trailers(number) + b"\r\n"


@dataclass(frozen=True)
class Bad:
    """One request that is refused: no backend hears of it."""

    kind: str


_LINE = b"GET / HTTP/1.1\r\nHost: a\r\n"
#: status, bytes. Whatever follows belongs to it, or might: but for the 405 the connection closes.
BAD: dict[str, tuple[int, bytes]] = {
    "two hosts": (400, _LINE + b"Host: b\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "folded": (400, _LINE + b"X: a\r\n b\r\n\r\n"),
    "length and chunked": (400, _LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, _LINE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "chunked in 1.0": (400, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "encoded slash": (400, b"GET /..%2f HTTP/1.1\r\nHost: a\r\n\r\n"),
    "bad chunk": (400, _LINE + b"X-Do: ok\r\nX-Id: bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n"),
    "coding": (501, _LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "version": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "expectation": (417, _LINE + b"Expect: gold\r\n\r\n"),
    "long target": (414, b"GET /" + b"x" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "long head": (431, _LINE + b"X: " + b"x" * 2000 + b"\r\n\r\n"),
    "many fields": (431, _LINE + b"X: y\r\n" * 30 + b"\r\n"),
    "long body": (413, b"POST / HTTP/1.1\r\nHost: a\r\nX-Do: ok\r\nX-Id: bad\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)),
    "CONNECT": (405, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
}

Said: TypeAlias = Turn | Bad


class Due(NamedTuple):
    """What must come of one request. `lives` is None where it depends on what arrives first, and both are right."""

    number: str
    said: Said
    statuses: frozenset[int]
    lives: bool | None
    seen: tuple[int, int] = (0, 0)  # how often the backend gets it, at least and at most
    body: bytes | None = None  # None: a page of our own
    interim: tuple[int, ...] = ()
    is_cut: bool = False


class Model:
    """One connection as it must go. `idle` is how many backend connections lie in the pool, None for nobody knows."""

    def __init__(self, idle: int) -> None:
        self._idle: int | None = idle
        self._served = 0

    def predict(self, said: list[Said], numbers: list[str]) -> list[Due]:
        """Return what is due, up to the answer behind which nothing is served."""
        due: list[Due] = []
        for each, number in zip(said, numbers, strict=True):
            self._served += 1
            due.append(self._refused(each, number) if isinstance(each, Bad) else self._served_one(each, number))
            if due[-1].lives is False:
                break
        return due

    def _refused(self, bad: Bad, number: str) -> Due:
        if bad.kind == "bad chunk":
            self._idle = None  # a connection may have been spent on its first chunk
        status = BAD[bad.kind][0]
        return Due(number, bad, frozenset({status}), status == 405 and self._served < KEEPALIVE_REQUESTS)

    def _served_one(self, turn: Turn, number: str) -> Due:
        lives: bool | None = turn.wants and self._served < KEEPALIVE_REQUESTS
        is_reused = None if self._idle is None else self._idle > 0
        self._spend(turn)
        if turn.act in ("close", "reset", "close-once"):
            return self._failed(turn, number, lives, is_reused)
        if turn.act in ("half-head", "garbage", "two-lengths") or (turn.act == "switch" and not turn.switches):
            return Due(number, turn, frozenset({502}), lives, (1, 1))
        if turn.act == "switch":
            return Due(number, turn, frozenset({101}), False, (1, 1), b"")
        if turn.act in ("cut-length", "cut-chunks"):
            return Due(number, turn, frozenset({200}), False, (1, 1), self._body(turn, number), is_cut=True)
        status = {"no-content": 204, "not-modified": 304, "missing": 404, "deny": 403}.get(turn.act, 200)
        least = 1
        if turn.act in ("deny", "early") and turn.waits:
            lives, least = None if lives else False, 0  # it is told before its body came, or not
        elif lives and turn.version == "1.0" and turn.method != "HEAD":
            lives = self._lives_without_chunks(turn.act)
        interim = (103,) if turn.act == "hints" and turn.version == "1.1" else ()
        return Due(number, turn, frozenset({status}), lives, (least, 1), self._body(turn, number), interim)

    def _lives_without_chunks(self, act: str) -> bool | None:
        """HTTP/1.0 has no chunks: a body of unknown length ends with the connection, unless all of it was there at once."""
        if act in ("trailers", "until-close"):
            return False
        return None if act in ("chunked", "chunked-pieces") else True

    def _spend(self, turn: Turn) -> None:
        """Count the pool: what is used is the one that lies there, or a new one; it comes back when both messages ended well."""
        if (turn.act == "early" and turn.has_body) or (turn.act == "deny" and turn.waits):
            self._idle = None  # it comes back when the upload ends, or is dropped
        if self._idle is None:
            return
        self._idle = max(0, self._idle - 1)
        lost = ("until-close", "old", "closing", "close", "reset", "half-head", "garbage", "two-lengths", "excess", "switch")
        if turn.act not in (*lost, "close-once", "cut-length", "cut-chunks"):
            self._idle += 1

    def _failed(self, turn: Turn, number: str, lives: bool | None, is_reused: bool | None) -> Due:
        """The backend breaks the connection without an answer: tried again only when it was a kept one, and that does no harm."""
        may_again = turn.method in IDEMPOTENT and is_reused is not False
        must_again = turn.method in IDEMPOTENT and is_reused is True and not turn.has_body
        seen = (2 if must_again else 1, 2 if may_again else 1)
        statuses = {502}
        if turn.act == "close-once":
            statuses = {200} if must_again else {200, 502} if may_again else {502}
            self._idle = None if statuses == {200, 502} or self._idle is None else self._idle + (statuses == {200})
        return Due(number, turn, frozenset(statuses), lives, seen, self._body(turn, number) if 200 in statuses else None)

    def _body(self, turn: Turn, number: str) -> bytes:
        """Return what the client must get as the body."""
        text = {
            "until-close": "until close", "no-content": "", "not-modified": "", "chunked-pieces": "chunked pieces",
            "large": "l" * LARGE, "deny": "denied", "close-once": "ok", "cut-length": "cut by length",
            "cut-chunks": "cut in chunks",
        }.get(turn.act, turn.act)  # fmt: skip
        has_none = turn.method == "HEAD" or turn.act in ("no-content", "not-modified")
        return b"" if has_none else f"{number}:{text}".encode()
