"""Estate: what a master holds for its workers, and how it passes from one configuration to the next.

Listening sockets, the pid file, the demo backends and the error log. `move_in` gets what a new configuration needs beside
what the old one has, so that either can be let go afterwards: the old one by `settle`, the new one by `move_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from greenproxy.config.settings import Address, ListenerSettings, Settings
from greenproxy.observability.board import Board
from greenproxy.process.admin_listener import ADMIN, admin_listener
from greenproxy.process.announcements import announce_upstreams
from greenproxy.process.demos import Demos
from greenproxy.process.inherited import Inherited
from greenproxy.process.lanes import narrow, open_lanes, widen
from greenproxy.process.listening import (
    Door,
    ListeningSocket,
    at_hand_of,
    bound_address,
    close_sockets,
    open_doors,
    queues_of,
    settle_files,
    shown,
)
from greenproxy.process.master_log import MasterLog
from greenproxy.process.pid_file import OwnPidfile, PidFileTaken
from greenproxy.process.prepared import Prepared, prepare


class Tenant(Protocol):
    """A configuration, and what the estate has for it."""

    settings: Settings
    cfg: Any  # gunicorn's configuration, made from the settings
    prepared: Prepared
    pid_file: OwnPidfile | None
    undo: ExitStack  # gives back what it got, until it has settled


class Estate:
    """Owns all of it for the life of the master."""

    def __init__(self, log: MasterLog, pid: int, has_other: Callable[[], bool]) -> None:
        """`has_other()` says whether another master serves beside this one, on the same sockets and files (USR2)."""
        self.board = Board()
        self.demos = Demos(log.error_log)
        self._log = log
        self._say = log.error_log
        self._pid = pid
        self._has_other = has_other
        self.pid_file_suffix = ""  # there is one while a predecessor has the name
        self._doors: tuple[Door, ...] = ()
        self._opened: list[Any] = []

    # -------------------------------------------------------------- from one to the next

    def move_in(self, new: Tenant, before: Tenant | None, inherited: Inherited | None = None) -> None:
        """Get what `new` needs: open what is not open, take over what is, or what this process was born with.

        Raises CannotListen, PidFileTaken, BadPair or OSError; nothing has changed then.
        """
        with ExitStack() as undo:
            self._change_log(new, before, undo)
            self._take_pid_file(new, before, undo)
            doors = self._open_doors(new, inherited, undo)
            new.prepared = prepare(new.settings, doors, self.board, self._say, [before.prepared.layout] if before else ())
            if before is None or before.settings.upstreams != new.settings.upstreams:
                announce_upstreams(new.settings, self._say)
            started = self.demos.start(new.settings.demos)
            undo.callback(self._end_demos, started, before)
            new.undo = undo.pop_all()

    def settle(self, new: Tenant, before: Tenant | None) -> None:
        """Let go of what only `before` needed."""
        new.undo.pop_all()  # nothing to give back any more
        self._close_all_but(new.prepared.doors)
        self._doors = new.prepared.doors
        self.board.tell(generation=new.prepared.generation)
        self.demos.keep(new.settings.demos)
        if before is not None and before.pid_file is not None and before.pid_file is not new.pid_file:
            before.pid_file.unlink()
        if before is not None and before.cfg.backlog != new.cfg.backlog:
            for sock in self.sockets:
                for queue in queues_of(sock):
                    queue.listen(new.cfg.backlog)  # on a socket that listens this changes the length of its queue
        for sock in self.sockets:
            try:
                open_lanes(sock, new.cfg.backlog)
            except OSError as error:
                self._say.error("some lanes of %s cannot listen, workers share the others: %s", shown(sock), error.strerror)
        for door in self._doors:
            settle_files(door, new.cfg, self._say)

    def move_out(self, new: Tenant) -> None:
        """Give back what `move_in` got for `new`."""
        new.undo.close()

    # -------------------------------------------------------------- doors

    @property
    def heirlooms(self) -> list[tuple[Address, Any]]:
        """All listening sockets, each with the address as the configuration has it, for a new program (USR2).

        The lanes of an address come behind it.
        """
        pairs = [pair for door in self._doors for pair in zip(door.listener.bind, door.sockets, strict=True)]
        return [(address, each) for address, sock in pairs for each in (sock, *sock.lanes)]

    @property
    def sockets(self) -> list[Any]:
        """All listening sockets of the settled configuration."""
        return [sock for door in self._doors for sock in door.sockets]

    @property
    def open_sockets(self) -> list[Any]:
        """All listening sockets that are open, also those that only a configuration has that is being tried."""
        self._opened = [sock for sock in self._opened if sock.fileno() >= 0]
        return list(self._opened)

    def _open_doors(self, new: Tenant, inherited: Inherited | None, undo: ExitStack) -> tuple[Door, ...]:
        admin = admin_listener(new.settings)
        listeners: list[ListenerSettings] = [*new.settings.listeners, *([admin] if admin else [])]
        mine = self.sockets
        at_hand: Mapping[Address, Sequence[Any]] = at_hand_of(self._doors)
        if inherited is not None:
            at_hand = inherited.at_hand(address for listener in listeners for address in listener.bind)
        doors = open_doors(listeners, new.cfg, at_hand)
        opened = [sock for door in doors for sock in door.sockets if sock not in mine]
        undo.callback(close_sockets, opened, leaves_files=inherited is not None)  # which may be the predecessor's
        self._opened += opened
        for door in doors:
            for sock in door.sockets:
                self._share(sock, door.listener, new, undo, is_new=sock in opened)
        return doors

    def _share(self, sock: ListeningSocket, listener: ListenerSettings, new: Tenant, undo: ExitStack, *, is_new: bool) -> None:
        """Let the workers share a socket, or its lanes with `reuse-port`; say that it listens, and how it is shared."""
        has_lanes = new.settings.process.reuse_port and listener.protocol != ADMIN
        before = len(queues_of(sock))
        why_not = self._widen(sock, new.cfg.workers, undo) if has_lanes else ""
        where, queues = shown(sock, listener), "a queue for each worker (reuse-port)"
        if is_new:
            self._say.info("listening on %s (%s)%s", where, listener.name, f", {queues}" if has_lanes and not why_not else "")
        elif len(queues_of(sock)) > before:
            self._say.info("%s: %s", where, queues)
        if why_not:
            self._say.info("reuse-port does not hold for %s, whose queue the workers share: %s", where, why_not)

    def _widen(self, sock: ListeningSocket, workers: int, undo: ExitStack) -> str:
        """Give a socket a lane for each worker. Returns why not, "" if it has them; without, all share what there is."""
        if len(queues_of(sock)) >= workers:
            return ""
        if bound_address(sock).path:
            return "it is a Unix socket"
        if sock.is_lent:
            return "it is systemd's"
        if self._has_other():
            return "another program has it too (USR2): until the next reload"
        try:
            undo.callback(narrow, sock, widen(sock, workers))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _close_all_but(self, doors: Sequence[Door]) -> None:
        kept = [sock for door in doors for sock in door.sockets]
        gone = [sock for sock in self.sockets if sock not in kept]
        for sock in gone:
            self._say.info("no longer listening on %s", shown(sock))
        close_sockets(gone, leaves_files=self._has_other())

    def close_doors(self, *, keeps_admin: bool = False) -> None:
        """Listen no more. Workers have the sockets too, and close theirs when they drain; the admin's last of all."""
        kept = tuple(door for door in self._doors if keeps_admin and door.listener.protocol == ADMIN)
        gone = [sock for door in self._doors if door not in kept for sock in door.sockets]
        close_sockets(gone, leaves_files=self._has_other())
        self._doors = kept

    def _take_pid_file(self, new: Tenant, before: Tenant | None, undo: ExitStack) -> None:
        if before is not None and before.cfg.pidfile == new.cfg.pidfile:
            new.pid_file = before.pid_file
        elif new.cfg.pidfile:
            new.pid_file = OwnPidfile(new.cfg.pidfile + self.pid_file_suffix)
            new.pid_file.create(self._pid)
            undo.callback(new.pid_file.unlink)

    def take_pid_file_over(self, tenant: Tenant) -> None:
        """Put the pid file where it belongs, after the predecessor that had it there has gone."""
        self.pid_file_suffix = ""
        if tenant.pid_file is not None:
            try:
                tenant.pid_file.rename(tenant.cfg.pidfile)
            except PidFileTaken as error:
                self._say.error("%s", error)

    # -------------------------------------------------------------- the rest

    def _change_log(self, new: Tenant, before: Tenant | None, undo: ExitStack) -> None:
        if before is None or (before.cfg.errorlog, before.cfg.loglevel) == (new.cfg.errorlog, new.cfg.loglevel):
            return
        self._log.setup(new.cfg)
        undo.callback(self._restore_log, before)

    def _restore_log(self, before: Tenant) -> None:
        try:
            self._log.setup(before.cfg)
        except OSError as error:
            self._say.error("the error log of before cannot be opened again, this one goes on: %s", error)

    def _end_demos(self, started: Sequence[int], before: Tenant | None) -> None:
        self.demos.let_go(started)
        if before is not None:
            self.demos.keep(before.settings.demos)
