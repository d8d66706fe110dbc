"""Sections in, settings objects out, one section at a time; what sections say of each other is in `references`.

A section with a mistake yields no object: its name is still known, so that one mistake is one message.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from greenproxy.config.errors import BadValue, ConfigError, closest
from greenproxy.config.later import KEYS, MIDDLEWARE, NOT_AVAILABLE, is_later_key
from greenproxy.config.middleware_options import BUILT_INS, USABLE_BY_NAME, check_options
from greenproxy.config.reader import Entry, Line, Section
from greenproxy.config.schema import CLASSES, BadEntry, Key, keys_of
from greenproxy.config.settings import (
    Address,
    DemoSettings,
    ListenerSettings,
    MiddlewareSettings,
    PathMatch,
    ProcessSettings,
    RelaySettings,
    RouteSettings,
    UpstreamSettings,
)
from greenproxy.config.tls import tls_mistakes

Values = dict[type, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class RouteDraft:
    """A route and what it changes of its upstream's relay settings, which are not known yet."""

    settings: RouteSettings
    overrides: dict[str, Any]


class SectionBuilder:
    """Builds settings from sections, and collects what is wrong in `errors`."""

    def __init__(self, file: str, folder: Path) -> None:
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self._file = file
        self._process: tuple[Section | None, dict[str, str]] = (None, {})
        self._keys = {kind: keys_of(kind, folder) for kind in CLASSES}
        self._flag_keys = keys_of("greenproxy", Path.cwd())  # a path in a flag counts from where the user is

    def fail(self, section: Section, line: int, message: str, *, key: str = "", suggestion: str = "") -> None:
        """Add a mistake to `errors`."""
        self.errors.append(
            ConfigError(file=self._file, line=line, section=section.title, key=key, message=message, suggestion=suggestion)
        )

    def fail_process(self, key: str, message: str) -> None:
        """Add a mistake in a key of [greenproxy], at the flag, the variable or the line that gave it. After `process`."""
        section, origins = self._process
        if key in origins:
            self.errors.append(ConfigError(key=origins[key], message=message))
        elif section is not None:
            self.fail(section, section.entries[key].line, message, key=key)

    def _is_wrong(self, key: str) -> bool:
        return any(error.key in (key, self._process[1].get(key)) for error in self.errors)

    # ------------------------------------------------------------------ one kind each; None after a mistake

    def process(self, section: Section | None, overrides: Iterable[tuple[str, str, str]]) -> ProcessSettings:
        """Return the process settings: defaults, then the section, then (key, text, origin) of flags and environment."""
        found = self._read(section)[ProcessSettings] if section else {}
        origins = {}
        for key, text, origin in overrides:
            found |= self._read_override(key, text, origin)
            origins[key] = origin
        self._process = section, origins
        self._check_admin(found.get("admin"), found.get("admin_token", ""), {*origins, *(section.entries if section else ())})
        found.setdefault("workers", processor_cores())
        return ProcessSettings(**found)

    def listener(self, section: Section) -> ListenerSettings | None:
        """Return a listener, `upstream` as written."""
        found = self._read_whole(section, required=("bind",), check=self._check_tls)
        if found is None:
            return None
        fields = found[ListenerSettings]
        networks = fields.get("trusted_proxies", ())
        fields["trusted_proxies"] = tuple(network for network in networks if network != "unix:")
        return ListenerSettings(name=section.name, trust_unix="unix:" in networks, **fields)

    def upstream(self, section: Section) -> UpstreamSettings | None:
        """Return an upstream."""
        found = self._read_whole(section, required=("backends",), check=self._check_backends)
        if found is None:
            return None
        return UpstreamSettings(name=section.name, relay=RelaySettings(**found[RelaySettings]), **found[UpstreamSettings])

    def route(self, section: Section) -> RouteDraft | None:
        """Return a route, `upstream` and `listener` as written."""
        found = self._read_whole(section, check=self._check_route)
        if found is None:
            return None
        return RouteDraft(RouteSettings(name=section.name, line=section.line, **found[RouteSettings]), found[RelaySettings])

    def middleware(self, section: Section) -> MiddlewareSettings | None:
        """Return a middleware. Without a `type` it is the built-in of its name."""
        found = self._read_whole(section)
        if found is None:
            return None
        fields = found[MiddlewareSettings]
        kind = fields.setdefault("type", section.name if section.name in BUILT_INS else "")
        options = [entry for entry in section.entries.values() if entry.key not in self._keys["middleware"]]
        before = len(self.errors)
        if not kind:
            self.fail(section, section.line, "has no type: a built-in or package.module:callable", key="type")
            return None
        self._check_type(section, kind)
        if kind in BUILT_INS and kind not in USABLE_BY_NAME and not options:
            self.fail(section, section.line, f"{kind} does nothing without one of {', '.join(BUILT_INS[kind])}")
        for entry, line, message, suggestion in check_options(kind, options):
            self.fail(section, line, message, key=entry.key, suggestion=suggestion)
        if len(self.errors) > before:
            return None
        texts = tuple((entry.key, "\n".join(line.text for line in entry.lines)) for entry in options)
        return MiddlewareSettings(name=section.name, options=texts, **fields)

    def demo(self, section: Section) -> DemoSettings | None:
        """Return a demo backend."""
        found = self._read_whole(section, required=("bind",))
        return DemoSettings(name=section.name, **found[DemoSettings]) if found else None

    # ------------------------------------------------------------------ keys

    def _read_whole(
        self, section: Section, *, required: Iterable[str] = (), check: Callable[[Section, Values], None] | None = None
    ) -> Values | None:
        before = len(self.errors)
        found = self._read(section)
        for key in required:
            if key not in section.entries:
                self.fail(section, section.line, "is missing", key=key)
            elif not section.entries[key].lines and not section.entries[key].is_broken:
                self.fail(section, section.entries[key].line, "needs a value", key=key)
        if check:
            check(section, found)
        return None if section.is_broken or len(self.errors) > before else found

    def _read(self, section: Section) -> Values:
        found: Values = {owner: {} for owner in CLASSES[section.kind]}
        for entry in section.entries.values():
            key = self._keys[section.kind].get(entry.key)
            if key is None:
                self._refuse_key(section, entry)
            elif entry.lines or not key.may_be_empty:
                self._read_entry(section, entry, key, found[key.owner])
        return found

    def _read_entry(self, section: Section, entry: Entry, key: Key, into: dict[str, Any]) -> None:
        if entry.is_broken:
            return
        try:
            into[key.field.name] = key.shape(entry)
        except BadEntry as error:
            for mistake in error.mistakes:
                self.fail(section, mistake.line, mistake.message, key=entry.key, suggestion=mistake.suggestion)

    def _refuse_key(self, section: Section, entry: Entry) -> None:
        kind = section.kind
        if kind == "middleware":
            return  # its options; check_options looks at them
        if is_later_key(kind, entry.key):
            self.fail(section, entry.line, NOT_AVAILABLE, key=entry.key)
            return
        homes = [home for home in CLASSES if entry.key in self._keys[home] or entry.key in KEYS[home]]
        where = " or ".join(f"[{home}]" if home == "greenproxy" else f"[{home}:NAME]" for home in homes)
        guess = "" if homes else closest(entry.key, [*self._keys[kind], *KEYS[kind]])
        message = f"unknown key; it belongs in {where}" if homes else "unknown key"
        self.fail(section, entry.line, message, key=entry.key, suggestion=guess)

    def _read_override(self, key: str, text: str, origin: str) -> dict[str, Any]:
        known = self._flag_keys[key]
        if not text.strip() and known.may_be_empty:
            return {known.field.name: known.field.default}
        lines = [Line(0, text.strip())] if text.strip() else []
        try:
            return {known.field.name: known.shape(Entry(key, 0, lines))}
        except BadEntry as error:
            for mistake in error.mistakes:
                self.errors.append(ConfigError(key=origin, message=mistake.message, suggestion=mistake.suggestion))
        return {}

    # ------------------------------------------------------------------ keys of one section against each other

    def _check_admin(self, admin: Address | None, token: str, given: Set[str]) -> None:
        if token and "admin" not in given:  # `admin = off` beside a token is somebody's wish
            self.fail_process("admin-token", "guards nothing: admin says where the state is shown, and is not given")
        elif admin is not None and not token and not admin.is_local and not self._is_wrong("admin-token"):
            self.fail_process(
                "admin", f"{admin} can be reached from elsewhere: it needs admin-token, or to be 127.0.0.1:PORT or unix:PATH"
            )

    def _check_tls(self, section: Section, found: Values) -> None:
        for mistake in tls_mistakes(section, found[ListenerSettings]):
            self.fail(section, mistake.line, mistake.message, key=mistake.key)
            if mistake.is_warning:
                self.warnings.append(self.errors.pop())

    def _check_backends(self, section: Section, found: Values) -> None:
        labels: dict[str, str] = {}
        lines = section.entries["backends"].lines if "backends" in section.entries else []
        for backend, line in zip(found[UpstreamSettings].get("backends", ()), lines, strict=False):
            metric = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in backend.label)
            for what, mark in (("address", str(backend.address)), ("name", f"name {metric}")):
                if mark in labels:
                    self.fail(section, line.number, f"the same {what} as the backend in line {labels[mark]}", key="backends")
                    break
                labels[mark] = str(line.number)

    def _check_route(self, section: Section, found: Values) -> None:
        entries = section.entries
        answers = [key for key in ("upstream", "redirect", "status", "app") if key in entries]
        for key in answers[1:]:
            self.fail(section, entries[key].line, f"a route has one answer, and this one has {answers[0]}", key=key)
        if "redirect-status" in entries and "redirect" not in entries:
            self.fail(section, entries["redirect-status"].line, "goes with redirect only", key="redirect-status")
        if "strip-prefix" in entries and {"redirect", "status"} & set(answers):
            self.fail(section, entries["strip-prefix"].line, "goes with upstream only", key="strip-prefix")
        elif "strip_prefix" in found[RouteSettings]:
            self._check_strip_prefix(section, found[RouteSettings])

    def _check_strip_prefix(self, section: Section, fields: Mapping[str, Any]) -> None:
        prefix = fields["strip_prefix"].rstrip("/")
        paths: Sequence[PathMatch] = fields.get("path", ())
        line = section.entries["strip-prefix"].line
        if not prefix:
            self.fail(section, line, "strips nothing", key="strip-prefix")
        elif paths and not any(may_be_under(path, prefix) for path in paths):
            guess = closest(prefix, [path.text.rstrip("/") for path in paths])
            self.fail(section, line, f"no path of this route begins with {prefix}", key="strip-prefix", suggestion=guess)

    def _check_type(self, section: Section, kind: str) -> None:
        line = section.entries["type"].line if "type" in section.entries else section.line
        try:
            check_type(kind)
        except BadValue as error:
            self.fail(section, line, str(error), key="type", suggestion=error.suggestion)


def may_be_under(path: PathMatch, prefix: str) -> bool:
    """Return whether a request that `path` takes can have a path under `prefix`, which has no slash at its end."""
    if path.kind == "regex":
        return True  # nobody knows
    is_inside = path.text == prefix or path.text.startswith(f"{prefix}/")
    return is_inside or (path.kind == "prefix" and f"{prefix}/".startswith(path.text))


def check_type(kind: str) -> None:
    """Raise BadValue unless `kind` is a built-in middleware or looks like package.module:callable."""
    if ":" in kind:
        module, _, name = kind.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
            raise BadValue(f"{kind!r} is not package.module:callable")
    elif kind in MIDDLEWARE:
        raise BadValue(f"{kind} is {NOT_AVAILABLE}")
    elif kind not in BUILT_INS:
        raise BadValue(f"unknown middleware type {kind!r}: a built-in or package.module:callable", closest(kind, BUILT_INS))


def processor_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
