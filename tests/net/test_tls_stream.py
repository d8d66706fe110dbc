"""TlsStream: what holds for a Stream holds for it too, whatever pieces the records come in, and ends can be told apart."""

from __future__ import annotations

import _ssl
import ctypes
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import gevent
import pytest
from gevent.ssl import SSLContext

from greenproxy.config.settings import ListenerSettings
from greenproxy.deadline import Patience
from greenproxy.errors import ReadTimeout, SendTimeout
from greenproxy.net import tls
from greenproxy.net.tls import NotTls, TlsStream
from greenproxy.net.tls_contexts import context_of
from tests.authorities import Authority
from tests.hub import connected, is_waiting, poll, turns, until, watchers
from tests.tls_client import TlsPeer, client_context

MakePair = Callable[..., tuple[TlsStream, TlsPeer]]
PATIENT = Patience(10, ReadTimeout)
SMALL, MANY = 4096, 1 << 20
NOISE = random.Random(7).randbytes(MANY)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> SSLContext:
    """What the server speaks."""
    pair = Authority(tmp_path_factory.mktemp("tls")).issue("localhost")
    return context_of(ListenerSettings(name="web", tls_certificate=(str(pair.certificate),), tls_key=(str(pair.key),)))


@pytest.fixture
def pair(context: SSLContext) -> Iterator[MakePair]:
    """Return a function that connects a TlsStream to a peer."""
    with ExitStack() as pairs:

        def make(
            *, buffers: int = 0, shakes_hands: bool = True, version: ssl.TLSVersion | None = None
        ) -> tuple[TlsStream, TlsPeer]:
            raw, sock = connected(buffers=buffers)
            stream = TlsStream(raw, context)
            peer = TlsPeer(sock, client_context(version=version))
            pairs.callback(sock.close)
            pairs.callback(stream.close)
            if shakes_hands:
                shaking = gevent.spawn(peer.shake_hands)
                until(stream.shake_hands)
                shaking.get()
                until(lambda: peer.tls.version() is not None)
            return stream, peer

        yield make
        assert (tls._incoming.pending, tls._outgoing.pending) == (0, 0), "the next connection's call would find this"


