"""Scenarios: who is compared under which load. A table, and nothing that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.ground import TARGETS
from bench.loads import BROWSER, Handshakes, Loading, Rate, Wrk
from bench.targets import Variant

COST, LATENCY, MEMORY, GROWTH = "cost", "latency", "memory", "growth"
#: What figure each kind is about, and its unit.
FIGURES = {COST: "cpu_us", LATENCY: "p99_us", MEMORY: "bytes", GROWTH: "cpu_us"}
#: What the row of greenproxy is called in which no request asks for what the one before it did.
OTHER_TARGETS = "asked for other targets"
#: What a run is unless it is told otherwise: so many rounds of so many seconds, but fewer (though LEAST) where time is short.
ROUNDS, SECONDS, LEAST = 5, 0.7, 3
#: When a whole run begins no round that need not be, so that all is over within twelve minutes.
WHOLE_END_S, WHOLE = 690.0, "twelve minutes"
#: The quick form: rounds, seconds, idle connections, and when it begins no further round.
QUICK_ROUNDS, QUICK_SECONDS, QUICK_HELD, QUICK_END_S = 4, 0.5, 2000, 50.0
#: How long it takes to start and warm a proxy, to change to the next, and to see what idle connections cost.
_START_S, _TURN_S, _IDLE_S = 1.5, 0.1, 6.0


@dataclass(frozen=True)
class Cell:
    """One proxy under one load. It is compared with the cell that `base` names; `at` is its place on the axis of growth.

    `held` further connections, with TLS or without, are open and idle meanwhile.
    """

    label: str
    variant: Variant
    load: Loading
    base: str = "nginx"
    held: int = 0
    at: int = 0
    is_secure: bool = False


@dataclass(frozen=True)
class Scenario:
    """Cells that take turns."""

    name: str
    kind: str
    about: str
    cells: tuple[Cell, ...]
    held_secure: bool = False
    most_rounds: int = 1000

    def only(self, proxies: Sequence[str]) -> Scenario:
        """Return it with the cells of these proxies only."""
        return replace(self, cells=tuple(cell for cell in self.cells if cell.variant.proxy in proxies))

    def against(self, source: str) -> Scenario:
        """Return it with greenproxy's cells only, each beside the same of another checkout, which is its base."""
        cells: list[Cell] = []
        for cell in (each for each in self.cells if each.variant.proxy == _OWN):
            before = replace(cell, label=f"{cell.label} before", variant=replace(cell.variant, source=source))
            cells += [replace(before, base=before.label), replace(cell, base=before.label)]
        return replace(self, cells=tuple(cells))

    def round_s(self, seconds: float) -> float:
        """Return how long the load of one round of one cell really lasts, 0 where there is none."""
        return 0.0 if self.kind == MEMORY else max((cell.load.lasts_s(seconds) for cell in self.cells), default=seconds)

    def expected_s(self, rounds: int, seconds: float) -> float:
        """Return how long all of it takes, very nearly: a share of the time that a whole run may take."""
        if self.kind == MEMORY:
            return _IDLE_S * len(self.cells)
        return len(self.cells) * (_START_S + min(rounds, self.most_rounds) * (self.round_s(seconds) + _TURN_S))

    @property
    def most_backends(self) -> int:
        """How many backends the origin must be."""
        return max((cell.variant.backends for cell in self.cells), default=2)


_FAST = ("nginx", "greenproxy", "haproxy", "caddy")
_ALL = (*_FAST, "aiohttp")
_WITH_MITMPROXY = (*_ALL, "mitmproxy")


def _cells(load: Loading, proxies: Sequence[str] = _ALL) -> tuple[Cell, ...]:
    return tuple(Cell(proxy, Variant(proxy), load) for proxy in proxies)


def _bulk(load: Loading) -> tuple[Cell, ...]:
    """nginx twice: it reads bodies ahead, to files in the end, unless it has buffers that are large enough."""
    first, *others = _cells(load)
    return (first, Cell("nginx large buffers", Variant("nginx", has_large_buffers=True), load), *others)


_OWN = "greenproxy"
_SMALL = Wrk()
_TARGETS = Wrk(TARGETS[0], script="targets.lua")


def _own() -> tuple[Cell, ...]:
    variants = {
        "greenproxy": Variant(_OWN),
        "with logs": Variant(_OWN, logs=True),
        "with middleware": Variant(_OWN, has_middleware=True),
        "under gunicorn": Variant(_OWN, is_under_gunicorn=True),
        "with 2 workers": Variant(_OWN, workers=2),
    }
    cells = [Cell(label, variant, _SMALL, base="greenproxy") for label, variant in variants.items()]
    return (*cells, Cell(OTHER_TARGETS, Variant(_OWN), _TARGETS, base="greenproxy"))


def _logged() -> tuple[Cell, ...]:
    return tuple(Cell(f"{proxy} with logs", Variant(proxy, logs=True), _SMALL, "nginx with logs") for proxy in ("nginx", _OWN))


