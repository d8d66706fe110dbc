"""A trial of user code does not outlive whoever waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, is_running, wait_until

MODULE = """
import os
from pathlib import Path
(Path(__file__).parent / "pid").write_text(str(os.getpid()))
while True:
    pass
"""
WAITS = """
import sys
from pathlib import Path
from greenproxy.config.settings import MiddlewareSettings
from greenproxy.config.user_code import try_middlewares
try_middlewares([MiddlewareSettings(name="hook", type="endless:hook")], Path(sys.argv[1]))
"""


def test_user_code_that_hangs_dies_with_the_process_that_tries_it(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(MODULE)
    waiting = subprocess.Popen([sys.executable, "-c", WAITS, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    pid = int(wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the trial runs"))
    waiting.send_signal(signal.SIGKILL)
    waiting.wait(20)
    wait_until(lambda: not is_running(pid), "the trial is gone")
