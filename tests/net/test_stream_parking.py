"""Stream: parked, while nobody waits for its bytes: the callback, once, and a loop that does not spin."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from gevent import get_hub

from greenproxy.deadline import Patience
from greenproxy.errors import ReadTimeout
from greenproxy.net.stream import CLIENTS_FIRST, Stream
from tests.hub import HubSocket, connected, poll, reset, turns, until, watchers
from tests.net.conftest import MakePair

PATIENT = Patience(10, ReadTimeout)
A_FEW = 10  # turns of the loop in a moment in which nothing happens


class Bell:
    """Counts how often it was rung, and by whom."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.rings = 0
        self.in_hub: list[bool] = []
        self._act = act

    def __call__(self) -> None:
        self.rings += 1
        self.in_hub.append(gevent.getcurrent() is get_hub())
        self._act()


@pytest.fixture
def parked(pair: MakePair) -> tuple[Stream, HubSocket, Bell]:
    """Return a parked stream, its peer and the callback."""
    stream, peer = pair()
    bell = Bell()
    stream.park(bell)
    return stream, peer, bell


Parked = tuple[Stream, HubSocket, Bell]


def test_the_callback_comes_when_bytes_do(parked: Parked) -> None:
    _, peer, bell = parked
    peer.sendall(b"x")
    until(lambda: bell.rings)


def test_the_callback_comes_when_the_end_does(parked: Parked) -> None:
    _, peer, bell = parked
    peer.close()
    until(lambda: bell.rings)


def test_the_callback_comes_when_a_reset_does(parked: Parked) -> None:
    _, peer, bell = parked
    reset(peer)
    until(lambda: bell.rings)


def test_the_callback_comes_for_bytes_that_were_there_before(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"x")
    bell = Bell()
    stream.park(bell)
    until(lambda: bell.rings)


def test_the_callback_runs_in_the_hub(parked: Parked) -> None:
    _, peer, bell = parked
    peer.sendall(b"x")
    until(lambda: bell.rings)
    assert bell.in_hub == [True]


@pytest.mark.parametrize("what", ["bytes", "end", "reset"])
def test_the_callback_comes_once_however_long_nobody_reads(parked: Parked, what: str) -> None:
    _, peer, bell = parked
    {"bytes": lambda: peer.sendall(b"x"), "end": peer.close, "reset": lambda: reset(peer)}[what]()
    until(lambda: bell.rings)
    turns()
    assert bell.rings == 1


@pytest.mark.parametrize("what", ["bytes", "end", "reset"])
def test_what_nobody_reads_does_not_spin_the_loop(parked: Parked, what: str) -> None:
    _, peer, bell = parked
    {"bytes": lambda: peer.sendall(b"x"), "end": peer.close, "reset": lambda: reset(peer)}[what]()
    until(lambda: bell.rings)
    assert turns() < A_FEW


def test_a_parked_stream_that_is_silent_does_not_spin_the_loop(parked: Parked) -> None:  # noqa: ARG001
    assert turns() < A_FEW


def test_more_bytes_behind_unread_ones_do_not_ring_again(parked: Parked) -> None:
    _, peer, bell = parked
    peer.sendall(b"x")
    until(lambda: bell.rings)
    peer.sendall(b"y")
    turns()
    assert bell.rings == 1


def test_parking_again_rings_again_for_what_is_still_unread(parked: Parked) -> None:
    stream, peer, bell = parked
    peer.sendall(b"x")
    until(lambda: bell.rings)
    stream.park(bell)
    until(lambda: bell.rings == 2)


def test_a_callback_may_park_the_stream_again(pair: MakePair) -> None:
    stream, peer = pair()

    def take_and_park() -> None:
        stream.recv_now(1)
        stream.park(bell)

    bell = Bell(take_and_park)
    stream.park(bell)
    peer.sendall(b"xyz")
    until(lambda: bell.rings == 3)
    assert turns() < A_FEW


def test_a_callback_may_close_the_stream(pair: MakePair) -> None:
    before = watchers()
    stream, peer = pair()
    stream.park(stream.close)
    peer.sendall(b"x")
    until(lambda: stream.is_closed)
    assert watchers() == before


def test_the_watcher_is_on_until_something_arrived_that_nobody_took(parked: Parked) -> None:
    stream, peer, bell = parked
    was_watching = stream.is_watching
    peer.sendall(b"x")
    until(lambda: bell.rings)
    assert (was_watching, stream.is_watching) == (True, False)


