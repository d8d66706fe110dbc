"""What a test may not leave behind: threads, child processes, sockets, greenlets."""

from __future__ import annotations

import gc
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

GRACE_S = 3.0  # threads that were told to end, kernels that reap: they get this long


def threads() -> set[Any]:
    """Return the living threads of this process."""
    return set(threading.enumerate())


def children() -> set[Any]:
    """Return the process ids of all child processes of this process."""
    found: set[Any] = set()
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", "rb", buffering=0) as file:
                found.update(map(int, file.read().split()))
        except OSError:
            continue  # the thread has just ended
    return found


def sockets() -> set[Any]:
    """Return the sockets among the open files of this process, by inode."""
    found: set[Any] = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(entry))
        except OSError:
            continue  # it was the listing's own
        if stat.S_ISSOCK(status.st_mode):
            found.add(status.st_ino)
    return found


def new_greenlets() -> set[Any]:
    """Return the living greenlets that were spawned since `gc.freeze`; none while this process has no hub."""
    local = sys.modules.get("gevent._hub_local")
    if local is None or local.get_hub_if_exists() is None:
        return set()
    from gevent import Greenlet

    # By type: isinstance() asks a weak proxy for its class, and fails when what it stood for is gone.
    return {thing for thing in gc.get_objects() if issubclass(type(thing), Greenlet) and not thing.dead}


KINDS: dict[str, Callable[[], set[Any]]] = {
    "threads": threads,
    "child processes": children,
    "sockets": sockets,
}


class Census:
    """Counts what is there when it is made, and tells what has come and stayed since.

    What exists at the beginning is frozen, so that looking for greenlets costs no walk through the whole heap.
    """

    def __init__(self) -> None:
        self._before = {kind: count() for kind, count in KINDS.items()}
        gc.freeze()

    def left_behind(self) -> dict[str, set[Any]]:
        """Return what is new and does not go away within the grace period."""
        end = time.monotonic() + GRACE_S
        while (left := self._new()) and time.monotonic() < end:
            gc.collect()
            time.sleep(0.02)
        gc.unfreeze()
        return left

    def _new(self) -> dict[str, set[Any]]:
        new = {kind: count() - self._before[kind] for kind, count in KINDS.items()}
        new["greenlets"] = new_greenlets()
        return {kind: things for kind, things in new.items() if things}
