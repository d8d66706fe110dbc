"""Stream: how a wait ends otherwise: interrupted, closed under the waiter, or killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import gevent
import pytest
from gevent import get_hub

from greenproxy.deadline import Limit, Patience
from greenproxy.errors import ClientGone, ReadTimeout
from greenproxy.net.stream import Stream
from tests.hub import HubSocket, is_waiting, poll, read_all, until, watchers
from tests.net.conftest import MakePair

SMALL = 4096
MANY = 1 << 20
PATIENT: Limit = Patience(10, ReadTimeout)
SHORT: Limit = Patience(0.05, ReadTimeout)

Wait: TypeAlias = Callable[[Stream, Limit], Any]

WAITS: dict[str, Wait] = {
    "recv": lambda stream, limit: stream.recv(100, limit),
    "recv_after_wait": lambda stream, limit: stream.recv_after_wait(100, limit),
    "recv_into": lambda stream, limit: stream.recv_into(memoryview(bytearray(100)), limit),
    "send": lambda stream, limit: stream.send(b"x" * MANY, limit),
}
every_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)


@pytest.fixture
def waiting(pair: MakePair) -> Callable[[Wait], tuple[Stream, HubSocket, gevent.Greenlet[..., Any]]]:
    """Return a function that lets a greenlet begin a wait that nothing ends by itself."""

    def begin(wait: Wait) -> tuple[Stream, HubSocket, gevent.Greenlet[..., Any]]:
        stream, peer = pair(buffers=SMALL)
        greenlet = gevent.spawn(wait, stream, PATIENT)
        poll()
        assert is_waiting(greenlet)
        return stream, peer, greenlet

    return begin


Begin: TypeAlias = Callable[[Wait], tuple[Stream, HubSocket, "gevent.Greenlet[..., Any]"]]


# ------------------------------------------------------------------ interrupt


@every_wait
def test_an_interrupt_raises_its_error_in_the_waiter(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    stream.interrupt(ClientGone())
    with pytest.raises(ClientGone):
        greenlet.get()


@every_wait
def test_an_interrupt_before_the_wait_raises_when_it_begins(pair: MakePair, wait: Wait) -> None:
    stream, _ = pair(buffers=SMALL)
    stream.interrupt(ClientGone())
    with pytest.raises(ClientGone):
        wait(stream, PATIENT)


@every_wait
def test_an_interrupt_is_spent_when_it_was_raised(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    stream.interrupt(ClientGone())
    greenlet.join()
    with pytest.raises(ReadTimeout):
        wait(stream, SHORT)


def test_an_interrupt_does_not_keep_from_receiving_what_is_there(pair: MakePair) -> None:
    stream, peer = pair()
    peer.sendall(b"there")
    until(lambda: stream.recv_now(1))
    stream.interrupt(ClientGone())
    assert stream.recv(100, PATIENT) == b"here"


@every_wait
def test_an_interrupted_wait_leaves_no_timer(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    before = watchers()
    stream.interrupt(ClientGone())
    greenlet.join()
    assert watchers() < before


def test_a_waiter_that_was_served_in_the_same_turn_is_not_interrupted_twice(waiting: Begin) -> None:
    stream, peer, greenlet = waiting(WAITS["recv"])
    peer.sendall(b"x")
    stream.interrupt(ClientGone())
    stream.interrupt(ClientGone())
    greenlet.join()
    poll()
    assert stream.recv(100, PATIENT) == b"x"


class Together:
    """Lets `act` run in the turn of the loop in which `stream` becomes readable too, before or after its reader."""

    def __init__(self, act: Callable[[], None], alarm: Stream, bell: HubSocket) -> None:
        self._act = act
        self._bell = bell
        alarm.park(self._ring)
        self.rang = False

    def _ring(self) -> None:
        self.rang = True
        self._act()

    def send(self, peer: HubSocket, *, bell_first: bool) -> None:
        """Make both readable before the loop polls again."""
        for sock in (self._bell, peer) if bell_first else (peer, self._bell):
            sock.send(b"x")


@pytest.mark.parametrize("bell_first", [True, False])
def test_an_interrupt_that_the_reader_escapes_does_not_hit_the_writer(pair: MakePair, bell_first: bool) -> None:
    stream, peer = pair(buffers=SMALL)
    writer = gevent.spawn(stream.send, b"x" * MANY, PATIENT)
    reader = gevent.spawn(stream.recv, 1, PATIENT)
    together = Together(lambda: None if reader.ready() else stream.interrupt(ClientGone()), *pair())
    until(lambda: stream.is_sending)
    together.send(peer, bell_first=bell_first)
    reader.join()
    until(lambda: together.rang)
    drain = gevent.spawn(read_all, peer)
    writer.join()
    stream.close()
    assert (writer.exception, len(drain.get())) == (None, MANY)


# ------------------------------------------------------------------ close


@every_wait
def test_closing_tells_the_waiter(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    stream.close()
    with pytest.raises(ConnectionAbortedError):
        greenlet.get()


def test_closing_tells_the_reader_and_the_writer(pair: MakePair) -> None:
    stream, _ = pair(buffers=SMALL)
    greenlets = [gevent.spawn(WAITS[each], stream, PATIENT) for each in ("recv", "send")]
    until(lambda: stream.is_sending)
    stream.close()
    gevent.joinall(greenlets, timeout=2)
    assert [type(each.exception) for each in greenlets] == [ConnectionAbortedError] * 2


@every_wait
def test_resetting_tells_the_waiter(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    stream.reset()
    with pytest.raises(ConnectionAbortedError):
        greenlet.get()


@every_wait
def test_closing_leaves_no_watcher(pair: MakePair, wait: Wait) -> None:
    before = watchers()
    stream, _ = pair(buffers=SMALL)
    greenlet = gevent.spawn(wait, stream, PATIENT)
    poll()
    stream.close()
    greenlet.join()
    assert watchers() == before


@every_wait
def test_nobody_waits_in_a_stream_that_is_closed(pair: MakePair, wait: Wait) -> None:
    stream, _ = pair()
    stream.close()
    with pytest.raises(OSError):  # noqa: PT011
        wait(stream, PATIENT)


@every_wait
def test_nobody_waits_for_ever_in_a_closed_stream_when_its_error_was_told_before(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    stream.close()
    greenlet.join()
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            wait(stream, PATIENT)


@every_wait
def test_a_wait_in_a_closed_stream_starts_no_watcher(pair: MakePair, wait: Wait) -> None:
    before = watchers()
    stream, _ = pair()
    stream.close()
    with pytest.raises(OSError):  # noqa: PT011
        wait(stream, PATIENT)
    assert watchers() == before


def test_the_number_of_a_closed_descriptor_may_be_used_again_at_once(waiting: Begin, pair: MakePair) -> None:
    stream, _, greenlet = waiting(WAITS["recv"])
    number = stream.fileno()
    stream.close()
    successors = [pair() for _ in range(2)]
    other, peer = next((each, peer) for each, peer in successors if number in (each.fileno(), peer.fileno()))
    greenlet.join()
    peer.sendall(b"mine")
    assert other.recv(100, PATIENT) == b"mine"


def test_closing_twice_is_harmless(pair: MakePair) -> None:
    stream, _ = pair()
    stream.close()
    stream.close()
    assert stream.is_closed


def test_resetting_what_is_closed_is_harmless(pair: MakePair) -> None:
    stream, _ = pair()
    stream.close()
    stream.reset()
    assert stream.is_closed


def test_a_closed_stream_has_no_descriptor(pair: MakePair) -> None:
    stream, _ = pair()
    stream.close()
    assert stream.fileno() == -1


def test_the_peer_of_a_closed_stream_sees_an_orderly_end(pair: MakePair) -> None:
    stream, peer = pair()
    stream.send(b"whole", PATIENT)
    stream.close()
    assert read_all(peer) == b"whole"


def test_the_peer_of_a_reset_stream_sees_a_reset(pair: MakePair) -> None:
    stream, peer = pair()
    stream.send(b"part", PATIENT)
    stream.reset()
    with pytest.raises(ConnectionResetError):
        read_all(peer)


# ------------------------------------------------------------------ kill


@every_wait
@pytest.mark.parametrize("error", [gevent.GreenletExit, gevent.Timeout, ClientGone])
def test_whoever_is_killed_while_waiting_ends_at_once(waiting: Begin, wait: Wait, error: type[BaseException]) -> None:
    _, _, greenlet = waiting(wait)
    greenlet.kill(error(), block=False)
    poll()
    assert greenlet.dead


@every_wait
def test_a_killed_wait_leaves_no_timer(waiting: Begin, wait: Wait) -> None:
    _, _, greenlet = waiting(wait)
    before = watchers()
    greenlet.kill()
    assert watchers() < before


def test_a_stream_is_usable_after_its_reader_was_killed(waiting: Begin) -> None:
    stream, peer, greenlet = waiting(WAITS["recv"])
    greenlet.kill()
    peer.sendall(b"next")
    assert stream.recv(100, PATIENT) == b"next"


def test_a_stream_can_still_be_read_after_its_writer_was_killed(waiting: Begin) -> None:
    stream, peer, greenlet = waiting(WAITS["send"])
    greenlet.kill()
    peer.sendall(b"next")
    assert stream.recv(100, PATIENT) == b"next"


def test_a_stream_can_still_be_written_after_its_writer_was_killed(waiting: Begin) -> None:
    stream, peer, greenlet = waiting(WAITS["send"])
    greenlet.kill()
    reader = gevent.spawn(read_all, peer)
    stream.send(b"y" * MANY, PATIENT)
    stream.close()
    assert reader.get().endswith(b"y" * MANY)


@every_wait
def test_closing_after_a_kill_leaves_no_watcher(pair: MakePair, wait: Wait) -> None:
    before = watchers()
    stream, _ = pair(buffers=SMALL)
    greenlet = gevent.spawn(wait, stream, PATIENT)
    poll()
    greenlet.kill()
    stream.close()
    poll()
    assert watchers() == before


@every_wait
def test_a_kill_and_a_close_in_the_same_turn_raise_one_error_only(waiting: Begin, wait: Wait) -> None:
    stream, _, greenlet = waiting(wait)
    get_hub().loop.run_callback(stream.close)
    greenlet.kill(ClientGone(), block=False)
    poll()
    assert isinstance(greenlet.exception, (ClientGone, ConnectionAbortedError))
