"""The chain: middleware around a handler, each with its own time limit and its own errors.

Rules. The clock of a middleware stands still while its `call_next` runs. When its time is over a `gevent.Timeout` is
raised in it, again and again until it leaves; what it returns after that is thrown away. A response that it got from
`call_next` and does not hand on has its body closed: at once if the answer cannot read from it any more, else
together with the answer. A route without middleware gets its handler back, untouched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from greenlet import GreenletExit

from greenproxy.errors import MiddlewareError, MiddlewareTimeout, ProxyError
from greenproxy.messages import Handler, Middleware, Request, Response
from greenproxy.middleware.bodies import close_bodies, owning
from greenproxy.middleware.report import Report
from greenproxy.middleware.visit import Visit

_log = logging.getLogger("greenproxy")
_PASSING = (GreenletExit,)  # somebody ends this greenlet; a SystemExit is the middleware's own and ends nothing


@dataclass(frozen=True, slots=True)
class BoundMiddleware:
    """A middleware with its name and its limit in seconds (0: none). Built-ins never wait and need no guard."""

    name: str
    call: Middleware
    timeout_s: float = 5.0
    is_user_code: bool = True


class Chain:
    """A handler: the outermost middleware. `has_user_code` tells whether it may run code that is not ours."""

    __slots__ = ("_first", "has_user_code")

    def __init__(self, first: Handler, has_user_code: bool) -> None:
        self._first = first
        self.has_user_code = has_user_code

    def __call__(self, request: Request) -> Response:
        return self._first(request)


def _nothing() -> None:
    """What happens before user code runs, when nobody needs to know."""


def chain(
    middlewares: Sequence[BoundMiddleware],
    handler: Handler,
    before_user_code: Callable[[], None] = _nothing,
    log: logging.Logger = _log,
) -> Handler:
    """Return `handler` behind `middlewares`, outermost first; without any, `handler` itself.

    The result raises MiddlewareError and MiddlewareTimeout besides what `handler` raises. `before_user_code` is called
    in the greenlet of a request whenever code that is not ours is about to run in it. The server looks at that
    greenlet then: context variables, greenlet-locals and timeouts that are left behind must not meet the next request.
    `log` gets the tracebacks.
    """
    if not middlewares:
        return handler
    inner = handler
    for each in reversed(middlewares):
        inner = _Guard(each, inner, before_user_code, log) if each.is_user_code else _plain(each.call, inner)
    return Chain(inner, has_user_code(handler) or any(each.is_user_code for each in middlewares))


def has_user_code(handler: Handler) -> bool:
    """Return whether `handler` is a chain with user-written middleware in it."""
    return isinstance(handler, Chain) and handler.has_user_code


def _plain(call: Middleware, inner: Handler) -> Handler:
    return lambda request: call(request, inner)


class _Guard:
    """One user-written middleware in its place: the handler in front of `inner`."""

    __slots__ = ("_before_user_code", "_call", "_inner", "_report", "_timeout_s")

    def __init__(self, bound: BoundMiddleware, inner: Handler, before_user_code: Callable[[], None], log: logging.Logger) -> None:
        self._call = bound.call
        self._timeout_s = bound.timeout_s
        self._inner = inner
        self._before_user_code = before_user_code
        self._report = Report(bound.name, log)

    def __call__(self, request: Request) -> Response:
        """Return what the middleware answers. Raises MiddlewareError, MiddlewareTimeout, or the ProxyError it lets pass."""
        self._before_user_code()
        visit = Visit(self._inner, request, self._timeout_s, self._report)
        try:
            visit.begin()
            response = self._call(request, visit.call_next)
        except _PASSING:
            close_bodies(visit.end(), self._report)
            raise
        except BaseException as error:
            close_bodies(visit.end(), self._report)
            translated = self._translated(error, visit)
            if translated is error:
                raise
            raise translated from (None if visit.has_fired else error)
        return self._accepted(response, visit)

    def _accepted(self, response: object, visit: Visit) -> Response:
        taken = visit.end()
        if visit.has_fired:  # the middleware swallowed its timeout; being late is not its own choice
            close_bodies([response.body, *taken] if isinstance(response, Response) else taken, self._report)
            raise self._late(visit, None)
        if not isinstance(response, Response):
            close_bodies(taken, self._report)
            self._report.wrong(f"returned {type(response).__name__}, not a Response, on {visit.subject}")
            raise MiddlewareError
        status: object = response.status  # what it is annotated as, nobody checked
        if not isinstance(status, int):
            close_bodies([response.body, *taken], self._report)
            self._report.wrong(f"returned the status {status!r}, which is no number, on {visit.subject}")
            raise MiddlewareError
        if response.takeover is not None:
            taken = [each for each in taken if each is not cast(object, response.takeover)]
        if len(taken) != 1 or taken[0] is not response.body:
            response.body = owning(response.body, taken, self._report)
        return response

    def _translated(self, error: BaseException, visit: Visit) -> ProxyError:
        """Return what the client is told when the middleware raised `error`."""
        if visit.has_fired:
            return self._late(visit, error)
        if isinstance(error, ProxyError):
            return error
        if visit.passed_on is not None and visit.passed_on.__cause__ is error:
            return visit.passed_on  # reported further inside
        self._report.failed(f"failed on {visit.subject}", error)
        return MiddlewareError()

    def _late(self, visit: Visit, error: BaseException | None) -> ProxyError:
        """Return the error for a middleware whose time is over: its own, or the request's."""
        if visit.is_request_late:
            return visit.deadline.late()
        self._report.late(self._timeout_s, visit.subject, error)
        return MiddlewareTimeout()
