"""Who closes a body that a middleware did not hand on.

A middleware may replace a body by one that reads from it, with or without a `close()` of its own. So a body taken
from an answer stays open as long as the new one may still read it, and is closed with it at the latest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import GeneratorType

from greenproxy.errors import MiddlewareError, ProxyError
from greenproxy.messages import Body, Closable
from greenproxy.middleware.report import Report


class OwningBody:
    """A body made by a middleware, with the bodies that are closed when it is."""

    __slots__ = ("_body", "_owned", "_report")

    def __init__(self, body: Iterable[bytes], owned: list[Body], report: Report) -> None:
        self._body = body
        self._owned = owned
        self._report = report

    def __iter__(self) -> Iterator[bytes]:
        """Yield what the middleware's body yields. An exception of its own becomes MiddlewareError."""
        try:
            yield from self._body
        except ProxyError:
            raise
        except Exception as error:
            self._report.failed("failed in its response body", error)
            raise MiddlewareError from error

    def close(self) -> None:
        """Close the middleware's body, then the ones behind it. Never raises and never waits by itself."""
        close_bodies([self._body, *self._owned], self._report)


def close_bodies(bodies: Iterable[Body], report: Report) -> None:
    """Close each of `bodies`; what one of them raises is reported."""
    for body in bodies:
        if isinstance(body, Closable):
            try:
                body.close()
            except Exception as error:
                report.failed("could not close a response body", error)


def owning(body: Body, taken: list[Body], report: Report) -> Body:
    """Return the body that goes on to the client when a middleware answered with `body` after it had got `taken`.

    What `body` cannot read from (it is finished bytes) is closed now, everything else together with it.
    """
    left = [each for each in taken if each is not body and type(each) is not bytes]
    if isinstance(body, (bytes, list, tuple)):
        close_bodies(left, report)
        return body
    if left or isinstance(body, GeneratorType):
        return OwningBody(body, left, report)
    return body
