"""The child's half of `user_code`: imports one middleware and prints what is wrong with it, as one line of JSON."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

from greenproxy.config.errors import closest

#: prctl(2): the signal that this process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
#: Longer than anybody waits for a verdict.
_LONGEST_S = 30


def report(kind: str, options_json: str, path_json: str) -> NoReturn:
    """Print the verdict, an empty text when there is nothing wrong, and leave this process at once."""
    _die_in_time()
    verdict_fd = os.dup(1)
    os.dup2(2, 1)  # what user code prints must not be taken for the verdict
    sys.dont_write_bytecode = True  # a check leaves no trace
    sys.path[:] = json.loads(path_json)
    try:
        verdict = judge(kind, json.loads(options_json))
    except BaseException as error:  # sys.exit() and the like: user code may raise anything
        verdict = _told(error)
    os.write(verdict_fd, json.dumps(verdict).encode())
    os._exit(0)  # user code may have started threads that never end


def _die_in_time() -> None:
    """See to it that user code that hangs does not outlive whoever waits for it, who may be killed before he can end it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.alarm(_LONGEST_S)  # for where that is not possible


def judge(kind: str, options: dict[str, str]) -> str:
    """Return what is wrong with `package.module:callable` and its options. Raises what user code raises."""
    module_name, _, names = kind.partition(":")
    found: Any = importlib.import_module(module_name)
    for name in names.split("."):
        if not hasattr(found, name):
            guess = closest(name, [known for known in dir(found) if not known.startswith("__")])
            return f"{module_name} has no {names}" + (f" (did you mean {module_name}:{guess}?)" if guess else "")
        found = getattr(found, name)
    if not callable(found):
        return f"{kind} is not callable"
    if options:
        found = found(**options)
        if not callable(found):
            return f"{kind} returned {type(found).__name__}, which is not callable"
    return _wrong_signature(kind, found)


def _wrong_signature(kind: str, middleware: Any) -> str:
    try:
        signature = inspect.signature(middleware)
    except (TypeError, ValueError):  # built in C: nobody knows
        return ""
    try:
        signature.bind(None, None)
    except TypeError:
        return f"{kind} is called with (request, call_next), but takes {signature}"
    return ""


def _told(error: BaseException) -> str:
    """Return the last line of a traceback, and where in the user's code it was raised."""
    text = " ".join(str(error).split())
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == __file__:
            break  # nothing of the user's ran: there is no such module, or the factory takes other keywords
        if os.path.isfile(frame.filename) and frame.filename != importlib.__file__:
            return f"{told} ({os.path.basename(frame.filename)}:{frame.lineno})"
    return told
