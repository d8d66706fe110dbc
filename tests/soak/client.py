"""Client: keeps at most one connection, asks one thing at a time, and accepts no answer but its own.

A connection that the proxy closed between two requests is replaced when that is seen before the next request is sent, as
every careful client does. A client cannot send a request again that it does not know to be unseen, so a connection that
dies under a request is a failure, even without a byte of an answer (`stale`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import select
import socket as plain_socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gevent import socket, ssl

from tests.soak.known import echo_of, receipt, stretch
from tests.soak.reading import Ended, Head, Malformed, Reader
from tests.soak.tally import Failure, Report

_numbers = itertools.count()
_nonce = os.urandom(4).hex()

Check = Callable[[str, Iterator[bytes]], None]
Target = Sequence[Any]  # host and port; with "tls" behind them clients speak TLS


class Wrong(Exception):
    """A whole answer that is not the one that was asked for."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what, detail)
        self.what = what
        self.detail = detail


class Client:
    """One client of one kind. `route` is the first part of its paths; failures and counts go to `report`."""

    def __init__(self, report: Report, kind: str, target: Target, route: str, *, timeout_s: float) -> None:
        self.report = report
        self.kind = kind
        self._target = (target[0], target[1])
        self._is_secure = "tls" in target[2:]
        self._route = route
        self._timeout_s = timeout_s
        self._sock: Any = None
        self._reader: Reader
        self._worker = 0
        self._is_used = False  # the connection has answered before
        self._client_port = 0
        self._connected_s = 0.0
        self._phase = ""
        self.began_s = 0.0

    # -------------------------------------------------------------- what can be asked

    def echo(self, seconds: float = 0.0, *, began_s: float = 0.0, last: bool = False) -> bool:
        """Ask for the id, which the backend sends so much later. Returns whether it came."""
        return self.exchange("echo", f"?s={seconds}" if seconds else "", _is_echo, began_s=began_s, last=last)

    def echo_held(self) -> bool:
        """Ask for the id, which the backend sends when it is told to. Returns whether it came."""
        return self.exchange("echo", "?held=1", _is_echo)

    def upload(self, size: int, *, is_chunked: bool, pause_s: float, sleep: Callable[[float], None]) -> bool:
        """Send a body in pieces, with pauses between them; what comes back must be its digest."""
        content = os.urandom(min(size, 65536)) * (size // 65536 + 1)
        content = content[:size]
        step = size // 8 or size
        wanted = hashlib.sha256(content).hexdigest()

        def pieces() -> Iterator[bytes]:
            for at in range(0, size, step):
                if at and pause_s:
                    sleep(pause_s)
                piece = content[at : at + step]
                yield b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece
            if is_chunked:
                yield b"0\r\n\r\n"

        def is_receipt(ident: str, body: Iterator[bytes]) -> None:
            _is_exactly(receipt(ident, wanted, size), body)

        framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
        return self.exchange("upload", "", is_receipt, framing=framing, pieces=pieces())

    def download(self, size: int, rate: int, *, is_chunked: bool, think: Callable[[int], object] | None = None) -> bool:
        """Ask for so many bytes of the id's stream, at that rate (bytes/s), and check each of them; `think` at each piece."""

        def is_stream(ident: str, body: Iterator[bytes]) -> None:
            at = 0
            for piece in body:
                if think is not None:
                    think(len(piece))
                for start in range(0, len(piece), 32768):
                    part = piece[start : start + 32768]
                    if part != stretch(ident, at, len(part)):
                        raise Wrong("pattern", f"within {len(part)} bytes from byte {at} on")
                    at += len(part)
            if at != size:
                raise Wrong("cut", f"{at} of {size} bytes, as if that were all")

        return self.exchange("download", f"?size={size}&rate={rate}{'&chunked=1' if is_chunked else ''}", is_stream)

    # -------------------------------------------------------------- one exchange

    def exchange(
        self,
        what: str,
        query: str,
        check: Check,
        *,
        framing: str = "",
        pieces: Iterable[bytes] = (),
        began_s: float = 0.0,
        last: bool = False,
        statuses: Sequence[str] = ("200",),
    ) -> bool:
        """Ask for `what`, and return whether an answer came with one of `statuses`: with 200 one that `check` accepts."""
        ident = self.new_ident()
        self.began_s = began_s or time.monotonic()
        before = 0
        try:
            self._phase = "connect"
            self._connect()
            before = self._reader.received
            self._phase = "send"
            self._send_head(self._head(f"{what}/{ident}{query}", ident, framing, last))
            for piece in pieces:
                self._sock.sendall(piece)
            self._phase = "head"
            answer = self._reader.head()
            self._phase = "body"
            self._check(answer, ident, check, statuses)
        except (Ended, Malformed, Wrong, OSError) as error:
            self._failed(ident, error, self._reader.received - before if self._phase != "connect" else 0)
            return False
        self.report.tally(self.kind).answered(time.monotonic() - self.began_s, self._reader.received - before)
        self._after(answer, last)
        return True

    @staticmethod
    def new_ident() -> str:
        """Return an id that no other request has."""
        return f"{_nonce}{next(_numbers):x}"

    def _send_head(self, head: bytes) -> None:
        self._sock.sendall(head)

    def _head(self, path: str, ident: str, framing: str, last: bool) -> bytes:
        """Return a request's head; one with a body is a POST."""
        method = "POST" if framing else "GET"
        fields = ["Host: soak", f"X-Id: {ident}", framing, "Connection: close" if last else ""]
        lines = [f"{method} /{self._route}/{path} HTTP/1.1", *filter(None, fields)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def _connect(self) -> None:
        """Have a connection that, as far as one can see, is open."""
        if self.sees_the_end():
            self.report.tally(self.kind).idle_ends += 1
            self.close()
        if self._sock is None:
            self._open()
            if self._is_secure:
                self._sock = _context().wrap_socket(self._sock, server_hostname="localhost")
                self._reader = Reader(self._sock)

    def _open(self) -> None:
        """Have a new connection, without TLS so far."""
        self._worker, self._is_used, self._client_port = 0, False, 0
        self._connected_s = time.monotonic()
        self._sock = socket.create_connection(self._target, self._timeout_s)
        self._sock.setsockopt(plain_socket.IPPROTO_TCP, plain_socket.TCP_NODELAY, 1)
        self._client_port = self._sock.getsockname()[1]
        self._reader = Reader(self._sock)

    def sees_the_end(self, within_s: float = 0.0) -> bool:
        """Return whether the proxy has closed the connection while nothing was asked."""
        if self._sock is None or not select.select([self._sock.fileno()], [], [], within_s)[0]:
            return False
        return not self._is_secure or self._sees_the_end_of_tls()

    def _sees_the_end_of_tls(self) -> bool:
        """Return whether what came is an end; tickets for later sessions come behind the handshake, and are none."""
        self._sock.settimeout(0.0)
        try:
            self._sock.recv(1)
        except ssl.SSLWantReadError:
            self._sock.settimeout(self._timeout_s)
            return False
        except OSError:
            pass  # a reset is an end as well
        return True

    def _check(self, answer: Head, ident: str, check: Check, statuses: Sequence[str]) -> None:
        self._worker = int(answer.fields.get("x-worker", self._worker))
        status = answer.first[1]
        if status != "200" and status in statuses:
            self._check_error(answer, ident)
            return
        if status not in statuses:
            with contextlib.suppress(Ended, OSError, Malformed):
                raise Wrong(f"status {status}", b"".join(self._reader.body(answer))[:200].decode("latin-1"))
            raise Wrong(f"status {status}")
        if answer.fields.get("x-id") != ident:
            raise Wrong("mixed", f"asked for {ident}, got the head of {answer.fields.get('x-id')}")
        check(ident, self._reader.body(answer))
        if self._reader.has_bytes():
            raise Wrong("malformed", "bytes behind the answer")

    def _check_error(self, answer: Head, ident: str) -> None:
        """An error that was asked for: of the backend with our id, or of the proxy with none."""
        if answer.fields.get("x-id", ident) != ident:
            raise Wrong("mixed", f"asked for {ident}, got the error of {answer.fields['x-id']}")
        for _ in self._reader.body(answer):
            pass

    def _after(self, answer: Head, last: bool) -> None:
        self._is_used = True
        if last or answer.fields.get("connection", "").lower() == "close":
            self.report.tally(self.kind).told += not last
            self.close()

    def _failed(self, ident: str, error: Exception, received: int) -> None:
        what, detail = _told(error)
        if self._phase == "send":
            detail += self._early_answer()
        if self._is_used and self._phase in ("send", "head") and what in ("reset", "end") and not received:
            what = "stale"
        now_s = time.monotonic()
        ends = (self._target[1], self._client_port) if self._client_port else (0, 0)
        failure = Failure(
            now_s, self.kind, self._phase, what, self._worker, self.began_s, received, detail, ident, *ends, self._connected_s
        )
        self.report.failed(failure)
        self.close()

    def _early_answer(self) -> str:
        """Return the status of an answer that came although the request was not read to its end."""
        try:
            self._sock.settimeout(1.0)
            return f" (answered before the end: {self._reader.head().first[1]})"
        except (Ended, Malformed, OSError):
            return ""

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


@functools.cache
def _context() -> Any:
    """Return what clients speak TLS with: who answers is seen by what it answers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _told(error: Exception) -> tuple[str, str]:
    """Return how a request failed, in a word and in detail."""
    if isinstance(error, Wrong):
        return error.what, error.detail
    if isinstance(error, Malformed):
        return "malformed", str(error)
    if isinstance(error, Ended):
        return "end", ""
    if isinstance(error, TimeoutError):
        return "timeout", ""
    if isinstance(error, ConnectionRefusedError):
        return "refused", ""
    return "reset", str(error)


def _is_echo(ident: str, body: Iterator[bytes]) -> None:
    _is_exactly(echo_of(ident), body)


def _is_exactly(wanted: bytes, body: Iterator[bytes]) -> None:
    got = b"".join(body)
    if got != wanted:
        raise Wrong("mixed", f"wanted {wanted[:100]!r}, got {got[:100]!r}")
