"""The client of a conversation: says what is to be said, cut as it is told, and compares every answer with what is due."""

from __future__ import annotations

import itertools
import random
import socket
from collections import Counter

import pytest

from tests.client import Answer, Cut, RawClient
from tests.wire.conversation import BAD, TUNNELLED, Bad, Due, Said, Turn
from tests.wire.obedient import Seen

NUMBERS = itertools.count(1)


class Talk:
    """One conversation over one connection."""

    def __init__(self, client: RawClient, said: list[Said], numbers: list[str], due: list[Due]) -> None:
        self._client = client
        self._said = said
        self._numbers = numbers
        self._due = due
        self.half = ""  # the request that never came whole
        self._was_reset = False
        self._is_maybe_over = False
        self._last = due[-1]  # what was answered last

    def fed(self, feed: str, dice: random.Random) -> None:
        """Say everything at once, cut in pieces as `feed` wants it, then hear the answers."""
        pairs = zip(self._said, self._numbers, strict=True)
        data = b"".join([BAD[each.kind][1] if isinstance(each, Bad) else each.head(n) + each.body(n) for each, n in pairs])
        is_tunnel = self._due[-1].statuses == {101}
        if is_tunnel:
            last = self._due[-1]
            data = data[: data.index(b"X-Id: %b\r\n" % last.number.encode())]
            assert isinstance(last.said, Turn)
            head = last.said.head(last.number)
            data = data[: data.rindex(head.split(b"\r\n", 1)[0])] + head + TUNNELLED
        self._send(data, feed, dice)
        for due in self._due:
            if not self._hear(due):
                return

    def by_turns(self) -> None:
        """Wait for each answer before the next request, and for a 100 where one was asked for."""
        for due in self._due:
            said = due.said
            if isinstance(said, Bad):
                self._send(BAD[said.kind][1])
            elif said.waits:
                self._send(said.head(due.number))
                first = self._peek_head()
                if first is not None and first.status == 100:
                    self._send(said.body(due.number))
            else:
                self._send(said.head(due.number) + said.body(due.number))
            if due.statuses == {101}:
                self._send(TUNNELLED)
            if not self._hear(due):
                return

    def _peek_head(self) -> Answer | None:
        """Return the next head and leave it where it is; None when the connection ends first."""
        while b"\r\n\r\n" not in self._client.buffer:
            if not self._client.more():
                return None
        return Answer(self._client.buffer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")

    def _send(self, data: bytes, feed: str = "whole", dice: random.Random | None = None) -> None:
        cuts = list(range(1, len(data))) if feed == "byte by byte" else []
        if feed == "split anywhere" and dice is not None:
            cuts = sorted(dice.sample(range(len(data)), min(len(data), 12)))
        for begin, end in itertools.pairwise([0, *cuts, len(data)]):
            try:
                self._client.send(data[begin:end])
            except (BrokenPipeError, ConnectionResetError) as error:
                # Refused already: the answer is there. A reset is told once, be it to whoever sends.
                self._was_reset = isinstance(error, ConnectionResetError)
                return

    # -------------------------------------------------------------- answers

    def _hear(self, due: Due) -> bool:
        """Take the next answer and compare. Returns whether there may be another."""
        if self._is_maybe_over and not self._client.buffer and not self._client.more():
            return False
        self._last = due
        self._is_maybe_over = due.lives is None
        method = due.said.method if isinstance(due.said, Turn) else "GET"
        if due.is_cut and self._was_reset:
            self._client.until_closed()
            return False
        if due.is_cut:
            with pytest.raises(Cut) as raised:
                self._client.answer(method)
            self._compare_cut(due, raised.value)
            self._client.buffer = b""
            return False
        self._compare(due, self._client.answer(method))
        return due.lives is not False

    def _compare_cut(self, due: Due, cut: Cut) -> None:
        assert isinstance(due.said, Turn)
        assert due.body is not None
        assert cut.was_reset or due.body.startswith(cut.got)
        assert cut.was_reset or due.said.version == "1.1"  # only a reset tells a client of HTTP/1.0

    def _compare(self, due: Due, answer: Answer) -> None:
        assert answer.status in due.statuses, (due, answer.head, answer.body)
        is_page = due.body is None or (answer.status == 502 and 502 in due.statuses)
        assert answer.get("x-id") == (None if is_page else due.number), (due, answer.head)
        if answer.status == 101:
            self._client.sock.shutdown(socket.SHUT_WR)  # earlier, we would be taken for gone
            assert self._client.until_closed() == f"{due.number}:heard {len(TUNNELLED)}".encode()
        elif not is_page:
            assert answer.body == due.body
        if due.lives is not None and answer.status != 101:
            assert answer.says_close is (not due.lives), (due, answer.head)
        interim = [each.status for each in answer.interim]
        may_wait = isinstance(due.said, Turn) and due.said.waits
        assert interim.count(100) <= may_wait, due
        assert tuple(status for status in interim if status != 100) == due.interim, due

    def ends_as_due(self, leaves: str) -> None:
        """Fail unless the connection is there for another request exactly when it must be. Where it is, leave it there."""
        lives = self._last.lives
        if lives is False:
            assert self._client.is_closed()
            return
        number = f"probe{next(NUMBERS)}"
        try:
            answer = self._client.ask(Turn().head(number))
        except (Cut, BrokenPipeError, ConnectionResetError):
            assert lives is None
            return
        assert (answer.status, answer.get("x-id")) == (200, number)
        self._leave(leaves)

    def _leave(self, where: str) -> None:
        """Go away with one more request begun: in its head or in its body."""
        turn = Turn(method="PUT", framing="chunked" if where == "in chunks" else "length", repeats=3)
        number = f"left{next(NUMBERS)}"
        head, body = turn.head(number), turn.body(number)
        said = {"in its head": head[:-3], "": b""}.get(where, head + body[: len(body) // 2])
        self._send(said)
        self.half = number


def assert_seen(due: list[Due], seen: list[Seen], *, is_complete: bool) -> None:
    """Fail unless the backend saw each request as often as it must, with its own body, and nothing besides."""
    counts = Counter(each.number for each in seen if each.method != "TUNNEL" and each.number[:4] not in ("prob", "left"))
    for each in due:
        least, most = each.seen
        assert (least if is_complete else 0) <= counts.pop(each.number, 0) <= most, (each, seen)
    assert not counts, counts
    said = {each.number: each.said for each in due}
    for one in seen:
        turn = said.get(one.number)
        if one.method == "TUNNEL":
            assert one.body == TUNNELLED
        elif isinstance(turn, Turn):
            assert one == Seen(one.number, turn.method, turn.payload(one.number), turn.trailers(one.number))
