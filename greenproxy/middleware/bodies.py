"""Who closes a body that a middleware did not hand on.

A middleware may replace a body by one that reads from it, with or without a `close()` of its own. So a body taken
from an answer stays open as long as the new one may still read it, and is closed with it at the latest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from types import GeneratorType

from greenproxy.errors import MiddlewareError, ProxyError
from greenproxy.messages import Body, Closable

log = logging.getLogger("greenproxy.middleware")


class OwningBody:
    """A body made by the middleware `name`, with the bodies that are closed when it is."""

    __slots__ = ("_body", "_name", "_owned")

    def __init__(self, body: Iterable[bytes], owned: list[Body], name: str) -> None:
        self._body = body
        self._owned = owned
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        """Yield what the middleware's body yields. An exception of its own becomes MiddlewareError."""
        try:
            yield from self._body
        except ProxyError:
            raise
        except Exception as error:
            log.exception("middleware %s failed in its response body", self._name)
            raise MiddlewareError from error

    def close(self) -> None:
        """Close the middleware's body, then the ones behind it. Never raises and never waits by itself."""
        close_bodies([self._body, *self._owned], self._name)


def close_bodies(bodies: Iterable[Body], name: str) -> None:
    """Close each of `bodies`; what one of them raises is logged under the middleware's name."""
    for body in bodies:
        if isinstance(body, Closable):
            try:
                body.close()
            except Exception:
                log.exception("middleware %s: closing a response body failed", name)


def owning(body: Body, taken: list[Body], name: str) -> Body:
    """Return the body that goes on to the client when a middleware answered with `body` after it had got `taken`.

    What `body` cannot read from (it is finished bytes) is closed now, everything else together with it.
    """
    left = [each for each in taken if each is not body and type(each) is not bytes]
    if isinstance(body, (bytes, list, tuple)):
        close_bodies(left, name)
        return body
    if left or isinstance(body, GeneratorType):
        return OwningBody(body, left, name)
    return body
