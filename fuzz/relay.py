"""Target `relay`: one request on the way to a backend that says whatever the fuzzer likes, and the answer on its way back.

`kind` is the request, `mode` says how the backend ends, and whether its connection has served a request before. Another request
follows on the client's connection, and is answered honestly. What `answers` reads in the backend's bytes is what the client
must get: whole, or an error page, or a cut.
"""

from __future__ import annotations

from typing import NamedTuple

from fuzz import answers, checks
from fuzz.case import Case, forget, require
from fuzz.fed import End, Errands, FedStream
from fuzz.house import house
from fuzz.peers import Seen, answer_in, fields_of, request_in

_MOST_INTERIM = 32
_WARM = b"GET /warm HTTP/1.1\r\nHost: warm\r\n\r\n"
_NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n"
_HONEST = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Honest: yes\r\n\r\nnext"


class Asked(NamedTuple):
    """A request of the client: its head, and the body as it comes. `payload`: None when the client leaves in mid-body."""

    head: bytes
    body: tuple[bytes, ...] = ()
    payload: bytes | None = b""
    is_http11: bool = True
    expects: bool = False

    @property
    def method(self) -> bytes:
        return self.head.partition(b" ")[0]

    @property
    def upgrade(self) -> bytes:
        return b"websocket" if b"\r\nUpgrade: websocket\r\n" in self.head else b""


