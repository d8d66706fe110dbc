"""TlsStream: a client's connection over TLS, with the interface of `net.stream.Stream`.

OpenSSL reads and writes memory only (MemoryBIO); the bytes go over the same raw socket and the same watchers as those of a
plain stream. So OpenSSL never waits, and one greenlet may receive while another sends: a call is never left in its middle.
For the same reason one pair of MemoryBIOs does for all connections, of the one thread that has them: see `_incoming`.

Rules that hold here:
- What was fetched from the kernel is decrypted at once, all of it; what nobody took yet is `_held`, and nowhere else.
- Whoever calls OpenSSL takes what it wrote before anything else happens: the next call may be another connection's.
- What was encrypted goes out, in that order. What the kernel did not take is `_unsent`, and counts as not sent for callers: they
  come again with the same bytes, as after any short send. Whoever comes with others instead sends them behind it.
- A small exchange costs one recv and one send; a large one a recv for 64 KiB, and a send for 8 records. A ticket goes with the
  first answer, and a close_notify with the last where that is known.
- A clean end is told (close_notify), a cut is not: that is how the other side knows them apart (RFC 9112 section 9.8).
"""

from __future__ import annotations

import _socket
import ssl
from collections.abc import Callable
from typing import Any

from gevent.ssl import SSLContext

from greenproxy.deadline import NEVER, Limit
from greenproxy.net.backlog import Backlog
from greenproxy.net.stream import CLIENTS_FIRST, Stream

RECORD_BYTES = 16384  # the most that a record carries (RFC 8446 section 5.1)
_BATCH_BYTES = 8 * RECORD_BYTES  # encrypted and sent in one call: what a relay reads at once
_FETCH_BYTES = 64 * 1024
_ONE_RECORD_BYTES = RECORD_BYTES + 256  # and what it is wrapped in, at most (section 5.2)
#: So much may come without a byte of data in it, and so many answers to that may wait for a peer that does not read: a peer may
#: ask for new keys as often as it likes, and each time for an answer (RFC 8446 section 4.6.3).
_MOST_BARREN_BYTES, _MOST_UNREAD_BYTES = 2 * _ONE_RECORD_BYTES, 2 * _BATCH_BYTES
_WRITE = 2
# Bytes pass through it between two calls that nothing can come between: one is enough for all connections.
_fetched = bytearray(_FETCH_BYTES)
_view = memoryview(_fetched)
#: What OpenSSL reads and writes. Both are empty between two calls: a record that is not whole waits in OpenSSL's own memory.
#: A pair for each connection would keep the size of the largest that ever passed: 4 KB of its handshake, 40 of a large body.
_incoming, _outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
_LEFT = "the peer left without a close_notify"


class NotTls(Exception):
    """The first bytes of a client are no TLS but, likely, HTTP in plain text: `args[0]`."""


