"""Visit: one request inside one middleware: its clock, its `call_next`, and the bodies it was given."""

from __future__ import annotations

from typing import cast

from gevent import Timeout

from greenproxy.deadline import Deadline
from greenproxy.errors import MiddlewareError
from greenproxy.messages import Body, Handler, Request, Response
from greenproxy.middleware.bodies import close_bodies
from greenproxy.middleware.report import Report
from greenproxy.middleware.stopwatch import Stopwatch


class Visit:
    """From the call of a middleware to its end. Its clock stands while at least one `call_next` runs.

    The request's deadline, which the proxy may have set meanwhile, ends it as well. `passed_on` is the MiddlewareError of a
    middleware further inside that was raised here as the `gevent.Timeout` it came from.
    """

    __slots__ = ("_clock", "_inner", "_is_over", "_report", "_request", "_running", "_taken", "passed_on")

    def __init__(self, inner: Handler, request: Request, timeout_s: float, report: Report) -> None:
        self._inner = inner
        self._request = request
        self._report = report
        self._clock = Stopwatch(timeout_s)
        self._running = 0  # a middleware may call several handlers at once, from greenlets of its own
        self._taken: list[Body] = []
        self._is_over = False
        self.passed_on: MiddlewareError | None = None

    def begin(self) -> None:
        """Start the clock."""
        self._clock.run(self.deadline.remaining_s())

    def end(self) -> list[Body]:
        """Stop the clock for good. Returns the bodies that the middleware got from `call_next`, in order."""
        if not self._is_over:
            self._is_over = True
            self._clock.end()
        return self._taken

    @property
    def subject(self) -> str:
        """What it is about, for the log: method and target as the client sent them."""
        return f"{self._request.method} {self._request.target}"

    @property
    def deadline(self) -> Deadline:
        """The request's deadline."""
        return self._request.deadline

    @property
    def has_fired(self) -> bool:
        """Whether the middleware was told that its time is over; it may have tried to ignore it."""
        return self._clock.has_fired

    @property
    def is_request_late(self) -> bool:
        """Whether it was the request's deadline that passed, not the middleware's own limit."""
        return self._clock.left_s > 0 and self.deadline.remaining_s() <= 0

    def call_next(self, request: Request) -> Response:
        """Return the answer of what is behind the middleware. Raises what that raises.

        A `gevent.Timeout` of this middleware that was raised further inside arrives here as what it is.
        """
        if self._is_over:
            raise RuntimeError("call_next was called after the middleware had returned")
        if not self._running:
            self._clock.pause()
        self._running += 1
        try:
            response = self._inner(request)
        except MiddlewareError as error:
            if isinstance(error.__cause__, Timeout):
                self.passed_on = error
                raise error.__cause__ from None
            raise
        finally:
            self._running -= 1
            if not self._running and not self._is_over:
                self._clock.run(self.deadline.remaining_s())
        return self._handed_over(response)

    def _handed_over(self, response: Response) -> Response:
        if self._is_over:  # call_next ran in a greenlet that the middleware did not wait for
            close_bodies([response.body, cast(Body, response.takeover)], self._report)
            raise RuntimeError("the middleware returned while its call_next was running")
        self._taken.append(response.body)
        if response.takeover is not None:  # it owns a connection too
            self._taken.append(cast(Body, response.takeover))
        return response