def _asked(first: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([first, b"Host: a", *lines, b"", b""])


_CHUNKED = b"Transfer-Encoding: chunked"
REQUESTS = (
    Asked(_asked(b"GET /x HTTP/1.1")),
    Asked(_asked(b"HEAD /x HTTP/1.1")),
    Asked(_asked(b"GET /x HTTP/1.0"), is_http11=False),
    Asked(_asked(b"GET /x HTTP/1.0", b"Connection: keep-alive"), is_http11=False),
    Asked(_asked(b"GET /x HTTP/1.1", b"TE: trailers", b"Connection: TE")),
    Asked(_asked(b"POST /x HTTP/1.1", b"Content-Length: 5"), (b"hello",), b"hello"),
    Asked(_asked(b"POST /x HTTP/1.1", _CHUNKED), (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",), b"hello"),
    Asked(_asked(b"PUT /x HTTP/1.1", b"Content-Length: 5"), (b"", b"he", b"llo"), b"hello"),
    Asked(_asked(b"PUT /x HTTP/1.1", _CHUNKED), (b"2\r\nhe\r\n", b"3\r\nl", b"lo\r\n0\r\n", b"\r\n"), b"hello"),
    Asked(_asked(b"POST /x HTTP/1.1", b"Content-Length: 5", b"Expect: 100-continue"), (b"", b"hello"), b"hello", expects=True),
    Asked(_asked(b"PUT /x HTTP/1.1", _CHUNKED, b"Expect: 100-continue"), (b"", b"2\r\nhi\r\n0\r\n\r\n"), b"hi", expects=True),
    Asked(_asked(b"GET /x HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket")),
    Asked(_asked(b"OPTIONS * HTTP/1.1")),
    Asked(_asked(b"POST /x HTTP/1.1", b"Content-Length: 9"), (b"he", b"llo"), None),
    Asked(_asked(b"PUT /x HTTP/1.1", _CHUNKED), (b"5\r\nhello\r\n0\r\n",), None),
    Asked(_asked(b"HEAD /x HTTP/1.0"), is_http11=False),
)  # fmt: skip


def one_input(raw: bytes) -> None:
    """Ask one question. Raises Disagreement."""
    case = Case.of(raw)
    asked = REQUESTS[case.kind % len(REQUESTS)]
    forget()
    expected = answers.read([case.data], asked.method)
    for split in case.splits().values():
        forget()
        _Exchange(asked, expected, case.mode).judge(split)


class _Exchange:
    """One run: what was asked, what the backend's bytes mean, and how they end.

    Of `mode` 3 is how the backend ends, 28 after how many times 16 bytes it stops reading if 128 is set, 32 whether a
    middleware touches the fields, 64 whether the connection has served a request before.
    """

    def __init__(self, asked: Asked, expected: answers.Read, mode: int) -> None:
        self.asked = asked
        self.expected = expected
        self.end = (End.CLOSE, End.RESET, End.SILENCE, End.CLOSE)[mode & 3]
        self.touches = bool(mode & 32)
        self.is_warm = bool(mode & 64)
        self.room = (mode & 28) * 16 if mode & 128 and not self.is_warm else None

    @property
    def state(self) -> str:
        """Return what must become of the answer: complete, switched, or anything else for a failure."""
        expected = self.expected
        if expected.kind == "eof" and expected.state == "complete" and self.end is not End.CLOSE:
            return "truncated"
        if expected.state == "switched":
            head = expected.head
            assert head is not None
            is_asked = self.asked.upgrade and head.upgrade.lower() == self.asked.upgrade
            return "switched" if is_asked else "refused"
        return "refused" if len(expected.interim) > _MOST_INTERIM else expected.state

    def judge(self, split: list[bytes]) -> None:
        """Let it happen, and look at every side of it."""
        it = house(is_trusted=False, touches=self.touches)
        warm_up = [[_HONEST]] if self.is_warm else []
        first = _Backend([*warm_up, split], self.end, it.errands, self.room)
        client = FedStream(self._client_says(), End.CLOSE, it.errands)
        it.serve(client, lambda before: _Backend([[_HONEST]], End.SILENCE, it.errands, None) if before else first)
        heard, sent = bytes(first.sent), bytes(client.sent)
        if self.is_warm:
            heard, sent = request_in(heard).rest, answer_in(sent, b"GET", is_ended=False).rest
        self._backend_was_told(heard)
        rest = self._client_was_told(sent, client)
        if rest is not None:
            self._next_is_honest(rest, client)
        self._connection_was_kept(heard, is_open=not first.is_closed)

    def _client_says(self) -> list[bytes]:
        first, *later = self.asked.body or (b"",)
        said = [self.asked.head + first, *later]
        if self.asked.payload is not None and not self.asked.upgrade:
            said[-1] += _NEXT
        return [_WARM, *said] if self.is_warm else said

    # -------------------------------------------------------------- what was sent

    def _backend_was_told(self, heard: bytes) -> None:
        """Fail unless the backend got the request, or the beginning of it when client or backend left in the middle."""
        asked = self.asked
        told = request_in(heard)
        require(not told.is_broken, "what a backend is sent is no request", heard)
        if asked.payload is None:
            require(not told.is_whole, "a part of a request passed off as the whole", heard)
        elif self.room is None:
            require(told.is_whole, "a backend waits for the rest of a request", heard)
        if told.is_whole:
            require(told.first[:2] == tuple(asked.head.split(b" ")[:2]), "another request", told)
            require(told.payload == asked.payload, "another payload", told)
        if told.first:
            head, _, _ = heard.partition(b"\r\n\r\n")
            checks.framed_once(checks.field_lines(head.partition(b"\r\n")[2] + b"\r\n"))

    def _client_was_told(self, sent: bytes, client: FedStream) -> bytes | None:
        """Fail unless the client got the answer, an error page or a cut; return what came behind, None when nothing may."""
        asked = self.asked
        is_ended = (client.is_closed and not client.was_reset) or client.was_shut
        told = answer_in(sent, asked.method, is_ended=is_ended, upgrade=asked.upgrade)
        require(not told.is_broken, "what a client is sent is no answer", sent)
        self._interim_is_fair(told)
        if self.state == "switched" and self.room is None:
            self._is_switched(told, client)
            return None
        if told.is_whole and told.values(b"x-honest"):
            self._is_another_try(told)
        elif told.is_whole and not _is_page(told):
            self._is_the_answer(told)
        elif told.is_whole:
            require(not self._must_be_whole, "an error page for an answer that is whole", told, self.expected)
        else:
            require(not self._must_be_whole, "a cut in an answer that is whole", sent, self.expected)
            self._is_cut(told, client)
            return None
        return None if b"close" in b",".join(told.values(b"connection")) else told.rest

    @property
    def _must_be_whole(self) -> bool:
        return self.state == "complete" and self.asked.payload is not None and self.room is None

    def _interim_is_fair(self, told: Seen) -> None:
        statuses = [status for status, _ in told.interim if status != 101]
        require(self.asked.is_http11 or not told.interim, "an interim answer to HTTP/1.0", told)
        coming = iter(self.expected.interim)
        require(all(status in coming for status in statuses), "an interim answer that no backend gave", told, self.expected)
        require(statuses.count(100) <= self.asked.expects, "a 100 for nobody", told)

    def _is_switched(self, told: Seen, client: FedStream) -> None:
        head = self.expected.head
        assert head is not None
        require(told.interim[-1:] != () and told.interim[-1][0] == 101, "no 101", client.sent)
        require(told.rest == self.expected.excess, "the tunnel lost bytes of the backend", told, self.expected)
        require(client.is_closed, "a tunnel that has ended is open", client.sent)

    def _is_another_try(self, told: Seen) -> None:
        """Fail unless the request was allowed to go to a fresh connection, because the reused one ended without a word."""
        is_stale = self.is_warm and self.expected == answers.Read("headless") and self.end is not End.SILENCE
        require(is_stale or self._said_so_itself(told), "another try that was not allowed", told, self.expected)
        require(not is_stale or self.asked.method != b"POST", "a POST that was sent twice", told)

    def _said_so_itself(self, told: Seen) -> bool:
        head = self.expected.head
        return head is not None and b"x-honest" in [name for name, _ in fields_of(head.block)] and told.first[0] == head.status

    def _is_the_answer(self, told: Seen) -> None:
        """Fail unless this whole message is what the backend said, all of it."""
        head, expected = self.expected.head, self.expected
        require(self.state == "complete" and head is not None, "a part of an answer passed off as the whole", told, expected)
        assert head is not None
        require(told.first[0] == head.status, "another status", told, expected)
        require(told.payload == expected.payload, "another payload", told, expected)
        kept = [(name, value) for name, value in told.fields if name not in _OURS]
        block = b"".join([line + b"\r\n" for line in head.kept])
        require(kept == [field for field in fields_of(block) if field[0] not in _OURS], "other fields", told, head.kept)
        lines = [b"%b: %b" % field for field in told.fields]
        checks.framed_once(lines)
        if told.values(b"transfer-encoding"):
            require(told.trailers == fields_of(expected.trailers), "other trailers", told, expected)

    def _is_cut(self, told: Seen, client: FedStream) -> None:
        """Fail unless this beginning of a message is the beginning of what came, and can be seen to be no more."""
        require(client.is_closed or client.was_shut, "a client waits for the rest of an answer for ever", client.sent)
        if told.first and self.expected.state != "malformed":
            require(self.expected.payload.startswith(told.payload), "another payload before the cut", told, self.expected)

    # -------------------------------------------------------------- what came behind

    def _next_is_honest(self, rest: bytes, client: FedStream) -> None:
        told = answer_in(rest, b"GET", is_ended=client.is_closed and not client.was_reset)
        if self.asked.payload is None or self.asked.upgrade:
            require(not rest, "an answer that nobody asked for", rest)
            return
        require(told.is_whole, "the second request was not answered", rest)
        require(told.payload == b"next" and told.values(b"x-honest") == [b"yes"], "an answer to somebody else", told)
        require(not told.rest, "more answers than requests", told)

    def _connection_was_kept(self, heard: bytes, *, is_open: bool) -> None:
        """Fail if a connection served another request, or may yet, unless both messages on it ended cleanly."""
        is_clean = self._must_be_whole and self.expected.is_reusable
        told = request_in(heard)
        is_kept = bool(told.is_whole and told.rest) or is_open
        require(is_clean or not is_kept, "a connection was kept behind an exchange that did not end cleanly", heard)


class _Backend(FedStream):
    """The backend under test: every time its connection is lent it gives the next answer. Behind the last one it is honest."""

    def __init__(self, said: list[list[bytes]], end: End, errands: Errands, room: int | None) -> None:
        first, *self._later = said
        self._end_of_last = end
        super().__init__(first, End.SILENCE if self._later else end, errands, room)
        self._is_lent_again = False

    def unpark(self) -> None:
        super().unpark()
        self._is_lent_again = True

    def send_now(self, data: bytes | memoryview) -> int:
        sent = super().send_now(data)
        if self._is_lent_again:
            self._is_lent_again = False
            if self._later:
                self.feed(self._later.pop(0), self._end_of_last)
            else:
                self.feed([_HONEST], End.SILENCE)
        return sent


_OURS = {b"x-touched", b"date", b"connection", b"transfer-encoding", b"content-length", b"upgrade"}


def _is_page(told: Seen) -> bool:
    """Whether the answer is one of our own error pages."""
    return told.first[0] >= 400 and any(value.startswith(b"greenproxy; error=") for value in told.values(b"proxy-status"))
