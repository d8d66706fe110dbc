"""Doors: the ceiling of connections, accept errors, and the drain."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenproxy.config.settings import ListenerSettings
from greenproxy.messages import Request, Response
from greenproxy.net.recycler import Recycler
from greenproxy.observability.seats import Seats
from greenproxy.server.doors import Doors
from greenproxy.server.front import Front, Services
from greenproxy.server.serve import Funnel
from tests.client import get
from tests.fakes import memory_logger
from tests.fronts import LoneFront
from tests.hub import HubClient, HubSocket, poll, turns, until, watchers


class Leaving:
    """A worker that leaves: `until_s` seconds from now, or at once in a hurry."""

    limit = "graceful-timeout"

    def __init__(self, time_s: float = 10.0, *, hurry: bool = False, linger_s: float = 1.0) -> None:
        self.until_s = monotonic() + time_s
        self.hurry = hurry
        self.linger_s = linger_s
        self.beats = 0

    def remaining_s(self) -> float:
        return self.until_s - monotonic()

    def is_fast(self) -> bool:
        return self.hurry

    def beat(self) -> None:
        self.beats += 1


class Entrance:
    """Doors with one listener on a real socket. A request for /slow waits for `gate`."""

    def __init__(self, max_connections: int = 100, *, max_accept: int = 1, path: str = "", **settings: Any) -> None:
        logger, self.log = memory_logger()
        self.reasons: list[str] = []
        self.gate = Event()
        self.begun = 0
        self._clients: list[HubClient] = []
        self._draining: gevent.Greenlet[..., None] = gevent.Greenlet()
        self.doors = Doors(max_connections, logger)
        funnel = Funnel(lambda exchange: self.reasons.append(exchange.reason), None, logger)
        services = Services(Recycler(), funnel, LoneFront._page, self.doors.connection_closed)
        self.front = Front(ListenerSettings(**{"name": "web", **settings}), self._handle, services)
        sock = socket.socket(socket.AF_UNIX) if path else socket.socket()
        sock.bind(path or ("127.0.0.1", 0))
        sock.listen(50)
        self.address = sock.getsockname()
        self._family = sock.family
        self.doors.open(self.front, [sock], max_accept=max_accept)
        self.listener = self.doors._listeners[0]

    def _handle(self, request: Request) -> Response:
        if request.path == "/download":
            return Response(body=self._download())
        if request.path == "/slow":
            self.begun += 1
            self.gate.wait()
        return Response(body=request.target.encode())

    def _download(self) -> Iterator[bytes]:
        yield b"begun "
        self.gate.wait()
        yield b"ended"

    def connect(self) -> HubClient:
        """Return a client whose connection lies at least in the backlog."""
        sock = HubSocket(self._family, socket.SOCK_STREAM)
        sock.settimeout(10)
        try:
            sock.connect(self.address)
        except OSError:
            sock.close()
            raise
        client = HubClient(sock)
        self._clients.append(client)
        return client

    def slow(self) -> HubClient:
        """Return a client whose request is being served."""
        client = self.connect()
        before = self.begun
        client.send(get("/slow"))
        until(lambda: self.begun > before)
        return client

    def drain(self, leave: Leaving | None = None) -> gevent.Greenlet[..., None]:
        """Begin to drain."""
        self._draining = draining = gevent.spawn(self.doors.drain, leave or Leaving())
        until(lambda: self.front.is_draining)
        return draining

    def stop(self) -> None:
        for client in self._clients:
            client.leave()
        self.gate.set()
        self._draining.kill()
        self.doors.drain(Leaving(hurry=True))
        until(lambda: not self.front.connections)


MakeEntrance = Callable[..., Entrance]


@pytest.fixture
def entrance() -> Iterator[MakeEntrance]:
    """Return a function that opens an Entrance."""
    with ExitStack() as entrances:

        def make(*args: Any, **options: Any) -> Entrance:
            built = Entrance(*args, **options)
            entrances.callback(built.stop)
            return built

        yield make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns follow each other quickly."""
    monkeypatch.setattr("greenproxy.server.doors._TICK_S", 0.005)


# ------------------------------------------------------------------ open


@pytest.mark.parametrize("max_accept", [1, 64])
def test_clients_are_served(entrance: MakeEntrance, max_accept: int) -> None:
    it = entrance(max_accept=max_accept)
    clients = [it.connect() for _ in range(5)]
    assert [client.ask(get("/hello")).body for client in clients] == [b"/hello"] * 5


