"""Middleware around a handler: order, clocks, errors, and bodies that nobody hands on."""

from __future__ import annotations

import contextlib
import gc
import logging
import timeit
from collections.abc import Callable, Iterable, Iterator

import gevent
import pytest
from gevent.event import AsyncResult, Event

from greenproxy.deadline import Deadline
from greenproxy.errors import MiddlewareError, MiddlewareTimeout, NoBackend, NoRoute, RequestTimeout
from greenproxy.messages import Handler, Middleware, Request, Response
from greenproxy.middleware.chain import BoundMiddleware, chain, has_user_code
from tests.fakes import ClosingBody, memory_logger
from tests.hub import watchers

FOREVER_S = 30.0


def request() -> Request:
    return Request("GET", "/", path="/")


def bound(call: Middleware, timeout_s: float = 5.0, name: str = "mine", *, is_user_code: bool = True) -> BoundMiddleware:
    return BoundMiddleware(name, call, timeout_s, is_user_code)


def answers(body: bytes | Iterable[bytes] = b"backend") -> Handler:
    return lambda _request: Response(200, {"X-From": "backend"}, body)


def passes(request: Request, call_next: Handler) -> Response:
    return call_next(request)


def waits(_request: Request, _call_next: Handler) -> Response:
    gevent.sleep(FOREVER_S)
    return Response()


def parts(response: Response) -> Iterable[bytes]:
    assert not isinstance(response.body, bytes)
    return response.body


def raises(error: BaseException) -> Middleware:
    def raising(_request: Request, _call_next: Handler) -> Response:
        raise error

    return raising


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG, "greenproxy")
    return lambda: [record.getMessage() for record in caplog.records]


# ------------------------------------------------------------------ order


def test_without_middleware_the_handler_itself_is_the_chain() -> None:
    handler = answers()
    assert chain([], handler) is handler


def test_first_middleware_is_the_outermost() -> None:
    seen = []

    def named(name: str) -> Middleware:
        def middleware(request: Request, call_next: Handler) -> Response:
            seen.append(f"{name} in")
            response = call_next(request)
            seen.append(f"{name} out")
            return response

        return middleware

    chain([bound(named("a")), bound(named("b")), bound(named("c"), is_user_code=False)], answers())(request())
    assert seen == ["a in", "b in", "c in", "c out", "b out", "a out"]


def test_middleware_may_answer_itself() -> None:
    own = Response(403)
    assert chain([bound(lambda _request, _call_next: own)], answers())(request()) is own


def test_chain_tells_whether_it_runs_user_code_and_when() -> None:
    ran = []

    def note() -> None:
        ran.append(True)

    ours = chain([bound(passes, is_user_code=False)], answers(), note)
    theirs = chain([bound(passes, is_user_code=False)], chain([bound(passes)], answers(), note), note)
    ours(request())
    assert (has_user_code(answers()), has_user_code(ours), has_user_code(theirs), ran) == (False, False, True, [])
    theirs(request())
    assert ran == [True]


# ------------------------------------------------------------------ errors


def test_exception_becomes_a_middleware_error_with_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    bug = KeyError("user")
    with pytest.raises(MiddlewareError) as raised:
        chain([bound(passes, name="outer"), bound(raises(bug), name="inner")], answers())(request())
    assert raised.value.__cause__ is bug
    [record] = caplog.records
    assert record.getMessage() == "middleware inner failed on GET /"
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


def test_proxy_error_of_what_is_behind_passes_unchanged(messages: Callable[[], list[str]]) -> None:
    error = NoBackend()

    def refuses(_request: Request) -> Response:
        raise error

    with pytest.raises(NoBackend) as raised:
        chain([bound(passes), bound(passes)], refuses)(request())
    assert raised.value is error
    assert raised.value.__cause__ is None
    assert messages() == []


def test_middleware_may_raise_a_proxy_error_or_answer_for_one() -> None:
    def rescues(request: Request, call_next: Handler) -> Response:
        try:
            return call_next(request)
        except NoRoute:
            return Response(200, body=b"rescued")

    assert chain([bound(rescues), bound(raises(NoRoute()))], answers())(request()).body == b"rescued"


@pytest.mark.parametrize("result", [None, "text", (200, {}, b"")])
def test_result_that_is_no_response_is_a_middleware_error(result: object, messages: Callable[[], list[str]]) -> None:
    def wrong(_request: Request, _call_next: Handler) -> Response:
        return result  # type: ignore[return-value]

    with pytest.raises(MiddlewareError):
        chain([bound(wrong)], answers())(request())
    assert messages() == [f"middleware mine returned {type(result).__name__}, not a Response, on GET /"]


