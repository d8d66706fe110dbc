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

from gunicorn.errors import HaltServer

from greenproxy import __version__
from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.options import idle_variables, load_settings, parse
from greenproxy.config.settings import Address, ListenerSettings, Settings
from greenproxy.observability.board import Board
from greenproxy.process.announcements import announce_upstreams
from greenproxy.process.checks import ambiguous_routes
from greenproxy.process.listening import CannotListen, Door, at_hand_of, bound_address, close, close_sockets, open_doors, shown
from greenproxy.process.precedence import what_does_not_count
from greenproxy.process.prepared import Prepared, prepare

CANNOT_LISTEN, BAD_CONFIGURATION = 1, 2
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


def _given(cfg: Any, name: str) -> Any:
    """Return a gunicorn setting if somebody set it to something else than gunicorn's default, else None."""
    setting = cfg.settings[name]
    value = setting.get()
    return None if value == type(setting)().get() else value


def with_gunicorn_settings(settings: Settings, cfg: Any) -> Settings:
    """Return the settings with those of gunicorn that differ from gunicorn's defaults; they beat the file."""
    given: dict[str, Any] = {
        "worker_connections": _given(cfg, "worker_connections"),
        "max_requests": _given(cfg, "max_requests"),
        "max_requests_jitter": _given(cfg, "max_requests_jitter"),
        "graceful_timeout_s": _given(cfg, "graceful_timeout"),
        "worker_timeout_s": _given(cfg, "timeout"),
        "access_log": _given(cfg, "accesslog"),
        "statsd_prefix": _prefix(_given(cfg, "statsd_prefix")),
        "statsd": _statsd(_given(cfg, "statsd_host")),
        "workers": cfg.workers,
    }
    process = replace(settings.process, **{name: value for name, value in given.items() if value is not None})
    idle_timeout_s = _given(cfg, "keepalive")
    if idle_timeout_s is None or not settings.listeners:
        return replace(settings, process=process)
    first, *others = settings.listeners
    return replace(settings, process=process, listeners=(replace(first, idle_timeout_s=float(idle_timeout_s)), *others))


def _prefix(prefix: str | None) -> str | None:
    return prefix and prefix.rstrip(".")  # gunicorn's may end in the dot that we add


def _statsd(host: Any) -> Address | None:
    if host is None:
        return None
    return Address(host=host[0], port=host[1]) if isinstance(host, tuple) else Address(path=host)


class Guest:
    """What one gunicorn master keeps for its workers, from its first worker to its end."""

    def __init__(self) -> None:
        self._cfg: Any = None
        self._settings: Settings | None = None
        self._others: tuple[Door, ...] = ()  # the doors beyond gunicorn's own addresses
        self._prepared: Prepared | None = None

    def prepare(self, app: Any, sockets: Sequence[Any], cfg: Any, log: Any) -> Prepared:
        """Return what the next worker serves; reads the file when gunicorn's configuration is a new one.

        Raises HaltServer, which ends gunicorn with an orderly message, when that fails at the first start.
        """
        if cfg is not self._cfg:
            if self._cfg is None:
                self._master_pid = os.getpid()
                atexit.register(self._close)
            self._cfg = cfg
            try:
                self._renew(app, sockets, cfg, log)
            except (ConfigErrors, CannotListen) as error:
                self._refuse(error, log.error_log)
        assert self._settings is not None
        assert self._prepared is not None
        first = replace(self._first(self._settings), bind=tuple(bound_address(sock) for sock in sockets))
        return replace(self._prepared, doors=(Door(first, tuple(sockets)), *self._others))

    def _refuse(self, error: ConfigErrors | CannotListen, log: logging.Logger) -> None:
        for line in str(error).splitlines():
            log.error("%s", line)
        if self._settings is not None:
            log.error("the new configuration is refused, the previous one stays")
            return
        if isinstance(error, CannotListen):
            raise HaltServer("cannot listen", CANNOT_LISTEN)
        raise HaltServer("the configuration cannot be used", BAD_CONFIGURATION)

    def _renew(self, app: Any, sockets: Sequence[Any], cfg: Any, log: Any) -> None:
        options = replace(parse([], os.environ), config=configuration_file(app.app_uri, os.environ))
        written = load_settings(options, os.environ, [ambiguous_routes])
        settings = with_gunicorn_settings(written, cfg)
        first = self._first(settings)
        self._open([listener for listener in settings.listeners if listener is not first], cfg, log)
        board = self._prepared.board if self._prepared is not None else Board()
        self._settings = settings
        self._prepared = prepare(settings, (), board, log.error_log)
        self._announce(log.error_log, cfg, what_does_not_count(written, first, cfg, map(bound_address, sockets)))

    def _announce(self, log: logging.Logger, cfg: Any, not_counting: Sequence[str]) -> None:
        assert self._settings is not None
        settings = self._settings
        log.info("greenproxy %s serves %s", __version__, settings.source)
        announce_upstreams(settings, log)
        for line in idle_variables(os.environ, settings):
            log.warning("%s", line)
        if not_counting:
            log.warning("under gunicorn, which has its own, these do not count: %s", ", ".join(not_counting))
        graceful_s = settings.process.graceful_timeout_s
        if not 0 < graceful_s <= cfg.graceful_timeout:
            log.warning(
                "graceful-timeout is longer than gunicorn's, which is %d s: give it --graceful-timeout", cfg.graceful_timeout
            )
        if settings.demos:
            log.info("demo backends are not started under gunicorn: greenproxy demo --bind ADDRESS --name NAME does")

    def _open(self, listeners: Sequence[ListenerSettings], cfg: Any, log: Any) -> None:
        """Open the addresses that are new, keep those that stay, close those that are gone."""
        at_hand = at_hand_of(self._others)
        before = [sock for sockets in at_hand.values() for sock in sockets]
        self._others = open_doors(listeners, cfg, at_hand)
        for door in self._others:
            for sock in door.sockets:
                if sock not in before:
                    log.error_log.info("listening on %s (%s)", shown(sock), door.listener.name)
        after = [sock for door in self._others for sock in door.sockets]
        close_sockets([sock for sock in before if sock not in after])

    def _close(self) -> None:
        """Remove the files of Unix sockets, as gunicorn does with its own. Workers pass here too, and leave them."""
        if os.getpid() == self._master_pid:
            for door in self._others:
                close(door)

    @staticmethod
    def _first(settings: Settings) -> ListenerSettings:
        found = next((listener for listener in settings.listeners if listener.protocol == "http"), None)
        if found is None:
            raise ConfigErrors([ConfigError(message="gunicorn's addresses need an http listener in the file")])
        return found
