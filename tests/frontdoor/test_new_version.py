"""A new version in an environment of its own: USR2 runs the script that is installed by then, with the interpreter it names."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.frontdoor.edge import MODULE, get, ini
from tests.processes import Proxy, command_line, wait_until

SCRIPT = """#!/usr/bin/env -S {interpreter}
import sys
from greenproxy.cli import main
sys.exit(main())
"""


def test_successor_runs_in_the_environment_of_the_script_that_is_installed_by_then(tmp_path: Path) -> None:
    (tmp_path / "edge.py").write_text(MODULE)
    script = tmp_path / "greenproxy-command"
    script.write_text(SCRIPT.format(interpreter=sys.executable))
    script.chmod(0o755)
    proxy = Proxy(ini(workers="1"), tmp_path)
    proxy.command = [str(script), *proxy.command[3:]]
    with proxy:
        port = proxy.port()
        script.write_text(SCRIPT.format(interpreter=f"{sys.executable} -X utf8"))
        proxy.send(signal.SIGUSR2)
        successor = int(proxy.wait_for_log(r"the new program starts \(pid (\d+)\)")[1])
        proxy.wait_for_log(r"the new program is ready")
        assert command_line(successor)[1:4] == ["-X", "utf8", str(script)]
        assert proxy.stop() == 0
        wait_until(lambda: get(port), "the successor answers")
