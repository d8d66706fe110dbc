"""Section 7: what is tried again, on which backend, and what never is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.client import Answer, RawClient, ask, get, post
from tests.conftest import MakeBackend, StartProxy
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import (
    Script,
    Step,
    answer,
    close,
    echo,
    expect_head,
    expect_request,
    first_fails,
    hang,
    reset,
    send,
)

INI = """
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends =
    {one} name=one
    {two} name=two
health-interval = 0
max-fails = 0
{more}
"""
IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]


class Pair:
    """A proxy in front of two backends that share a script."""

    def __init__(self, running: RunningProxy, one: ScriptedBackend, two: ScriptedBackend) -> None:
        self.running = running
        self.one = one
        self.two = two

    @property
    def tries(self) -> tuple[int, int]:
        """How many connections each backend has seen, the smaller number first."""
        low, high = sorted((self.one.accepted, self.two.accepted))
        return low, high

    def ask(self, request: bytes) -> Answer:
        return ask(self.running.address(), request)


@pytest.fixture(scope="module")
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two backends and a proxy in front of them, for all tests of one configuration (see `configured`)."""
    more = getattr(request, "param", "")
    with ScriptedBackend(name="one") as one, ScriptedBackend(name="two") as two:
        running = RunningProxy(tmp_path_factory.mktemp("pair"), INI.format(one=one.url, two=two.url, more=more))
        with running:
            yield Pair(running, one, two)


def configured(*lines: str) -> pytest.MarkDecorator:
    """Let a test have a pair with these lines in its upstream."""
    return pytest.mark.parametrize("standing", ["\n".join(lines)], indirect=True, ids=[" ".join(lines)])


@pytest.fixture
def pair(standing: Pair) -> Iterator[Callable[[Script], Pair]]:
    """Return a function that lets both backends play one script."""

    def make(script: Script) -> Pair:
        for backend in (standing.one, standing.two):
            backend.begin_again(script)
        return standing

    yield make
    make(echo)


Make = Callable[[Script], Pair]
Token = Callable[[], str]


@pytest.mark.parametrize("failure", [[expect_request, reset], [expect_request, close], [reset]], ids=["reset", "close", "early"])
def test_a_get_that_got_no_byte_is_tried_on_the_other_backend(pair: Make, token: Token, failure: list[Step]) -> None:
    word = token()
    both = pair(first_fails(*failure))

    assert both.ask(get(f"/{word}")).status == 200
    assert both.tries == (1, 1)
    assert both.running.entry(word)["retries"] == 1


@pytest.mark.parametrize("method", IDEMPOTENT)
def test_idempotent_methods_are_tried_again(pair: Make, method: str) -> None:
    both = pair(first_fails(expect_request, reset))

    assert (both.ask(get(method=method)).status, both.tries) == (200, (1, 1))


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK", "get"])
def test_other_methods_are_not_tried_again_once_they_were_written(pair: Make, method: str) -> None:
    both = pair(first_fails(expect_request, reset))

    assert (both.ask(get(method=method)).status, both.tries) == (502, (0, 1))


def test_a_put_whose_body_was_taken_is_not_tried_again_unless_it_is_held(pair: Make) -> None:
    """Both are right: an honest 502, or the whole body again. Half a body never arrives."""
    both = pair(first_fails(expect_request, reset))
    told = both.ask(post("/", b"hello", method="PUT"))
    whole = [request.body for request in (*both.one.requests, *both.two.requests)]

    assert told.status in (200, 502)
    assert set(whole) == {b"hello"}


@pytest.mark.parametrize("expectation", [[], ["Expect: 100-continue"]], ids=["", "with Expect"])
def test_a_put_of_whose_body_nothing_was_taken_is_tried_again(pair: Make, expectation: list[str]) -> None:
    pair = pair(first_fails(expect_head, reset))
    with RawClient(pair.running.address()) as client:
        client.send(get("/", "Content-Length: 5", *expectation, method="PUT"))
        wait_until(lambda: pair.tries == (1, 1), "the second backend to be asked")
        client.send(b"hello")
        assert client.answer().status == 200
    assert {each.body for each in (*pair.one.requests, *pair.two.requests) if each.body} == {b"hello"}