def take(stream: TlsStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.recv(65536, PATIENT)
        assert piece, f"the end after {len(data)} of {count} bytes"
        data += piece
    return data


# ------------------------------------------------------------------ the handshake


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_carry_bytes_in_both_directions(pair: MakePair, version: ssl.TLSVersion) -> None:
    stream, peer = pair(version=version)
    peer.sendall(b"hello")
    assert stream.recv(100, PATIENT) == b"hello"
    stream.send(b"world")
    assert peer.recv() == b"world"


def second_flight(stream: TlsStream, peer: TlsPeer, piece_bytes: int) -> bytes:
    """Shake hands up to the client's last message, which is returned; the first one comes in pieces."""
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    first = peer._outgoing.read()
    for at in range(0, len(first), piece_bytes):
        peer.sock.sendall(first[at : at + piece_bytes])
        poll()
        assert not stream.shake_hands()
    feeding = gevent.spawn(peer._feed)
    until(lambda: stream.shake_hands() or feeding.ready())
    peer.tls.do_handshake()
    return peer._outgoing.read()


def test_handshake_may_come_byte_by_byte(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    *most, last = second_flight(stream, peer, 1)
    for byte in most:
        peer.sock.sendall(bytes((byte,)))
        poll()
        assert not stream.shake_hands()
    peer.sock.sendall(bytes((last,)))
    until(stream.shake_hands)
    peer.sendall(b"hello")
    assert stream.recv(100, PATIENT) == b"hello"


def test_first_request_may_come_with_the_end_of_the_handshake(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    peer.sock.sendall(second_flight(stream, peer, 10_000) + peer.encrypt(b"early"))
    until(stream.shake_hands)
    called: list[bool] = []
    stream.park(lambda: called.append(True))
    until(lambda: called)
    assert stream.recv_now(100) == b"early"


def test_first_half_of_a_request_may_come_with_the_end_of_the_handshake(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    last, early = second_flight(stream, peer, 10_000), peer.encrypt(b"early")
    peer.sock.sendall(last + early[:-3])
    until(stream.shake_hands)
    peer.sock.sendall(early[-3:])
    assert stream.recv(100, PATIENT) == b"early"


def test_plain_http_is_recognized_and_can_be_answered(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    peer.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    poll()
    with pytest.raises(NotTls) as error:
        stream.shake_hands()
    assert error.value.args[0] == b"GET / HTTP/1.1\r\n\r\n"
    plain = stream.turn_plain()
    plain.send(b"no")
    plain.close()
    assert peer.sock.recv(10) == b"no"


def test_garbage_is_answered_with_an_alert(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    peer.sock.sendall(b"\x16\x03\x01\x00\x05hello")
    poll()
    with pytest.raises(ssl.SSLError):
        stream.shake_hands()
    assert peer.sock.recv(100)[:1] == b"\x15"


def test_client_that_leaves_during_the_handshake_is_an_error(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    peer.sock.close()
    poll()
    with pytest.raises(ConnectionAbortedError):
        stream.shake_hands()


# ------------------------------------------------------------------ receiving


def test_what_comes_byte_by_byte_is_received_when_its_record_is_whole(pair: MakePair) -> None:
    stream, peer = pair()
    *most, last = peer.encrypt(b"one") + peer.encrypt(b"two")
    for byte in most:
        peer.sock.sendall(bytes((byte,)))
        poll()
    assert stream.recv(100, PATIENT) == b"one"
    assert stream.recv_now(100) is None
    peer.sock.sendall(bytes((last,)))
    assert stream.recv(100, PATIENT) == b"two"


def test_records_that_are_cut_anywhere_carry_the_same_bytes(pair: MakePair) -> None:
    stream, peer = pair()
    records = peer.encrypt(NOISE[:100_000])
    rng = random.Random(3)

    def send() -> None:
        at = 0
        while at < len(records):
            size = rng.choice((1, 5, 100, 5000, 17000, 40000))
            peer.sock.sendall(records[at : at + size])
            at += size
            gevent.sleep(0)

    sending = gevent.spawn(send)
    assert take(stream, 100_000) == NOISE[:100_000]
    sending.get()


def test_many_records_at_once_are_received(pair: MakePair) -> None:
    stream, peer = pair()
    sending = gevent.spawn(peer.sendall, NOISE)
    assert take(stream, MANY) == NOISE
    sending.get()


def test_no_more_than_asked_for_is_received_and_the_rest_is_kept(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"0123456789")
    assert stream.recv(4, PATIENT) == b"0123"
    buffer = bytearray(3)
    assert stream.recv_into(memoryview(buffer), PATIENT) == 3
    assert bytes(buffer) == b"456"
    assert not stream.is_watching
    assert stream.recv_now(100) == b"789"
    assert stream.recv_now(100) is None


def test_peek_leaves_what_it_shows(pair: MakePair) -> None:
    stream, peer = pair()
    assert stream.peek() is None
    assert not stream.has_arrived()
    peer.sendall(b"hello")
    until(stream.has_arrived)
    assert stream.peek() == b"h"
    assert stream.recv_now(100) == b"hello"


def test_silence_is_bounded(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sock.sendall(peer.encrypt(b"hello")[:-1])
    with pytest.raises(ReadTimeout):
        stream.recv(100, Patience(0.05, ReadTimeout))


# ------------------------------------------------------------------ sending


def test_much_is_sent_whole_to_a_peer_that_reads_slowly(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    sending = gevent.spawn(stream.send, NOISE, PATIENT)
    assert peer.read_exactly(MANY) == NOISE
    sending.get()
    assert stream._unsent == []


def test_send_to_a_peer_that_does_not_read_is_bounded(pair: MakePair) -> None:
    stream, _peer = pair(buffers=SMALL)
    with pytest.raises(SendTimeout):
        stream.send(NOISE, Patience(0.05, SendTimeout))


def test_send_now_counts_what_the_kernel_took_and_goes_on_with_the_rest(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    reading = gevent.spawn(peer.read_exactly, MANY)
    view, short = memoryview(NOISE), 0
    while view:
        sent = stream.send_now(view)
        short += sent < len(view)
        view = view[sent:]
        gevent.sleep(0)
    assert reading.get() == NOISE
    assert short > 1


def test_bytes_that_their_sender_gave_up_go_out_before_those_of_the_next(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    stream.send_now(NOISE)
    with pytest.raises(SendTimeout):
        stream.send(b"interim", Patience(0.01, SendTimeout))
    sending = gevent.spawn(stream.send, b"answer", PATIENT)
    received = b""
    while not received.endswith(b"answer"):
        received += peer.recv()
    sending.get()
    assert NOISE.startswith(received.removesuffix(b"answer"))


def test_short_writes_behind_unsent_ones_keep_their_order(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    pieces = [NOISE[at : at + 700] for at in range(0, 140_000, 700)]

    def send() -> None:
        for piece in pieces:
            stream.send(piece, PATIENT)

    sending = gevent.spawn(send)
    assert peer.read_exactly(140_000) == NOISE[:140_000]
    sending.get()


def test_both_directions_are_safe_at_once(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    up = gevent.spawn(take, stream, MANY)
    down = gevent.spawn(stream.send, NOISE, PATIENT)

    received = b""
    records = peer.encrypt(NOISE)
    sending = gevent.spawn(peer.sock.sendall, records)
    received = peer.read_exactly(MANY)
    sending.get()
    down.get()
    assert (received, up.get()) == (NOISE, NOISE)


# ------------------------------------------------------------------ beside others


def test_parts_of_records_of_several_connections_do_not_meet(pair: MakePair) -> None:
    pairs = [pair() for _ in range(3)]
    records = [peer.encrypt(b"of %d" % number) for number, (_, peer) in enumerate(pairs)]
    for at in range(max(map(len, records))):
        for record, (stream, peer) in zip(records, pairs, strict=True):
            peer.sock.sendall(record[at : at + 1])
            poll()
            if at < len(record) - 1:
                assert stream.recv_now(100) is None
    assert [stream.recv(100, PATIENT) for stream, _ in pairs] == [b"of 0", b"of 1", b"of 2"]


@pytest.mark.parametrize("rest", [b"", b"\x17\x03\x03\x00\x05hello" * 3])
def test_what_comes_behind_the_end_of_one_connection_is_not_for_another(pair: MakePair, rest: bytes) -> None:
    broken, its_peer = pair()
    ended, other_peer = pair()
    its_peer.sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32) + rest)
    other_peer.sock.sendall(other_peer.goodbye() + rest)
    with pytest.raises(ConnectionResetError):
        broken.recv(100, PATIENT)
    assert ended.recv(100, PATIENT) == b""
    stream, peer = pair()
    peer.sendall(b"hello")
    assert stream.recv(100, PATIENT) == b"hello"


@pytest.mark.parametrize("send", [TlsStream.send, TlsStream.send_now])
def test_failed_write_leaves_nothing_for_the_next(pair: MakePair, send: Callable[[TlsStream, bytes], object]) -> None:
    class Broken:
        def write(self, _: bytes) -> int:
            tls._outgoing.write(b"half an alert")
            raise ssl.SSLError("it broke")

        def unwrap(self) -> None:
            raise ssl.SSLError("it is broken")

    (stream, _), (other, peer) = pair(), pair()
    stream._tls = Broken()
    with pytest.raises(ssl.SSLError):
        send(stream, b"x")
    other.send(b"hello")
    assert peer.recv(100) == b"hello"


def test_failed_handshake_leaves_nothing_for_the_next(pair: MakePair) -> None:
    stream, peer = pair(shakes_hands=False)
    peer.sock.sendall(b"\x16\x03\x01\x00\x05hello" + bytes(100))
    poll()
    with pytest.raises(ssl.SSLError):
        stream.shake_hands()
    stream, peer = pair()
    peer.sendall(b"hello")
    assert stream.recv(100, PATIENT) == b"hello"


# ------------------------------------------------------------------ new keys


def ask_for_new_keys(peer: TlsPeer, times: int) -> bytes:
    """Return the records in which the peer asks so often for new keys. Python has no name for that: OpenSSL is asked itself."""
    openssl = ctypes.CDLL(_ssl.__file__)
    inner = peer.tls._sslobj  # type: ignore[attr-defined]  # it begins as CPython's PySSLSocket does
    pointer = ctypes.c_void_p.from_address(id(inner) + 3 * ctypes.sizeof(ctypes.c_void_p))
    openssl.SSL_version.argtypes = openssl.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    openssl.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    assert openssl.SSL_version(pointer) == 0x304
    for _ in range(times):
        assert (openssl.SSL_key_update(pointer, 1), openssl.SSL_do_handshake(pointer)) == (1, 1)
    return peer.encrypt(b"")


def test_new_keys_in_between_change_nothing(pair: MakePair) -> None:
    stream, peer = pair(version=ssl.TLSVersion.TLSv1_3)
    for _ in range(5):
        peer.sock.sendall(ask_for_new_keys(peer, 20))
        peer.sendall(b"hello")
        assert stream.recv(100, PATIENT) == b"hello"


def test_peer_that_asks_for_nothing_but_new_keys_is_given_up(pair: MakePair) -> None:
    stream, peer = pair(version=ssl.TLSVersion.TLSv1_3)
    sending = gevent.spawn(peer.sock.sendall, ask_for_new_keys(peer, 4000))
    with pytest.raises(ConnectionResetError, match="no data in it"):
        stream.recv(100, PATIENT)
    stream.close()
    sending.kill()


def test_answers_that_the_peer_does_not_read_are_bounded(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL, version=ssl.TLSVersion.TLSv1_3)

    def flood() -> None:
        for _ in range(2000):
            peer.sock.sendall(ask_for_new_keys(peer, 20))
            peer.sendall(b"x")

    def receive() -> None:
        while stream.recv(100, PATIENT):
            assert stream._unsent.size_bytes < MANY

    sending = gevent.spawn(flood)
    with pytest.raises(ConnectionResetError, match="does not read"):
        receive()
    stream.close()
    sending.kill()


# ------------------------------------------------------------------ parking


def test_parked_stream_calls_back_for_a_record_and_holds_no_greenlet(pair: MakePair) -> None:
    stream, peer = pair()
    called: list[bool] = []
    stream.park(lambda: called.append(True))
    poll()
    assert called == []
    peer.sendall(b"x")
    until(lambda: called)
    assert stream.recv_now(10) == b"x"


def test_parked_stream_with_bytes_in_hand_calls_back_once(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"xy")
    assert stream.recv(1, PATIENT) == b"x"
    called: list[bool] = []
    stream.park(lambda: called.append(True))
    until(lambda: called)
    poll()
    assert called == [True]


def test_callback_that_was_taken_back_is_not_called(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"xy")
    assert stream.recv(1, PATIENT) == b"x"
    called: list[bool] = []
    stream.park(lambda: called.append(True))
    stream.unpark()
    poll()
    assert called == []


def test_idle_stream_does_not_spin(pair: MakePair) -> None:
    stream, _peer = pair()
    stream.park(lambda: None)
    poll()
    assert turns() < 5


def test_interrupt_reaches_the_reader(pair: MakePair) -> None:
    stream, _peer = pair()
    reading = gevent.spawn(stream.recv, 10, PATIENT)
    until(lambda: is_waiting(reading))
    stream.interrupt(ReadTimeout())
    with pytest.raises(ReadTimeout):
        reading.get()


# ------------------------------------------------------------------ the end


def test_close_is_told(pair: MakePair) -> None:
    stream, peer = pair()
    stream.send(b"bye")
    stream.close()
    assert peer.read_all() == b"bye"


def test_close_goes_with_the_last_bytes_where_these_are_known(pair: MakePair) -> None:
    stream, peer = pair()
    stream.end_with_next_send()
    stream.send(b"bye")
    assert peer.read_all() == b"bye"
    stream.close()
    assert peer.sock.recv(100) == b""


def test_last_bytes_that_wait_for_room_take_the_close_along(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    stream.send_now(NOISE)
    stream.end_with_next_send()
    sending = gevent.spawn(stream.send, b"bye", PATIENT)
    received = b""
    while not received.endswith(b"bye"):
        received += peer.recv()
    sending.get()
    stream.close()
    assert peer.recv() == b""


def test_cut_is_no_end_though_one_was_to_come(pair: MakePair) -> None:
    stream, peer = pair()
    stream.end_with_next_send()
    stream.break_off()
    stream.send(b"half")
    stream.close()
    assert peer.recv(4) == b"half"
    with pytest.raises(ssl.SSLEOFError):
        peer.recv()


def test_reset_is_not(pair: MakePair) -> None:
    stream, peer = pair()
    stream.reset()
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        peer.recv()


def test_stream_that_was_broken_off_ends_without_a_word(pair: MakePair) -> None:
    stream, peer = pair()
    stream.send(b"half")
    stream.break_off()
    stream.shutdown_write()
    stream.close()
    assert peer.recv(4) == b"half"
    with pytest.raises(ssl.SSLEOFError):
        peer.recv()


def test_close_notify_of_the_peer_is_the_end(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sock.sendall(peer.encrypt(b"last") + peer.goodbye())
    assert stream.recv(100, PATIENT) == b"last"
    assert stream.recv(100, PATIENT) == b""
    assert stream.peek_is_eof()
    stream.send(b"heard you")
    assert peer.sock.recv(100)


def test_end_without_a_close_notify_is_an_error(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"half")
    assert stream.recv(100, PATIENT) == b"half"
    peer.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError, match="without a close_notify"):
        stream.recv(100, PATIENT)


def test_broken_record_is_an_error_and_answered_with_an_alert(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sock.sendall(peer.encrypt(b"hello")[:-1] + b"?")
    with pytest.raises(ConnectionResetError):
        stream.recv(100, PATIENT)
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        peer.recv()


def test_bytes_still_come_behind_our_own_end(pair: MakePair) -> None:
    stream, peer = pair()
    stream.shutdown_write()
    assert peer.recv() == b""
    peer.sock.sendall(peer.encrypt(b"still here") if peer.tls.version() == "TLSv1.3" else b"")
    assert stream.recv(100, PATIENT) == b"still here"


def test_what_had_come_before_our_own_end_is_not_lost(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(NOISE[:40_000])
    until(stream.has_arrived)
    stream.shutdown_write()
    assert take(stream, 40_000) == NOISE[:40_000]


def test_closed_stream_leaves_no_watcher(pair: MakePair) -> None:
    before = watchers()
    stream, peer = pair()
    stream.park(lambda: None)
    stream.close()
    peer.sock.close()
    assert watchers() == before
