"""Tries user-written middleware: imports it in a child process, so that nothing of it stays in this one.

One child per middleware, all at once, each with a time limit; code that hangs, exits or crashes is a mistake like
any other. The child sees the module path that workers see: the folder of the configuration file, the working
directory, then ours. What user code prints goes nowhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from greenproxy.config.settings import MiddlewareSettings

TIME_LIMIT_S = 10.0

# Our own modules come first and from our own path: a `json.py` next to the configuration is the user's business.
_CHILD = """\
import sys
sys.path[:] = sys.argv[4:]
from greenproxy.config.import_trial import report
report(*sys.argv[1:4])
"""


def try_middlewares(
    middlewares: Sequence[MiddlewareSettings], folder: Path, time_limit_s: float = TIME_LIMIT_S
) -> Mapping[str, str]:
    """Return what is wrong, by name of the middleware; one that can be used is not in the answer.

    Waits for the children, at most `time_limit_s` altogether.
    """
    path = module_path(folder)
    until_s = time.monotonic() + time_limit_s
    children = [(middleware.name, _start(middleware, path)) for middleware in middlewares]
    verdicts = {name: _verdict(child, until_s, time_limit_s) for name, child in children}
    return {name: verdict for name, verdict in verdicts.items() if verdict}


def module_path(folder: Path) -> list[str]:
    """Return the `sys.path` that user code of a configuration file in `folder` is imported with."""
    return list(dict.fromkeys([str(folder), os.getcwd(), *map(os.path.abspath, sys.path)]))


def _start(middleware: MiddlewareSettings, path: Sequence[str]) -> subprocess.Popen[bytes]:
    options = {key.replace("-", "_"): value for key, value in middleware.options}
    ours = map(os.path.abspath, sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD, middleware.type, json.dumps(options), json.dumps(path), *ours],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own: what it starts is stopped with it
    )


def _verdict(child: subprocess.Popen[bytes], until_s: float, time_limit_s: float) -> str:
    try:
        output, _ = child.communicate(timeout=max(0.1, until_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=1)
        return f"took longer than {time_limit_s:g}s to import"
    # The exit status says nothing: in a gunicorn master somebody else may have waited for the child.
    verdict = output.decode(errors="replace").strip()
    return str(json.loads(verdict)) if verdict else "importing it ended the process"
