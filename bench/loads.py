"""Loads: what is asked of a proxy, by wrk (as fast as it answers), h2load (at a fixed rate) or openssl (new TLS sessions)."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.ground import Ground
from bench.processes import Trouble
from bench.reading import Load, read_h2load_log, read_s_time, read_wrk
from bench.targets import ROOT

#: What a browser sends with a request in a session.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: de,en-US;q=0.7,en;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.org/books/list?page=3",
    "Cookie: sid=b0c4f1d29e8a47c3a6d5; lang=de; seen=1763730000; cart=3f9a",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Priority: u=0, i",
)
#: What `openssl s_time` puts between "GET " and " HTTP/1.0": it knows no fields, and a request without Host is refused.
_WWW = "/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Rest:"


@dataclass(frozen=True)
class Address:
    """Where a proxy listens, plain and with TLS."""

    plain: int
    secure: int

    def url(self, path: str, is_secure: bool) -> str:
        """Return the address of a path."""
        return f"https://localhost:{self.secure}{path}" if is_secure else f"http://127.0.0.1:{self.plain}{path}"


class Loading(Protocol):
    """A kind of load."""

    @property
    def tools(self) -> tuple[str, ...]:
        """The programs that it needs."""

    @property
    def connections(self) -> int:
        """How many connections of clients it opens at once."""

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS."""

    def lasts_s(self, seconds: float) -> float:
        """Return how long it really runs when it is to run for so long."""

    def run(self, ground: Ground, address: Address, seconds: float) -> Load:
        """Put it on a proxy for so long."""


@dataclass(frozen=True)
class Wrk:
    """Closed loops: each connection asks again as soon as it has its answer."""

    path: str = "/"
    connections: int = 32
    headers: tuple[str, ...] = ()
    is_secure: bool = False
    script: str = ""
    tools: tuple[str, ...] = ("wrk",)

    def lasts_s(self, seconds: float) -> float:
        """Return how long it really runs: so long."""
        return seconds

    def command(self, ground: Ground, address: Address, seconds: float) -> list[str]:
        """Return the command. wrk counts whole seconds, so it is told to end by a signal."""
        words = ["wrk", "-t1", f"-c{self.connections}", f"-d{math.ceil(seconds) + 10}s", "--timeout", "10s"]
        for header in self.headers:
            words += ["-H", header]
        if self.script:
            words += ["-s", ground.path(self.script)]
        return [*words, address.url(self.path, self.is_secure)]

    def run(self, ground: Ground, address: Address, seconds: float) -> Load:
        """Put it on a proxy for so long."""
        environ = {"OPENSSL_CONF": ground.path("openssl.cnf")}
        command = self.command(ground, address, seconds)
        return read_wrk(ground.children.run("wrk", command, ground.cores.load, seconds, **environ))


@dataclass(frozen=True)
class Rate:
    """A fixed number of requests per second, over many connections; a late answer delays only what its connection asks next."""

    rate: int
    connections: int
    tools: tuple[str, ...] = ("h2load",)
    is_secure: bool = False

    def lasts_s(self, seconds: float) -> float:
        """Return how long it really runs: twice as long, and at least a second, as the slowest of a thousand want thousands."""
        return math.ceil(2 * seconds)

    def command(self, ground: Ground, address: Address, seconds: float) -> list[str]:
        """Return the command."""
        per_client = self.rate / self.connections
        words = ["h2load", "--h1", "-t1", f"-c{self.connections}", f"--rps={per_client:g}", f"-D{seconds:g}"]
        return [*words, f"--log-file={ground.path('h2load.tsv')}", address.url("/", is_secure=False)]

    def run(self, ground: Ground, address: Address, seconds: float) -> Load:
        """Put it on a proxy for so long as it lasts."""
        seconds = self.lasts_s(seconds)
        log = ground.folder / "h2load.tsv"
        log.unlink(missing_ok=True)
        ground.children.run("h2load", self.command(ground, address, seconds), ground.cores.load)
        return read_h2load_log(log.read_text() if log.exists() else "", seconds, self.rate)


@dataclass(frozen=True)
class Handshakes:
    """New connections with TLS, each with a whole handshake and one request; wrk would resume sessions."""

    connections: int = 4
    is_secure: bool = True
    tools: tuple[str, ...] = ("openssl",)

    def lasts_s(self, seconds: float) -> float:
        """Return how long it really runs: openssl counts whole seconds."""
        return math.ceil(seconds)

    def run(self, ground: Ground, address: Address, seconds: float) -> Load:
        """Put it on a proxy for so long, at least a second."""
        whole = f"{self.lasts_s(seconds):g}"
        command = ["openssl", "s_time", "-connect", f"127.0.0.1:{address.secure}", "-new", "-www", _WWW, "-time", whole]
        environ = {"OPENSSL_CONF": ground.path("openssl.cnf")}
        names = [f"s_time-{n}" for n in range(self.connections)]
        running = [ground.children.start(name, command, ground.cores.load, environ) for name in names]
        for child in running:
            child.wait(60)
        ground.children.stop(*running)
        return read_s_time([(ground.folder / f"{name}.log").read_text(errors="replace") for name in names])


class Held:
    """Connections that are open and idle; a context manager."""

    def __init__(self, ground: Ground, address: Address, count: int, is_secure: bool = False, within_s: float = 120.0) -> None:
        port = address.secure if is_secure else address.plain
        self._ground, self._count, self._name, self._within_s = ground, count, f"holder-{port}", within_s
        self._command = [sys.executable, "-m", "bench.holder", str(port), str(count), "tls" if is_secure else "plain"]
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Held:
        if self._count:
            self._child = self._ground.children.start(
                self._name, self._command, self._ground.cores.load, {"PYTHONPATH": str(ROOT)}
            )
            try:
                self._wait_for(lambda said: said.startswith("ready"))
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._ground.children.stop(self._child)

    def check(self) -> None:
        """Raise Trouble if some of the connections have been closed meanwhile."""
        if self._child is None or self._child.stdin is None:
            return
        self._child.stdin.write(b"\n")
        self._child.stdin.flush()
        said = self._wait_for(lambda said: said.startswith("alive"))
        _, alive, _, asked = said.split()
        if alive != asked:
            raise Trouble(f"only {alive} of {asked} idle connections were still served")

    def _wait_for(self, is_it: Callable[[str], bool]) -> str:
        assert self._child is not None
        end_s = time.monotonic() + self._within_s
        while time.monotonic() < end_s:
            said = self._ground.children.last_words(self._name)
            if is_it(said):
                return said
            if self._child.poll() is not None:
                break
            time.sleep(0.05)
        ended = self._child.poll() is not None
        why = f"their holder ended with status {self._child.returncode}" if ended else f"not within {self._within_s:g} s"
        said = self._ground.children.last_words(self._name)
        raise Trouble(f"{self._count} idle connections could not be held: {', '.join(filter(None, [why, said]))}")