def test_leaked_timeout_becomes_a_middleware_error(messages: Callable[[], list[str]]) -> None:
    with pytest.raises(MiddlewareError) as raised:
        chain([bound(passes, name="outer"), bound(raises(gevent.Timeout()), name="inner")], answers())(request())
    assert isinstance(raised.value.__cause__, gevent.Timeout)
    assert messages() == ["middleware inner failed on GET /"]


def test_timeout_of_an_outer_middleware_reaches_it_through_an_inner_one() -> None:
    def impatient(request: Request, call_next: Handler) -> Response:
        mine = gevent.Timeout.start_new(0.01)
        try:
            return call_next(request)
        except gevent.Timeout as fired:
            return Response(200, body=b"too slow" if fired is mine else b"not mine")
        finally:
            mine.close()

    inner = chain([bound(waits, name="inner")], answers())
    assert chain([bound(impatient, name="outer")], inner)(request()).body == b"too slow"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_a_middleware_cannot_end_the_worker(error: BaseException) -> None:
    with pytest.raises(MiddlewareError):
        chain([bound(raises(error))], answers())(request())


def test_what_stops_the_greenlet_passes() -> None:
    body, error = ClosingBody(), gevent.GreenletExit()

    def stopped(request: Request, call_next: Handler) -> Response:
        call_next(request)
        raise error

    with pytest.raises(type(error)) as raised:
        chain([bound(stopped)], answers(body))(request())
    assert raised.value is error
    assert body.closed == 1


def test_a_status_that_is_no_number_is_the_middlewares_mistake() -> None:
    log, messages = memory_logger()
    with pytest.raises(MiddlewareError):
        chain([bound(lambda _request, _call_next: Response("200"), name="mine")], answers(), log=log)(request())  # type: ignore[arg-type]
    assert messages == ["middleware mine returned the status '200', which is no number, on GET /"]


def test_errors_go_to_the_log_that_is_given() -> None:
    log, messages = memory_logger()
    with pytest.raises(MiddlewareError):
        chain([bound(raises(KeyError()), name="mine")], answers(), log=log)(request())
    assert messages == ["middleware mine failed on GET /"]


# ------------------------------------------------------------------ time


def test_middleware_that_waits_too_long_is_a_504(messages: Callable[[], list[str]]) -> None:
    chained = chain([bound(passes, name="outer"), bound(waits, 0.01, name="slow")], answers())
    for _ in range(2):
        with pytest.raises(MiddlewareTimeout):
            chained(request())
    [message] = messages()
    assert message.startswith("middleware slow took longer than 0.01s on GET / (in ")
    assert message.endswith(", waits)")
    assert "test_chain.py:" in message


def test_time_of_call_next_does_not_count() -> None:
    def slow(_request: Request) -> Response:
        gevent.sleep(0.05)
        return Response(body=b"late")

    assert chain([bound(passes, 0.01)], slow)(request()).body == b"late"


def test_time_before_and_after_call_next_counts_together() -> None:
    def twice(request: Request, call_next: Handler) -> Response:
        gevent.sleep(0.03)
        response = call_next(request)
        gevent.sleep(0.03)
        return response

    with pytest.raises(MiddlewareTimeout):
        chain([bound(twice, 0.045)], answers())(request())


def test_clock_stands_while_one_of_several_calls_runs() -> None:
    done = Event()

    def backend(_request: Request) -> Response:
        done.wait(0.03)
        return Response(body=b"both")

    def hedges(request: Request, call_next: Handler) -> Response:
        calls = [gevent.spawn(call_next, request) for _ in range(2)]
        gevent.joinall(calls, raise_error=True)
        return calls[1].get()

    assert chain([bound(hedges, 0.02)], backend)(request()).body == b"both"


def test_swallowed_timeout_fires_again() -> None:
    swallowed = []

    def stubborn(_request: Request, _call_next: Handler) -> Response:
        while True:
            try:
                gevent.sleep(FOREVER_S)
            except BaseException as error:
                swallowed.append(error)
                if len(swallowed) == 3:
                    raise

    with pytest.raises(MiddlewareTimeout):
        chain([bound(stubborn, 0.01)], answers())(request())
    assert len(swallowed) == 3


@pytest.mark.parametrize("ending", ["response", "error", "none"])
def test_what_a_middleware_does_after_swallowing_its_timeout_does_not_count(ending: str) -> None:
    own, backends = ClosingBody(), ClosingBody()

    def stubborn(request: Request, call_next: Handler) -> Response:
        call_next(request)
        with contextlib.suppress(gevent.Timeout):
            gevent.sleep(FOREVER_S)
        if ending == "error":
            raise ValueError
        return Response(body=own) if ending == "response" else None  # type: ignore[return-value]

    with pytest.raises(MiddlewareTimeout):
        chain([bound(stubborn, 0.01)], answers(backends))(request())
    assert (own.closed, backends.closed) == (int(ending == "response"), 1)