def _connections() -> tuple[Cell, ...]:
    return tuple(
        Cell(f"{proxy} {count}", Variant(proxy), Wrk(connections=min(count, 500)), f"{proxy} 10", max(0, count - 500), count)
        for count in (10, 100, 500, 2000, 10000)
        for proxy in ("nginx", _OWN, "haproxy")
    )


def _backends() -> tuple[Cell, ...]:
    return tuple(
        Cell(f"{proxy} {count}", Variant(proxy, backends=count), _SMALL, f"{proxy} 2", at=count)
        for count in (2, 10, 100, 1000)
        for proxy in ("nginx", _OWN)
    )


def _routes() -> tuple[Cell, ...]:
    """The load is the same with one route as with all: other targets cost more than one that is asked for again and again."""
    return tuple(
        Cell(f"{proxy} {count}", Variant(proxy, routes=count), _TARGETS, f"{proxy} 1", at=count)
        for count in (1, 10, 100, 1000, 10000)
        for proxy in ("nginx", _OWN)
    )


def _idle(count: int, is_secure: bool = False) -> tuple[Cell, ...]:
    """mitmproxy holds a tenth of what the others hold: it needs milliseconds for each, and the share of one is the same."""
    cells = _cells(_SMALL, _WITH_MITMPROXY)
    held = {"mitmproxy": count // 10}
    return tuple(replace(cell, held=held.get(cell.label, count), is_secure=is_secure) for cell in cells)


_CHURN = ("Connection: close",)
ALL = (
    Scenario("small", COST, "GET, an answer of 69 bytes, 32 kept connections", _cells(_SMALL, _WITH_MITMPROXY)),
    Scenario("small-1", COST, "the same over one connection", _cells(Wrk(connections=1))),
    Scenario("small-512", COST, "the same over 512 connections", _cells(Wrk(connections=512))),
    Scenario("targets", COST, f"small, where requests ask for {len(TARGETS):,} targets in turn", _cells(_TARGETS)),
    Scenario("browser", COST, "GET with nine header fields of a browser", _cells(Wrk("/books/7?sort=year", headers=BROWSER))),
    Scenario("churn", COST, "a new connection for every request", _cells(Wrk(headers=_CHURN))),
    Scenario("bulk-64k", COST, "downloads of 64 KiB", _bulk(Wrk("/64k", 16))),
    Scenario("bulk-1m", COST, "downloads of 1 MiB", _bulk(Wrk("/1m", 8))),
    Scenario("bulk-10m", COST, "downloads of 10 MiB", _bulk(Wrk("/10m", 4))),
    Scenario("chunked-1m", COST, "downloads of 1 MiB in chunks", _bulk(Wrk("/chunked/1m", 8))),
    Scenario("upload-1m", COST, "uploads of 1 MiB", _bulk(Wrk("/up", 8, script="upload.lua"))),
    Scenario("tls", COST, "GET over TLS 1.3, 32 kept connections", _cells(Wrk(is_secure=True), _WITH_MITMPROXY)),
    Scenario("tls-churn", COST, "a new TLS connection for every request", _cells(Wrk("/", 16, _CHURN, is_secure=True))),
    Scenario("tls-new", COST, "the same with a full handshake each, 4 clients", _cells(Handshakes())),
    Scenario("tls-bulk-1m", COST, "downloads of 1 MiB over TLS 1.3", _cells(Wrk("/1m", 8, is_secure=True))),
    Scenario("logged", COST, "small, with an access log (greenproxy: and statsd)", _logged()),
    Scenario("own", COST, "small: what greenproxy's own features cost", _own()),
    Scenario("rate-1k", LATENCY, "1,000 requests/s over 20 connections", _cells(Rate(1000, 20)), most_rounds=3),
    Scenario("rate-5k", LATENCY, "5,000 requests/s over 50 connections", _cells(Rate(5000, 50), _FAST), most_rounds=3),
    Scenario("rate-10k", LATENCY, "10,000 requests/s over 100 connections", _cells(Rate(10000, 100), _FAST), most_rounds=3),
    Scenario("idle-memory", MEMORY, "5,000 idle kept connections", _idle(5000), most_rounds=1),
    Scenario("tls-idle-memory", MEMORY, "1,000 idle TLS connections", _idle(1000, is_secure=True), most_rounds=1),
    Scenario("connections", GROWTH, "small, by connected clients, of which up to 500 are active", _connections(), most_rounds=3),
    Scenario("backends", GROWTH, "small, by backends", _backends(), most_rounds=3),
    Scenario("routes", GROWTH, f"small, by routes, which share {len(TARGETS):,} targets", _routes(), most_rounds=3),
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
QUICK = ("small", "browser", "churn", "bulk-1m", "tls", "idle-memory")
QUICK_PROXIES = ("nginx", "greenproxy", "haproxy")
