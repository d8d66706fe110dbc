"""Stream: bytes in, bytes out, and how long it waits for them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeAlias

import gevent
import pytest

from greenproxy.deadline import Deadline, Limit, Patience
from greenproxy.errors import ReadTimeout, RequestTimeout
from greenproxy.net.stream import Stream
from tests.hub import poll, read_all, reset, turns, until, watchers
from tests.net.conftest import MakePair

SMALL = 4096  # what the kernel holds, roughly
MANY = 1 << 20  # far more than that

Receive: TypeAlias = Callable[[Stream, Limit], bytes]


def recv_into(stream: Stream, limit: Limit) -> bytes:
    buffer = bytearray(100)
    return bytes(buffer[: stream.recv_into(memoryview(buffer), limit)])


RECEIVES: dict[str, Receive] = {
    "recv": lambda stream, limit: stream.recv(100, limit),
    "recv_after_wait": lambda stream, limit: stream.recv_after_wait(100, limit),
    "recv_into": recv_into,
}
PATIENT = Patience(10, ReadTimeout)

every_receive = pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES)


# ------------------------------------------------------------------ receiving


@every_receive
def test_what_is_there_is_received(pair: MakePair, receive: Receive) -> None:
    stream, peer = pair()
    peer.sendall(b"hello")
    assert receive(stream, PATIENT) == b"hello"


@every_receive
def test_what_is_not_there_is_waited_for(pair: MakePair, receive: Receive) -> None:
    stream, peer = pair()
    greenlet = gevent.spawn(receive, stream, PATIENT)
    poll()
    assert not greenlet.ready()
    peer.sendall(b"later")
    assert greenlet.get() == b"later"


@every_receive
def test_the_end_is_no_bytes(pair: MakePair, receive: Receive) -> None:
    stream, peer = pair()
    peer.close()
    assert receive(stream, PATIENT) == b""


@every_receive
def test_an_end_that_comes_later_wakes_the_reader(pair: MakePair, receive: Receive) -> None:
    stream, peer = pair()
    greenlet = gevent.spawn(receive, stream, PATIENT)
    poll()
    peer.close()
    assert greenlet.get() == b""


@every_receive
def test_a_reset_comes_out_as_it_is(pair: MakePair, receive: Receive) -> None:
    stream, peer = pair()
    reset(peer)
    with pytest.raises(ConnectionResetError):
        receive(stream, PATIENT)


@every_receive
def test_one_wait_after_the_other_gets_one_piece_after_the_other(pair: MakePair, receive: Receive) -> None:
    stream, peer = pair()
    pieces = []
    for n in range(3):
        greenlet = gevent.spawn(receive, stream, PATIENT)
        poll()
        peer.sendall(b"%d" % n)
        pieces.append(greenlet.get())
    assert pieces == [b"0", b"1", b"2"]


def test_no_more_than_asked_for_is_received(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"hello")
    assert stream.recv(3, PATIENT) == b"hel"


def test_the_rest_of_a_piece_needs_no_further_event(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"hello")
    assert stream.recv_after_wait(3, PATIENT) + stream.recv_after_wait(3, PATIENT) == b"hello"


def test_recv_now_tells_nothing_yet_from_the_end(pair: MakePair) -> None:
    stream, peer = pair()
    nothing = stream.recv_now(10)
    peer.close()
    until(stream.peek_is_eof)
    assert (nothing, stream.recv_now(10)) == (None, b"")


def test_a_peer_that_is_silent_is_not_at_its_end(pair: MakePair) -> None:
    stream, _ = pair()
    assert not stream.peek_is_eof()


def test_an_end_behind_unread_bytes_is_not_seen_yet(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"unread")
    peer.close()
    stream.recv_after_wait(3, PATIENT)
    assert not stream.peek_is_eof()


def test_a_reset_counts_as_the_end_when_peeked_at(pair: MakePair) -> None:
    stream, peer = pair()
    reset(peer)
    assert stream.peek_is_eof()


# ------------------------------------------------------------------ sending


def test_all_of_it_is_sent_to_a_slow_reader(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    data = bytes(range(256)) * (MANY // 256)
    sender = gevent.spawn(stream.send, data, PATIENT)
    until(lambda: stream.is_sending)
    reader = gevent.spawn(read_all, peer)
    sender.get()
    stream.close()
    assert reader.get() == data


def test_a_send_that_fits_does_not_wait(pair: MakePair) -> None:
    stream, peer = pair()
    before = watchers()
    stream.send(b"small", Deadline(0, RequestTimeout))  # passed long ago, but nobody looks
    assert (peer.recv(10), watchers()) == (b"small", before)


def test_a_view_of_bytes_is_sent_too(pair: MakePair) -> None:
    stream, peer = pair()
    stream.send(memoryview(b"seen")[1:], PATIENT)
    assert peer.recv(10) == b"een"


def test_send_now_sends_what_fits_and_does_not_wait(pair: MakePair) -> None:
    stream, _ = pair(buffers=SMALL)
    assert 0 < stream.send_now(b"x" * MANY) < MANY


def test_send_now_sends_nothing_where_nothing_fits(pair: MakePair) -> None:
    stream, _ = pair(buffers=SMALL)
    while stream.send_now(b"x" * MANY):
        pass
    assert stream.send_now(b"x") == 0


def test_nobody_waits_in_a_stream_once_all_is_sent(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    sender = gevent.spawn(stream.send, b"x" * MANY, PATIENT)
    until(lambda: stream.is_sending)
    reader = gevent.spawn(read_all, peer)
    sender.get()
    sending = stream.is_sending
    stream.close()
    reader.get()
    assert not sending


def test_a_reader_and_a_writer_may_wait_at_once(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    sender = gevent.spawn(stream.send, b"x" * MANY, PATIENT)
    receiver = gevent.spawn(stream.recv, 100, PATIENT)
    until(lambda: stream.is_sending)
    peer.sendall(b"answer")
    assert receiver.get() == b"answer"
    reader = gevent.spawn(read_all, peer)
    sender.get()
    stream.close()
    assert len(reader.get()) == MANY


def test_a_reset_while_sending_comes_out_as_it_is(pair: MakePair) -> None:
    stream, peer = pair(buffers=SMALL)
    sender = gevent.spawn(stream.send, b"x" * MANY, PATIENT)
    until(lambda: stream.is_sending)
    reset(peer)
    with pytest.raises(OSError) as raised:  # noqa: PT011
        sender.get()
    assert raised.value.errno in (errno.ECONNRESET, errno.EPIPE)


def test_half_closing_ends_what_the_peer_reads(pair: MakePair) -> None:
    stream, peer = pair()
    stream.shutdown_write()
    assert peer.recv(10) == b""


def test_after_half_closing_the_peer_can_still_speak(pair: MakePair) -> None:
    stream, peer = pair()
    stream.shutdown_write()
    peer.sendall(b"last words")
    assert stream.recv(100, PATIENT) == b"last words"


def test_half_closing_what_is_gone_is_no_error(pair: MakePair) -> None:
    stream, peer = pair()
    reset(peer)
    stream.shutdown_write()
    assert not stream.is_closed


# ------------------------------------------------------------------ limits

LIMITS: dict[str, Callable[[], Limit]] = {
    "patience": lambda: Patience(0.02, ReadTimeout),
    "deadline": lambda: Deadline.after(0.02, ReadTimeout),
    "passed deadline": lambda: Deadline(0, ReadTimeout),
    "patience within a deadline": lambda: Patience(10, RequestTimeout, Deadline.after(0.02, ReadTimeout)),
}
every_limit = pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)


@every_receive
@every_limit
def test_a_reader_gives_up_at_its_limit_with_the_error_of_that(
    pair: MakePair, receive: Receive, limit: Callable[[], Limit]
) -> None:
    stream, _ = pair()
    with pytest.raises(ReadTimeout):
        receive(stream, limit())


@every_limit
def test_a_writer_gives_up_at_its_limit_with_the_error_of_that(pair: MakePair, limit: Callable[[], Limit]) -> None:
    stream, _ = pair(buffers=SMALL)
    with pytest.raises(ReadTimeout):
        stream.send(b"x" * MANY, limit())


def test_the_patience_begins_anew_with_each_wait(pair: MakePair) -> None:
    stream, peer = pair()
    patience = Patience(0.2, ReadTimeout)
    for _ in range(5):
        gevent.spawn_later(0.06, peer.sendall, b"x")
        assert stream.recv(1, patience) == b"x"


def test_a_reader_and_a_writer_of_one_patience_both_give_up(pair: MakePair) -> None:
    stream, _ = pair(buffers=SMALL)
    patience = Patience(0.02, ReadTimeout)
    waiting = [gevent.spawn(stream.recv, 1, patience), gevent.spawn(stream.send, b"x" * MANY, patience)]
    for each in waiting:
        with pytest.raises(ReadTimeout):
            each.get()


def test_a_deadline_does_not_begin_anew(pair: MakePair) -> None:
    stream, peer = pair()
    deadline = Deadline.after(0.03, ReadTimeout)
    peer.sendall(b"x")
    stream.recv(1, deadline)
    gevent.sleep(0.03)
    with pytest.raises(ReadTimeout):
        stream.recv(1, deadline)


@every_limit
def test_a_reader_that_gave_up_leaves_no_timer(pair: MakePair, limit: Callable[[], Limit]) -> None:
    stream, _ = pair()
    with pytest.raises(ReadTimeout):
        stream.recv(1, limit())
    one_for_reading = watchers()
    stream.close()
    assert one_for_reading - watchers() <= 1


@every_limit
def test_a_writer_that_gave_up_leaves_no_watcher(pair: MakePair, limit: Callable[[], Limit]) -> None:
    stream, _ = pair(buffers=SMALL)
    before = watchers()
    with pytest.raises(ReadTimeout):
        stream.send(b"x" * MANY, limit())
    assert watchers() == before


def test_a_reader_that_got_its_bytes_leaves_no_timer(pair: MakePair) -> None:
    stream, peer = pair()
    with pytest.raises(ReadTimeout):
        stream.recv(1, Deadline.after(0.001, ReadTimeout))  # the read watcher stays on: that is no leak
    before = watchers()
    peer.sendall(b"x")
    stream.recv_after_wait(1, PATIENT)
    assert watchers() == before


def test_a_stream_is_usable_after_a_limit(pair: MakePair) -> None:
    stream, peer = pair()
    with pytest.raises(ReadTimeout):
        stream.recv(1, Deadline.after(0.001, ReadTimeout))
    peer.sendall(b"late")
    assert stream.recv_after_wait(100, PATIENT) == b"late"


def test_bytes_that_come_after_a_limit_do_not_spin_the_loop(pair: MakePair) -> None:
    stream, peer = pair()
    with pytest.raises(ReadTimeout):
        stream.recv(1, Deadline.after(0.001, ReadTimeout))
    peer.sendall(b"unread")
    assert turns() < 10


# ------------------------------------------------------------------ what the peer has not taken


def test_what_the_peer_does_not_read_is_counted(pair: MakePair) -> None:
    stream, _ = pair(buffers=4096)
    sent = 0
    while more := stream.send_now(b"x" * 4096):
        sent += more
    assert 0 < stream.unsent_bytes() <= sent


def test_what_the_peer_has_taken_is_not_counted(pair: MakePair) -> None:
    stream, peer = pair()
    stream.send(b"hello")
    peer.recv(5)
    until(lambda: stream.unsent_bytes() == 0)
    assert stream.unsent_bytes() == 0


@pytest.mark.parametrize("end", ["close", "reset"])
def test_nothing_is_unsent_on_a_closed_stream(pair: MakePair, end: str) -> None:
    stream, _ = pair()
    stream.send(b"hello")
    getattr(stream, end)()
    assert stream.unsent_bytes() == 0
