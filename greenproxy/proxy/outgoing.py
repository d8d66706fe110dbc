"""Outgoing: a request as its backend gets it: the head's bytes, and what of the body is at hand.

A head that no middleware looked at goes out as the lines that came in, minus what must go, plus what must come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from greenproxy.messages import NO_BODY, Headers, Request, StreamedBody
from greenproxy.protocol.body import encode_chunk, last_chunk
from greenproxy.protocol.forwarding import Hop, connection_lines, forwarding_lines, strip_hop_by_hop
from greenproxy.protocol.http1 import RequestHead


class Outgoing:
    """One request for a backend.

    `held` is the whole body if it is at hand (b"" without one), framed as it goes on the wire, else None; then `first` is
    what is at hand and the rest is streamed. `hops`: the Max-Forwards that came, if it counts (1 or more).
    """

    __slots__ = ("_fields", "_own", "_request", "expects_continue", "first", "held", "is_chunked", "is_untouched", "upgrade")

    def __init__(self, request: Request, *, via: bool, allowed_upgrades: frozenset[bytes], hops: int | None) -> None:
        self._request = request
        raw = request.raw if isinstance(request.raw, RequestHead) else None
        self.is_chunked = False
        self.is_untouched = request.headers_if_read is None and raw is not None
        self.expects_continue = False
        self.first = b""
        self.held: bytes | None = b""
        self.upgrade = b""
        if raw is not None and raw.upgrade.lower() in allowed_upgrades:
            self.upgrade = raw.upgrade
        fields = self._untouched_fields(raw) if self.is_untouched and raw is not None else self._touched_fields(request.headers)
        if request.body is not NO_BODY:
            fields = self._take_body(request, raw, fields)
        special = raw.special if raw is not None else {}
        self._fields = fields
        self._own = connection_lines(special, self.upgrade) + forwarding_lines(special, _hop(request, raw, adds_via=via))
        if hops is not None:
            self._own += b"Max-Forwards: %d\r\n" % (hops - 1)

    def head(self, host: bytes | None) -> bytes:
        """Return the head as it goes out. `host`: what replaces the Host that the client sent, None to keep it."""
        request, fields = self._request, self._fields
        if host is not None:
            fields = [line for line in fields if line[:5].lower() != b"host:"]
            fields.insert(0, b"Host: " + host)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b\r\n" % (
            request.method.encode("ascii"),
            request.target.encode("latin-1"),
            b"\r\n".join(fields),
            self._own,
        )

    def _untouched_fields(self, raw: RequestHead) -> list[bytes]:
        host = self._request.host.encode("latin-1")
        if host != raw.host:
            raw.replace_host(host)  # absolute-form: its authority counts (RFC 9112 section 3.2.2)
        return raw.kept.copy()

    def _touched_fields(self, headers: Headers) -> list[bytes]:
        clean = strip_hop_by_hop(headers)
        if "host" not in clean:
            clean.add("Host", self._request.host)
        lines: list[bytes] = clean.to_block()[:-2].split(b"\r\n")
        return lines

    # -------------------------------------------------------------- the body

    def _take_body(self, request: Request, raw: RequestHead | None, fields: list[bytes]) -> list[bytes]:
        """Take what is at hand of the body and return the fields with the framing it gets."""
        body = request.body
        if isinstance(body, bytes):
            self.held = body
            return [*_without_length(fields), b"Content-Length: %d" % len(body)]
        self.is_chunked = raw is None or raw.is_chunked or not hasattr(body, "take_buffered")
        if hasattr(body, "take_buffered"):
            self._take_streamed(cast(StreamedBody, body))
            if not self.is_untouched and not self.is_chunked and raw is not None:
                fields = [*_without_length(fields), b"Content-Length: %d" % (raw.content_length or 0)]
        else:
            self.held = None
        if self.is_chunked:
            fields = [*_without_length(fields), b"Transfer-Encoding: chunked"]
        if self.expects_continue:
            fields.append(b"Expect: 100-continue")
        return fields

    def _take_streamed(self, body: StreamedBody) -> None:
        at_hand = body.take_buffered()
        if self.is_chunked and at_hand:
            at_hand = encode_chunk(at_hand)
        if body.is_complete:
            self.held = at_hand + last_chunk(body.trailers) if self.is_chunked else at_hand
        else:
            self.held = None
            self.first = at_hand
            self.expects_continue = body.expect_continue_from_backend()

    def rest(self) -> Iterable[bytes]:
        """Return what of the body is still to come."""
        return cast("Iterable[bytes]", self._request.body)


def _without_length(fields: list[bytes]) -> list[bytes]:
    return [line for line in fields if line[:15].lower() != b"content-length:"]


def _hop(request: Request, raw: RequestHead | None, *, adds_via: bool) -> Hop:
    return Hop(
        request.peer.ip,
        request.client.ip,
        request.scheme,
        request.host.encode("latin-1"),
        raw.minor if raw is not None else 1,
        request.is_peer_trusted,
        adds_via,
    )
