"""The funnel: whatever happens in a handler, its exchange ends once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent
import pytest
from greenlet import GreenletExit

from greenproxy.errors import (
    BackendReset,
    BadRequest,
    ClientGone,
    MiddlewareError,
    NoBackend,
    NoRoute,
    ReadTimeout,
    Stopped,
)
from greenproxy.messages import Request, Response
from tests.client import Answer, Cut, get
from tests.fakes import ClosingBody
from tests.fronts import LoneFront, MakeFront
from tests.hub import until
from tests.net.test_recycler import hub_errors


def leaked_timeout() -> BaseException:
    """A `gevent.Timeout` as it looks when somebody's `with` has lost it."""
    return gevent.Timeout(None)


@dataclass(frozen=True)
class Case:
    """What a handler raises; the status and reason that the client and the log get; whether the connection goes on."""

    error: Callable[[], BaseException]
    status: int
    reason: str
    goes_on: bool = True


CASES = {
    "no route": Case(NoRoute, 404, "no-route"),
    "a bad request": Case(BadRequest, 400, "bad-request", goes_on=False),
    "a backend's fault": Case(BackendReset, 502, "backend-reset"),
    "no backend": Case(NoBackend, 503, "no-backend"),
    "middleware": Case(MiddlewareError, 500, "middleware-error"),
    "stopped": Case(Stopped, 503, "stopped", goes_on=False),
    "a bug": Case(lambda: ValueError("oops"), 500, "internal"),
    "a leaked timeout": Case(leaked_timeout, 500, "internal"),
    "out of memory": Case(MemoryError, 500, "internal"),
    "a kill": Case(GreenletExit, 503, "stopped", goes_on=False),
    "somebody's exit": Case(lambda: KeyError("x"), 500, "internal"),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def raising(error: Callable[[], BaseException]) -> Callable[[Request], Response]:
    """Return a handler that fails on /fail and answers otherwise."""

    def handler(request: Request) -> Response:
        if request.path == "/fail":
            raise error()
        return Response(body=b"fine")

    return handler


@pytest.fixture(autouse=True)
def quiet_hub() -> Iterator[None]:
    """A killed exchange is told to the hub, which would print it."""
    with hub_errors():
        yield


def failed(front: MakeFront, case: Case) -> tuple[LoneFront, Answer]:
    """Return a front with one exchange that failed, and what its client got."""
    it = front(raising(case.error))
    client = it.connect()
    return it, client.ask(get("/fail"))


# ------------------------------------------------------------------ before the head is out


@every_case
def test_a_failure_is_answered_with_its_page(front: MakeFront, case: Case) -> None:
    assert failed(front, case)[1].status == case.status


@every_case
def test_a_failure_is_counted_once(front: MakeFront, case: Case) -> None:
    it, _ = failed(front, case)
    assert [(each.status, each.reason) for each in it.ended()] == [(case.status, case.reason)]


@every_case
def test_a_failure_is_logged_once(front: MakeFront, case: Case) -> None:
    it, _ = failed(front, case)
    it.ended()
    assert it.logged == 1


@every_case
def test_the_page_names_the_reason(front: MakeFront, case: Case) -> None:
    assert case.reason in (failed(front, case)[1].get("proxy-status") or "")


@every_case
def test_the_connection_goes_on_unless_the_failure_ends_it(front: MakeFront, case: Case) -> None:
    it = front(raising(case.error))
    client = it.connect()
    answer = client.ask(get("/fail"))
    if case.goes_on:
        assert client.ask(get("/next")).body == b"fine"
    else:
        assert (answer.says_close, client.is_closed()) == (True, True)


@every_case
def test_no_connection_is_left_behind(front: MakeFront, case: Case) -> None:
    it = front(raising(case.error))
    client = it.connect()
    client.ask(get("/fail"))
    client.leave()
    until(lambda: not it.connections)


@pytest.mark.parametrize("name", ["a bug", "a leaked timeout", "out of memory"])
def test_a_bug_is_reported_with_its_traceback(front: MakeFront, name: str) -> None:
    it, _ = failed(front, CASES[name])
    assert [("/fail" in line) for line in it.log] == [True]


@pytest.mark.parametrize("name", ["no route", "a backend's fault", "stopped"])
def test_an_expected_failure_is_no_line_in_the_error_log(front: MakeFront, name: str) -> None:
    it, _ = failed(front, CASES[name])
    assert it.log == []


def test_the_client_is_not_told_about_a_bug(front: MakeFront) -> None:
    _, answer = failed(front, Case(lambda: ValueError("secret"), 500, "internal"))
    assert b"secret" not in answer.body


def test_a_client_that_is_gone_is_told_nothing(front: MakeFront) -> None:
    it = front(raising(ClientGone))
    client = it.connect()
    client.send(get("/fail"))
    assert (client.until_closed(), it.endings[0].status) == (b"", 499)


# ------------------------------------------------------------------ once the head is out


def broken(error: Callable[[], BaseException]) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield b"some"
        raise error()

    return pieces


CUTS = {
    "a backend's fault": (BackendReset, "backend-reset"),
    "silence": (ReadTimeout, "read-timeout"),
    "a bug": (lambda: ValueError("oops"), "app-error"),
    "a leaked timeout": (leaked_timeout, "app-error"),
    "a kill": (GreenletExit, "stopped"),
}
every_cut = pytest.mark.parametrize(("error", "reason"), CUTS.values(), ids=CUTS)


@every_cut
@pytest.mark.parametrize(("version", "was_reset"), [("1.1", False), ("1.0", True)])
def test_a_body_that_fails_is_cut(
    front: MakeFront, error: Callable[[], BaseException], reason: str, version: str, was_reset: bool
) -> None:
    it = front(lambda _request: Response(body=broken(error)()))
    with pytest.raises(Cut) as cut:
        it.connect().ask(get(version=version))
    assert (cut.value.was_reset, it.reasons) == (was_reset, [reason])


@every_cut
def test_a_cut_is_counted_and_logged_once(front: MakeFront, error: Callable[[], BaseException], reason: str) -> None:
    it = front(lambda _request: Response(body=broken(error)()))
    with pytest.raises(Cut):
        it.connect().ask(get())
    until(lambda: not it.connections)
    assert ([(each.status, each.reason) for each in it.endings], it.logged) == ([(200, reason)], 1)


def test_a_body_with_a_length_that_fails_is_cut(front: MakeFront) -> None:
    it = front(lambda _request: Response(headers={"Content-Length": "100"}, body=broken(BackendReset)()))
    with pytest.raises(Cut) as cut:
        it.connect().ask(get())
    assert cut.value.got == b"some"


# ------------------------------------------------------------------ bodies are closed


def test_a_body_that_was_sent_is_closed_once(front: MakeFront) -> None:
    body = ClosingBody([b"a", b"b"])
    front(lambda _request: Response(body=body)).connect().ask(get())
    assert body.closed == 1


@pytest.mark.parametrize("error", [BackendReset, lambda: ValueError("oops"), leaked_timeout, GreenletExit])
def test_a_body_that_fails_is_closed_once(front: MakeFront, error: Callable[[], BaseException]) -> None:
    body = ClosingBody(broken(error)())
    it = front(lambda _request: Response(body=body))
    with pytest.raises(Cut):
        it.connect().ask(get())
    it.ended()
    assert body.closed == 1


def test_a_body_is_closed_for_a_client_that_wants_only_the_head(front: MakeFront) -> None:
    body = ClosingBody([b"a"])
    front(lambda _request: Response(body=body)).connect().ask(get(method="HEAD"))
    assert body.closed == 1


class Unclosable(ClosingBody):
    def close(self) -> None:
        raise ValueError("it is stuck")


def test_a_close_that_fails_does_not_harm_the_answer(front: MakeFront) -> None:
    it = front(lambda _request: Response(body=Unclosable([b"a"])))
    client = it.connect()
    assert (client.ask(get()).body, client.ask(get()).status, len(it.endings)) == (b"a", 200, 2)


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, 1000])
def test_a_status_that_no_answer_has_is_the_fault_of_whoever_gave_it(front: MakeFront, status: int) -> None:
    it = front(lambda _request: Response(status))
    client = it.connect()
    assert (client.ask(get()).status, it.reasons) == (500, ["app-error"])
