"""FaultyUpstream: backends in the hub of which the one that is asked first fails in a given way, and every other try succeeds.

Streams are real, between the two ends of socket pairs; what fails is the peer. Nothing waits for time to pass: a deadline
"passes" when the peer says so. Closing a Unix socket that holds unread bytes is a reset, as it is with TCP.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, cast

import gevent
from gevent import get_hub, getcurrent
from gevent.event import Event

from greenproxy.deadline import Limit
from greenproxy.errors import ConnectFailed, ConnectRefused, ConnectTimeout, ProxyError, ResponseTimeout
from greenproxy.messages import NO_BODY, Request
from greenproxy.net.dial import SockAddr
from greenproxy.net.stream import Stream
from greenproxy.server.body import BodyCancelled
from greenproxy.upstream.group import Upstream
from greenproxy.upstream.lease import Lease
from tests.fakes import memory_logger
from tests.hub import PATIENCE_S, HubSocket, connected
from tests.proxy.requests import ComingBody, head, request
from tests.scripts import answer
from tests.upstream.fakes import KnownNames, backend, upstream_settings

WHOLE = b"hello"


class LateBody(ComingBody):
    """A body whose rest comes when `go` is set; who waits for it can be sent away, and somebody else wait."""

    def __init__(self, at_hand: bytes) -> None:
        super().__init__(at_hand, [WHOLE[len(at_hand) :]])
        self.go = Event()
        self._waiting: Any = None

    def __iter__(self) -> Iterator[bytes]:
        if self.cancelled:
            raise BodyCancelled()
        self._waiting = getcurrent()
        try:
            self.go.wait()
        finally:
            self._waiting = None
        yield from super().__iter__()

    def pause(self) -> None:
        if self._waiting is not None:
            get_hub().loop.run_callback(self._send_away, self._waiting)

    def _send_away(self, waiting: Any) -> None:
        if waiting is self._waiting:
            waiting.throw(BodyCancelled())

    def cancel(self) -> None:
        super().cancel()
        self.pause()


#: How much of a request's body is where when its backend fails.
BODIES: dict[str, Callable[[], Any]] = {
    "none": lambda: NO_BODY,
    "held": lambda: ComingBody(WHOLE),
    "none of it here": lambda: LateBody(b""),
    "half of it held": lambda: LateBody(WHOLE[:2]),
    "half of it gone": lambda: ComingBody(WHOLE[:2], [WHOLE[2:]]),
}
#: What the backend that fails has got of the body then.
ARRIVED = {"none": b"", "held": WHOLE, "none of it here": b"", "half of it held": WHOLE[:2], "half of it gone": WHOLE}


def asked(method: str, body: str) -> Request:
    """Return a request with one of BODIES."""
    fields = [] if body == "none" else [f"Content-Length: {len(WHOLE)}"]
    return request(head(*fields, method=method), BODIES[body]())


class FaultyUpstream(Upstream):
    """`tries` are the leases asked for since `arm`: the backend's name, and whether the connection had been used before."""

    def __init__(self, count: int, fault: str) -> None:
        names = [backend(name) for name in "abc"[:count]]
        logger, _ = memory_logger()
        names_known = cast(Any, KnownNames())
        settings = upstream_settings(*names, max_fails=0)
        super().__init__(settings, names_known, None, logger, monotonic, random.Random(1), self._connect)
        self.start()
        self.tries: list[tuple[str, bool]] = []
        self.bodies: list[bytes] = []  # that came whole
        self._fault = fault
        self._is_armed = False
        self._arrived = b""
        self._body: Any = None
        self._peers: list[HubSocket] = []
        self._serving: list[gevent.Greenlet[..., None]] = []

    def arm(self, it: Request, body: str) -> None:
        """Fail from now on, once, when the head of `it` and what is here of its body have come."""
        self._is_armed, self._arrived, self._body = True, ARRIVED[body], it.body
        self.tries, self.bodies = [], []
        if self._fault == "broken":
            for peer in self._peers:
                peer.shutdown(socket.SHUT_RDWR)  # the loop has no chance to see it before the connection is taken

    def lease(self, *args: Any, **options: Any) -> Lease:
        if self._is_armed and self.tries:
            self.let_it_come()
        try:
            lease = super().lease(*args, **options)
        except ProxyError as error:
            self.tries.append((error.backend.label, False))
            raise
        self.tries.append((lease.backend.label, lease.is_reused))
        return lease

    def let_it_come(self) -> None:
        """Let the rest of a late body come."""
        if isinstance(self._body, LateBody):
            self._body.go.set()

    # -------------------------------------------------------------- the backends

    def _connect(self, target: SockAddr, _: Limit) -> Stream:
        error = CONNECT_FAULTS.get(self._fault)
        if self._is_armed and error is not None and not self.tries:
            raise error()
        raw, peer = connected(kind=socket.AF_UNIX)
        stream = Stream(raw)
        self._peers.append(peer)
        self._serving.append(gevent.spawn(self._serve, str(target.address[0])[0], stream, peer))
        return stream

    def _serve(self, name: str, stream: Stream, peer: HubSocket) -> None:
        with peer:
            try:
                while first := peer.recv(1):
                    if self._is_armed and len(self.tries) == 1 and self._fault in FAULTS:
                        FAULTS[self._fault](self, stream, peer)
                        return
                    self._answer(name, first, peer)
            except OSError:
                return  # closed by the other side, or by `arm`

    def _answer(self, name: str, first: bytes, peer: HubSocket) -> None:
        head, _, body = self._read(first, peer, b"\r\n\r\n").partition(b"\r\n\r\n")
        if b"Content-Length:" in head:
            body = self._read(body, peer, WHOLE)
        self.bodies.append(body)
        peer.sendall(answer(b"" if head.startswith(b"HEAD") else name.encode()))

    @staticmethod
    def _read(data: bytes, peer: HubSocket, mark: bytes) -> bytes:
        while mark not in data:
            data += peer.recv(65536) or b"the end " + mark
        return data

    def take_all(self, peer: HubSocket) -> None:
        """Read what comes of the request before its backend fails."""
        self._read(b"", peer, b"\r\n\r\n" + self._arrived)

    def wait_until_sent(self) -> None:
        """Wait until the upload has taken what there is of the body."""
        while isinstance(self._body, ComingBody) and self._arrived == WHOLE and not (self._body.is_complete or self._body.taken):
            gevent.sleep(0)

    def stop(self) -> None:
        self.let_it_come()
        super().stop()
        gevent.joinall(self._serving, timeout=PATIENCE_S, raise_error=True)