def test_clients_on_a_unix_socket_are_served(entrance: MakeEntrance, tmp_path: Path) -> None:
    assert entrance(path=str(tmp_path / "s")).connect().ask(get("/hello")).body == b"/hello"


def test_small_answers_are_not_held_back(entrance: MakeEntrance) -> None:
    it = entrance()
    it.connect()
    until(lambda: it.front.idle)
    with socket.socket(fileno=socket.dup(next(iter(it.front.idle)).stream.fileno())) as twin:  # type: ignore[attr-defined]
        assert twin.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_open_idle_and_served_are_counted(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    it.connect().ask(get())
    until(lambda: it.doors.idle)
    assert (it.doors.connections, it.doors.idle, it.doors.requests) == (2, 1, 1)


def test_waits_are_swept(entrance: MakeEntrance) -> None:
    assert entrance(idle_timeout_s=0.05).connect().until_closed() == b""


# ------------------------------------------------------------------ others share the clients


@pytest.fixture
def seats() -> Iterator[Seats]:
    """What workers know of each other."""
    found = Seats(4)
    yield found
    found.close()


def crowd(it: Entrance, seats: Seats, count: int) -> list[HubClient]:
    """Return clients of this worker that were answered, beside another worker that has none."""
    it.doors.share(seats, 0, None)
    seats.take(1)
    clients = [it.connect() for _ in range(count)]
    assert all(client.ask(get()).status == 200 for client in clients)
    return clients


def look(it: Entrance) -> None:
    """Let a second pass, as far as sharing is concerned."""
    it.doors._next_thinning_s = 0.0
    it.doors._thin_out()


def test_who_has_a_lot_more_for_a_second_sends_some_away_with_their_next_answer(seats: Seats, entrance: MakeEntrance) -> None:
    it = entrance()
    clients = crowd(it, seats, 40)
    look(it)
    look(it)
    last = [client.ask(get()).says_close for client in clients]
    assert last.count(True) == 40 // 8


def test_who_has_a_lot_more_for_a_moment_keeps_them(seats: Seats, entrance: MakeEntrance) -> None:
    it = entrance()
    clients = crowd(it, seats, 40)
    look(it)
    assert not any(client.ask(get()).says_close for client in clients)


def test_a_drain_stays_one_when_clients_had_to_go(seats: Seats, entrance: MakeEntrance) -> None:
    it = entrance()
    clients = crowd(it, seats, 40)
    look(it)
    look(it)
    it.drain()
    assert all(client.ask(get()).says_close for client in clients)


# ------------------------------------------------------------------ the ceiling


def test_more_clients_than_allowed_wait_in_the_backlog(entrance: MakeEntrance) -> None:
    it = entrance(2)
    first = [it.connect() for _ in range(2)]
    assert [client.ask(get()).status for client in first] == [200, 200]
    third = it.connect()
    third.send(get())
    poll()
    assert it.doors.connections == 2


def test_a_client_that_waited_is_served_when_another_leaves(entrance: MakeEntrance) -> None:
    it = entrance(2)
    first = [it.connect() for _ in range(2)]
    for client in first:
        client.ask(get())
    third = it.connect()
    third.send(get("/third"))
    poll()
    first[0].leave()
    assert third.answer().body == b"/third"


def test_all_who_waited_are_served_one_after_the_other(entrance: MakeEntrance) -> None:
    it = entrance(1)
    clients = [it.connect() for _ in range(5)]
    for client in clients:
        client.send(get("/", "Connection: close"))
    assert [client.answer().status for client in clients] == [200] * 5


@pytest.mark.parametrize("max_accept", [1, 64])
def test_the_ceiling_holds_for_many_at_once(entrance: MakeEntrance, max_accept: int) -> None:
    it = entrance(3, max_accept=max_accept)
    for _ in range(10):
        it.connect()
    until(lambda: it.doors.connections == 3)
    poll()
    assert it.doors.connections == 3


def test_the_ceiling_is_one_line_in_the_log(entrance: MakeEntrance) -> None:
    it = entrance(1)
    clients = [it.connect() for _ in range(4)]
    until(lambda: it.log)
    poll()
    assert (len(it.log), "worker-connections = 1" in it.log[0], len(clients)) == (1, True, 4)


def test_a_full_house_does_not_spin_the_loop(entrance: MakeEntrance) -> None:
    it = entrance(1)
    for _ in range(3):
        it.connect()
    until(lambda: it.log)
    assert turns() < 10


# ------------------------------------------------------------------ errors of accept()


class Failing:
    """Stands in for the raw listening socket: accept() fails as told, then works again."""

    def __init__(self, sock: Any, *errors: OSError) -> None:
        self._sock = sock
        self.errors = list(errors)
        self.calls = 0

    def _accept(self) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self._sock._accept()


def failing(it: Entrance, *numbers: int) -> Failing:
    """Let accept() fail with these errors."""
    it.listener._raw = raw = Failing(it.listener._raw, *[OSError(each, errno.errorcode[each]) for each in numbers])
    return raw


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_client_is_served_when_accepting_works_again(entrance: MakeEntrance, number: int) -> None:
    it = entrance()
    failing(it, number, number)
    assert it.connect().ask(get("/late")).body == b"/late"


def test_accept_errors_are_one_line_when_they_begin_and_one_when_they_end(
    entrance: MakeEntrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenproxy.server.shortage._CALM_S", 0.05)
    it = entrance()
    failing(it, errno.EMFILE, errno.EMFILE, errno.EMFILE)
    it.connect().ask(get())
    until(lambda: len(it.log) > 1)
    assert [line.split(":")[0] for line in it.log] == ["cannot accept connections for now", "there are descriptors again"]


def test_a_shortage_with_an_accept_now_and_then_is_one_line(entrance: MakeEntrance) -> None:
    it = entrance()
    for _ in range(3):
        failing(it, errno.EMFILE)
        it.connect().ask(get())
    assert [line.split(":")[0] for line in it.log] == ["cannot accept connections for now"]


def test_accepting_pauses_longer_with_every_error(entrance: MakeEntrance) -> None:
    it = entrance()
    raw = failing(it, *[errno.EMFILE] * 100)
    it.connect()
    gevent.sleep(0.2)
    few = raw.calls
    raw.errors.clear()
    assert 2 <= few < 8  # 10, 20, 40, 80 ms


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
def test_an_error_of_one_connection_is_no_reason_to_pause(entrance: MakeEntrance, number: int) -> None:
    it = entrance()
    failing(it, number, number)
    assert (it.connect().ask(get()).status, it.log) == (200, [])


def test_idle_connections_make_room_when_descriptors_run_out(entrance: MakeEntrance) -> None:
    it = entrance()
    idle = it.connect()
    idle.ask(get())
    until(lambda: it.doors.idle)
    failing(it, errno.EMFILE)
    it.connect().ask(get())
    assert idle.until_closed() == b""


def test_while_idle_connections_make_room_nobody_waits_longer_and_longer(entrance: MakeEntrance) -> None:
    it = entrance()
    for _ in range(8):  # 10, 20 ... 1280 ms, were the pauses longer each time
        it.connect().ask(get())
        until(lambda: it.doors.idle)
        failing(it, errno.EMFILE)
    begun_s = monotonic()
    it.connect().ask(get())
    assert monotonic() - begun_s < 0.5


def test_a_client_that_leaves_ends_the_pause(entrance: MakeEntrance) -> None:
    it = entrance()
    first, last = it.slow(), it.slow()
    failing(it, *[errno.EMFILE] * 7)  # pauses of 640 ms by now
    waiting = it.connect()
    until(lambda: not it.listener._raw.errors)
    it.gate.set()
    first.answer()
    begun_s = monotonic()
    first.leave()
    waiting.ask(get())
    assert monotonic() - begun_s < 0.3
    last.answer()


def test_a_listener_that_pauses_can_be_closed(entrance: MakeEntrance) -> None:
    it = entrance()
    raw = failing(it, *[errno.EMFILE] * 100)
    it.connect()
    until(lambda: it.log)
    it.listener.close()
    before = raw.calls
    turns(0.05)
    assert raw.calls == before


# ------------------------------------------------------------------ the drain


def test_new_connections_are_refused(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    it.drain()
    with pytest.raises(ConnectionRefusedError):
        it.connect()


def test_a_request_in_flight_is_answered_with_close(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.slow()
    draining = it.drain()
    it.gate.set()
    answer = client.answer()
    draining.join(5)
    assert (answer.body, answer.says_close, client.is_closed(), draining.ready()) == (b"/slow", True, True, True)


def test_a_drain_waits_for_what_is_in_flight(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    draining = it.drain()
    poll()
    assert not draining.ready()


def test_a_drain_without_connections_is_over_at_once(entrance: MakeEntrance) -> None:
    draining = entrance().drain()
    draining.join(0.5)
    assert draining.ready()


def test_a_request_on_an_idle_connection_is_still_served(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.connect()
    client.ask(get())
    it.drain()
    answer = client.ask(get("/late"))
    assert (answer.body, answer.says_close, client.is_closed()) == (b"/late", True, True)


def test_the_first_request_of_a_connection_that_was_silent_is_served(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.connect()
    until(lambda: it.doors.idle)
    it.drain()
    assert client.ask(get("/late")).says_close


@pytest.mark.usefixtures("quick")
def test_an_idle_connection_is_closed_after_a_moment(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.connect()
    client.ask(get())
    draining = it.drain(Leaving(linger_s=0.1))
    assert client.until_closed() == b""
    draining.join(5)


@pytest.mark.usefixtures("quick")
def test_a_connection_that_never_asked_is_closed_last(entrance: MakeEntrance) -> None:
    it = entrance()
    idle, silent = it.connect(), it.connect()
    idle.ask(get())
    until(lambda: it.doors.idle == 2)
    draining = it.drain(Leaving(linger_s=0.1))
    idle.until_closed()
    was_open = it.doors.connections
    silent.until_closed()
    draining.join(5)
    assert (was_open, it.doors.connections) == (1, 0)


@pytest.mark.usefixtures("quick")
def test_a_request_of_which_a_part_is_here_is_waited_for(entrance: MakeEntrance) -> None:
    it = entrance()
    silent, half = it.connect(), it.connect()
    half.send(get("/half")[:-2])
    until(lambda: it.front.reading and it.front.idle)
    it.drain(Leaving(linger_s=0.01))
    silent.until_closed()
    poll()
    half.send(b"\r\n")
    assert half.answer().body == b"/half"


def test_what_is_not_over_at_the_timeout_is_cut(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.slow()
    it.drain(Leaving(0.05)).join(5)
    assert (client.answer().status, it.reasons) == (503, ["stopped"])


def test_the_cut_is_one_line_in_the_log(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    it.drain(Leaving(0.05)).join(5)
    assert ["connections that are cut: 1" in line for line in it.log] == [True]


def test_a_fast_stop_does_not_wait(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    it.drain(Leaving(60.0, hurry=True)).join(5)
    assert it.reasons == ["stopped"]


def test_a_stop_may_turn_fast(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    leave = Leaving(60.0)
    draining = it.drain(leave)
    poll()
    waited = not draining.ready()
    leave.hurry = True
    draining.join(5)
    assert (waited, it.reasons) == (True, ["stopped"])


def test_every_turn_is_notified(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    leave = Leaving(0.2)
    it.doors.drain(leave)
    assert leave.beats >= 3


def test_the_time_that_is_left_may_get_shorter(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    leave = Leaving(600.0)
    draining = it.drain(leave)
    poll()
    waited = not draining.ready()
    leave.until_s = 0.0
    draining.join(5)
    assert (waited, it.reasons) == (True, ["stopped"])


def test_the_log_names_the_key_that_bounds_the_drain(entrance: MakeEntrance) -> None:
    it = entrance()
    it.slow()
    it.drain(Leaving(0.05)).join(5)
    assert it.log == ["graceful-timeout is over; connections that are cut: 1"]


def test_idle_connections_stay_as_long_as_the_leave_lets_them_linger(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.connect()
    client.ask(get())
    it.drain(Leaving(60.0, linger_s=60.0))
    poll()
    assert client.ask(get("/late")).says_close


def test_a_drain_leaves_no_watcher(entrance: MakeEntrance) -> None:
    before = watchers()
    it = entrance()
    it.connect().ask(get("/", "Connection: close"))
    it.drain(Leaving(0.1)).join(5)
    assert watchers() == before


def test_a_connection_that_gets_idle_during_the_drain_lingers_from_then(entrance: MakeEntrance) -> None:
    it = entrance()
    client = it.connect()
    client.send(get("/download"))
    while b"begun " not in client.buffer:
        client.buffer += client.sock.recv(4096)
    it.drain(Leaving(60.0, linger_s=0.3))
    gevent.sleep(0.4)
    it.gate.set()
    assert client.answer().body == b"begun ended"
    assert client.ask(get("/late")).says_close


def test_connections_that_wait_in_the_backlog_are_served(entrance: MakeEntrance) -> None:
    it = entrance()
    waiting = [socket.create_connection(it.address) for _ in range(20)]  # the loop has not turned since
    it.drain()
    for sock in waiting:
        client = HubClient(HubSocket(fileno=sock.detach()))
        assert client.ask(get("/late")).says_close
        client.leave()
