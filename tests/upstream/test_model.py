"""Any sequence of requests, ends, deaths and changes of health, against what must always hold of pool and line."""

from __future__ import annotations

from typing import Any, cast

import gevent
from gevent.event import Event
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from greenproxy.config.settings import RelaySettings
from greenproxy.errors import BackendReset, ConnectRefused, ProxyError
from greenproxy.upstream.backend import Backend
from greenproxy.upstream.lease import Lease
from tests.upstream.fakes import House, MemoryStream, addr, backend, settle

NAMES = ("a", "b", "c")
PICK = st.integers(0, 10**6)


class Tried(frozenset[Backend]):
    """What a request has tried. It goes with it into the line, and there it says whose it is."""

    number: int


class Client:
    """One request: it leases, then holds until it is told to end, or is killed."""

    def __init__(self, house: House, number: int, tried: Tried, fresh: bool) -> None:
        tried.number = number
        self.tried = tried
        self.lease: Lease | None = None
        self._house = house
        self._fresh = fresh
        self.greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            self.lease = self._house.lease(self.tried, self._fresh)
        except (ProxyError, gevent.Timeout):
            pass

    @property
    def is_waiting(self) -> bool:
        """Whether it stands in the line or dials."""
        return not self.greenlet.ready()


class PoolAndLine(RuleBasedStateMachine):
    """Small pools, a short line, dials that hang until they are let go."""

    house: House

    @initialize(size=st.integers(1, 2), queue=st.sampled_from([5, 3, 1, 0]), count=st.integers(1, 3))
    def build(self, size: int, queue: int, count: int) -> None:
        self.size = size
        self.house = House(*[backend(name) for name in NAMES[:count]], pool_size=size, pool_queue=queue)
        # No real time: a busy machine would end waits that the model goes on with.
        self.house.relay = RelaySettings(pool_queue_timeout_s=0.0, connect_timeout_s=0.0)
        self.backends = self.house.upstream.backends
        self.clients: list[Client] = []
        self.came = 0
        self.last_served: dict[frozenset[Backend], int] = {}  # the number of the youngest, by what they had tried

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        self._open_gate()
        gevent.killall([client.greenlet for client in self.clients])
        for client in self.clients:
            if client.lease is not None:
                client.lease.give_back()
        settle()
        assert [each.in_flight for each in self.backends] == [0] * len(self.backends)
        self.house.stop()
        assert sum(self.house.dial.open.values()) == 0

    # -------------------------------------------------------------- what happens

    @rule(requests=st.lists(st.tuples(st.sets(st.integers(0, 2), max_size=1), st.booleans()), min_size=1, max_size=6))
    def requests_come(self, requests: list[tuple[set[int], bool]]) -> None:
        for tried, fresh in requests:
            avoided = Tried(self.backends[n] for n in tried if n < len(self.backends))
            self.clients.append(Client(self.house, self.came, avoided, fresh))
            self.came += 1
        settle()

    @precondition(lambda self: any(client.lease for client in self.clients))
    @rule(which=PICK, is_dropped=st.booleans(), is_run_at_once=st.booleans())
    def end(self, which: int, is_dropped: bool, is_run_at_once: bool) -> None:
        holders = [client for client in self.clients if client.lease]
        client = holders[which % len(holders)]
        self.clients.remove(client)
        lease = cast(Lease, client.lease)
        if is_dropped:
            lease.drop()
        else:
            lease.give_back()
        if is_run_at_once:
            settle()

    @precondition(lambda self: any(client.is_waiting for client in self.clients))
    @rule(which=PICK, other=PICK, is_slot_freed_first=st.booleans(), with_timeout=st.booleans())
    def kill(self, which: int, other: int, is_slot_freed_first: bool, with_timeout: bool) -> None:
        """Kill one that waits; perhaps in the very turn in which it is handed a slot."""
        waiting = [client for client in self.clients if client.is_waiting]
        victim = waiting[which % len(waiting)]
        victim.greenlet.kill(gevent.Timeout() if with_timeout else gevent.GreenletExit(), block=False)
        holders = [client for client in self.clients if client.lease]
        if is_slot_freed_first and holders:
            client = holders[other % len(holders)]
            self.clients.remove(client)
            cast(Lease, client.lease).give_back()
        settle()
        if victim.lease is None:
            self.clients.remove(victim)

    @precondition(lambda self: self.house.dial.gate is None)
    @rule()
    def dials_hang_from_now_on(self) -> None:
        self.house.dial.gate = Event()

    @precondition(lambda self: self.house.dial.gate is not None)
    @rule()
    def dials_go_on(self) -> None:
        self._open_gate()
        settle()

    @rule(which=PICK)
    def the_next_dial_is_refused(self, which: int) -> None:
        place = addr(self.backends[which % len(self.backends)].settings.address)
        self.house.dial.errors_once[place] = ConnectRefused

    @rule(which=PICK)
    def backend_hangs_up_on_a_socket(self, which: int) -> None:
        streams = [stream for stream in self.house.dial.streams if not stream.is_closed]
        if streams:
            streams[which % len(streams)].hang_up()

    @rule(which=PICK, event=st.sampled_from(["ready", "passed", "drain", "failed", "reset", "ready", "passed"]))
    def health_changes(self, which: int, event: str) -> None:
        backend = self.backends[which % len(self.backends)]
        for _ in range(3):
            if event in ("drain", "ready"):
                backend.health.drain(event == "drain")
            elif event == "reset":
                backend.note_failure(BackendReset(), is_trial=False)
            elif event == "passed":
                backend.health.check_passed()
            else:
                backend.health.check_failed("status 500")
        settle()
        if not any(each.health.is_available for each in self.backends):
            self.backends[0].health.drain(False)
            self.backends[0].health.check_passed()
            self.backends[0].health.check_passed()

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0, 601.0]))
    def time_passes(self, seconds: float) -> None:
        self.house.clock.turn(seconds)
        self.house.upstream.sweep()
        settle()

    def _open_gate(self) -> None:
        gate, self.house.dial.gate = self.house.dial.gate, None
        if gate is not None:
            gate.set()

    # -------------------------------------------------------------- what always holds

    @invariant()
    def sockets_in_use_and_idle_never_exceed_the_size(self) -> None:
        for each in self._backends():
            assert each.in_flight + each.pool.idle <= self.size
            assert self.house.dial.peak.get(addr(each.settings.address), 0) <= self.size

    @invariant()
    def every_open_socket_is_lent_or_idle(self) -> None:
        for each in self._backends():
            assert self.house.dial.open.get(addr(each.settings.address), 0) <= each.in_flight + each.pool.idle

    @invariant()
    def every_slot_belongs_to_somebody(self) -> None:
        if self._backends():
            settle()
            holding = sum(client.lease is not None for client in self.clients)
            dialling = sum(client.is_waiting for client in self.clients) - self.house.queued
            assert sum(each.in_flight for each in self.backends) == holding + dialling

    @invariant()
    def the_line_is_bounded(self) -> None:
        if self._backends():
            assert self.house.queued <= self.house.settings.pool_queue

    @invariant()
    def nobody_waits_while_a_slot_that_it_could_use_is_free(self) -> None:
        for waiter in self._waiters():
            members = [each for each in self.backends if each.health.is_available]
            eligible = [each for each in members if each not in waiter.tried] or members
            assert eligible, "it should have been refused"
            assert all(each.is_full() for each in eligible)

    @invariant()
    def nobody_is_overtaken_by_one_that_could_use_the_same(self) -> None:
        for client in self.clients if self._backends() else ():
            if client.lease:
                self.last_served[client.tried] = max(client.tried.number, self.last_served.get(client.tried, -1))
        numbers = [waiter.tried.number for waiter in self._waiters()]
        assert numbers == sorted(numbers)
        for waiter in self._waiters():
            assert waiter.tried.number > self.last_served.get(waiter.tried, -1)

    # -------------------------------------------------------------- how one looks

    def _backends(self) -> tuple[Backend, ...]:
        return self.backends if hasattr(self, "house") else ()

    def _waiters(self) -> list[Any]:
        """Return who stands in the line, when all have run that can."""
        if not self._backends():
            return []
        settle()
        return self.house.upstream._slots.line.waiting()


def test_a_memory_stream_hangs_up_only_once() -> None:
    stream = MemoryStream()
    calls: list[int] = []
    stream.park(lambda: calls.append(1))
    stream.hang_up()
    stream.hang_up()
    assert calls == [1]


TestPoolAndLine = PoolAndLine.TestCase
TestPoolAndLine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
