"""What sections say of each other: names that must exist, defaults that depend on how many there are, addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from greenproxy.config import later
from greenproxy.config.errors import ConfigError, closest
from greenproxy.config.middleware_options import BUILT_INS, USABLE_BY_NAME
from greenproxy.config.reader import KINDS, Entry, Section
from greenproxy.config.sections import RouteDraft, SectionBuilder
from greenproxy.config.settings import (
    Address,
    DemoSettings,
    ListenerSettings,
    MiddlewareSettings,
    ProcessSettings,
    RelaySettings,
    RouteSettings,
    Settings,
    UpstreamSettings,
)

_MOST_NAMES = 8  # in one message


@dataclass
class Drafts:
    """The sections of a file that are right in themselves, each with the section it came from."""

    listeners: list[tuple[Section, ListenerSettings]] = field(default_factory=list)
    upstreams: list[tuple[Section, UpstreamSettings]] = field(default_factory=list)
    routes: list[tuple[Section, RouteDraft]] = field(default_factory=list)
    middlewares: list[tuple[Section, MiddlewareSettings]] = field(default_factory=list)
    demos: list[tuple[Section, DemoSettings]] = field(default_factory=list)


class Linker:
    """Ties drafts together. Mistakes go to the builder's errors; what they spoil is left out of the settings."""

    def __init__(self, sections: Sequence[Section], builder: SectionBuilder, file: str) -> None:
        self._sections = sections
        self._builder = builder
        self._file = file
        self._names: dict[str, dict[str, Section]] = {kind: {} for kind in KINDS}
        for section in sections:
            self._names[section.kind][section.name] = section
        self._lost: set[str] = set()  # titles of sections that name what does not exist

    def link(self, process: ProcessSettings, drafts: Drafts, source: Path | None) -> Settings:
        """Return the settings, as far as they are right."""
        # Names are checked in every section, also in those that have other mistakes.
        self._lost = {section.title for section in self._sections if not self._names_exist(section)}
        self._check_addresses(drafts, process.admin)
        if not self._names["listener"]:
            message = "no [listener:NAME] section: nothing to serve"
            self._builder.errors.append(ConfigError(file=self._file, line=1 if self._file else 0, message=message))
        return Settings(
            source=source,
            process=process,
            listeners=tuple(self._link_listeners(drafts)),
            upstreams=tuple(upstream for _, upstream in drafts.upstreams),
            routes=tuple(self._link_routes(drafts)),
            middlewares=(*(middleware for _, middleware in drafts.middlewares), *self._implied_middleware()),
            demos=tuple(demo for _, demo in drafts.demos),
        )

    def _only_upstream(self) -> str:
        names = self._names["upstream"]
        return next(iter(names)) if len(names) == 1 else ""

    # ------------------------------------------------------------------ listeners and routes

    def _link_listeners(self, drafts: Drafts) -> Iterator[ListenerSettings]:
        for section, listener in drafts.listeners:
            upstream = listener.upstream or self._only_upstream()
            if not upstream and not self._has_route(listener.name):
                self._builder.fail(section, section.line, self._why_nothing_answers())
            elif section.title not in self._lost:
                yield replace(listener, upstream=upstream)

    def _why_nothing_answers(self) -> str:
        names = list(self._names["upstream"])
        if not names:
            return "has neither an upstream nor a route: there is nothing it could answer"
        more = ", ..." if len(names) > _MOST_NAMES else ""
        return f"names no upstream, and there are {len(names)} to choose from: {', '.join(names[:_MOST_NAMES])}{more}"

    def _has_route(self, listener: str) -> bool:
        routes = self._names["route"].values()
        return any("listener" not in route.entries or listener in _names_in(route, "listener") for route in routes)

    def _link_routes(self, drafts: Drafts) -> Iterator[RouteSettings]:
        relays = {upstream.name: upstream.relay for _, upstream in drafts.upstreams}
        for section, draft in drafts.routes:
            route = draft.settings
            if not route.redirect and not route.status:
                route = replace(route, upstream=route.upstream or self._only_upstream())
                if not route.upstream:
                    self._builder.fail(section, section.line, "has no answer: upstream, redirect or status")
                    continue
            if route.upstream or draft.overrides:
                route = replace(route, relay=replace(relays.get(route.upstream, RelaySettings()), **draft.overrides))
            if section.title not in self._lost:
                yield route

    # ------------------------------------------------------------------ names

    def _names_exist(self, section: Section) -> bool:
        before = len(self._builder.errors)
        if section.kind in ("listener", "route"):
            self._refer(section, "upstream")
            self._refer(section, "middleware", USABLE_BY_NAME)
        if section.kind == "route":
            self._refer(section, "listener")
        return len(self._builder.errors) == before

    def _refer(self, section: Section, key: str, others: Sequence[str] = ()) -> None:
        for line, name in _items(section.entries.get(key)):
            if name and name not in self._names[key] and name not in others:
                if key == "middleware" and name in later.MIDDLEWARE:
                    message, guess = f"{name} is {later.NOT_AVAILABLE}", ""
                elif key == "middleware" and name in BUILT_INS:
                    message, guess = f"{name} does nothing without keys: it needs a section [middleware:{name}]", ""
                else:
                    message, guess = f"there is no [{key}:{name}]", closest(name, [*self._names[key], *others])
                self._builder.fail(section, line, message, key=key, suggestion=guess)

    def _implied_middleware(self) -> list[MiddlewareSettings]:
        used = {name for section in self._sections for name in _names_in(section, "middleware")}
        used -= self._names["middleware"].keys()
        return [MiddlewareSettings(name=name, type=name) for name in USABLE_BY_NAME if name in used]

    # ------------------------------------------------------------------ addresses

    def _check_addresses(self, drafts: Drafts, admin: Address | None) -> None:
        taken: list[tuple[Address, Section, int]] = []
        doors: list[tuple[Section, Iterable[Address]]] = [(section, listener.bind) for section, listener in drafts.listeners]
        doors += [(section, (demo.bind,)) for section, demo in drafts.demos]
        for section, addresses in doors:
            for (line, _), address in zip(_items(section.entries["bind"]), addresses, strict=True):
                self._check_address(section, line, address, taken)
                taken.append((address, section, line))
        self._check_admin(admin, taken)

    def _check_address(self, section: Section, line: int, address: Address, taken: list[tuple[Address, Section, int]]) -> None:
        for other, owner, owner_line in taken:
            if _overlap(address, other):
                message = f"{address} is taken by {other} of [{owner.title}] in line {owner_line}"
                self._builder.fail(section, line, message, key="bind")
                return

    def _check_admin(self, admin: Address | None, taken: list[tuple[Address, Section, int]]) -> None:
        owner = next((place for place in taken if admin is not None and _overlap(admin, place[0])), None)
        if owner is not None:
            where = f"of [{owner[1].title}] in line {owner[2]}" if self._file else "of --bind"
            self._builder.fail_process("admin", f"{admin} is taken by {owner[0]} {where}")


def _items(entry: Entry | None) -> list[tuple[int, str]]:
    """Return the items of a list, each with its line; none of an entry that could not be read."""
    if entry is None or entry.is_broken:
        return []
    return [(line.number, item.strip()) for line in entry.lines for item in line.text.removesuffix(",").split(",")]


def _names_in(section: Section, key: str) -> list[str]:
    return [name for _, name in _items(section.entries.get(key))]


def _overlap(one: Address, other: Address) -> bool:
    """Return whether the kernel lets only one of two listen."""
    if one.path or other.path:
        return one.path == other.path
    if one.port == 0 or one.port != other.port:
        return False
    hosts = {"" if host == "0.0.0.0" else host for host in (one.host, other.host)}
    return len(hosts) == 1 or ("" in hosts and not any(":" in host for host in hosts))