def test_a_refused_connection_is_tried_elsewhere_for_any_method(proxy: StartProxy, scripted: MakeBackend) -> None:
    living, dead = scripted(name="living"), scripted(name="dead", is_listening=False)
    running = proxy(INI.format(one=dead.url, two=living.url, more=""))
    answers = [ask(running.address(), post("/", b"hello")) for _ in range(4)]

    assert [told.status for told in answers] == [200] * 4
    assert {told.json()["body"] for told in answers} == {"hello"}


@configured("retries = 0")
def test_retries_0_means_none(pair: Make) -> None:
    both = pair(first_fails(expect_request, reset))

    assert (both.ask(get()).status, both.tries) == (502, (0, 1))


def test_retries_end_when_they_are_used_up(pair: Make) -> None:
    both = pair([expect_request, reset])

    assert (both.ask(get()).status, both.tries) == (502, (1, 1))


@configured("retry-on = connect")
def test_what_retry_on_does_not_list_is_not_tried_again(pair: Make) -> None:
    both = pair(first_fails(expect_request, reset))

    assert (both.ask(get()).status, both.tries) == (502, (0, 1))


@configured("response-timeout = 300ms")
def test_a_timeout_is_not_tried_again_by_default(pair: Make) -> None:
    both = pair(first_fails(expect_request, hang))

    assert (both.ask(get()).status, both.tries) == (504, (0, 1))


@configured("response-timeout = 1s", "retry-on = timeout")
def test_a_timeout_is_tried_again_if_listed(pair: Make) -> None:
    both = pair(first_fails(expect_request, hang))

    assert (both.ask(get()).status, both.tries) == (200, (1, 1))


@configured("retry-on = 502, 503, 504")
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_listed_status_is_tried_again(pair: Make, status: int) -> None:
    both = pair(first_fails(expect_request, send(answer(b"no", f"{status} No"))))

    assert (both.ask(get()).status, both.tries) == (200, (1, 1))


@configured("retry-on = 502, 503, 504")
def test_a_listed_status_of_a_post_passes_through(pair: Make) -> None:
    both = pair(first_fails(expect_request, send(answer(b"no", "503 No"))))

    assert (both.ask(post("/", b"x")).body, both.tries) == (b"no", (0, 1))


def test_a_status_that_is_not_listed_passes_through(pair: Make) -> None:
    both = pair(first_fails(expect_request, send(answer(b"no", "503 No"))))

    assert (both.ask(get()).body, both.tries) == (b"no", (0, 1))


def test_nothing_is_tried_again_behind_an_answers_head(pair: Make) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    both = pair(first_fails(expect_request, send(half), close))
    with RawClient(both.running.address()) as client:
        client.send(get())
        assert client.head().status == 200
        assert client.until_closed() == b"hello"

    assert both.tries == (0, 1)


def test_half_a_head_of_a_backend_is_not_an_answer_yet(pair: Make) -> None:
    """A byte of the response came, none went to the client. The design lets reset be tried only before the first byte."""
    both = pair(first_fails(expect_request, send(b"HTTP/1.1 200 OK\r\n"), close))

    assert (both.ask(get()).status, both.tries) == (502, (0, 1))


def test_an_invalid_answer_is_not_tried_again(pair: Make) -> None:
    both = pair(first_fails(expect_request, send(b"nonsense\r\n\r\n"), close))

    assert (both.ask(get()).status, both.tries) == (502, (0, 1))


def test_the_only_backend_gets_a_fresh_connection_when_it_closed_a_used_one(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted(
        [expect_request, send(answer(b"first")), expect_head, close], [expect_request, send(answer(b"second")), hang]
    )
    running = proxy(INI.replace("    {two} name=two\n", "").format(one=backend.url, more=""))
    with RawClient(running.address()) as client:
        assert client.ask(get("/1")).body == b"first"
        assert client.ask(get("/2")).body == b"second"

    assert backend.accepted == 2


def test_the_only_backend_is_not_asked_again_on_a_fresh_connection(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted([expect_request, reset])
    running = proxy(INI.replace("    {two} name=two\n", "").format(one=backend.url, more="retries = 3"))

    assert ask(running.address(), get()).status == 502
    assert backend.accepted == 1


@configured("request-timeout = 500ms", "response-timeout = 400ms", "retry-on = timeout", "retries = 5")
def test_retries_share_one_request_timeout(pair: Make) -> None:
    both = pair([expect_request, hang])
    told = both.ask(get("/late"))

    assert (told.status, both.running.entry("/late")["reason"]) == (504, "request-timeout")
