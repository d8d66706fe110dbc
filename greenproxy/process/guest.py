"""Guest: greenproxy under plain gunicorn, `gunicorn -k greenproxy.worker.ProxyWorker greenproxy.ini`.

gunicorn's master is not ours, so what a master must do before it forks is done when it makes a worker object. The file
is read there, once at start and once per HUP: workers that gunicorn starts in between serve what their siblings serve,
and a file that is wrong on HUP costs nothing, because the previous settings stay.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import HaltServer

from greenproxy.certificates import BadPair
from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.options import load_settings, parse
from greenproxy.config.settings import Address, ListenerSettings, Settings
from greenproxy.net.tls_contexts import tls_contexts
from greenproxy.observability.board import Board
from greenproxy.process.admin_listener import ADMIN, admin_listener
from greenproxy.process.boots import Boots, Departure
from greenproxy.process.checks import ambiguous_routes
from greenproxy.process.gunicorn_master import Arbiter
from greenproxy.process.gunicorn_settings import SETTINGS, Fate, given_with
from greenproxy.process.inherited import hand_over, take
from greenproxy.process.listening import CannotListen, Door, at_hand_of, bound_address, close_sockets, open_doors, shown
from greenproxy.process.precedence import announce
from greenproxy.process.prepared import Prepared, prepare
from greenproxy.process.translation import first_of, with_gunicorn_settings

CANNOT_LISTEN, BAD_CONFIGURATION = 1, 2
_PAUSE_S = 1.0
#: Old workers give new ones so long to begin, however short graceful_timeout is: gunicorn does not kill on reload.
_BOOT_S = 10.0
_FILES = (".ini", ".conf")
#: Stands where gunicorn wants an application, for those who name the file in GREENPROXY_CONFIG.
_PLACEHOLDER = "greenproxy"


def configuration_file(app_uri: str, environ: Mapping[str, str]) -> str:
    """Return the file that gunicorn's positional argument, or GREENPROXY_CONFIG, names. Raises ConfigErrors."""
    if app_uri.endswith(_FILES):
        return app_uri
    usage = "gunicorn -k greenproxy.worker.ProxyWorker greenproxy.ini"
    if app_uri != _PLACEHOLDER:
        message = f"a WSGI application ({app_uri}) cannot be served in this version: name a configuration file, {usage}"
        raise ConfigErrors([ConfigError(message=message)])
    if not environ.get("GREENPROXY_CONFIG"):
        raise ConfigErrors([ConfigError(message=f"GREENPROXY_CONFIG is not set: set it, or name the file, {usage}")])
    return environ["GREENPROXY_CONFIG"]


def import_nothing() -> None:
    """Make gunicorn's `preload_app` import no application: there is none, and the file is read before the fork anyway."""
    WSGIApplication.load = lambda app: app.app_uri


def refusals(cfg: Any) -> list[str]:
    """Return a line for each gunicorn setting that must not be passed over in silence."""
    return [f"gunicorn's {name}: {SETTINGS[name].note}" for name in given_with(cfg, Fate.REFUSED)]


