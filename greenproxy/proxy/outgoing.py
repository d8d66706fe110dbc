"""Outgoing: a request as its backend gets it: the head's bytes, and what of the body is at hand.

A head that no middleware looked at goes out as the lines that came in, minus what must go, plus what must come. One that
comes again from the same client goes out as the bytes that went out before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import cast

from greenproxy.messages import NO_BODY, Request, StreamedBody
from greenproxy.protocol.body import encode_chunk, last_chunk
from greenproxy.protocol.fields import Special, is_token
from greenproxy.protocol.forwarding import (
    Hop,
    connection_lines,
    forwarding_lines,
    plain_forwarding_lines,
    request_lines,
)
from greenproxy.protocol.http1 import RequestHead
from greenproxy.protocol.target import valid_host
from greenproxy.upstream.uploads import Place

_is_target = re.compile(rb"[\x21\x22\x24-\x7e]+").fullmatch
UPGRADES = frozenset({b"websocket"})
_EXPECT = b"Expect: 100-continue"
_NOTHING: Special = {}
#: Of one head so many clients, and what is no longer: 20 MB in all, if heads of every length came from as many.
_MOST_REMEMBERED, _MOST_REMEMBERED_BYTES = 16, 2048


def _nothing() -> None:
    """Nobody wants to know."""


class Outgoing:
    """One request for a backend.

    `held` is the whole body if it is at hand (b"" without one), framed as it goes on the wire, else None; then `first` is
    what is at hand and the rest is streamed. `hops`: the Max-Forwards that came, if it counts (1 or more). `place` is
    where it stands among the uploads, `client_goes_on` is called when a client that waited for a 100 (Continue) of the backend
    was told without one.
    """

    __slots__ = (
        "_is_plain", "_lines", "_own", "_raw", "_request", "_via", "client_goes_on", "expects_continue", "first", "held",
        "is_chunked", "place", "upgrade",
    )  # fmt: skip

    def __init__(self, request: Request, raw: RequestHead | None, *, via: bool, hops: int | None) -> None:
        self._request = request
        self._raw = raw
        self._via = via
        self.is_chunked = False
        self.expects_continue = False
        self.first = b""
        self.held: bytes | None = b""
        self.upgrade = b""
        self.place: Place | None = None
        self.client_goes_on: Callable[[], None] = _nothing
        headers = request.headers_if_read
        #: The fields, where they are not those that came: None means `raw.forwarded`.
        self._lines = None if headers is None and raw is not None else request_lines(request.headers)
        if request.body is not NO_BODY:
            self._take_body(request, raw)
        elif self._lines is not None or (raw is not None and raw.content_length):
            self._announce_nothing(raw)
        self._is_plain = False
        if raw is not None and raw.is_plain and not request.is_peer_trusted:
            self._own = plain_forwarding_lines(request.peer.ip, request.scheme, request.host, raw.minor, via)
            self._is_plain = self._lines is None and request.body is NO_BODY and bool(raw.host)
        else:
            self._own = self._own_lines(request, raw, via=via, hops=hops)

    def _own_lines(self, request: Request, raw: RequestHead | None, *, via: bool, hops: int | None) -> bytes:
        special = raw.special if raw is not None else _NOTHING
        if raw is not None and raw.upgrade.lower() in UPGRADES:
            self.upgrade = raw.upgrade
        own = connection_lines(special, self.upgrade) + forwarding_lines(special, _hop(request, raw, adds_via=via))
        return own if hops is None else own + b"Max-Forwards: %d\r\n" % (hops - 1)

    def head(self, own_host: bytes, *, replaces_host: bool) -> bytes:
        """Return the head as it goes out.

        `own_host` is the backend's own name: it stands in for the Host of a request without one; with `replaces_host` of any.
        """
        request, raw, lines = self._request, self._raw, self._lines
        target = request.target.encode("latin-1")
        # What nobody touched need not be encoded again.
        method = raw.method if raw is not None and request.method is raw.method_text else request.method.encode("latin-1")
        if replaces_host or not request.host:
            host = own_host
        else:
            host = raw.host if raw is not None and request.host is raw.host_text else request.host.encode("latin-1")
        if raw is None or target != raw.target or method != raw.method or host != raw.host:
            _check_line(method, target, host)
        if raw is None or host != raw.host:
            # HTTP/1.0 without a Host, host-header = backend, or a middleware's change
            lines = [b"Host: " + host, *[line for line in self._fields(raw) if line[:5].lower() != b"host:"]]
        block = raw.forwarded if lines is None and raw is not None else b"\r\n".join([*(lines or ()), b""])
        data = b"".join((method, b" ", target, b" HTTP/1.1\r\n", block, self._own, b"\r\n"))  # half of what formatting takes
        if self._is_plain and raw is not None and not replaces_host and host == raw.host:
            if raw.sent is None:  # most heads come once: remembered is what comes again
                raw.sent = {}
            else:
                _keep(raw.sent, _about(request, self._via), data)
        return data

    def collect(self, most_bytes: int) -> None:
        """Take more of the body, until all of it is held or `most_bytes` are at hand.

        Waits for the client, who gets a 100 (Continue) from us if it wants one. Raises what reading the body raises.
        """
        body = cast(StreamedBody, self._request.body)
        if self.expects_continue:
            self.expects_continue = False
            self._lines = [line for line in self._lines or () if line != _EXPECT]
            self._request.inform(100, b"")
            body.continue_sent()
        parts = [self.first]
        size = len(self.first)
        pieces = iter(self.rest())
        try:
            while size < most_bytes and (piece := next(pieces, None)) is not None:
                parts.append(encode_chunk(piece) if self.is_chunked else piece)
                size += len(piece)
        finally:
            pieces.close()  # type: ignore[attr-defined]  # a generator: the next one goes on where this one ended
        self.first = b"".join(parts)
        if body.is_complete:
            self.held = self.first + last_chunk(body.trailers) if self.is_chunked else self.first

    @property
    def waits_for_client(self) -> bool:
        """Whether a part of the body is still to come from the client itself."""
        return self.held is None and hasattr(self._request.body, "take_buffered")

    def rest(self) -> Iterable[bytes]:
        """Return what of the body is still to come."""
        return cast("Iterable[bytes]", self._request.body)

    # -------------------------------------------------------------- the body

    def _take_body(self, request: Request, raw: RequestHead | None) -> None:
        """Take what is at hand of the body, and give the head the framing that fits."""
        body = request.body
        if isinstance(body, bytes):
            self.held = body
            self._frame(raw, len(body))
            return
        is_ours = hasattr(body, "take_buffered")
        self.is_chunked = raw is None or raw.is_chunked or not is_ours
        if is_ours:
            self._take_streamed(cast(StreamedBody, body))
        else:
            self.held = None
        if self.is_chunked:
            self._frame(raw, None)
        elif self._lines is not None and raw is not None:
            self._frame(raw, raw.content_length)
        if self.expects_continue:
            self._lines = [*self._fields(raw), _EXPECT]

    def _take_streamed(self, body: StreamedBody) -> None:
        at_hand = body.take_buffered()
        if self.is_chunked and at_hand:
            at_hand = encode_chunk(at_hand)
        if body.is_complete:
            self.held = at_hand + last_chunk(body.trailers) if self.is_chunked else at_hand
        else:
            self.held = None
            self.first = at_hand
            self.expects_continue = body.expect_continue_from_backend(self._client_goes_on)

    def _client_goes_on(self) -> None:
        self.expects_continue = False
        self.client_goes_on()

    def _fields(self, raw: RequestHead | None) -> list[bytes]:
        return raw.kept if self._lines is None and raw is not None else self._lines or []

    def _announce_nothing(self, raw: RequestHead | None) -> None:
        """A middleware took the body away, or copied the fields: a backend would take the next request for the body."""
        self._lines = [line for line in self._fields(raw) if line[:15].lower() != b"content-length:" or line[15:].strip() == b"0"]

    def _frame(self, raw: RequestHead | None, length: int | None) -> None:
        """Say how the body ends: by its length, or chunked (None)."""
        line = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        self._lines = [*[each for each in self._fields(raw) if each[:15].lower() != b"content-length:"], line]


class Repeated(Outgoing):
    """A request that goes out as one before it did. It has no body, nothing of it changes, and exchanges share it."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.is_chunked = self.expects_continue = False
        self.held = self.first = self.upgrade = b""
        self.place = None
        self.client_goes_on = _nothing

    def head(self, own_host: bytes, *, replaces_host: bool) -> bytes:  # noqa: ARG002
        """Return the head as it went out before."""
        return self._data