def test_except_exception_does_not_swallow_the_timeout() -> None:
    def careful(_request: Request, _call_next: Handler) -> Response:
        try:
            gevent.sleep(FOREVER_S)
        except Exception:
            pass
        return Response()

    with pytest.raises(MiddlewareTimeout):
        chain([bound(careful, 0.01)], answers())(request())


def test_deadline_of_the_request_ends_a_middleware_too(messages: Callable[[], list[str]]) -> None:
    late = request()
    late.deadline = Deadline.after(0.01, RequestTimeout)
    with pytest.raises(RequestTimeout):
        chain([bound(waits)], answers())(late)
    assert messages() == []


def test_deadline_that_the_proxy_set_holds_behind_call_next() -> None:
    def backend(request: Request) -> Response:
        request.deadline = Deadline.after(0.01, RequestTimeout)
        return Response()

    def slow_afterwards(request: Request, call_next: Handler) -> Response:
        response = call_next(request)
        gevent.sleep(FOREVER_S)
        return response

    with pytest.raises(RequestTimeout):
        chain([bound(slow_afterwards)], backend)(request())


def test_timeout_of_nought_is_no_limit() -> None:
    def slow(request: Request, call_next: Handler) -> Response:
        gevent.sleep(0.01)
        return call_next(request)

    assert chain([bound(slow, 0.0)], answers())(request()).body == b"backend"


@pytest.mark.parametrize("call", [passes, raises(ValueError()), waits], ids=["passes", "raises", "waits"])
def test_no_timer_outlives_a_middleware(call: Middleware) -> None:
    chained, before = chain([bound(call, 0.01)], answers()), watchers()
    with contextlib.suppress(MiddlewareError, MiddlewareTimeout):
        chained(request())
    assert watchers() == before


def test_killed_greenlet_leaves_its_middleware() -> None:
    body = ClosingBody()
    entered = Event()

    def entering(request: Request, call_next: Handler) -> Response:
        response = call_next(request)
        entered.set()
        gevent.sleep(FOREVER_S)
        return response

    greenlet = gevent.spawn(chain([bound(entering)], answers(body)), request())
    entered.wait()
    greenlet.kill()
    assert greenlet.dead
    assert body.closed == 1


# ------------------------------------------------------------------ call_next


def test_call_next_may_be_called_again() -> None:
    bodies = [ClosingBody(), ClosingBody()]
    left = iter(bodies)

    def tries_twice(request: Request, call_next: Handler) -> Response:
        call_next(request)
        return call_next(request)

    response = chain([bound(tries_twice)], lambda _request: Response(body=next(left)))(request())
    response.body.close()  # type: ignore[union-attr]
    assert [body.closed for body in bodies] == [1, 1]


def test_call_next_is_refused_when_the_middleware_has_returned() -> None:
    kept: list[Handler] = []

    def leaks(_request: Request, call_next: Handler) -> Response:
        kept.append(call_next)
        return Response()

    chain([bound(leaks)], answers())(request())
    with pytest.raises(RuntimeError, match="after the middleware had returned"):
        kept[0](request())


def test_answer_to_a_call_nobody_waited_for_is_closed() -> None:
    body, go = ClosingBody(), Event()
    outcome: AsyncResult[object] = AsyncResult()

    def backend(_request: Request) -> Response:
        go.wait()
        return Response(body=body)

    def hasty(request: Request, call_next: Handler) -> Response:
        def background() -> None:
            try:
                call_next(request)
            except RuntimeError as error:
                outcome.set(error)

        gevent.spawn(background)
        gevent.sleep(0)
        return Response(202)

    assert chain([bound(hasty)], backend)(request()).status == 202
    go.set()
    assert isinstance(outcome.get(timeout=1), RuntimeError)
    assert body.closed == 1


# ------------------------------------------------------------------ bodies


def test_body_that_is_handed_on_is_left_alone() -> None:
    body = ClosingBody()
    response = chain([bound(passes), bound(passes)], answers(body))(request())
    assert response.body is body
    assert body.closed == 0


def test_body_moved_to_another_response_is_left_alone() -> None:
    body = ClosingBody()

    def moves(request: Request, call_next: Handler) -> Response:
        return Response(201, body=call_next(request).body)

    assert chain([bound(moves)], answers(body))(request()).body is body
    assert body.closed == 0


