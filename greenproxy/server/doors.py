"""Doors: all listeners of a worker: opening them, the ceiling of connections, the sweep, and the drain.

The drain is what lost nothing under load: first the listeners close, after what is in their backlog has been accepted (nobody
may be left to do that, and it would be reset); then the loop turns once so that these connections register; connections that
never sent a request stay, idle ones linger a moment because a request may be on its way; answers say `Connection: close`;
what is still going on at the end is cut.
"""

from __future__ import annotations

import _socket
import logging
import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent import get_hub

from greenproxy.observability.seats import Seat, Seats
from greenproxy.server.balance import Balance
from greenproxy.server.front import Front
from greenproxy.server.lanes import LOOK_EVERY_S, STALE_S, Lanes, by_address
from greenproxy.server.listener import Listener
from greenproxy.server.shortage import Shortage

_TICK_S = 0.05
_TELL_EVERY_S = 60.0
_MOST_SHED_AT_ONCE = 64
_THIN_OUT_EVERY_S = 1.0


class Leave(Protocol):
    """How a worker leaves. Asked on every turn: one that was replaced and has time loses it when its master stops."""

    @property
    def limit(self) -> str:
        """The key that bounds the time, for the log."""

    @property
    def linger_s(self) -> float:
        """Seconds for which idle connections stay, because a request may be on its way."""

    def remaining_s(self) -> float:
        """Return the seconds until what is left is cut; infinite without a limit."""

    def is_fast(self) -> bool:
        """Return whether nothing is waited for any more."""

    def beat(self) -> None:
        """Do what a worker does on every turn: give a heartbeat."""