def repeated(request: Request, sent: dict[object, Repeated], via: bool) -> Repeated | None:
    """Return how the same request went out before, if it did and nobody has changed anything: a tenth of our work less.

    `sent` is what its head became (`RequestHead.sent`). Not for those that replace the Host.
    """
    if request.headers_if_read is not None or request.body is not NO_BODY or request.is_peer_trusted:
        return None
    return sent.get(_about(request, via))


def _about(request: Request, via: bool) -> tuple[object, ...]:
    """Return all that the bytes of a request depend on whose fields nobody has touched, beside the head that came."""
    return request.method, request.target, request.host, request.peer.ip, request.scheme, via


def _keep(sent: dict[object, Repeated], about: tuple[object, ...], data: bytes) -> None:
    """Remember what a head became, unless somebody has made it long."""
    if len(data) > _MOST_REMEMBERED_BYTES:
        return
    if len(sent) >= _MOST_REMEMBERED:
        sent.clear()
    sent[about] = Repeated(data)


def _check_line(method: bytes, target: bytes, host: bytes) -> None:
    """Raise ValueError for what would make another head of this one: a middleware may have set it."""
    if not is_token(method) or not _is_target(target) or not valid_host(host):
        raise ValueError(f"this cannot be asked of a backend: {method!r} {target!r} of {host!r}")


def _hop(request: Request, raw: RequestHead | None, *, adds_via: bool) -> Hop:
    return Hop(
        request.peer.ip,
        request.client.ip,
        request.scheme,
        request.host.encode("latin-1"),
        raw.minor if raw is not None else 1,
        request.is_peer_trusted,
        adds_via,
        request.certificate_lines,
    )
