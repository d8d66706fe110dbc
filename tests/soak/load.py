"""RunningLoad: the driver as a process, for tests: started, watched, stopped, and what it saw."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.processes import Process, wait_until
from tests.soak.tally import Report

Mix = list[dict[str, Any]]
#: Far more than any request of these kinds takes, and more than a blocked worker keeps its clients waiting.
_TIMEOUT_S = 30.0


def everything(factor: float = 1.0, longest_s: float = 2.0) -> Mix:
    """Return the mix of all kinds of clients: what is in it at factor 1 leaves some of two cores free.

    Uploads and downloads take up to `longest_s` seconds.
    """

    def some(count: int) -> int:
        return max(1, round(count * factor))

    return [
        {"kind": "keepalive", "clients": some(8)},
        {"kind": "fresh", "clients": some(6)},
        {"kind": "thinking", "clients": some(40)},
        {"kind": "open", "rate": some(100), "clients": some(100)},
        {"kind": "slow", "clients": some(10)},
        {"kind": "upload", "clients": some(4), "longest_s": longest_s},
        {"kind": "download", "clients": some(6), "longest_s": longest_s},
    ]


class RunningLoad(Process):
    """Clients of `mix` on the addresses `targets`, over the routes `routes` in turn, from when the block is entered."""

    def __init__(
        self, folder: Path, targets: Sequence[Sequence[Any]], mix: Mix, routes: Sequence[str] = ("plain", "stamped")
    ) -> None:
        folder.mkdir()
        self._report = folder / "report.json"
        spec = {
            "report": str(self._report),
            "targets": list(targets),
            "routes": list(routes),
            "timeout_s": _TIMEOUT_S,
            "mix": mix,
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        super().__init__([sys.executable, "-m", "tests.soak.driver", str(folder / "spec.json")], folder)

    def __enter__(self) -> RunningLoad:
        super().__enter__()
        return self

    def report(self) -> Report:
        """Return what it has seen until half a second ago."""
        try:
            return Report.from_data(json.loads(self._report.read_text()))
        except FileNotFoundError:
            return Report()

    def wait_until_answered(self, count: int = 1) -> None:
        """Wait until so many good answers have come."""
        wait_until(lambda: self.report().requests >= count, "answers")

    def end(self) -> None:
        """Tell every client to finish what it is at; who is told twice does the same."""
        if self.exit_status is None:
            self.send(signal.SIGTERM)

    def finish(self, within_s: float = 60.0) -> Report:
        """Let every client finish what it is at, and return what all have seen."""
        self.end()
        return self.result(within_s)

    def result(self, within_s: float) -> Report:
        """Return what all clients have seen, as soon as all of them have ended by themselves."""
        status = self.wait(within_s)
        report = self.report()
        assert status == 0, f"the driver ended with status {status}:\n{self.log()}"
        assert report.is_over, "the driver ended before its clients"
        return report