class Guest:
    """What one gunicorn master keeps for its workers, from its first worker to its end."""

    def __init__(self) -> None:
        self._cfg: Any = None
        self._settings: Settings | None = None  # what was read last, before it was made to fit
        self._prepared: Prepared | None = None  # its doors are those beyond gunicorn's own addresses
        self._previous: Prepared | None = None  # what was served before that
        self._arbiter = Arbiter(self._before_stop)
        self._handed_over: dict[Address, list[Any]] = {}
        self._boots: Boots | None = None
        self._is_retry = False  # whether the next worker comes after one that could not serve anything
        self._may_go_back = False  # what was read in this round is new, and not yet proved

    def prepare(self, app: Any, sockets: Sequence[Any], cfg: Any, log: Any) -> Prepared:
        """Return what the next worker serves; reads the file when gunicorn's configuration is a new one, or `reload` is on.

        Raises HaltServer, which ends gunicorn with an orderly message, when that fails at the first start.
        """
        is_new = cfg is not self._cfg
        if self._cfg is None:
            self._begin()
        assert self._boots is not None
        if is_new:
            self._cfg = cfg
            self._arbiter.watch(cfg, self._hand_over, _bury)
            self._boots.begin_round()
            self._may_go_back = False
        elif self._may_go_back and not cfg.reload and self._boots.have_failed:
            self._go_back(cfg, log)
        if is_new or cfg.reload:
            is_reload = self._prepared is not None and is_new
            try:
                self._renew(app, sockets, cfg, log, is_new)
            except (ConfigErrors, CannotListen) as error:
                self._refuse(error, log.error_log)
            else:
                if is_reload:
                    self._tell("done", "")
        assert self._prepared is not None
        self._is_retry = self._boots.are_hopeless
        return _with_first_door(self._prepared, sockets)

    def _begin(self) -> None:
        self._master_pid = os.getpid()
        self._handed_over = dict(take(os.environ).sockets)
        self._boots = Boots()
        self._boots.other_master = int(os.environ.get("GUNICORN_PID", 0))
        atexit.register(self._close)

    def _refuse(self, error: ConfigErrors | CannotListen, log: logging.Logger) -> None:
        for line in str(error).splitlines():
            log.error("%s", line)
        if self._prepared is not None:
            log.error("the new configuration is refused, the previous one stays")
            self._tell("refused", str(error))
            return
        if isinstance(error, CannotListen):
            raise HaltServer("cannot listen", CANNOT_LISTEN)
        raise HaltServer("the configuration cannot be used", BAD_CONFIGURATION)

    def _tell(self, state: str, message: str) -> None:
        """Note on the board, for whoever asks the admin listener, how a reload went."""
        assert self._prepared is not None
        board = self._prepared.board
        number = board.told().reload_number + (state != "undone")
        board.tell(reload_number=number, reload_state=state, reload_message=message)

    def _renew(self, app: Any, sockets: Sequence[Any], cfg: Any, log: Any, is_new: bool) -> None:
        refused = refusals(cfg)
        if refused:
            raise ConfigErrors([ConfigError(message=line) for line in refused])
        options = replace(parse([], os.environ), config=configuration_file(app.app_uri, os.environ))
        written = load_settings(options, os.environ, [ambiguous_routes])
        settings = with_gunicorn_settings(written, cfg)
        self._check_certificates(settings, cfg)
        if not is_new and settings == self._settings:
            return  # `reload`: it was the code that changed, or nothing
        self._take(settings, cfg, log)
        self._settings = settings
        announce(written, settings, cfg, [bound_address(sock) for sock in sockets], log.error_log)

    def _check_certificates(self, settings: Settings, cfg: Any) -> None:
        """Try the certificates, gunicorn's among them, of which the file says nothing. Raises ConfigErrors."""
        if cfg.certfile is None and (cfg.keyfile or cfg.ca_certs):
            raise ConfigErrors([ConfigError(message="gunicorn's keyfile and ca_certs go with certfile only")])
        try:
            tls_contexts(settings)
        except (BadPair, OSError) as error:
            raise ConfigErrors([ConfigError(message=f"certificates: {error}")]) from None

    def _take(self, settings: Settings, cfg: Any, log: Any) -> None:
        """Open what the settings want, and make them those of the next worker. Raises CannotListen, with nothing changed."""
        first = first_of(settings)
        if first is None:
            raise ConfigErrors([ConfigError(message="gunicorn's addresses need an http listener in the file")])
        others = [listener for listener in settings.listeners if listener is not first]
        admin = admin_listener(settings)
        doors = self._open([*others, admin] if admin else others, cfg, log)
        before = self._prepared
        board = before.board if before is not None else Board()
        self._previous = before
        self._prepared = prepare(settings, doors, board, log.error_log, [before.layout] if before is not None else [])
        board.tell(generation=self._prepared.generation)
        self._may_go_back = before is not None

    def _open(self, listeners: Sequence[ListenerSettings], cfg: Any, log: Any) -> tuple[Door, ...]:
        """Open the addresses that are new, keep those that stay, close those that are gone."""
        before = self._prepared.doors if self._prepared is not None else ()
        at_hand = at_hand_of(before) or self._handed_over
        known = [sock for sockets in at_hand.values() for sock in sockets]
        doors = open_doors(listeners, cfg, at_hand)
        kept = [(door, sock) for door in doors for sock in door.sockets]
        for door, sock in kept:
            if sock not in known or self._handed_over:
                log.error_log.info("listening on %s (%s)", shown(sock, door.listener), door.listener.name)
        gone = [sock for sock in known if all(sock is not each for _, each in kept)]
        close_sockets(gone, leaves_files=self._arbiter.is_one_of_two)
        self._handed_over = {}
        return doors

    # -------------------------------------------------------------- workers that cannot boot

    def spares(self, sockets: Sequence[Any]) -> list[Prepared]:
        """Return what a worker may serve that cannot serve what it was made for. In the child."""
        if self._boots is None:  # our own master takes care
            return []
        self._boots.failed()
        if self._previous is None:
            return []
        still_open = [door for door in self._previous.doors if all(sock.fileno() >= 0 for sock in door.sockets)]
        return [_with_first_door(replace(self._previous, doors=tuple(still_open)), sockets)]

    def early_signals(self) -> list[int]:
        """Return the signals that this worker got before it listened to them. In the child."""
        return self._arbiter.early_signals()

    def watch_files(self, cfg: Any) -> None:
        """Make gunicorn's `reload` watch the configuration file too, without blocking the hub. In the child."""
        if not cfg.reload or self._settings is None:
            return
        cfg.set("reload_engine", "poll")
        cfg.set("reload_extra_files", [*cfg.reload_extra_files, str(self._settings.source)])

    def has_booted(self) -> None:
        """Note that a worker serves. In the child."""
        if self._boots is not None:
            self._boots.served()

    def gives_up(self) -> float | None:
        """Note that a worker cannot serve anything; return how many seconds it waits for its end, so that gunicorn does not
        start one after the other. None if no worker ever served: then gunicorn may end. In the child.
        """
        if self._boots is None:
            return None
        self._boots.gave_up(is_retry=self._is_retry)
        if not self._boots.has_anybody_served:
            return None
        return _PAUSE_S if self._is_retry else 0.0

    def departure(self, graceful_s: float) -> Departure:
        """Return what a worker does that was told to end. In the child."""
        if self._boots is None or self.is_stopping:
            return Departure.NOW
        return self._boots.departure(max(graceful_s, _BOOT_S))

    def _go_back(self, cfg: Any, log: Any) -> None:
        assert self._previous is not None
        why = "workers could not start with the new configuration: the previous one is served again"
        log.error_log.error("%s", why)
        self._tell("undone", why)
        try:
            self._take(self._previous.settings, cfg, log)
        except CannotListen as error:
            log.error_log.error("%s", error)
        self._may_go_back = False

    def is_replaced(self) -> bool:
        """Return whether a reload has brought others in this worker's place. In the child."""
        return self._boots is not None and self._boots.is_past and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether gunicorn stops."""
        return self._prepared is not None and self._prepared.board.is_stopping

    def another_master_serves(self) -> bool:
        """Return whether another master has the same sockets (USR2). In the child."""
        pid = self._boots.other_master if self._boots is not None else 0
        if not pid:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    # -------------------------------------------------------------- the other master, and the end

    def worker_exit(self, worker: Any) -> None:
        """Call gunicorn's hook of this name, for a worker whose process ends at once."""
        self._arbiter.worker_exit(worker)

    def _hand_over(self, server: Any) -> None:
        """Tell the new program of our sockets, and the workers of the old one that there is another master. In the fork."""
        if self._boots is not None:
            self._boots.other_master = os.getpid()
        doors = self._prepared.doors if self._prepared is not None else ()
        pairs = [(address, sock) for address, sockets in at_hand_of(doors).items() for sock in sockets]
        hand_over(pairs, server.cfg.env_orig, os.getppid())

    def _before_stop(self) -> None:
        """Tell the workers, and let nobody wait for them behind a closed door; the admin listener stays to the end."""
        if self._prepared is None:
            return
        is_one_of_two = self._arbiter.is_one_of_two
        self._prepared.board.tell(is_stopping=True, is_one_of_two=is_one_of_two)
        for door in self._prepared.doors:
            if door.listener.protocol != ADMIN:
                close_sockets(door.sockets, leaves_files=is_one_of_two)

    def _close(self) -> None:
        """Remove the files of Unix sockets, as gunicorn does with its own. Workers pass here too, and leave them."""
        if os.getpid() == self._master_pid and self._prepared is not None:
            for door in self._prepared.doors:
                close_sockets(door.sockets, leaves_files=self._arbiter.is_one_of_two)


def _bury(worker: Any) -> None:
    """Let what a worker counted live on, and free its place on the board. In the master, when the worker has ended."""
    worker.prepared.board.bury(worker.pid)


def _with_first_door(prepared: Prepared, sockets: Sequence[Any]) -> Prepared:
    """Return what a worker gets: gunicorn's addresses are the doors of the first listener."""
    first = first_of(prepared.settings)
    assert first is not None
    first = replace(first, bind=tuple(bound_address(sock) for sock in sockets))
    return replace(prepared, doors=(Door(first, tuple(sockets)), *prepared.doors))