# ------------------------------------------------------------------ faults

Act = Callable[[FaultyUpstream, Stream, HubSocket], None]


def _closes(it: FaultyUpstream, _: Stream, peer: HubSocket) -> None:
    it.take_all(peer)


def _resets(it: FaultyUpstream, _: Stream, __: HubSocket) -> None:
    it.wait_until_sent()  # and leave it unread


def _lets_the_deadline_pass(it: FaultyUpstream, stream: Stream, peer: HubSocket) -> None:
    it.take_all(peer)
    stream.interrupt(ResponseTimeout())
    _stays(peer)


def _says(data: bytes, *, and_closes: bool = False) -> Act:
    def act(it: FaultyUpstream, _: Stream, peer: HubSocket) -> None:
        it.take_all(peer)
        peer.sendall(data)
        if not and_closes:
            _stays(peer)

    return act


def _stays(peer: HubSocket) -> None:
    while peer.recv(65536):
        continue


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
#: Faults before there is a connection.
CONNECT_FAULTS: dict[str, type[ProxyError]] = {
    "connect refused": ConnectRefused,
    "connect failed": ConnectFailed,
    "connect timeout": ConnectTimeout,
}
#: Faults on a connection. Behind `broken` not a byte of the request can be written.
FAULTS: dict[str, Act] = {
    "closed": _closes,
    "reset": _resets,
    "silent": _lets_the_deadline_pass,
    "502": _says(answer(b"", "502 Bad Gateway")),
    "503": _says(answer(b"", "503 Service Unavailable")),
    "504": _says(answer(b"", "504 Gateway Timeout")),
    "500": _says(answer(b"", "500 Internal Server Error")),
    "503 and the end": _says(answer(b"", "503 Service Unavailable", "Connection: close"), and_closes=True),
    "503 behind 103": _says(HINTS + answer(b"", "503 Service Unavailable")),
    "closed behind 103": _says(HINTS, and_closes=True),
    "closed in the head": _says(b"HTTP/1.1 200 OK\r\nContent-Le", and_closes=True),
    "no HTTP": _says(b"nonsense\r\n\r\n"),
}
