"""The funnel: every exchange, of every protocol, ends here once: one answer or one cut, one close, one metric, one log line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from greenlet import GreenletExit

from greenproxy.errors import AppError, BodyGone, ClientGone, InternalError, ProxyError, Stopped
from greenproxy.exchange import Exchange
from greenproxy.messages import Handler, Request, Response


class Wire(Protocol):
    """How one exchange answers its client: one of these per protocol."""

    def send(self, response: Response) -> None:
        """Send the whole response. Raises ProxyError when the client or the body fails."""
        ...

    def fail(self, error: ProxyError) -> None:
        """Send an error page, or cut the connection when the head is out. Raises nothing."""
        ...


class Funnel:
    """Runs exchanges to their end. `count` and `write` take the finished exchange (metrics and access log)."""

    def __init__(self, count: Callable[[Exchange], None], write: Callable[[Exchange], None] | None, log: logging.Logger) -> None:
        self._count = count
        self._write = write
        self._log = log

    def serve(self, exchange: Exchange, request: Request, handler: Handler, wire: Wire) -> None:
        """Answer `request`. Whatever happens on the way, the exchange is closed, counted and logged when this returns.

        Raises nothing but GreenletExit, when the greenlet is killed.
        """
        response: Response | None = None
        try:
            response = handler(request)
            exchange.reason = response.reason
            wire.send(response)
        except ProxyError as error:
            exchange.reason = error.reason
            if isinstance(error, AppError):
                self._log.error("the body of an answer failed: %s %s", request.method, request.target, exc_info=error)
            elif isinstance(error, BodyGone):
                self._log.error("%s %s: %s", request.method, request.target, error)
            wire.fail(error)
        except GreenletExit:
            exchange.reason = Stopped.reason
            wire.fail(Stopped())
            raise
        except BaseException as bug:  # also a gevent.Timeout that somebody's code leaked
            self._log.exception("greenproxy failed on %s %s: please report this", request.method, request.target)
            exchange.reason = InternalError.reason
            wire.fail(InternalError(f"{type(bug).__name__}"))
        finally:
            if response is not None:
                if type(response.body) is not bytes:
                    self._close(response.body)
                if response.takeover is not None:  # it may never have been called
                    self._close(response.takeover)
            self.end(exchange)

    def refuse(self, exchange: Exchange, error: ProxyError, wire: Wire) -> None:
        """End an exchange whose bytes never became a request."""
        exchange.reason = error.reason
        try:
            wire.fail(error)
        finally:  # also when the greenlet is killed
            self.end(exchange)

    def end(self, exchange: Exchange) -> None:
        """Count and log a finished exchange."""
        exchange.ended_s = monotonic()
        if exchange.status == 0 and exchange.reason == ClientGone.reason:
            exchange.status = ClientGone.status
        self._count(exchange)
        if self._write is not None:
            self._write(exchange)

    def _close(self, owner: object) -> None:
        try:
            close = getattr(owner, "close", None)  # isinstance() of a Protocol would cost a fifth of the request
            if close is not None:
                close()
        except Exception:
            self._log.exception("the close() of a response failed")
