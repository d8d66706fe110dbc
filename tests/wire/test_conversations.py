"""Whole conversations by chance, over real sockets, against a model: in one piece, byte by byte, split anywhere, turn by turn.

Whatever is said, every answer is the one that is due, in order and under the id of its own request; the backend sees what
it must see and nothing else; the connection lives or ends as it must, and no backend connection stays in mid-message.
"""

from __future__ import annotations

import itertools
import random
import socket
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client import Answer, Cut, RawClient
from tests.examples import examples
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.wire.conversation import BAD, KEEPALIVE_REQUESTS, MAX_BODY, TUNNELLED, Bad, Due, Model, Said, Turn
from tests.wire.obedient import ACTS, LARGE, Ledger, Seen, obedient

INI = f"""
[listener:web]
bind = 127.0.0.1:0
keepalive-requests = {KEEPALIVE_REQUESTS}
max-uri = 200
max-header-size = 1KiB
max-headers = 20
max-body = {MAX_BODY}
[upstream:shop]
backends = {{backend}}
health-interval = 0
max-fails = 0
"""
NUMBERS = itertools.count(1)
FEEDS = ("whole", "byte by byte", "split anywhere", "turn by turn")


class Stage(NamedTuple):
    """The proxy, its backend and what that wrote down."""

    proxy: RunningProxy
    backend: ScriptedBackend
    ledger: Ledger

    def begin(self, *, is_warm: bool) -> None:
        """Empty the pool, or leave just one connection in it."""
        self.backend.begin_again(obedient(self.ledger))
        if is_warm:
            with RawClient(self.proxy.address()) as client:
                assert client.ask(Turn().head("warm")).status == 200
        self.ledger.take_seen()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One proxy for all conversations."""
    ledger = Ledger()
    folder = tmp_path_factory.mktemp("conversations")
    with ScriptedBackend(obedient(ledger)) as backend, RunningProxy(folder, INI.format(backend=backend.url)) as proxy:
        yield Stage(proxy, backend, ledger)


@pytest.fixture
def stage(standing: Stage) -> Iterator[Stage]:
    """The same; behind the test no backend connection is left."""
    yield standing
    standing.backend.begin_again()
    assert standing.proxy.exit_status is None, standing.proxy.log()


# ------------------------------------------------------------------ what is said

_METHODS = st.sampled_from(["GET", "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"])
_FRAMINGS = st.sampled_from(["none", "none", "length", "chunked", "trailers"])
_TURNS = st.builds(
    Turn,
    act=st.sampled_from(sorted(ACTS)),
    method=_METHODS,
    version=st.sampled_from(["1.1"] * 5 + ["1.0"]),
    connection=st.sampled_from(["", "", "", "keep-alive", "keep-alive", "close"]),
    framing=_FRAMINGS,
    repeats=st.integers(0, 3),
    expects=st.sampled_from([False, False, False, True]),
    upgrade=st.sampled_from(["", "", "", "", "websocket", "h2c"]),
)


def _possible(turn: Turn) -> bool:
    """Whether the turn makes sense: HTTP/1.0 has no chunks, a HEAD no body to be cut."""
    if turn.version == "1.0" and turn.framing in ("chunked", "trailers"):
        return False
    return not (turn.method == "HEAD" and turn.act in ("cut-length", "cut-chunks", "excess"))


_GOOD = _TURNS.filter(_possible)
_SWITCHES = st.builds(Turn, act=st.just("switch"), method=_METHODS, upgrade=st.sampled_from(["websocket", "websocket", "h2c"]))
_SAID = st.one_of(_GOOD, _GOOD, _GOOD, _GOOD, _GOOD, _GOOD, _GOOD, _SWITCHES, st.sampled_from(sorted(BAD)).map(Bad))


def _is_settled(said: list[Said]) -> bool:
    """Whether a reset, which is how HTTP/1.0 is told of a cut, finds no long answer before it that is still under way."""
    turns = [each for each in said if isinstance(each, Turn)]
    larges = [at for at, turn in enumerate(turns) if turn.act == "large"]
    resets = [at for at, turn in enumerate(turns) if turn.version == "1.0" and turn.act.startswith("cut-")]
    return not larges or not resets or larges[0] > resets[-1]


CONVERSATIONS = st.lists(_SAID, min_size=1, max_size=KEEPALIVE_REQUESTS + 1).filter(_is_settled)


# ------------------------------------------------------------------ the client


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


def run(stage: Stage, said: list[Said], feed: str, *, is_warm: bool, dice: random.Random, leaves: str = "") -> None:
    """Have one conversation and compare everything with the model."""
    stage.begin(is_warm=is_warm)
    numbers = [f"n{next(NUMBERS):06d}" for _ in said]
    due = Model(int(is_warm)).predict(said, numbers)
    with RawClient(stage.proxy.address(), timeout=8.0) as client:
        talk = Talk(client, said, numbers, due)
        if feed == "turn by turn":
            talk.by_turns()
        else:
            talk.fed(feed, dice)
        talk.ends_as_due(leaves)
    stage.ledger.wait_until_quiet()
    is_certain = all(each.lives is not None for each in due[:-1])
    seen = stage.ledger.take_seen()
    assert talk.half not in [each.number for each in seen], "half a request was taken for one"
    assert_seen(due, seen, is_complete=is_certain)


@pytest.mark.parametrize("feed", FEEDS)
@examples(100)
@given(
    said=CONVERSATIONS,
    is_warm=st.booleans(),
    leaves=st.sampled_from(["", "in its head", "in its body", "in chunks"]),
    seed=st.integers(0, 1 << 16),
)
def test_a_conversation_goes_as_the_model_says(
    stage: Stage, feed: str, said: list[Said], is_warm: bool, leaves: str, seed: int
) -> None:
    run(stage, said, feed, is_warm=is_warm, dice=random.Random(seed), leaves=leaves)


@pytest.mark.parametrize("act", sorted(ACTS))
@pytest.mark.parametrize("feed", FEEDS)
def test_every_act_of_a_backend_leaves_the_connection_as_the_model_says(stage: Stage, feed: str, act: str) -> None:
    """Each act behind and before a plain request, with and without a body, an upgrade, an expectation."""
    plain = Turn(method="POST", framing="chunked")
    turns = [Turn(act), Turn(act, upgrade="websocket"), Turn(act, "POST", framing="length", upgrade="websocket")]
    for turn in [*turns, Turn(act, "PUT", framing="trailers", expects=True)]:
        run(stage, [plain, turn, plain], feed, is_warm=False, dice=random.Random(act))


def test_an_answer_that_was_whole_survives_the_cut_of_the_next_one(stage: Stage) -> None:
    """More requests lie there unread: a plain close would be a reset, and take what the client has not read yet."""
    stage.begin(is_warm=False)
    with RawClient(stage.proxy.address(), receive_buffer=8192) as client:
        client.send(Turn("large").head("long") + Turn("cut-chunks").head("cut") + Turn().head("never"))
        stage.ledger.wait_until_seen(2)
        client.send(Turn().head("late"))
        stage.ledger.wait_until_quiet()
        answer = client.answer()
        with pytest.raises(Cut) as cut:
            client.answer()
    assert len(answer.body) == len("long:") + LARGE
    assert not cut.value.was_reset