class Doors:
    """Owns fronts and their listeners. `max_connections` bounds the clients of all of them together; `ceiling` is its name."""

    def __init__(
        self,
        max_connections: int,
        log: logging.Logger,
        ceiling: str = "worker-connections",
        shortage: Shortage | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._shortage = shortage or Shortage(log)
        self._shortage.add(self._shed)
        self._ceiling = ceiling
        self._log = log
        self._fronts: list[Front] = []
        self._listeners: list[Listener] = []
        self._open = 0
        self._is_full = False
        self._next_told_s = 0.0
        self._sweep: Any = None
        self._surplus = 0
        self._has_more = False
        self._next_thinning_s = 0.0
        self._lane: int | None = None
        self._lanes: list[Lanes] = []
        self._look: Any = None
        self._is_leaving = False
        self._seat: Seat | None = None
        self._balance: Balance | None = None

    def share(self, seats: Seats, index: int, lane: int | None) -> None:
        """Share the clients with the other workers that accept from the same addresses. Before `open`."""
        self._lane = lane
        self._seat = seats.take(index) if lane is None else seats.take(index, lane, STALE_S)
        self._balance = Balance(self._seat)

    def open(self, front: Front, sockets: Sequence[socket.socket], *, max_accept: int) -> None:
        """Begin to accept connections for `front` on listening sockets, which become ours."""
        self._fronts.append(front)
        for each in by_address(sockets):
            queues = [self._listener(front, sock, max_accept) for sock in each]
            self._listeners += queues
            if len(queues) == 1:
                queues[0].start()
            else:
                self._lanes.append(Lanes(queues, self._lane))
        self._look_at_lanes()
        self._restart_sweep()

    def _look_at_lanes(self) -> None:
        if self._is_leaving or (not self._lanes and self._lane is None):
            return
        others = []
        if self._seat is not None:
            if self._shortage.is_on:  # a client that waits here is for the others; the next one that is accepted ends that
                self._seat.withdraw()
            self._seat.stamp()
            others = self._seat.lanes_of_others()
        for lanes in self._lanes:
            lanes.look(others)
        if self._look is None:
            self._look = get_hub().loop.timer(LOOK_EVERY_S, LOOK_EVERY_S)
            self._look.start(self._look_at_lanes)

    def _listener(self, front: Front, sock: socket.socket, max_accept: int) -> Listener:
        balance = self._balance

        def accept(sock: _socket.socket, address: Any) -> None:
            self._open += 1
            front.accept(sock, address)
            if balance is not None:
                balance.accepted(listener, self._open)

        listener = Listener(sock, accept, self._full, self._shortage, max_accept=max_accept)
        return listener

    # -------------------------------------------------------------- the ceiling

    def _full(self) -> bool:
        if self._open < self._max_connections:
            return False
        self._is_full = True
        if self._seat is not None:
            self._seat.withdraw()
        now = monotonic()
        if now >= self._next_told_s:  # under a steady load it is reached again with every client that leaves
            self._next_told_s = now + _TELL_EVERY_S
            told = "%s = %d reached: more clients wait in the backlog"
            self._log.warning(told, self._ceiling, self._max_connections)
        return True

    def connection_closed(self) -> None:
        """A client's connection ended."""
        self._open -= 1
        if self._surplus:
            self._send_away(self._surplus - 1)
        if self._seat is not None and not self._is_leaving:
            self._seat.write(self._open)
        if self._shortage.is_on or (self._is_full and self._open < self._max_connections):
            self._is_full = False
            for listener in self._listeners:
                listener.resume()

    def _shed(self) -> int:
        """Out of descriptors: the idle connections that waited longest make room. Returns how many they are."""
        before = self._open
        for front in self._fronts:
            for connection in list(front.idle)[: min(_MOST_SHED_AT_ONCE, max(1, len(front.idle) // 8))]:
                connection.give_up_waiting()
        return before - self._open

    @property
    def connections(self) -> int:
        """Open client connections."""
        return self._open

    @property
    def idle(self) -> int:
        """Client connections that wait for a request."""
        return sum(len(front.idle) for front in self._fronts)

    @property
    def requests(self) -> int:
        """Requests served since the start."""
        return sum(front.requests for front in self._fronts)

    # -------------------------------------------------------------- the sweep

    def _restart_sweep(self) -> None:
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep.close()
        interval_s = min(front.sweep_interval_s for front in self._fronts)
        self._sweep = get_hub().loop.timer(0.0, interval_s)  # first as soon as the loop has registered the listeners
        self._sweep.start(self._sweep_all)

    def _sweep_all(self) -> None:
        self._shortage.look()
        if self._seat is not None and not self._is_leaving:
            self._seat.stamp()
            for listener in self._listeners:
                listener.take_turns()
            self._thin_out()
        for front in self._fronts:
            front.sweep()

    def _thin_out(self) -> None:
        """Once a second: if this worker has had a lot more clients than others for a second, some are to go to them."""
        now = monotonic()
        if self._balance is None or now < self._next_thinning_s:
            return
        self._next_thinning_s = now + _THIN_OUT_EVERY_S
        had_more, is_shared = self._has_more, any(listener.is_shared for listener in self._listeners)
        surplus = self._balance.surplus(self._open, is_shared)
        self._has_more = surplus > 0
        self._send_away(surplus if had_more else 0)

    def _send_away(self, count: int) -> None:
        """Let so many of the next answers be the last of their connections."""
        if (count > 0) != (self._surplus > 0):
            for front in self._fronts:
                front.is_draining = count > 0
        self._surplus = count

    # -------------------------------------------------------------- the end

    def drain(self, leave: Leave) -> None:
        """Stop accepting and wait until the connections have ended or `leave` has no more time; cut the rest."""
        begun_s = monotonic()
        self._is_leaving = True
        self._surplus = 0
        if self._look is not None:
            self._look.stop()
            self._look.close()
        if self._seat is not None:
            self._seat.leave()
        for listener in self._listeners:
            listener.empty()
            listener.close()
        gevent.sleep(0)
        for front in self._fronts:
            front.is_draining = True
        while self._open and not leave.is_fast():
            remaining_s, elapsed_s = leave.remaining_s(), monotonic() - begun_s
            if remaining_s <= 0:
                self._log.warning("%s is over; connections that are cut: %d", leave.limit, self._open)
                break
            linger_s = min(leave.linger_s, (elapsed_s + remaining_s) / 2)
            if elapsed_s >= linger_s:
                for front in self._fronts:
                    front.close_idle(for_s=linger_s, also_new=elapsed_s >= 2 * linger_s)
            leave.beat()
            gevent.sleep(_TICK_S)
        self._cut()

    def _cut(self) -> None:
        for front in self._fronts:
            front.cut_all()
        gevent.sleep(0)  # the cut exchanges end, and log
        gevent.sleep(0)
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep.close()
            self._sweep = None
