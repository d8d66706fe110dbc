"""Finished exchanges for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence

from greenproxy.exchange import Exchange
from greenproxy.messages import ClientAddress, Request

CLIENT = ClientAddress("203.0.113.7", 5000)


class Raw:
    """A request head as the parser gives it."""

    def __init__(self, block: bytes) -> None:
        self.seen = block


def request(target: str = "/x?y=1", block: bytes | None = b"", **fields: str) -> Request:
    """Return a request; `block` None: one that came with no bytes."""
    path, _, query = target.partition("?")
    raw = None if block is None else Raw(block)
    return Request(fields.pop("method", "GET"), target, path=path, query=query, client=CLIENT, raw=raw, **fields)  # type: ignore[arg-type]


def exchange(asked: Request | None = None, *, status: int = 200, reason: str = "", took_s: float = 0.012) -> Exchange:
    """Return an exchange that is over."""
    done = Exchange("web", CLIENT)
    done.request = asked
    done.status = status
    done.reason = reason
    done.ended_s = done.started_s + took_s
    done.bytes_in, done.bytes_out = 3, 70
    return done


def proxied(
    upstream: str = "shop", *, retried: Sequence[str] = (), time_s: float = 0.004, status: int = 200, reason: str = ""
) -> Exchange:
    """Return an exchange that went to an upstream, again and again for the reasons in `retried`."""
    done = exchange(request(), status=status, reason=reason)
    done.upstream, done.backend = upstream, "blue"
    done.upstream_time_s, done.retry_reasons = time_s, tuple(retried)
    return done
