"""Children: the programs a run starts, each in a session of its own and on its own core, and their certain end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STOP_S = 3.0
#: Below the ports that Linux gives to clients (32768 and up): a load that comes and goes cannot take them.
_PORTS = range(18000, 32000)


class Trouble(Exception):
    """Something that the user must be told in one line: a program is missing, or did not start."""


@dataclass(frozen=True)
class Cores:
    """Which core runs what; None where there is only one, and nothing is to choose.

    `second` is for the second worker of a proxy: a core of its own where there are four, else the origin's.
    """

    proxy: int | None = None
    origin: int | None = None
    load: int | None = None
    second: int | None = None

    @classmethod
    def choose(cls, available: Sequence[int] | None = None) -> Cores:
        """Return the proxy's own core, and one or two others for what is not measured."""
        usable = sorted(os.sched_getaffinity(0)) if available is None else list(available)
        if len(usable) < 2:
            return cls()
        return cls(usable[0], usable[1], usable[min(2, len(usable) - 1)], usable[3] if len(usable) > 3 else usable[1])


@contextlib.contextmanager
def on_cores(*cores: int | None) -> Iterator[None]:
    """Start what is started in the block on these cores: children inherit them, and so no thread of theirs begins elsewhere."""
    wanted = {core for core in cores if core is not None}
    if not wanted:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a port that nobody has bound on the loopback address."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Trouble(f"no free port from {_PORTS.start} to {_PORTS.stop}")


def _wait_for_handler(child: subprocess.Popen[bytes], within_s: float = 20.0) -> None:
    """Wait until a program handles INT: before that it would die of it, on a machine that lets it wait for its start."""
    end_s = time.monotonic() + within_s
    while child.poll() is None and time.monotonic() < end_s:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{child.pid}/status").read_text()
            caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
            if int(caught, 16) & 1 << (signal.SIGINT - 1):
                return
        time.sleep(0.002)


class Children:
    """All running programs of a bench, with their logs in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        core: int | None,
        environ: Mapping[str, str] | None = None,
        second: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program; it reads from a pipe of ours, and what it says goes to NAME.log. Raises Trouble if it is not there."""
        with open(self._log(name), "wb") as log, on_cores(core, second):
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env={**os.environ, **(environ or {})},
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise Trouble(f"{command[0]} is not installed") from None
            self._running.append(child)
        return child

    def _log(self, name: str) -> Path:
        return self._folder / f"{name.replace(' ', '-')}.log"

    def wait_until_listening(self, name: str, child: subprocess.Popen[bytes], port: int, within_s: float = 30.0) -> None:
        """Wait until a connection to the port succeeds. Raises Trouble, with the log's end, when the child ends or is late."""
        end_s = time.monotonic() + within_s
        while child.poll() is None and time.monotonic() < end_s:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            time.sleep(0.02)
        why = f"ended with status {child.returncode}" if child.returncode is not None else f"does not listen after {within_s:g} s"
        raise Trouble(f"{name} {why}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        """Return the last line that a program has written, "" if it was silent."""
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""

    def run(self, name: str, command: Sequence[str], core: int | None, stop_after_s: float = 0, **environ: str) -> str:
        """Run a program to its end and return what it said; with `stop_after_s` it gets an INT after that time.

        Raises Trouble if it fails, or does not end within a minute.
        """
        child = self.start(name, command, core, environ)
        try:
            if stop_after_s:
                _wait_for_handler(child)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(stop_after_s)
                child.send_signal(signal.SIGINT)
            status = child.wait(60.0)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{command[0]} did not end within a minute") from None
        finally:
            self.stop(child)
        if status != 0:
            raise Trouble(f"{command[0]} failed: {self.last_words(name) or status}")
        return self._log(name).read_text(errors="replace")

    def stop(self, *children: subprocess.Popen[bytes]) -> None:
        """End these with all their children: in peace within three seconds, else by force."""
        for child in children:
            if child.poll() is None:
                child.terminate()
        end_s = time.monotonic() + _STOP_S
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, end_s - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if child.stdin is not None:
                child.stdin.close()
            if child in self._running:
                self._running.remove(child)

    def stop_all(self) -> None:
        """End everything that still runs."""
        self.stop(*self._running)
