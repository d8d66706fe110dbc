"""How a child process ended, in words for the log."""

from __future__ import annotations

import os
import signal


def how_it_ended(status: int) -> str:
    """Return what a wait status says: "ended with status 1" or "was killed by SIGKILL"."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
