"""Real processes for tests: a whole greenproxy as users start it, and plain gunicorn around it.

    with Proxy(ini, tmp_path) as proxy:
        urlopen(f"http://127.0.0.1:{proxy.port('web')}/")
        assert proxy.stop() == 0

Listeners bind port 0; the real port is read from the log. Whatever is left at the end of the block is killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

ROOT = Path(__file__).parent.parent
PATIENCE_S = 20.0  # far more than anything takes: two processor cores may be busy with other things

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found | None], what: str, within_s: float = PATIENCE_S) -> Found:
    """Return the first true value of `condition`, asking every 10 ms; fails the test after `within_s` seconds."""
    end_s = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.01)


def state_and_parent(pid: int) -> tuple[str, int]:
    """Return a process's state letter and its parent, ("", 0) when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, int(parent)


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that has ended and only waits to be reaped does not."""
    return state_and_parent(pid)[0] not in ("", "Z", "X")


def children_of(pid: int) -> list[int]:
    """Return the running children of a process, in the order of their ids."""
    every = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [child for child in every if state_and_parent(child)[1] == pid and is_running(child)]


def command_line(pid: int) -> list[str]:
    """Return the arguments a process was started with."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


class Process:
    """One program in a session of its own, its output in two files of `folder`. A context manager that leaves nothing behind."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.folder = folder
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill_all()

    def start(self) -> None:
        """Start it; the output of an earlier start is overwritten."""
        with open(self.folder / "stdout", "wb") as out, open(self.folder / "stderr", "wb") as err:
            self._process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environ, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process id of the program, which is that of the master."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        assert self._process is not None, "not started"
        return self._process.poll()

    def log(self) -> str:
        """Return what it wrote to standard error, which is the error log."""
        return (self.folder / "stderr").read_text(errors="replace")

    def output(self) -> str:
        """Return what it wrote to standard output, which is the access log."""
        return (self.folder / "stdout").read_text(errors="replace")

    def wait_for_log(self, pattern: str, within_s: float = PATIENCE_S) -> re.Match[str]:
        """Return the first match of a regular expression in the log as soon as there is one."""
        return wait_until(lambda: re.search(pattern, self.log()), f"{pattern!r} in the log:\n{self.log()}", within_s)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the master."""
        os.kill(self.pid, signum)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """Return the exit status as soon as the program has ended."""
        assert self._process is not None, "not started"
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s:g} s:\n{self.log()}") from None

    def stop(self, signum: signal.Signals = signal.SIGTERM, within_s: float = PATIENCE_S) -> int:
        """Send a signal and return the exit status."""
        self.send(signum)
        return self.wait(within_s)

    def kill_all(self) -> None:
        """Kill whatever is left of it, children included; does nothing when it has ended cleanly."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Proxy(Process):
    """`python -m greenproxy -c FILE`. Entering the block waits until every worker is ready."""

    def __init__(self, ini: str, folder: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        self.file = folder / "greenproxy.ini"
        self.file.write_text(ini)
        super().__init__([sys.executable, "-m", "greenproxy", "-c", str(self.file), *flags], folder, environ)

    def __enter__(self) -> Proxy:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.kill_all()
            raise
        return self

    def wait_until_ready(self) -> None:
        """Wait for the line that says so; fails at once when the program ends instead."""

        def is_ready() -> bool:
            if self.exit_status is not None:
                raise AssertionError(f"ended with status {self.exit_status}:\n{self.log()}")
            return "greenproxy is ready" in self.log()

        wait_until(is_ready, "greenproxy is ready")

    def port(self, listener: str = "web") -> int:
        """Return the port that a listener really has (its first TCP address)."""
        found = re.search(rf"listening on \S+:(\d+) \({re.escape(listener)}\)", self.log())
        assert found, f"no port of {listener} in:\n{self.log()}"
        return int(found[1])

    def workers(self) -> list[int]:
        """Return the process ids of the workers, oldest first."""
        return [pid for pid in children_of(self.pid) if "demo" not in command_line(pid)]

    def demos(self) -> list[int]:
        """Return the process ids of the demo backends, in the order of the file."""
        return [pid for pid in children_of(self.pid) if "demo" in command_line(pid)]
