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

_CHILD = """\
import json, sys
path, kind, options = json.loads(sys.argv[1])
sys.path[:] = path
from greenproxy.config.import_trial import report
report(kind, options)
"""


def try_middlewares(
    middlewares: Sequence[MiddlewareSettings], folder: Path, time_limit_s: float = TIME_LIMIT_S
) -> Mapping[str, str]:
    """Return what is wrong, by name of the middleware; one that can be used is not in the answer.

    Waits for the children, at most `time_limit_s` altogether.
    """
    path = module_path(folder)
    until_s = time.monotonic() + time_limit_s
    children = [(middleware, _start(middleware, path)) for middleware in middlewares]
    failures = {}
    for middleware, child in children:
        verdict = _verdict(child, until_s, time_limit_s)
        if verdict:
            failures[middleware.name] = verdict
    return failures


def module_path(folder: Path) -> list[str]:
    """Return the `sys.path` that user code of a configuration file in `folder` is imported with."""
    path = [str(folder), os.getcwd()]
    return path + [os.path.abspath(entry) for entry in sys.path if os.path.abspath(entry) not in path]


def _start(middleware: MiddlewareSettings, path: Sequence[str]) -> subprocess.Popen[bytes]:
    options = {key.replace("-", "_"): value for key, value in middleware.options}
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps([path, middleware.type, options])],
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
        return f"is not imported after {time_limit_s:g}s"
    # Not the exit status: in a gunicorn master somebody else may have waited for the child.
    lines = output.decode(errors="replace").splitlines()
    return json.loads(lines[-1]) if lines else "the import ended the process"
