"""Which keys a section may have and how each is read.

A key is a field of the section's settings class. Its shape says how many values it takes: one, several
(comma-separated or one indented line each), or one per line. Whatever the name of a field tells, its unit,
decides how it is read; `_special` has the rest.
"""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any, TypeVar

from greenproxy.config import addresses, http_values, values
from greenproxy.config.errors import BadValue
from greenproxy.config.later import BALANCE, PROTOCOLS
from greenproxy.config.reader import Entry, Line
from greenproxy.config.settings import (
    Address,
    DemoSettings,
    ListenerSettings,
    MiddlewareSettings,
    ProcessSettings,
    RelaySettings,
    RouteSettings,
    UpstreamSettings,
)

T = TypeVar("T")
Shape = Callable[[Entry], Any]

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
RETRY_ON = ("connect", "reset", "timeout", "502", "503", "504")
LARGEST_BACKLOG = 65535  # what `backlog = 0` asks for; the kernel cuts it to its own limit (somaxconn)

#: Fields that are no keys of their own.
_NO_KEYS = frozenset({"name", "line", "relay", "options", "trust_unix"})

CLASSES: Mapping[str, tuple[type, ...]] = {
    "greenproxy": (ProcessSettings,),
    "listener": (ListenerSettings,),
    "upstream": (UpstreamSettings, RelaySettings),
    "route": (RouteSettings, RelaySettings),
    "middleware": (MiddlewareSettings,),
    "demo": (DemoSettings,),
}


@dataclass(frozen=True)
class Mistake:
    """What is wrong in one line of a value."""

    line: int
    message: str
    suggestion: str


class BadEntry(ValueError):
    """A value with one or more mistakes."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes


@dataclass(frozen=True)
class Key:
    """One key: the field it fills, the class of that field, and how its value is read."""

    field: Field[Any]
    owner: type
    shape: Shape

    @property
    def may_be_empty(self) -> bool:
        """Whether `key =` stands for the default, because the default is nothing."""
        return self.field.default in ("", (), None)


def key_name(field: Field[Any]) -> str:
    """Return how the field is written in a file: `pool_idle_timeout_s` is `pool-idle-timeout`."""
    return field.name.removesuffix("_s").removesuffix("_bytes").replace("_", "-")


def keys_of(kind: str, folder: Path) -> dict[str, Key]:
    """Return the keys of a kind of section. Relative paths in their values count from `folder`."""
    special = _special(folder).get(kind, {}) | _special(folder)["relay"]
    return {
        key_name(field): Key(field, owner, special.get(field.name) or _shape_by_unit(field))
        for owner in CLASSES[kind]
        for field in dataclasses.fields(owner)
        if field.name not in _NO_KEYS
    }


# ------------------------------------------------------------------ shapes


def one(parse: Callable[[str], Any]) -> Shape:
    """Return the shape of a key with one value."""

    def read(entry: Entry) -> Any:
        if not entry.lines:
            raise BadEntry([Mistake(entry.line, "needs a value", "")])
        first, *rest = entry.lines
        if rest:
            raise BadEntry([Mistake(rest[0].number, "takes one value; a line that is indented belongs to the key above it", "")])
        return _read_all([(first, first.text)], parse)[0]

    return read


def several(parse: Callable[[str], Any]) -> Shape:
    """Return the shape of a list: comma-separated, or one indented line each. Nothing may stand in it twice."""
    return lambda entry: _all_different(entry, _read_all(list(_items(entry.lines)), parse))


def lines(parse: Callable[[str], Any]) -> Shape:
    """Return the shape of a list with one item per line, never split at commas."""
    return lambda entry: _all_different(entry, _read_all([(line, line.text) for line in entry.lines], parse))


def lines_that_repeat(parse: Callable[[str], Any]) -> Shape:
    """Return the shape of a list with one item per line, in which one may stand more than once."""
    return lambda entry: _read_all([(line, line.text) for line in entry.lines], parse)


def _items(source: list[Line]) -> Iterator[tuple[Line, str]]:
    for line in source:
        for item in line.text.removesuffix(",").split(","):
            yield line, item.strip()


def _read_all(items: list[tuple[Line, str]], parse: Callable[[str], T]) -> tuple[T, ...]:
    read: list[T] = []
    mistakes: list[Mistake] = []
    for line, text in items:
        try:
            if not text:
                raise BadValue("an empty item in the list")
            try:
                read.append(parse(text))
            except BadValue:
                values.refuse_quotes(text)  # the better reason
                raise
        except BadValue as error:
            mistakes.append(Mistake(line.number, str(error), error.suggestion))
    if mistakes:
        raise BadEntry(mistakes)
    return tuple(read)


def _all_different(entry: Entry, read: tuple[Any, ...]) -> tuple[Any, ...]:
    for place, value in enumerate(read):
        if value in read[:place]:
            # The line is not known here when several items share one; the key's own is near enough.
            line = entry.lines[place].number if len(entry.lines) == len(read) else entry.line
            raise BadEntry([Mistake(line, "the same value stands here twice", "")])
    return read


# ------------------------------------------------------------------ what is read how


def _shape_by_unit(field: Field[Any]) -> Shape:
    if field.name.endswith("_s"):
        return one(values.parse_duration_s)
    if field.name.endswith("_bytes"):
        return one(values.parse_size_bytes)
    if field.default is True or field.default is False:
        return one(values.parse_switch)
    if isinstance(field.default, int):
        return one(values.parse_count)
    raise TypeError(f"{field.name} needs a shape of its own")


def _choice(*known: str, later: tuple[str, ...] = ()) -> Shape:
    return one(lambda text: values.parse_choice(text, known, later))


def _count(at_least: int, at_most: int = 10**9) -> Shape:
    return one(lambda text: values.parse_count(text, at_least, at_most))


def _file_to_write(folder: Path, *words: str) -> Shape:
    def parse(text: str) -> str:
        if text in words:
            return text
        path = os.path.normpath(folder / text)
        if os.path.isdir(path):
            raise BadValue(f"{path} is a folder")
        if not os.path.isdir(os.path.dirname(path)):
            raise BadValue(f"there is no folder {os.path.dirname(path)}")
        return path

    return one(parse)


def _file_to_read(folder: Path) -> Callable[[str], str]:
    """Return how the name of a file is read; what is in it is looked at when all names are known."""
    return lambda text: os.path.normpath(folder / text)


def _line_of_files(folder: Path) -> Callable[[str], str]:
    """Return how one of several names of files is read: a comma may belong to a name, and mostly does not."""

    def parse(text: str) -> str:
        path = os.path.normpath(folder / text)
        if "," in text and not os.path.exists(path):
            raise BadValue("files stand one per line, not with commas between them")
        return path

    return parse


def _account(look_up: Callable[[str], Any], look_up_id: Callable[[int], Any], what: str) -> Shape:
    def parse(text: str) -> str:
        try:
            if text.isascii() and text.isdigit():
                look_up_id(int(text))
            else:
                look_up(text)
        except (KeyError, OverflowError, ValueError):
            raise BadValue(f"there is no {what} {text!r}") from None
        return text

    return one(parse)


def _special(folder: Path) -> dict[str, dict[str, Shape]]:
    """Return the shapes that a field's name does not tell, by kind of section; `relay` is for upstreams and routes."""
    return {
        "greenproxy": _process(folder),
        "listener": _listener(folder),
        "upstream": _upstream(folder),
        "route": _route(),
        "middleware": {"type": one(str)},
        "demo": {"bind": one(_bind(folder))},
        "relay": {"retry_on": several(lambda text: values.parse_choice(text, RETRY_ON)), "retries": _count(0, 100)},
    }