@pytest.mark.parametrize("own", [b"", b"own", [b"own"], (b"own",)], ids=repr)
def test_body_that_cannot_be_read_any_more_is_closed_at_once(own: bytes | list[bytes]) -> None:
    body = ClosingBody()

    def replaces(request: Request, call_next: Handler) -> Response:
        call_next(request)
        return Response(body=own)

    assert chain([bound(replaces)], answers(body))(request()).body is own
    assert body.closed == 1


def test_body_read_and_replaced_on_the_same_response_is_closed() -> None:
    body = ClosingBody([b"a", b"b"])

    def collects(request: Request, call_next: Handler) -> Response:
        response = call_next(request)
        response.body = b"".join(parts(response)).upper()
        return response

    assert chain([bound(collects)], answers(body))(request()).body == b"AB"
    assert body.closed == 1


@pytest.mark.parametrize("is_read", [True, False])
def test_body_behind_a_generator_is_closed_with_it(is_read: bool) -> None:
    body = ClosingBody([b"a", b"b"])

    def shouts(request: Request, call_next: Handler) -> Response:
        response = call_next(request)
        inner = parts(response)
        response.body = (part.upper() for part in inner)
        return response

    response = chain([bound(shouts)], answers(body))(request())
    assert body.closed == 0
    if is_read:
        assert b"".join(parts(response)) == b"AB"
    response.body.close()  # type: ignore[union-attr]
    assert body.closed == 1


def test_closing_goes_through_every_middleware_that_wrapped() -> None:
    body = ClosingBody()
    order = []

    class Wrapped:
        def __init__(self, inner: Iterable[bytes], name: str) -> None:
            self.inner, self.name = inner, name

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.inner)

        def close(self) -> None:
            order.append(self.name)

    def wraps(name: str) -> Middleware:
        def middleware(request: Request, call_next: Handler) -> Response:
            response = call_next(request)
            response.body = Wrapped(parts(response), name)
            return response

        return middleware

    response = chain([bound(wraps("outer")), bound(wraps("inner"))], answers(body))(request())
    assert b"".join(parts(response)) == b"body"
    response.body.close()  # type: ignore[union-attr]
    assert order == ["outer", "inner"]
    assert body.closed == 1


@pytest.mark.parametrize("error", [ValueError("bug"), NoRoute()], ids=["bug", "proxy error"])
def test_body_is_closed_when_the_middleware_raises(error: Exception) -> None:
    body = ClosingBody()

    def breaks(request: Request, call_next: Handler) -> Response:
        call_next(request)
        raise error

    with pytest.raises((MiddlewareError, NoRoute)):
        chain([bound(breaks)], answers(body))(request())
    assert body.closed == 1


def test_failing_close_is_logged_and_hides_nothing(messages: Callable[[], list[str]]) -> None:
    class Broken:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b""])

        def close(self) -> None:
            raise OSError("closing failed")

    second = ClosingBody()
    left: Iterator[Iterable[bytes]] = iter([Broken(), second])

    def drops(request: Request, call_next: Handler) -> Response:
        call_next(request)
        call_next(request)
        return Response(body=b"own")

    assert chain([bound(drops)], lambda _request: Response(body=next(left)))(request()).body == b"own"
    assert second.closed == 1
    assert messages() == ["middleware mine could not close a response body"]


def test_exception_in_a_generator_body_is_a_middleware_error(messages: Callable[[], list[str]]) -> None:
    def breaks() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("bug")

    def streams(_request: Request, _call_next: Handler) -> Response:
        return Response(body=breaks())

    left = iter(chain([bound(streams)], answers())(request()).body)
    assert next(left) == b"first"
    with pytest.raises(MiddlewareError):
        next(left)
    assert messages() == ["middleware mine failed in its response body"]


def test_proxy_error_of_the_body_behind_passes_a_generator() -> None:
    def cut() -> Iterator[bytes]:
        yield b"first"
        raise NoBackend

    def wraps(request: Request, call_next: Handler) -> Response:
        response = call_next(request)
        body = parts(response)
        response.body = (part for part in body)
        return response

    left = iter(chain([bound(wraps)], answers(cut()))(request()).body)
    next(left)
    with pytest.raises(NoBackend):
        next(left)


# ------------------------------------------------------------------ cost


def test_a_middleware_costs_microseconds() -> None:
    handler = answers()
    chained = chain([bound(passes)], handler)
    asked = request()
    gc.disable()
    try:
        per_call_s = min(timeit.repeat(lambda: chained(asked), number=2000, repeat=5)) / 2000
    finally:
        gc.enable()
    assert per_call_s < 50e-6
