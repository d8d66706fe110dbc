"""`greenproxy status`, `reload` and `stop`: what each does, in words and exit statuses. See docs/admin.md."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from greenproxy.config.commands import Command
from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.settings import ProcessSettings
from greenproxy.control.admin_client import AdminClient, Refuses, Silent, Unheard
from greenproxy.control.refusal import CannotDo
from greenproxy.control.table import table
from greenproxy.control.target import NoPidFile, Target, read_pid_file

DONE, FAILED = 0, 1
#: A worker that turns answers at once. Who has to wait so long asks blocked ones, or one connection too many.
ANSWERS_WITHIN_S = 5.0
#: A master acts on a signal within a second. Without a sign of it for so long something is wrong.
ACTS_WITHIN_S = 1.0
SILENCE_S = 30.0
#: A master kills what has not ended 2 s after graceful-timeout; then it has to clean up.
_AFTER_GRACEFUL_S = 5.0
_TICK_S = 0.05
_LONGEST_TICK_S = 0.5  # whoever waits for long need not ask often: the answer costs a worker something
_MASTERS_TRIES = 20


def run(command: Command, environ: Mapping[str, str]) -> int:
    """Do what a command says and return the exit status. Raises ConfigErrors when the command line or the file is wrong."""
    act = {"status": _status, "reload": _reload, "stop": _stop}[command.name]
    try:
        act(command, environ)
    except CannotDo as error:
        for line in str(error).splitlines():
            print(f"greenproxy {command.name}: {line}", file=sys.stderr)
        return FAILED
    return DONE


def _status(command: Command, environ: Mapping[str, str]) -> None:
    process = command.process(environ, ("admin", "admin-token"))
    if process.admin is None:
        raise _missing(command, "admin", "where the state can be asked for, such as 127.0.0.1:9901")
    document = _client(command, process).status()
    if command.is_json:
        print(json.dumps(document, indent=2, ensure_ascii=False), flush=True)
        return
    try:
        text = table(document, datetime.now(UTC))
    except (KeyError, TypeError, ValueError, AttributeError):  # during an upgrade, say
        raise CannotDo(f"it is another version ({document.get('version')}); --json prints what it says") from None
    print(text, flush=True)


def _stop(command: Command, environ: Mapping[str, str]) -> None:
    target = _target(command, environ)
    try:
        limit_s = command.process(environ, ("graceful-timeout",)).graceful_timeout_s
    except ConfigErrors:  # a mistake there keeps nobody from stopping
        limit_s = ProcessSettings().graceful_timeout_s
    target.send(signal.SIGTERM)
    within_s = limit_s + _AFTER_GRACEFUL_S if limit_s else None
    if not _wait(lambda: target.has_gone, within_s):
        raise CannotDo(f"process {target.pid} still runs after {within_s:g} s; kill -QUIT {target.pid} stops it at once")
    print(f"greenproxy (process {target.pid}) has stopped")


def _reload(command: Command, environ: Mapping[str, str]) -> None:
    target = _target(command, environ)
    process = command.process(environ, ("admin", "admin-token"))
    if process.admin is None:
        target.send(signal.SIGHUP)
        raise CannotDo(f"process {target.pid} was told to reload; only its log tells how that went: there is no admin")
    client = _client(command, process)
    number = _reload_number(client, target)
    target.send(signal.SIGHUP)
    if number is None:
        time.sleep(ACTS_WITHIN_S)  # what is told from then on is this reload
    # Whose token is that of the new file may be let in as soon as that is in force; nobody else will be.
    outcome = _outcome(client, target, number or 0, is_let_in_later=bool(command.config and process.admin_token))
    if outcome["state"] != "done":
        raise CannotDo(f"{outcome['state']}, everything is as before:\n{outcome.get('message') or 'the log tells why'}")
    print(f"greenproxy (process {target.pid}) has reloaded {command.config or 'its configuration'}")


# ------------------------------------------------------------------ whom it is about


def _target(command: Command, environ: Mapping[str, str]) -> Target:
    """Return the master: of the pid file, or else the one that the admin listener tells of."""
    process = command.process(environ, ("pid-file",))
    if process.pid_file:
        try:
            return read_pid_file(process.pid_file)
        except NoPidFile as error:  # the key may have been changed since it was read
            gone = error
        try:
            return _target_of_admin(command, environ)
        except (CannotDo, ConfigErrors):
            raise gone from None
    return _target_of_admin(command, environ)


def _target_of_admin(command: Command, environ: Mapping[str, str]) -> Target:
    process = command.process(environ, ("admin", "admin-token"))
    if process.admin is None:
        raise _missing(command, "pid-file", "whom it is about")
    return Target(int(_client(command, process).status()["pid"]), f"the admin at {process.admin}")


def _missing(command: Command, key: str, what: str) -> ConfigErrors:
    """Return the error of a key that a command cannot do without."""
    message = f"give -c FILE, or --{key}"
    if command.config:
        message = f"{command.config} has no {key} in [greenproxy], which tells {what}"
    return ConfigErrors([ConfigError(file=f"greenproxy {command.name}", message=message)])


def _client(command: Command, process: ProcessSettings) -> AdminClient:
    assert process.admin is not None
    if not process.admin.path and not process.admin.port:
        message = "admin has port 0, and only the log tells the real one: give it with --admin"
        raise ConfigErrors([ConfigError(file=f"greenproxy {command.name}", message=message)])
    return AdminClient(process.admin, process.admin_token, ANSWERS_WITHIN_S)


# ------------------------------------------------------------------ waiting for it


def _wait(condition: Callable[[], bool], within_s: float | None) -> bool:
    """Wait until it is true, at most so long (None: for ever), and return whether it is."""
    end_s = time.monotonic() + within_s if within_s is not None else None
    while not condition():
        if end_s is not None and time.monotonic() > end_s:
            return False
        time.sleep(_TICK_S)
    return True


def _reload_number(client: AdminClient, target: Target) -> int | None:
    """Return how many reloads there were; None if that cannot be heard. Raises CannotDo if there better be no other one.

    Where nobody listens, because `admin` is what the reload changes, there will have been none.
    """
    for _ in range(_MASTERS_TRIES):  # during an upgrade (USR2) the workers of two masters answer, by turns
        try:
            document = client.status()
        except Silent:
            return None
        except Unheard:
            return 0
        if document["pid"] == target.pid:
            _refuse_if_stopping(document)
            return int(document["reload"]["number"])
        time.sleep(_TICK_S)
    where = f"the admin is that of process {document['pid']}, but the pid-file names {target.pid}"
    raise CannotDo(f"{where}; after an upgrade, wait until that has ended")


def _refuse_if_stopping(document: Mapping[str, Any]) -> None:
    if document.get("state") == "stopping":
        raise CannotDo(f"process {document['pid']} is stopping")


def _outcome(client: AdminClient, target: Target, number: int, *, is_let_in_later: bool) -> Mapping[str, Any]:
    """Wait for the end of the reload behind reload `number` and return what is said of it. Raises CannotDo."""
    begun_s = silent_since_s = time.monotonic()
    last = "the reload does not begin"
    while True:
        if target.has_gone:
            raise CannotDo(f"process {target.pid} has ended meanwhile; the log tells why")
        try:
            document = client.status()
        except CannotDo as error:  # the workers that answer are being replaced, or blocked
            if isinstance(error, Refuses) and not is_let_in_later:
                raise CannotDo(f"process {target.pid} was told to reload; only its log tells how that went: {error}") from None
            last = str(error)
        else:
            reload: Mapping[str, Any] = document["reload"]
            is_of_target = document["pid"] == target.pid
            if reload["state"] == "running":
                silent_since_s = time.monotonic()  # the master has time limits of its own
            elif reload["number"] > number and is_of_target:
                return reload
            if is_of_target:
                _refuse_if_stopping(document)
        if time.monotonic() > silent_since_s + SILENCE_S:
            raise CannotDo(f"not heard of for {SILENCE_S:g} s, see the log: {last}")
        time.sleep(min(_LONGEST_TICK_S, max(_TICK_S, (time.monotonic() - begun_s) / 10)))