def _bind(folder: Path) -> Callable[[str], Address]:
    return lambda text: addresses.parse_bind(text, folder)


def _process(folder: Path) -> dict[str, Shape]:
    return {
        "workers": _count(1, 1024),
        "backlog": one(lambda text: values.parse_count(text, 0, LARGEST_BACKLOG) or LARGEST_BACKLOG),
        "access_log": _file_to_write(folder, "-", "off"),
        "access_log_format": _choice("combined", "json"),
        "error_log": _file_to_write(folder, "-"),
        "log_level": _choice(*LOG_LEVELS),
        "admin": one(lambda text: None if text == "off" else addresses.parse_bind(text, folder)),
        "admin_token": one(http_values.parse_token),
        "statsd": one(lambda text: None if text == "off" else addresses.parse_host_port(text)),
        "statsd_prefix": one(values.parse_metric_prefix),
        "statsd_tags": several(values.parse_metric_tag),
        "server_header": one(http_values.parse_server_header),
        "pid_file": _file_to_write(folder),
        "user": _account(pwd.getpwnam, pwd.getpwuid, "user"),
        "group": _account(grp.getgrnam, grp.getgrgid, "group"),
    }


def _listener(folder: Path) -> dict[str, Shape]:
    return {
        "bind": several(_bind(folder)),
        "protocol": _choice("http", later=PROTOCOLS),
        "upstream": one(values.parse_name),
        "middleware": several(values.parse_name),
        "trusted_proxies": several(lambda text: text if text == "unix:" else addresses.parse_network(text)),
        "tls_certificate": lines(_line_of_files(folder)),
        "tls_key": lines_that_repeat(_line_of_files(folder)),
        "tls_client_ca": one(_file_to_read(folder)),
        "tls_client": _choice("required", "optional"),
    }


def _upstream(folder: Path) -> dict[str, Shape]:
    return {
        "backends": lines(lambda text: addresses.parse_backend(text, folder)),
        "balance": _choice("round-robin", "random", later=BALANCE),
        "pool_size": _count(1),
        "health_path": one(http_values.parse_probe_path),
        "health_rise": _count(1),
        "health_fall": _count(1),
        "fail_timeout_s": one(lambda text: values.parse_duration_s(text) or values.LONGEST_S),
        "health_status": several(http_values.parse_statuses),
        "host_header": _choice("preserve", "backend"),
    }


def _route() -> dict[str, Shape]:
    return {
        "listener": several(values.parse_name),
        "host": several(http_values.parse_host_pattern),
        "path": lines(http_values.parse_path_match),
        "method": several(http_values.parse_method),
        "header": lines(http_values.parse_field),
        "upstream": one(values.parse_name),
        "redirect": one(http_values.parse_redirect),
        "redirect_status": one(lambda text: int(values.parse_choice(text, http_values.REDIRECT_STATUSES))),
        "status": one(http_values.parse_status),
        "strip_prefix": one(http_values.parse_plain_path),
        "middleware": several(values.parse_name),
    }
