"""All cases by name: what each does, and how long its short and its full form take."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from tests.soak import changes, chaos, endings, guests, mixed
from tests.soak.stage import Stage


@dataclass(frozen=True)
class Case:
    """One case. `run` does it and notes in the stage's verdict what held. With 0 for `short_s` it has no short form."""

    name: str
    run: Callable[[Stage], None]
    short_s: float
    full_s: float

    @property
    def does(self) -> str:
        """What it does, in a sentence."""
        return (self.run.__doc__ or "").strip().partition("\n\n")[0]

    def short(self, folder: Path) -> Stage:
        """Run the short form, for the test suite, and return what it found out."""
        stage = Stage(folder, self.short_s, 0.4, is_short=True)
        self.run(stage)
        return stage

    def full(self, seconds: float, factor: float, say: Callable[[str], None], leaks: Sequence[str] = ()) -> Stage:
        """Run the full form and return what it found out. Its folder stays, for whoever wants to look, unless it is
        interrupted."""
        folder = Path(tempfile.mkdtemp(prefix=f"soak-{self.name}-"))
        stage = Stage(folder, seconds, factor, say=say, leaks=leaks)
        try:
            self.run(stage)
        except KeyboardInterrupt:
            shutil.rmtree(folder)
            raise
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe files are in {folder}") from error
        return stage


def own_queues(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """Return a case that is the same with `reuse-port = on`, as the environment of all its programs says."""

    def with_own_queues(stage: Stage) -> None:
        with patch.dict(os.environ, {"GREENPROXY_REUSE_PORT": "on"}):
            run(stage)

    sentence = (run.__doc__ or "").strip().partition("\n\n")[0].removesuffix(".")
    with_own_queues.__doc__ = f"{sentence}; with a queue for each worker (reuse-port)."
    return with_own_queues


CASES = {
    case.name: case
    for case in (
        Case("mixed", mixed.mixed, 0.0, 600.0),
        Case("reload", changes.reload, 4.0, 60.0),
        Case("retire", changes.retire, 1.0, 30.0),
        Case("upgrade", changes.upgrade, 1.0, 20.0),
        Case("kill-workers", endings.kill_workers, 1.5, 60.0),
        Case("kill-master", endings.kill_master, 0.7, 2.0),
        Case("stop", endings.stop, 0.5, 2.0),
        Case("stop-download", endings.stop_download, 1.5, 8.0),
        Case("blocked", endings.blocked, 2.0, 20.0),
        Case("reload-reuse-port", own_queues(changes.reload), 0.0, 60.0),
        Case("retire-reuse-port", own_queues(changes.retire), 0.0, 30.0),
        Case("upgrade-reuse-port", own_queues(changes.upgrade), 0.0, 20.0),
        Case("kill-workers-reuse-port", own_queues(endings.kill_workers), 0.0, 60.0),
        Case("chaos", chaos.chaos, 0.0, 45.0),
        Case("gunicorn-reload", guests.reload, 0.1, 60.0),
        Case("gunicorn-upgrade", guests.upgrade, 0.1, 20.0),
        Case("gunicorn-stop", guests.stop, 0.5, 2.0),
    )
}
