"""A backend that does what each request tells it to: `X-Do` names the act, `X-Id` says whose answer it is.

Every answer carries the id of its request in a field and in its body. The ledger has what arrived, whole, and which
connections are in the middle of a message.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from tests.scripts import Connection, Gone, Received, answer, send_in_pieces

LARGE = 200_000


class Seen(NamedTuple):
    """One request that arrived whole, or what came through a tunnel."""

    number: str
    method: str
    body: bytes
    trailers: bytes


class Ledger:
    """What the backend saw, and what its connections are doing. All of it changes under one condition."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.seen: list[Seen] = []
        self.odd: list[str] = []  # what no proxy may send
        self.busy: set[Connection] = set()
        self.idle: set[Connection] = set()
        self._failed: set[str] = set()

    def note(self, seen: Seen) -> None:
        """Write down what arrived."""
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()

    def is_first_failure(self, number: str) -> bool:
        """Return whether a request that is to fail once comes for the first time."""
        with self.changed:
            is_first = number not in self._failed
            self._failed.add(number)
        return is_first

    def put(self, conn: Connection, *, is_busy: bool) -> None:
        """A connection is in the middle of a message, or between two."""
        with self.changed:
            (self.busy if is_busy else self.idle).add(conn)
            (self.idle if is_busy else self.busy).discard(conn)
            self.changed.notify_all()

    def forget(self, conn: Connection) -> None:
        """A connection has ended."""
        with self.changed:
            self.busy.discard(conn)
            self.idle.discard(conn)
            self.changed.notify_all()

    def wait_until_quiet(self, seconds: float = 10.0) -> None:
        """Wait until no connection is in the middle of a message; an AssertionError if one stays there."""
        with self.changed:
            quiet = self.changed.wait_for(lambda: not self.busy, seconds)
            assert quiet, f"in the middle of a message: {[(conn.number, conn.buffer) for conn in self.busy]}"

    def wait_until_seen(self, count: int, seconds: float = 10.0) -> None:
        """Wait until that many requests have arrived."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, seconds), self.seen

    def take_seen(self) -> list[Seen]:
        """Return what was seen since the last time. Nothing in it may be odd."""
        with self.changed:
            seen, self.seen = self.seen, []
            odd, self.odd = self.odd, []
        assert not odd, odd
        return seen


class Call:
    """One request being served."""

    def __init__(self, ledger: Ledger, conn: Connection, head: Received) -> None:
        self.ledger = ledger
        self.conn = conn
        self.head = head
        self.number = head.get("x-id") or "nobody's"
        self.is_head = head.method == "HEAD"

    def take(self, *, goes_on: bool = True) -> None:
        """Read the rest of the request; a client that waits is told to go on, unless it has been told otherwise."""
        if goes_on and self.head.get("expect") is not None:
            self.conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        whole = self.conn.with_body(self.head)
        self.ledger.note(Seen(self.number, whole.method, whole.body, whole.trailers))

    def body(self, text: str = "") -> bytes:
        """Return the body that this request is answered with."""
        return f"{self.number}:{text}".encode()

    def reply(self, body: bytes, status: str = "200 OK", *fields: str) -> bytes:
        """Return an answer with a length. To HEAD it is only announced."""
        data = answer(body, status, f"X-Id: {self.number}", *fields)
        return data[: -len(body)] if self.is_head and body else data

    def chunked(self, body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
        """Return an answer in two chunks."""
        head = f"HTTP/1.1 200 OK\r\nX-Id: {self.number}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        if self.is_head:
            return head
        first, rest = body[:1], body[1:]
        return head + b"%x\r\n%b\r\n%X;a=b\r\n%b\r\n%b" % (len(first), first, len(rest), rest, end)


# ------------------------------------------------------------------ acts


def _ok(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("ok")))


def _chunked(call: Call) -> None:
    call.take()
    call.conn.send(call.chunked(call.body("chunked")))


def _trailers(call: Call) -> None:
    call.take()
    call.conn.send(call.chunked(call.body("trailers"), f"0\r\nX-Sum: {call.number}\r\n\r\n".encode()))


def _until_close(call: Call) -> None:
    call.take()
    head = f"HTTP/1.1 200 OK\r\nX-Id: {call.number}\r\nConnection: close\r\n\r\n".encode()
    call.conn.send(head + (b"" if call.is_head else call.body("until close")))
    raise Gone


def _old(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("old")).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    raise Gone


def _closing(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("closing"), "200 OK", "Connection: close"))
    raise Gone


def _no_content(call: Call) -> None:
    call.take()
    call.conn.send(f"HTTP/1.1 204 No Content\r\nX-Id: {call.number}\r\n\r\n".encode())


def _not_modified(call: Call) -> None:
    call.take()
    call.conn.send(f"HTTP/1.1 304 Not Modified\r\nX-Id: {call.number}\r\nContent-Length: 7\r\n\r\n".encode())


def _missing(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("missing"), "404 Not Found"))


def _hints(call: Call) -> None:
    call.take()
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    call.conn.send(interim + call.reply(call.body("hints")))


def _pieces(call: Call) -> None:
    call.take()
    send_in_pieces(call.reply(call.body("pieces")))(call.conn)


def _chunked_pieces(call: Call) -> None:
    call.take()
    send_in_pieces(call.chunked(call.body("chunked pieces")))(call.conn)


def _large(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("l" * LARGE)))


def _early(call: Call) -> None:
    call.conn.send(call.reply(call.body("early")))
    call.take(goes_on=False)


def _deny(call: Call) -> None:
    """Refuse at the head. A client that waits for a 100 is never told to go on."""
    if call.head.get("expect") is None:
        call.take()
        call.conn.send(call.reply(call.body("denied"), "403 Forbidden"))
        return
    call.conn.send(call.reply(call.body("denied"), "403 Forbidden"))
    call.take(goes_on=False)  # it may come all the same


def _close(call: Call) -> None:
    call.take()
    raise Gone


def _reset(call: Call) -> None:
    call.take()
    call.conn.reset()
    raise Gone


def _close_once(call: Call) -> None:
    (_close if call.ledger.is_first_failure(call.number) else _ok)(call)


def _half_head(call: Call) -> None:
    call.take()
    call.conn.send(b"HTTP/1.1 200 OK\r\nContent-Len")
    raise Gone


def _garbage(call: Call) -> None:
    call.take()
    call.conn.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    raise Gone


def _two_lengths(call: Call) -> None:
    call.take()
    call.conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
    call.conn.wait_until_gone()
    raise Gone


def _excess(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("excess")) + answer(b"stray", "200 OK", "X-Id: stray"))
    call.conn.wait_until_gone()
    raise Gone


def _cut_length(call: Call) -> None:
    call.take()
    call.conn.send(call.reply(call.body("cut by length"))[:-3])
    raise Gone


def _cut_chunks(call: Call) -> None:
    call.take()
    call.conn.send(call.chunked(call.body("cut in chunks"), b""))
    raise Gone


def _switch(call: Call) -> None:
    call.take()
    fields = f"X-Id: {call.number}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    call.conn.send(b"HTTP/1.1 101 Switching Protocols\r\n" + fields.encode())
    if call.head.get("upgrade") is None:
        call.conn.wait_until_gone()
        raise Gone
    heard = call.conn.buffer
    while data := call.conn.sock.recv(4096):
        heard += data
    call.ledger.note(Seen(call.number, "TUNNEL", heard, b""))
    call.conn.send(call.body(f"heard {len(heard)}"))
    call.conn.sock.shutdown(socket.SHUT_WR)
    raise Gone


ACTS: dict[str, Callable[[Call], None]] = {
    "ok": _ok, "chunked": _chunked, "trailers": _trailers, "until-close": _until_close, "old": _old, "closing": _closing,
    "no-content": _no_content, "not-modified": _not_modified, "missing": _missing, "hints": _hints, "pieces": _pieces,
    "chunked-pieces": _chunked_pieces, "large": _large, "early": _early, "deny": _deny, "close": _close, "reset": _reset,
    "close-once": _close_once, "half-head": _half_head, "garbage": _garbage, "two-lengths": _two_lengths, "excess": _excess,
    "cut-length": _cut_length, "cut-chunks": _cut_chunks, "switch": _switch,
}  # fmt: skip


def obedient(ledger: Ledger) -> Callable[[Connection], None]:
    """Return the script of a backend that does what it is told, and writes it down in `ledger`."""

    def serve(conn: Connection) -> None:
        try:
            while True:
                ledger.put(conn, is_busy=bool(conn.buffer))
                while not conn.buffer:
                    conn.more()
                ledger.put(conn, is_busy=True)
                head = Received(conn.take_until(b"\r\n\r\n"))
                act = ACTS.get(head.get("x-do") or "")
                if act is None:
                    ledger.odd.append(f"nobody sent this: {head.raw!r}")
                    raise Gone
                act(Call(ledger, conn, head))
        finally:
            conn.sock.close()
            ledger.forget(conn)

    return serve