class TlsStream(Stream):
    """The server's side of a TLS connection. Takes ownership of `sock`. Call `shake_hands` until that returns True.

    It may be whom `wait_writable_or` waits for, but not its `source`, and nobody calls `wait_readable` here: both look at
    sockets, and are for backends, which are plain.
    """

    __slots__ = (
        "_barren_bytes", "_ends_with_next", "_failure", "_first", "_goodbye_due", "_has_part", "_held", "_is_ended", "_tls",
        "_unsent",
    )  # fmt: skip

    def __init__(self, sock: _socket.socket, context: SSLContext) -> None:
        super().__init__(sock, CLIENTS_FIRST)
        self._tls: Any = context.wrap_bio(_incoming, _outgoing, server_side=True)
        self._held = b""  # decrypted, and not taken yet
        self._has_part = True  # OpenSSL may have a part of a record
        self._barren_bytes = 0  # what came since there was data in it
        self._unsent = Backlog()
        self._is_ended = False  # nothing will come behind what is held ...
        self._failure = ""  # ... because of this, if it is no orderly end
        self._goodbye_due = False  # a close_notify belongs to the end
        self._first = b""  # records that go in front of the next ones, whenever that is
        self._ends_with_next = False  # what is sent next is the last

    # -------------------------------------------------------------- the handshake

    def shake_hands(self) -> bool:
        """Go on with the handshake as far as what has arrived allows. Returns whether it is complete. Does not wait.

        Raises NotTls, or OSError when it failed; the client was told why, as far as TLS can.
        """
        try:
            size = self._sock.recv_into(_fetched)
        except BlockingIOError:
            return False
        if not size:
            raise ConnectionAbortedError("the client left during the handshake")
        if self._has_part:  # nothing has come before
            if b"A" <= _fetched[:1] <= b"Z":  # a method; TLS begins with 22
                raise NotTls(bytes(_view[:size]))
            self._has_part = False
        _incoming.write(_view[:size])
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_own()
            return False
        except OSError:
            _incoming.read()
            self._send_own()  # an alert
            raise
        self._goodbye_due = True
        if _incoming.pending:
            self._held = b"".join(self._decrypt())
        if self._held and not self._is_ended:  # session tickets go with the first answer, in one call
            self._first = _outgoing.read()
        else:
            self._send_own()
        return True

    def turn_plain(self) -> Stream:
        """Return a plain stream on the same socket, after NotTls; this one is closed."""
        self._watcher.stop()
        self._watcher.close()
        self._watcher = None
        self.is_closed = True
        self._on_readable = None
        self._is_armed = True
        return Stream(self._sock, CLIENTS_FIRST)

    @property
    def has_heard(self) -> bool:
        """Whether the client has said anything yet that was read."""
        return not self._has_part or self._goodbye_due

    def is_greeted(self) -> bool:
        """Return whether the client has said anything yet, be it unread. Does not wait."""
        if self.has_heard:
            return True
        try:
            return bool(super().peek())
        except OSError:
            return False

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake resumed a session."""
        return bool(self._tls.session_reused)

    @property
    def peer_certificate(self) -> tuple[dict[str, Any], bytes] | None:
        """The client's certificate, verified: as `ssl.SSLSocket.getpeercert` says it, and in DER; None without one."""
        der = self._tls.getpeercert(True)
        return (self._tls.getpeercert(), der) if der else None

    # -------------------------------------------------------------- receiving

    def recv(self, max_bytes: int, limit: Limit = NEVER) -> bytes:
        """Return what is there, at most `max_bytes`; wait for the first byte if nothing is. b"" is the end of the stream.

        Raises OSError for an end that nobody announced: what came may not be the whole.
        """
        while (data := self.recv_now(max_bytes)) is None:
            self._wait_readable(limit)
        return data

    recv_after_wait = recv  # what has come may be here already

    def recv_into(self, buffer: memoryview, limit: Limit = NEVER) -> int:
        """Fill `buffer` with what is there and return how much; wait if nothing is. 0 is the end of the stream."""
        data = self.recv(len(buffer), limit)
        buffer[: len(data)] = data
        return len(data)

    def recv_now(self, max_bytes: int) -> bytes | None:
        """Return what is there without waiting: bytes, b"" at the end of the stream, None when nothing has arrived."""
        data: bytes | None = self._held
        if data:
            self._held = b""
        else:
            data = self._receive()
            if not data:
                return data
        if len(data) > max_bytes:
            self._held, data = data[max_bytes:], data[:max_bytes]
        return data

    def peek(self) -> bytes | None:
        """Return a byte of what is there and leave it: b"" at the end of the stream, None when nothing has arrived."""
        if not self._held:
            data = self._receive()
            if not data:
                return data
            self._held = data
        return self._held[:1]

    def has_arrived(self) -> bool:
        """Return whether a byte is there to be read, or on its way: of its record a part has come. Does not wait."""
        return super().has_arrived() or (self._has_part and not self._is_ended)

    def _receive(self) -> bytes | None:
        """Fetch and decrypt what has arrived: bytes, b"" at the end, None when there is not a whole record."""
        while not self._is_ended:
            try:
                size = self._sock.recv_into(_fetched)
            except BlockingIOError:
                return None
            if not size:
                self._end(_LEFT)
                break
            _incoming.write(_view[:size])
            if self._has_part or size > _ONE_RECORD_BYTES:
                data = b"".join(self._decrypt())
            else:  # nearly always it is one record, and then nothing more has to be asked
                try:
                    # Plain text is shorter than its record: a buffer of 16 KiB for each would cost a microsecond more.
                    data = self._tls.read(size)
                except OSError as error:
                    data = b""
                    self._note(error)
                else:
                    if not data:
                        self._end("")
                    elif _incoming.pending:
                        data = b"".join((data, *self._decrypt()))
            if _outgoing.pending:  # an answer to a key update, or an alert
                self._send_own()
                if self._unsent.size_bytes > _MOST_UNREAD_BYTES:
                    self._give_up("the peer asks, and does not read the answers")
            if data:
                self._barren_bytes = 0
                return data
            self._barren_bytes += size
            if self._barren_bytes > _MOST_BARREN_BYTES:
                self._give_up("the peer sends much, and no data in it")
            if size < _FETCH_BYTES and not self._is_ended:
                return None
        if self._failure:
            raise ConnectionResetError(self._failure)
        return b""

    def _decrypt(self) -> list[bytes]:
        """Return what the records hold that OpenSSL has been fed, until it wants more."""
        parts: list[bytes] = []
        self._has_part = False
        try:
            while _incoming.pending:
                data = self._tls.read(RECORD_BYTES)
                if not data:
                    self._end("")
                    break
                parts.append(data)
        except OSError as error:
            self._note(error)
        return parts

    def _note(self, error: OSError) -> None:
        """Note why nothing more can be decrypted now, or ever."""
        if isinstance(error, ssl.SSLWantReadError):
            self._has_part = True
        elif isinstance(error, ssl.SSLZeroReturnError):
            self._end("")
        else:
            self._goodbye_due = False  # OpenSSL has sent an alert instead
            self._end(f"what the peer sends is no TLS any more: {error.strerror or error}")

    def _give_up(self, failure: str) -> None:
        if not self._is_ended:
            self._goodbye_due = False
            self._end(failure)

    def _end(self, failure: str) -> None:
        _incoming.read()  # what came behind the end is for nobody
        self._is_ended = True
        self._failure = failure

    # -------------------------------------------------------------- sending

    def send(self, data: bytes | memoryview, limit: Limit = NEVER) -> None:
        """Send all of `data`; wait while the peer does not read, each time at most `limit`."""
        done = 0
        if 0 < len(data) <= RECORD_BYTES and not self._unsent:  # nearly always: one record, one call
            done = self._write(data)
            if self._ends_with_next:
                self._write_goodbye()
            record = _outgoing.read()
            if self._first:
                record, self._first = self._first + record, b""
            try:
                sent = self._sock.send(record)
            except BlockingIOError:
                sent = 0
            if sent != len(record):
                self._unsent.append((memoryview(record)[sent:], memoryview(data)[:done]))
                done = 0
        if done != len(data):
            self._send_rest(memoryview(data)[done:], limit, is_first=not done)

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what fits without waiting and return how much that was."""
        done = 0
        if self._unsent:
            self._unsent.disown(memoryview(data))
            done = self._unsent.flush(self._sock)
        if done < len(data) and not self._unsent:
            view = memoryview(data)
            while done < len(view) and not self._unsent:
                self._encrypt(view[done : done + _BATCH_BYTES])
                done += self._unsent.flush(self._sock)
        return done

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return int(self._tls.write(data))
        except BaseException:
            _outgoing.read()  # an alert, perhaps: it must not go to whoever writes next
            raise

    def _encrypt(self, view: memoryview) -> None:
        if self._first:
            self._unsent.append((self._first, b""))
            self._first = b""
        at = 0
        while at < len(view):
            size = self._write(view[at : at + RECORD_BYTES])
            self._unsent.append((_outgoing.read(), view[at : at + size]))
            at += size

    def _send_rest(self, rest: memoryview, limit: Limit, *, is_first: bool = False) -> None:
        if is_first and not self._unsent:
            rest = rest[self.send_now(rest) :]
        while rest:
            self.wait_writable(limit)
            rest = rest[self.send_now(rest) :]

    def wait_writable(self, limit: Limit) -> None:
        """Wait until there may be room for more."""
        self._drop_write_watcher()  # there is somebody now who sends what was left
        super().wait_writable(limit)

    def unsent_bytes(self) -> int:
        """Return how much of what was sent the peer's side has not taken yet. Does not wait."""
        return super().unsent_bytes() + self._unsent.size_bytes

    # -------------------------------------------------------------- what TLS itself has to say

    def _send_own(self) -> None:
        """Send what OpenSSL wrote of its own accord: handshake, tickets, key updates, alerts. Does not wait, raises nothing."""
        own, self._first = self._first + _outgoing.read(), b""
        if not own:
            return
        self._unsent.append((own, b""))
        if len(self._unsent) == 1:
            self._flush_own()
        if self._unsent and self._writer is None and self._write_watcher is None and self._watcher is not None:
            self._write_watcher = self._loop.io(self._sock.fileno(), _WRITE)
            self._write_watcher.start(self._send_behind)

    def _send_behind(self) -> None:
        """There is room for what nobody waits for. In the hub."""
        if not self._unsent.is_awaited:  # else whoever sends these takes the others along
            self._flush_own()
        if not self._unsent or self._unsent.is_awaited:
            self._drop_write_watcher()

    def _flush_own(self) -> None:
        try:
            self._unsent.flush(self._sock)
        except OSError:  # whoever reads will see it
            self._unsent.clear()

    # -------------------------------------------------------------- parking

    def park(self, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` once, in the hub, when bytes or the end of the stream are there while nobody waits for them."""
        self._on_readable = on_readable
        if not self._is_armed:
            self._watcher.start(self._readable)
            self._is_armed = True
        if self._held or self._is_ended:  # the socket will not tell of these
            self._loop.run_callback(self._call_parked, on_readable)

    def _call_parked(self, on_readable: Callable[[], None]) -> None:
        if self._on_readable is on_readable:
            self._on_readable = None
            on_readable()

    @property
    def is_watching(self) -> bool:
        """Whether nothing has arrived that nobody took."""
        return self._is_armed and not self._held

    # -------------------------------------------------------------- the end

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more comes; a connection that is gone already is no error."""
        self._say_goodbye()
        super().shutdown_write()

    def break_off(self) -> None:
        """Let this connection end without a close_notify: what was sent is not the whole."""
        self._goodbye_due = self._ends_with_next = False

    def end_with_next_send(self) -> None:
        """What is sent next is the last: a close_notify goes with it, in one call."""
        self._ends_with_next = self._goodbye_due

    def _say_goodbye(self) -> None:
        if not self._goodbye_due:
            return
        self._write_goodbye()
        own, self._first = self._first + _outgoing.read(), b""
        try:
            if own and not self._unsent:
                self._sock.send(own)
        except OSError:
            pass  # gone, or full of what it does not read

    def _write_goodbye(self) -> None:
        self._goodbye_due = self._ends_with_next = False
        try:
            self._tls.unwrap()
        except OSError:
            pass  # it does not wait for the peer's

    def close(self) -> None:
        """Close the socket; greenlets that wait in it get ConnectionAbortedError. Idempotent, never waits."""
        if self._goodbye_due and self._watcher is not None:
            self._say_goodbye()
        super().close()

    def reset(self) -> None:
        """Close so that the peer sees a reset instead of an orderly end: what it has is not the whole."""
        self._goodbye_due = False
        super().reset()
