"""Stage: a house in this process (front, middleware, proxy, upstream) that plays a scenario, and what must hold behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event
from gevent.ssl import SSLContext

from greenproxy.config.settings import ListenerSettings
from greenproxy.errors import ProxyError
from greenproxy.messages import Request, Response
from greenproxy.middleware.chain import BoundMiddleware, chain
from greenproxy.net.recycler import Recycler
from greenproxy.net.resolver import Resolver
from greenproxy.net.splice import PIPE
from greenproxy.net.tls_contexts import context_of
from greenproxy.observability.census import census
from tests.authorities import Authority
from tests.client import Answer, Cut, get
from tests.fakes import memory_logger
from tests.fronts import LoneFront
from tests.hub import HubClient, poll
from tests.kill.backend import HubBackend
from tests.kill.waits import Waits
from tests.proxy.edge import Edge
from tests.scripts import Connection, Script, always, answer, expect_request, send

OK = answer(b"ok")
PAGE = b"e" * 10000  # the error pages of a house that `has_long_pages`
PART, REST = b"part of it, ", b"and the rest"
_OTHERS = "/other", "/side"  # who asks for these meets no middleware
_GREENLETS = "greenlets"
PATIENCE_S = 2.0  # far more than anything takes here, where nobody waits for another process


def _soon(predicate: Callable[[], bool]) -> None:
    """Let the hub run until that holds. Raises AssertionError when it does not come to that. Has no timer while it asks."""
    end_s = monotonic() + PATIENCE_S
    while not predicate():
        assert monotonic() < end_s, "what must happen did not"
        gevent.sleep(0.0005)


@dataclass(frozen=True)
class Scenario:
    """What one client does, and the house it meets.

    `play` appends the answers it got; played without a strike they are `expected`, as (status, body). `scripts` makes those
    of each backend, for the connections of one play; a backend without any does not listen. `warm` is how many requests are
    made on the side before it begins, so that connections are idle. `crowd` requests hold slots until `Stage.make_room`.
    """

    name: str
    play: Callable[[Stage, HubClient, list[Answer]], None]
    scripts: Callable[[], Sequence[Sequence[Script]]] = lambda: [[always(OK)]]
    expected: Sequence[tuple[int, bytes]] = ((200, b"ok"),)
    middlewares: Sequence[BoundMiddleware] = ()
    upstream: dict[str, Any] = field(default_factory=dict)
    front: dict[str, Any] = field(default_factory=dict)
    warm: int = 0
    buffers: int = 0
    crowd: int = 0
    is_crowd_uploading: bool = False  # then it keeps its slots by bodies that do not go on
    refused: int = 0  # answers to what never became a request
    is_narrow: bool = False  # the kernel holds little between proxy and backend
    has_own_greenlets: bool = False  # middleware makes some, whose errors go to the hub
    is_secure: bool = False  # clients speak TLS
    has_long_pages: bool = False  # error pages are longer than what the kernel holds between proxy and client


@cache
def _context() -> SSLContext:
    """What the clients of this process are spoken to, where they speak TLS."""
    with TemporaryDirectory() as folder:
        pair = Authority(Path(folder)).issue("localhost")
        return context_of(ListenerSettings(name="web", tls_certificate=(str(pair.certificate),), tls_key=(str(pair.key),)))


class _LongPages(LoneFront):
    """A front whose error pages no client gets in one piece."""

    @staticmethod
    def _page(error: ProxyError, _request: Request | None) -> Response:
        return Response(error.status, {"X-Reason": error.reason}, PAGE)


class Stage:
    """A scenario's house. One other exchange is in flight on it from the beginning to the end, and must not be harmed."""

    def __init__(self, scenario: Scenario, resolver: Resolver, folder: Path) -> None:
        self.scenario = scenario
        self.log, _ = memory_logger()
        path = str(folder / "backend.sock") if scenario.is_narrow else ""
        self.backends = [HubBackend(f"b{n}", path, is_deaf=not each) for n, each in enumerate(scenario.scripts())]
        changes = {"pool_size": 8, "max_fails": 0, "pool_queue_timeout_s": 30.0, **scenario.upstream}
        self.edge = Edge(resolver, self.log, *self.backends, **changes)  # type: ignore[arg-type]  # it asks for no more of them
        self.begun = 0
        handler = chain(scenario.middlewares, self.edge.proxy, Recycler.expose, self.log)

        def counted(request: Request) -> Response:
            self.begun += 1
            return (self.edge.proxy if request.target in _OTHERS else handler)(request)

        tls = _context() if scenario.is_secure else None
        self.front = (_LongPages if scenario.has_long_pages else LoneFront)(counted, tls, **scenario.front)
        self.client: HubClient | None = None
        self._refused = 0
        self._end, self._room = Event(), Event()
        self._bystander = self._in_flight(self._end, PART, REST)
        self._crowd: list[HubClient] = []
        self._before: dict[str, Any] = {}
        self.begin()

    # -------------------------------------------------------------- others

    def _in_flight(self, gate: Event, part: bytes, rest: bytes) -> HubClient:
        """Return a client whose answer has begun and goes on when `gate` opens."""

        def wait(_: Connection) -> None:
            assert gate.wait(60.0), "nobody opened the gate"

        whole = answer(part + rest)
        for backend in self.backends:
            backend.play([expect_request, send(whole[: -len(rest)]), wait, send(rest), always(OK)])
        client = self.front.connect()
        client.send(get("/other"))
        while part not in client.buffer:
            client.more()
        return client

    def _uploading(self) -> HubClient:
        """Return a client in the middle of its body."""
        for backend in self.backends:
            backend.play(always(OK))
        client = self.front.connect()
        client.send(get("/other", f"Content-Length: {len(PART + REST)}", method="PUT") + PART)
        # A backend that accepts it only behind the next `play` would take it for a connection of that play.
        _soon(lambda: any(backend.is_reached for backend in self.backends))
        return client

    def make_room(self) -> None:
        """Let those who crowd the pool get on."""
        poll()
        poll()
        self._open_room()

    def _open_room(self) -> None:
        if not self._room.is_set() and self.scenario.is_crowd_uploading:
            for each in self._crowd:
                each.send(REST)
        self._room.set()

    def bystanders(self) -> set[object]:
        """The greenlets that are of the test."""
        return set().union(*(backend.greenlets for backend in self.backends))

    def reset_backends(self) -> None:
        """Break what backends have with the play."""
        for backend in self.backends:
            backend.reset()

    # -------------------------------------------------------------- one play

    def play(
        self, at: int = 0, strike: Callable[[Stage, Any], None] = lambda _stage, _victim: None
    ) -> tuple[Waits, list[Answer]]:
        """Play the scenario; at its wait number `at`, call `strike`. Return the waits and the answers that the client got."""
        scenario = self.scenario
        self._room.clear()
        join = self._uploading if scenario.is_crowd_uploading else lambda: self._in_flight(self._room, PART, REST)
        self._crowd = [join() for _ in range(scenario.crowd)]
        for backend, scripts in zip(self.backends, scenario.scripts(), strict=True):
            backend.play(*scripts)
        for _ in range(scenario.warm):
            self._ask_on_the_side()
        self._refused += scenario.refused
        answers: list[Answer] = []
        self.client = client = self.front.connect(buffers=scenario.buffers)
        client.sock.settimeout(PATIENCE_S)
        with Waits(self.bystanders, at, lambda victim: strike(self, victim)) as waits:
            try:
                scenario.play(self, client, answers)
            except (Cut, OSError) as error:
                if isinstance(error, TimeoutError) or not waits.has_struck:
                    raise
            finally:
                client.leave()
                self._open_room()
                for backend in self.backends:
                    backend.released.set()
            for each in self._crowd:
                expected = b"ok" if scenario.is_crowd_uploading else PART + REST
                assert each.answer().body == expected, "somebody else's answer was harmed"
                each.leave()
            self._quiet()
        return waits, answers

    def _ask_on_the_side(self) -> None:
        client = self.front.connect()
        assert client.ask(get("/side")).body == b"ok"
        client.leave()

    # -------------------------------------------------------------- behind it

    def _quiet(self) -> None:
        """Wait until only the bystander is left."""
        front = self.front.front

        def is_quiet() -> bool:
            return (front.connections, self.edge.in_flight, len(front.lingering)) == (1, 1, 0)

        _soon(is_quiet)

    def _rest(self) -> None:
        """Let a new client be served, and everybody go who may go."""
        for backend in self.backends:
            backend.play(always(OK))
        self._ask_on_the_side()
        self._quiet()
        for each in self.edge.upstream.backends:
            each.pool.drop_idle()
        _soon(lambda: sum(backend.open for backend in self.backends) == 1)

    def _held(self) -> dict[str, Any]:
        """Return what this process and these rooms hold."""
        front = self.front.front
        found = census(self.edge.upstream.held)
        # The pipe for large bodies is everybody's, opened when first needed and kept.
        found["descriptors"]["pipe"] = found["descriptors"].get("pipe", 0) - PIPE.descriptors
        del found["watchers"]["active"]  # all kinds are here, and the loop has some of its own
        recycled = found[_GREENLETS].pop("_Runner", 0) - self.front.recycler.idle - self.edge.recycler.idle
        waiting = (len(front.idle), len(front.reading), len(front.lingering))
        return {**found, "greenlets at work": recycled, "waiting clients": waiting, "open": front.connections}

    def begin(self) -> None:
        """Let what there is now be what is there without a play."""
        self._rest()
        self._before = self._held()

    def left_behind(self) -> dict[str, Any]:
        """Return what is not as it was before the first play: {} if everything came back. The next client is served meanwhile."""
        self._rest()

        def changed() -> dict[str, Any]:
            now = self._held()
            return {what: (self._before[what], now[what]) for what in now if now[what] != self._before[what]}

        try:
            _soon(lambda: not changed())
        except AssertionError:
            return changed()
        return {}

    @property
    def uncounted(self) -> dict[str, int]:
        """Return how many exchanges were not counted and logged exactly once, by who should have."""
        begun = self.begun - 1 + self._refused  # the bystander's has not ended
        front = self.front
        counts = {"counted": len(front.endings), "logged": front.logged}
        return {who: begun - count for who, count in counts.items() if count != begun}

    def stop(self) -> None:
        """Let the bystander have its answer, and close the house."""
        self._end.set()
        try:
            assert self._bystander.answer().body == PART + REST, "the bystander's answer was harmed"
            self._bystander.leave()
        finally:
            self.front.stop()
            self.edge.stop()
            for backend in self.backends:
                backend.stop()
