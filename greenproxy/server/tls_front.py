"""TlsFront: a front whose clients speak TLS. A client that has not shaken hands yet is a Greeting, and holds no greenlet.

A handshake is a few milliseconds of waiting and less than one of work: its steps run in the hub. Its time is header-timeout, from
the accept on: whoever is silent for longer is closed without a word.

What fails is counted, and told of in the log: each at level debug, else at most one line a minute for each listener. The world
tries every port, and one line for each try would be a way to fill a disk. Who leaves before saying anything (a check of a load
balancer, a browser that connects ahead) is neither.
"""

from __future__ import annotations

import _socket
import logging
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent.ssl import SSLContext

from greenproxy.config.settings import ListenerSettings
from greenproxy.errors import BadRequest
from greenproxy.exchange import Exchange
from greenproxy.messages import Handler, Request
from greenproxy.net.tls import NotTls, TlsStream
from greenproxy.protocol.client_certificate import NOBODY, certificate_lines
from greenproxy.protocol.http1 import RequestHead
from greenproxy.server.front import Front, Services
from greenproxy.server.http1 import Connection
from greenproxy.server.reply import Reply

TOLD_EVERY_S = 60.0
_TOO_LATE = "it took longer than header-timeout"
_PLAIN_HTTP = "This port speaks HTTPS, and the request came in plain HTTP: ask for https:// instead."


class TlsFront(Front):
    """One https listener's connections, also those that greet. `counted` hears of the listener and of each outcome."""

    scheme = "https"

    def __init__(
        self,
        settings: ListenerSettings,
        handler: Handler,
        services: Services,
        context: SSLContext,
        counted: Callable[[str, str], None],
        log: logging.Logger,
    ) -> None:
        super().__init__(settings, handler, services)
        self._context = context
        self._counted = counted
        self._log = log
        self._untold = 0  # failures since the last line
        self._tell_at_s = 0.0

    def accept(self, sock: _socket.socket, address: Any) -> None:
        """Take over an accepted connection. In the hub."""
        self._open.add(Greeting(self, TlsStream(sock, self._context), address))

    def promote(self, greeting: Greeting) -> None:
        """The handshake is complete: what comes now are requests. Raises ValueError for a certificate that cannot be read."""
        kind = CertifiedConnection if self.settings.tls_client_ca else Connection
        self._open.add(kind(self, greeting.stream, greeting.address))
        self.reading.pop(greeting, None)
        self._open.discard(greeting)
        self._counted(self.settings.name, "handshakes")
        if greeting.stream.is_resumed:
            self._counted(self.settings.name, "resumed")

    def failed(self, greeting: Greeting, why: str) -> None:
        """A handshake did not come to its end: count it, and tell of it now and then."""
        self._counted(self.settings.name, "failures")
        self._untold += 1
        client = greeting.address[0] if isinstance(greeting.address, tuple) else "unix:"
        name = self.settings.name
        if self._log.isEnabledFor(logging.DEBUG):
            self._log.debug("no TLS with %s on listener %s: %s", client, name, why)
        elif monotonic() >= self._tell_at_s:
            count, self._untold = self._untold, 0
            self._tell_at_s = monotonic() + TOLD_EVERY_S
            others = f" ({count} have failed since the last such line)" if count > 1 else ""
            self._log.info("no TLS with %s on listener %s: %s%s", client, name, why, others)

    def refuse_plain(self, greeting: Greeting, data: bytes) -> None:
        """Somebody speaks HTTP without TLS: say so in the same way."""
        self.reading.pop(greeting, None)
        self._open.discard(greeting)
        connection = Connection(self, greeting.stream.turn_plain(), greeting.address)
        connection.buffer = data
        self._open.add(connection)
        connection.refuse(BadRequest(_PLAIN_HTTP))

    def close_idle(self, *, for_s: float, also_new: bool) -> None:
        """Close connections that have waited for so long; with `also_new` those too whose handshake has not begun."""
        super().close_idle(for_s=for_s, also_new=also_new)
        if also_new:
            for each in self._older(self.reading, monotonic() - for_s):
                if isinstance(each, Greeting) and not each.stream.is_greeted():
                    each.close()


class Greeting:
    """A connection in its handshake. Stands among the front's connections until that is over. All of it runs in the hub."""

    __slots__ = ("_front", "address", "served", "since_s", "stream")

    def __init__(self, front: TlsFront, stream: TlsStream, address: Any) -> None:
        self._front = front
        self.stream = stream
        self.address = address
        self.served = 0
        self.since_s = monotonic()
        front.reading[self] = None
        stream.park(self._go_on)

    def _go_on(self) -> None:
        try:
            if self.stream.shake_hands():
                self._front.promote(self)
            else:
                self.stream.park(self._go_on)
        except NotTls as error:
            self._front.refuse_plain(self, error.args[0])
        except (OSError, ValueError) as error:
            if self.stream.has_heard:
                self._front.failed(self, _reason(error))
            self.close()

    def give_up_waiting(self) -> None:
        """The handshake took too long."""
        if self.stream.has_heard:
            self._front.failed(self, _TOO_LATE)
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.stream.close()
        self._front.forget(self)

    stop = close


def _reason(error: OSError | ValueError) -> str:
    """Return what OpenSSL or the kernel says, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):  # whose it was Python does not tell: there is no peer before the end
        return f"the client's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


class CertifiedConnection(Connection):
    """A connection of a listener that asks clients for certificates: backends are told of them with each request."""

    __slots__ = ("_certificate",)

    def __init__(self, front: Front, stream: TlsStream, address: Any) -> None:
        found = stream.peer_certificate
        self._certificate = certificate_lines(*found) if found is not None else NOBODY
        super().__init__(front, stream, address)

    def _request(self, head: RequestHead, exchange: Exchange, reply: Reply) -> Request:
        head.is_plain = False  # there is something to tell that the lines of other requests do not say
        request = super()._request(head, exchange, reply)
        request.certificate_lines = self._certificate
        return request
