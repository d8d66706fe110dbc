"""Whole conversations by chance, over real sockets, against a model: in one piece, byte by byte, split anywhere, turn by turn.

Whatever is said, every answer is the one that is due, in order and under the id of its own request; the backend sees what
it must see and nothing else; the connection lives or ends as it must, and no backend connection stays in mid-message.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client import Cut, RawClient
from tests.examples import examples
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.wire.conversation import BAD, KEEPALIVE_REQUESTS, MAX_BODY, Bad, Model, Said, Turn
from tests.wire.obedient import ACTS, LARGE, Ledger, obedient
from tests.wire.talk import NUMBERS, Talk, assert_seen

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


# ------------------------------------------------------------------ what comes of it


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
