"""Clients that speak TLS: TlsPeer, whose ciphertext a test holds in its hands, and SecureClient, a RawClient over TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from tests.client import Cut, RawClient
from tests.hub import HubSocket


def client_context(
    authority: str = "", *, version: ssl.TLSVersion | None = None, pair: tuple[str, str] | None = None, ciphers: str = ""
) -> ssl.SSLContext:
    """Return what a client speaks: it verifies by `authority` or not at all, `version` is the only one, `pair` is its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        context.load_verify_locations(authority)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    if pair is not None:
        context.load_cert_chain(*pair)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


class TlsPeer:
    """A client on a socket of the hub. `encrypt` and `decrypt` are for tests that send pieces of records."""

    def __init__(self, sock: HubSocket, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._plain = b""

    def hello(self) -> bytes:
        """Return what opens a handshake."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    def shake_hands(self) -> None:
        """Do the whole handshake."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self._feed()
            else:
                self.flush()
                return

    def _feed(self) -> None:
        data = self.sock.recv(65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def flush(self) -> None:
        """Send what TLS has to say."""
        self.sock.sendall(self._outgoing.read())

    def encrypt(self, data: bytes) -> bytes:
        """Return the records that carry `data`."""
        view, records = memoryview(data), self._outgoing.read()
        while view:
            view = view[self.tls.write(view) :]
            records += self._outgoing.read()
        return records

    def goodbye(self) -> bytes:
        """Return a close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # it waits for the other one
        return self._outgoing.read()

    def sendall(self, data: bytes) -> None:
        """Send `data`."""
        self.sock.sendall(self.encrypt(data))

    def recv(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, b"" behind a close_notify. Raises ssl.SSLEOFError at an end without one."""
        while True:
            try:
                return bytes(self.tls.read(max_bytes))
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self._feed()

    def read_all(self) -> bytes:
        """Return everything up to a close_notify."""
        parts = []
        while part := self.recv():
            parts.append(part)
        return b"".join(parts)

    def read_exactly(self, count: int) -> bytes:
        """Return `count` bytes, fewer at the end."""
        parts: list[bytes] = []
        while (missing := count - sum(map(len, parts))) and (part := self.recv(missing)):
            parts.append(part)
        return b"".join(parts)


class HubTlsSocket:
    """A TLS client that looks like a socket of the hub. An end without a close_notify is a reset."""

    def __init__(self, sock: HubSocket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self.peer = TlsPeer(sock, context)
        self.peer.shake_hands()
        self.close = sock.close
        self.settimeout = sock.settimeout
        self.setsockopt = sock.setsockopt
        self.sendall = self.peer.sendall

    def recv(self, max_bytes: int) -> bytes:
        """Return the next bytes, b"" behind a close_notify."""
        try:
            return self.peer.recv(max_bytes)
        except ssl.SSLError as error:
            raise ConnectionResetError(str(error)) from None

    def shutdown(self, _how: int) -> None:
        """Say that nothing more comes."""
        self._sock.sendall(self.peer.goodbye())


class SecureClient(RawClient):
    """A RawClient over TLS. An end without a close_notify is a Cut that `was_reset`."""

    sock: ssl.SSLSocket

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext | None = None,
        *,
        name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        plain = socket.create_connection(address, 15.0)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = (context or client_context()).wrap_socket(
                plain, server_hostname=name, suppress_ragged_eofs=False, session=session
            )
        except BaseException:
            plain.close()
            raise
        self.buffer = b""

    def __enter__(self) -> SecureClient:
        return self

    def more(self) -> bool:
        """Wait for bytes; False behind a close_notify. Raises Cut for any other end."""
        try:
            data = self.sock.recv(256 * 1024)
        except (ConnectionResetError, ssl.SSLEOFError):
            raise Cut(self.buffer, True) from None
        self.buffer += data
        return bool(data)

    @property
    def names(self) -> list[str]:
        """The DNS names of the server's certificate, which must have been verified."""
        told: Any = self.sock.getpeercert() or {}
        return [value for kind, value in told.get("subjectAltName", ()) if kind == "DNS"]

    @property
    def serial(self) -> str:
        """The serial number of the server's certificate, which must have been verified."""
        told: Any = self.sock.getpeercert() or {}
        return str(told["serialNumber"])
