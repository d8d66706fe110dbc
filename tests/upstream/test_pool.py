"""The pool of one backend: slots, idle sockets, ages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from gevent.queue import Empty, Full

from greenproxy.net.dial import SockAddr
from greenproxy.net.stream import Stream
from greenproxy.upstream.connection import Connection
from greenproxy.upstream.pool import Pool
from tests.fakes import HandClock
from tests.upstream.fakes import MemoryStream

PEER = SockAddr(2, ("10.0.0.1", 80))


class Bench:
    """A pool on a clock, and connections without sockets."""

    def __init__(self, size: int = 3) -> None:
        self.clock = HandClock()
        self.pool = Pool(size, 30.0, 600.0, self.clock)

    def open(self, peer: SockAddr = PEER) -> Connection:
        connection = Connection(cast(Stream, MemoryStream()), peer, self.clock())
        self.pool.adopt(connection)
        return connection

    def idle(self, count: int = 1) -> list[Connection]:
        """Return this many idle connections, the first one idle for longest."""
        for _ in range(count):
            self.pool.take(fresh=True)
        connections = [self.open() for _ in range(count)]
        for connection in connections:
            self.pool.put(connection)
        return connections


def memory(connection: Connection) -> MemoryStream:
    return cast(MemoryStream, connection.stream)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.pool.close()


def test_a_new_pool_gives_rights_to_open_and_then_nothing(bench: Bench) -> None:
    assert [bench.pool.take() for _ in range(3)] == [None, None, None]
    with pytest.raises(Empty):
        bench.pool.take()


def test_idle_sockets_are_taken_last_in_first_out(bench: Bench) -> None:
    first, second = bench.idle(2)
    assert bench.pool.take() is second
    assert bench.pool.take() is first
    assert bench.pool.take() is None


def test_a_taken_socket_is_no_longer_watched_by_the_pool(bench: Bench) -> None:
    (connection,) = bench.idle()
    bench.pool.take()
    assert memory(connection).parked is None


def test_an_idle_socket_that_its_backend_closes_is_dropped_at_once(bench: Bench) -> None:
    first, second = bench.idle(2)
    memory(first).hang_up()
    assert memory(first).is_closed
    assert bench.pool.idle == 1
    assert bench.pool.take() is second
    assert bench.pool.take() is None


def test_a_fresh_socket_can_be_asked_for_while_others_are_idle(bench: Bench) -> None:
    bench.idle()
    assert bench.pool.take(fresh=True) is None
    assert bench.pool.idle == 1


def test_the_oldest_idle_socket_makes_room_for_a_fresh_one(bench: Bench) -> None:
    oldest, *others = bench.idle(3)
    bench.pool.take(fresh=True)
    assert memory(oldest).is_closed
    assert not any(memory(other).is_closed for other in others)
    assert bench.pool.lent + bench.pool.idle == 3


def test_bytes_that_arrived_in_the_same_turn_of_the_loop_are_seen_when_the_socket_is_taken(bench: Bench) -> None:
    (connection,) = bench.idle()
    memory(connection).arrived = True  # the hub has had no chance to say so
    assert bench.pool.take() is None
    assert memory(connection).is_closed


def test_bytes_that_the_loop_has_seen_and_not_told_of_are_seen_when_the_socket_is_taken(bench: Bench) -> None:
    (connection,) = bench.idle()
    connection.parked_in -= 1  # a turn ago
    memory(connection).arrived = memory(connection).is_pending = True
    assert (bench.pool.take(), memory(connection).is_closed) == (None, True)


def test_a_socket_is_not_kept_beyond_its_age(bench: Bench) -> None:
    bench.pool.take()
    connection = bench.open()
    bench.clock.turn(600.0)
    bench.pool.put(connection)
    assert memory(connection).is_closed
    assert (bench.pool.idle, bench.pool.lent) == (0, 0)


def test_sweeping_closes_what_was_idle_for_too_long_and_nothing_else(bench: Bench) -> None:
    early, late = bench.idle(2)
    bench.clock.turn(20.0)
    assert bench.pool.take() is late
    bench.pool.put(late)
    bench.clock.turn(10.0)
    bench.pool.sweep()
    assert memory(early).is_closed
    assert not memory(late).is_closed


def test_sweeping_closes_what_has_lived_for_too_long(bench: Bench) -> None:
    (connection,) = bench.idle()
    for _ in range(21):
        bench.clock.turn(29.0)
        bench.pool.sweep()
        if bench.pool.idle:
            bench.pool.take()
            bench.pool.put(connection)
    assert memory(connection).is_closed


def test_zero_means_no_limit() -> None:
    clock = HandClock()
    pool = Pool(1, 0.0, 0.0, clock)
    pool.take()
    connection = Connection(cast(Stream, MemoryStream()), PEER, clock())
    clock.turn(1e9)
    pool.put(connection)
    clock.turn(1e9)
    pool.sweep()
    assert pool.take() is connection
    pool.put(None)


def test_a_closed_stream_never_becomes_idle(bench: Bench) -> None:
    bench.pool.take()
    connection = bench.open()
    connection.stream.close()
    bench.pool.put(connection)
    assert bench.pool.idle == 0


def test_a_slot_cannot_be_put_back_twice(bench: Bench) -> None:
    bench.pool.take()
    bench.pool.put(None)
    with pytest.raises(Full):
        bench.pool.put(None)


def test_after_closing_sockets_are_closed_as_they_come_back(bench: Bench) -> None:
    (idle,) = bench.idle()
    bench.pool.take(fresh=True)
    used = bench.open()
    bench.pool.close()
    bench.pool.put(used)
    assert memory(idle).is_closed
    assert memory(used).is_closed


def test_sockets_to_an_address_that_the_name_has_left_are_closed_as_soon_as_nobody_uses_them(bench: Bench) -> None:
    elsewhere = SockAddr(2, ("10.0.0.2", 80))
    (idle,) = bench.idle()
    bench.pool.take(fresh=True)
    used = bench.open()
    bench.pool.take(fresh=True)
    staying = bench.open(elsewhere)
    bench.pool.move((elsewhere,))
    bench.pool.put(used)
    bench.pool.put(staying)
    assert memory(idle).is_closed
    assert memory(used).is_closed
    assert bench.pool.take() is staying
    bench.pool.put(staying)


def test_only_a_quiet_young_open_socket_goes_straight_to_the_next_request(bench: Bench) -> None:
    quiet, noisy, closed, old = (bench.open() for _ in range(4))
    memory(noisy).arrived = True
    closed.stream.close()
    assert bench.pool.may_pass_on(quiet)
    assert not bench.pool.may_pass_on(noisy)
    assert not bench.pool.may_pass_on(closed)
    bench.clock.turn(600.0)
    assert not bench.pool.may_pass_on(old)
