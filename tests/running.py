"""RunningProxy: a `tests.processes.Proxy` with one worker, a JSON access log and a ledger, and what can be read of them.

Who leaves the block of a proxy that runs finds everything back that its exchanges took; so does each test that shares one.
"""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from tests.ledger import GRACE_S, Ledger
from tests.processes import Proxy, wait_until

PREAMBLE = {
    "workers": "1",
    "access-log": "access.log",
    "access-log-format": "json",
    "graceful-timeout": "5s",
    "admin": "unix:admin.sock",
}

#: The proxies whose blocks are entered, oldest first.
RUNNING: list[RunningProxy] = []


def said(ini: str) -> dict[str, str]:
    """Return the keys of the [greenproxy] section."""
    own = re.search(r"^\[greenproxy\]\n((?:(?!\[).*\n?)*)", ini, re.M)
    lines = own[1].splitlines() if own is not None else []
    return {key.strip(): value.strip() for key, equals, value in (line.partition("=") for line in lines) if equals}


def with_preamble(ini: str) -> str:
    """Return the configuration with the defaults above, which keys of its own [greenproxy] section beat."""
    if "[greenproxy]" not in ini:
        ini = "[greenproxy]\n\n" + ini
    own = said(ini)
    defaults = "".join(f"{key} = {value}\n" for key, value in PREAMBLE.items() if key not in own)
    return ini.replace("[greenproxy]\n", "[greenproxy]\n" + defaults, 1)


class RunningProxy(Proxy):
    """One proxy in a folder. `files` are written next to the configuration, by name."""

    def __init__(
        self,
        folder: Path,
        ini: str,
        *flags: str,
        files: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        whole = with_preamble(ini)
        super().__init__(whole, folder, *flags, environ=environ)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        self._keys = said(whole)
        self._ledger: Ledger | None = None

    def __enter__(self) -> RunningProxy:
        super().__enter__()
        try:
            own = self._keys["admin"] != PREAMBLE["admin"]
            self._ledger = Ledger(self.address("admin") if own else str(self.folder / "admin.sock"), int(self._keys["workers"]))
            if "statsd" in self._keys:
                self._wait_for_statsd(self._ledger)
            self._ledger.open()
        except BaseException:
            self.kill_all()
            raise
        RUNNING.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        RUNNING.remove(self)
        try:
            if kind is None:
                self.has_everything_back()
        finally:
            super().__exit__(kind, error, trace)

    @staticmethod
    def _wait_for_statsd(ledger: Ledger) -> None:
        """Metrics get their socket with the first of them, a second after the start; or they had it already."""
        begun_s = monotonic()
        before = ledger.sockets()
        wait_until(lambda: ledger.sockets() > before or monotonic() - begun_s > 1.5, "metrics have their sockets")

    @property
    def ledger(self) -> Ledger:
        """What its workers hold, beside what they held before their first request."""
        assert self._ledger is not None, "not started"
        return self._ledger

    def has_everything_back(self, within_s: float = GRACE_S) -> None:
        """Fail unless the workers hold no more than before their first request. A proxy that has ended holds nothing."""
        if self.exit_status is not None:
            return
        left = self.ledger.left_behind(within_s)
        assert not left, f"the workers hold more than before: {left}"

    def address(self, listener: str = "web") -> tuple[str, int]:
        """Return where that listener (its first TCP address) is."""
        return ("127.0.0.1", self.port(listener))

    def access_log(self) -> list[str]:
        """Return the finished lines of the access log so far."""
        try:
            text = (self.folder / "access.log").read_text()
        except FileNotFoundError:
            return []
        return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def entries(self, needle: str) -> list[dict[str, Any]]:
        """Return the JSON access log's entries whose line contains `needle`."""
        return [json.loads(line) for line in self.access_log() if needle in line]

    def entry(self, needle: str, within_s: float = 10.0) -> dict[str, Any]:
        """Wait for the one entry whose line contains `needle`. Logs are reopened meanwhile, which hurries the batch along."""

        def is_there() -> list[dict[str, Any]]:
            found = self.entries(needle)
            if not found and self.exit_status is None:
                self.send(signal.SIGUSR1)
            return found

        found = wait_until(is_there, f"an access log line with {needle}", within_s)
        assert len(found) == 1, found
        return found[0]

    def memory_bytes(self) -> int:
        """Return the proportional set size of the workers together."""
        total = 0
        for pid in self.workers():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        return total

    def wait_until_refused(self, address: tuple[str, int]) -> None:
        """Wait until nobody listens there any more."""

        def is_refused() -> bool:
            try:
                socket.create_connection(address, 1).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
            return False

        wait_until(is_refused, "connections are refused")
