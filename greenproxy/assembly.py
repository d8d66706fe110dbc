"""Assembly: settings in, a running house out. The only file that knows every room."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from greenproxy.apps.admin import admin
from greenproxy.apps.answers import redirect, status
from greenproxy.config.settings import (
    Address,
    ListenerSettings,
    MiddlewareSettings,
    RelaySettings,
    RouteSettings,
    Settings,
    UpstreamSettings,
)
from greenproxy.deadline import Limit
from greenproxy.errors import NoDescriptor, NoRoute, ProxyError
from greenproxy.messages import Handler, Request, Response
from greenproxy.middleware.chain import BoundMiddleware, chain
from greenproxy.middleware.loading import bind
from greenproxy.net.dial import SockAddr, dial
from greenproxy.net.recycler import Recycler
from greenproxy.net.resolver import Resolver
from greenproxy.net.splice import PIPE
from greenproxy.net.stream import Stream
from greenproxy.net.tls_contexts import ServerContext
from greenproxy.observability.access_log import AccessLog
from greenproxy.observability.board import Board
from greenproxy.observability.census import census
from greenproxy.observability.error_pages import error_response
from greenproxy.observability.layout import Layout
from greenproxy.observability.metrics import Metrics
from greenproxy.observability.names import names_of, of_listener
from greenproxy.observability.pulse import Pulse
from greenproxy.observability.rows import State
from greenproxy.observability.statsd import Statsd
from greenproxy.observability.status import snapshot
from greenproxy.observability.verdicts import read_verdicts
from greenproxy.proxy.reverse import ReverseProxy
from greenproxy.routing.router import Router
from greenproxy.routing.table import Route, stripped
from greenproxy.server.doors import Doors, Leave
from greenproxy.server.front import Front, Services
from greenproxy.server.serve import Funnel
from greenproxy.server.shortage import Shortage
from greenproxy.server.side_doors import SideDoors
from greenproxy.server.tls_front import TlsFront
from greenproxy.upstream.group import Upstream

#: A worker that is told to leave knows after so long whether all stop: Ctrl-C reaches it before its master has said so.
_DOUBT_S = 1.0


class House:
    """Everything that one worker runs. Make it in the worker, behind the fork; `start` serves, `stop` drains.

    `layout` is the board's for these settings, made in the master. Without a board this worker knows of no others. `lane` is the
    queue of each address that is this worker's own (`reuse-port`).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: logging.Logger,
        board: Board | None = None,
        layout: Layout | None = None,
        slot: int = 0,
        lane: int | None = None,
        tls: Mapping[str, ServerContext] | None = None,
    ) -> None:
        self._settings = settings
        self._shown = settings  # with the addresses that listeners really have
        self._log = log
        self._tls = tls or {}
        self._certificates = {name: context.certificates for name, context in self._tls.items()}
        if board is None or layout is None:
            names, slot = names_of(settings), 0
            board = Board(slots=1, columns=len(names.all()))
            layout = board.layout(names.gauges, names.counters, names.verdicts)
        self._board, self._layout, self._slot, self._lane = board, layout, slot, lane
        process = settings.process
        self._recycler = Recycler()
        self._metrics = Metrics()
        self._resolver = Resolver(process.resolve_interval_s, log)
        self._upstreams = {each.name: self._upstream(each) for each in settings.upstreams}
        self._shortage = Shortage(log)
        self._doors = Doors(process.worker_connections, log, shortage=self._shortage)
        self._side_doors = SideDoors(self._recycler, self._error_page, log, self._shortage)
        for upstream in self._upstreams.values():
            self._shortage.add(upstream.shed)
        self._is_leaving = False
        self._access_log = None if process.access_log == "off" else AccessLog(process.access_log, process.access_log_format, log)
        self._fronts: list[Front] = []
        statsd = Statsd(process.statsd, process.statsd_prefix, process.statsd_tags, log) if process.statsd else None
        self._pulse = Pulse(self._metrics, self._numbers, statsd, settings, log, self._certificates)
        funnel = Funnel(self._metrics.finished, self._access_log.write if self._access_log else None, log)
        self._services = Services(self._recycler, funnel, self._error_page, self._doors.connection_closed)
        self._middlewares = {each.name: bind(each) for each in settings.middlewares}

    # -------------------------------------------------------------- life

    def start(self, listening: Sequence[tuple[ListenerSettings, Sequence[socket.socket]]]) -> None:
        """Serve clients on listening sockets, which become ours. Waits, a bounded moment, for the backends' names."""
        self._pulse.start(self._board, self._layout, self._slot)
        self._resolver.start()
        verdicts = read_verdicts(self._board, self._layout)
        for upstream in self._upstreams.values():
            upstream.inherit(verdicts)
            upstream.start()
        if self._access_log is not None:
            self._access_log.start()
        mine = {(each.name, each.protocol) for each in self._settings.listeners}
        bound = [_bound(listener, sockets) for listener, sockets in listening if (listener.name, listener.protocol) in mine]
        self._shown = replace(self._settings, listeners=tuple(bound))
        if self._pulse.index is not None:
            self._doors.share(self._board.seats, self._pulse.index, self._lane)
        max_accept = 1 if self._settings.process.workers > 1 else 64
        for listener, sockets in listening:
            if listener.protocol == "admin":
                self._side_doors.open(listener, self._admin(), sockets)
                continue
            front = self._front(listener)
            self._fronts.append(front)
            self._doors.open(front, sockets, max_accept=max_accept)
        self._pulse.become(State.SERVING)

    def _front(self, listener: ListenerSettings) -> Front:
        handler = self._handler(listener)
        if not listener.tls_certificate:
            return Front(listener, handler, self._services)
        return TlsFront(listener, handler, self._services, self._tls[listener.name], self._metrics.shaken, self._log)

    def stop(self, leave: Leave) -> None:
        """Drain: wait until what is going on has ended or `leave` has no more time, cut the rest, and close everything.

        The admin listener tells to the end that all stop; while others go on, it is they who answer.
        """
        self._is_leaving = True
        self._pulse.become(State.DRAINING)
        note = self._board.told()
        is_clear = note.is_stopping or note.generation != self._layout.generation
        self._side_doors.leave_if(self._do_others_serve, 0.0 if is_clear else _DOUBT_S)
        self._doors.drain(leave)
        self._side_doors.close()
        for upstream in self._upstreams.values():
            upstream.stop()
        self._resolver.stop()
        self._pulse.stop()
        if self._access_log is not None:
            self._access_log.close()

    def _do_others_serve(self) -> bool:
        note = self._board.told()
        is_end_of_all = note.is_stopping and not note.is_one_of_two
        return not is_end_of_all and note.pid == os.getppid()

    def reopen_logs(self) -> None:
        """Open the access log anew, after somebody moved its file away."""
        if self._access_log is not None:
            self._access_log.reopen()

    def status(self, pid: int | None = None) -> dict[str, Any] | None:
        """Return the document of `/api/status`: of all workers, or of one by its process id; None if there is no such one."""
        return snapshot(self._board, self._layout, self._shown, pid, self._certificates)

    @property
    def requests(self) -> int:
        """Requests served since the start."""
        return self._doors.requests

    @property
    def connections(self) -> int:
        """Open client connections."""
        return self._doors.connections

    def _numbers(self) -> dict[str, float]:
        """Return what the rooms of this worker know of themselves, by the names on the board."""
        numbers: dict[str, float] = {
            "connections.active": self._doors.connections - self._doors.idle,
            "connections.idle": self._doors.idle,
        }
        for front in self._fronts:
            numbers[of_listener(front.settings.name, "connections")] = front.connections
            numbers[of_listener(front.settings.name, "requests")] = front.requests
        for upstream in self._upstreams.values():
            numbers.update(upstream.numbers())
        return numbers

    def _error_page(self, error: ProxyError, request: Request | None) -> Response:
        accept = (request.headers.get("accept") or "") if request is not None else ""
        page = error_response(error, accept, self._settings.process.server_header)
        for edit in error.edits:
            edit(page)
        return page

    # -------------------------------------------------------------- the admin listener

    def _admin(self) -> Handler:
        process = self._settings.process
        return admin(self.status, self._why_not_ready, lambda: census(self._held), process.admin_token, process.server_header)

    def _held(self) -> dict[str, Any]:
        """Return what the rooms of this worker hold now, for `/api/resources`."""
        waiting = {
            "idle": self._doors.idle,
            "reading": sum(len(front.reading) for front in self._fronts),
            "lingering": sum(len(front.lingering) for front in self._fronts),
        }
        open_ = self._doors.connections
        return {
            "idle_greenlets": self._recycler.idle,
            "pipes": PIPE.descriptors,
            "clients": {"open": open_, "serving": open_ - sum(waiting.values()), **waiting},
            "admin_clients": self._side_doors.connections,
            "upstreams": [upstream.held() for upstream in self._upstreams.values()],
        }

    def _why_not_ready(self) -> str:
        """Return why requests had better go elsewhere, "" if they are welcome."""
        note = self._board.told()
        if note.is_stopping or (self._is_leaving and note.pid != os.getppid()):  # who is only replaced has a successor
            return "stopping"
        lost = [name for name, upstream in self._upstreams.items() if not upstream.available()]
        return "; ".join(f"upstream {name} has no available backend" for name in lost)

    def _upstream(self, settings: UpstreamSettings) -> Upstream:
        return Upstream(settings, self._resolver, self._metrics, self._log, dial=self._dial, changed=lambda: self._pulse.news())

    def _dial(self, target: SockAddr, limit: Limit) -> Stream:
        """Return a stream connected to a backend, as `dial`; when no descriptor is left, somebody idle makes room for it."""
        try:
            return dial(target, limit)
        except NoDescriptor as error:
            if not self._shortage.relieve(f"cannot connect to backends for now: {error}"):
                raise
        return dial(target, limit)

    # -------------------------------------------------------------- handlers

    def _handler(self, listener: ListenerSettings) -> Handler:
        """Return what answers the requests of a listener: its middleware around its routes around its upstream."""
        default: Handler | None = None
        if listener.upstream:
            default = self._proxy(listener.upstream, self._upstreams[listener.upstream].settings.relay)
            default = _limited(default, listener.max_body_bytes)
        mine = [route for route in self._settings.routes if not route.listener or listener.name in route.listener]
        handler: Handler
        if mine:
            handler = Router([self._route(route, listener) for route in mine], default)
        else:
            handler = default if default is not None else _no_route
        return self._behind(listener.middleware, handler)

    def _route(self, route: RouteSettings, listener: ListenerSettings) -> Route:
        if route.redirect:
            answer = redirect(route, self._settings.process.server_header)
        elif route.status:
            answer = status(route, self._settings.process.server_header)
        else:
            name = route.upstream or listener.upstream
            answer = self._proxy(name, route.relay or self._upstreams[name].settings.relay)
            if route.strip_prefix:
                answer = stripped(answer, route.strip_prefix)
        max_body_bytes = listener.max_body_bytes if route.max_body_bytes is None else route.max_body_bytes
        return Route(route, _limited(self._behind(route.middleware, answer), max_body_bytes), max_body_bytes)

    def _proxy(self, name: str, relay: RelaySettings) -> Handler:
        upstream = self._upstreams[name]
        replaces_host = upstream.settings.host_header == "backend"
        via = self._settings.process.via
        proxy = ReverseProxy(upstream, relay, self._recycler, via=via, replaces_host=replaces_host)
        return (
            proxy.__call__
        )  # the method: calling the object would take the way through C, and deepen the stack that is switched

    def _behind(self, names: Sequence[str], handler: Handler) -> Handler:
        return chain([self._middleware(name) for name in names], handler, self._recycler.expose, self._log)

    def _middleware(self, name: str) -> BoundMiddleware:
        bound = self._middlewares.get(name)
        if bound is None:  # a built-in, named without a section
            bound = self._middlewares[name] = bind(MiddlewareSettings(name=name, type=name))
        return bound


def _bound(listener: ListenerSettings, sockets: Sequence[socket.socket]) -> ListenerSettings:
    """Return a listener with the addresses of its sockets: port 0 is what the kernel made of it."""
    names = dict.fromkeys(sock.getsockname() for sock in sockets)  # lanes have one name
    bind = [Address(host=name[0], port=name[1]) if isinstance(name, tuple) else Address(path=os.fsdecode(name)) for name in names]
    return replace(listener, bind=tuple(bind))


def _no_route(_request: Request) -> Response:
    raise NoRoute


def _limited(handler: Handler, max_bytes: int) -> Handler:
    """Return `handler` behind a limit for request bodies: what is announced as longer is refused before it is read."""
    if not max_bytes:
        return handler

    def limited(request: Request) -> Response:
        set_limit = getattr(request.body, "set_limit", None)
        if set_limit is not None:  # a body that a middleware made is its own business
            set_limit(max_bytes)
        return handler(request)

    return limited