# ------------------------------------------------------------------ unpark


def test_nobody_is_called_once_the_stream_is_unparked(parked: Parked) -> None:
    stream, peer, bell = parked
    stream.unpark()
    peer.sendall(b"x")
    turns()
    assert bell.rings == 0


def test_bytes_for_an_unparked_stream_do_not_spin_the_loop(parked: Parked) -> None:
    stream, peer, _ = parked
    stream.unpark()
    peer.sendall(b"x")
    assert turns() < A_FEW


def test_an_unparked_stream_gives_what_came_meanwhile(parked: Parked) -> None:
    stream, peer, _ = parked
    stream.unpark()
    peer.sendall(b"x")
    turns()
    assert stream.recv_after_wait(1, PATIENT) == b"x"


def test_unparking_twice_is_harmless(parked: Parked) -> None:
    stream, peer, bell = parked
    stream.unpark()
    assert not stream.unpark()
    peer.sendall(b"x")
    turns()
    assert bell.rings == 0


@pytest.mark.parametrize("has_come", [False, True])
def test_unparking_tells_of_what_the_loop_has_seen_and_told_others_first(pair: MakePair, *, has_come: bool) -> None:
    stream, peer = pair()
    first, first_peer = connected()
    told: list[bool] = []
    stream.park(Bell())
    before = Stream(first, CLIENTS_FIRST)
    before.park(lambda: told.append(stream.unpark()))
    if has_come:
        peer.sendall(b"x")
    first_peer.sendall(b"x")
    until(lambda: told)
    before.close()
    first_peer.close()
    assert told == [has_come]


def test_unparking_what_is_closed_is_harmless(parked: Parked) -> None:
    stream, _, _ = parked
    stream.close()
    assert not stream.unpark()


# ------------------------------------------------------------------ parked, and somebody waits


def test_a_reader_comes_before_the_callback(parked: Parked) -> None:
    stream, peer, bell = parked
    reader = gevent.spawn(stream.recv, 10, PATIENT)
    poll()
    peer.sendall(b"mine")
    assert (reader.get(), bell.rings) == (b"mine", 0)


def test_the_callback_is_still_there_behind_the_reader(parked: Parked) -> None:
    stream, peer, bell = parked
    reader = gevent.spawn(stream.recv, 10, PATIENT)
    poll()
    peer.sendall(b"first")
    reader.join()
    peer.sendall(b"second")
    until(lambda: bell.rings)


def test_a_writer_that_waits_does_not_keep_the_callback_from_coming(pair: MakePair) -> None:
    stream, peer = pair(buffers=4096)
    bell = Bell()
    stream.park(bell)
    writer = gevent.spawn(stream.send, b"x" * (1 << 20), PATIENT)
    until(lambda: stream.is_sending)
    peer.sendall(b"x")
    until(lambda: bell.rings)
    writer.kill()


def test_an_end_is_noticed_while_nobody_reads(pair: MakePair) -> None:
    stream, peer = pair()
    seen = []
    stream.park(lambda: seen.append(stream.peek_is_eof()))
    peer.close()
    until(lambda: seen)
    assert seen == [True]


# ------------------------------------------------------------------ closed


def test_closing_a_parked_stream_calls_nobody(parked: Parked) -> None:
    stream, peer, bell = parked
    peer.sendall(b"x")
    stream.close()
    turns()
    assert bell.rings == 0


def test_closing_a_parked_stream_leaves_no_watcher(pair: MakePair) -> None:
    before = watchers()
    stream, _ = pair()
    stream.park(Bell())
    stream.close()
    assert watchers() == before


def test_parking_what_is_closed_starts_no_watcher(pair: MakePair) -> None:
    before = watchers()
    stream, _ = pair()
    stream.close()
    stream.park(Bell())
    assert watchers() == before


@pytest.mark.parametrize("first", [0, 1])
def test_of_what_comes_in_one_turn_streams_with_a_priority_hear_first(first: int) -> None:
    pairs = [connected(), connected()]
    streams = [Stream(pairs[0][0], CLIENTS_FIRST), Stream(pairs[1][0])]
    heard: list[Stream] = []
    for stream in streams:
        stream.park(lambda stream=stream: heard.append(stream))  # type: ignore[misc]
    for at in (first, 1 - first):
        pairs[at][1].sendall(b"x")
    poll()
    assert heard == streams
    for stream, (_, peer) in zip(streams, pairs, strict=True):
        stream.close()
        peer.close()
