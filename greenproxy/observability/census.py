"""Census: what lives in this process at this moment, counted by kind. The tool to look for leaks.

Greenlets, watchers and descriptors are counted where they are (the collector's list, /proc), not where somebody keeps a
number of them: what was forgotten by everybody is what a leak is. Beside them stands what the rooms know that they hold.

The collector's list has what was made since the last `gc.freeze`, which a worker calls when its house has been opened: what
belongs to the house for good is left out, and costs nothing.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gevent import Greenlet, get_hub
from greenlet import greenlet

_DESCRIPTORS = Path("/proc/self/fd")
_WATCHERS = ("io", "timer", "async", "child", "signal", "stat", "prepare", "check", "idle", "fork")


def census(held: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what this process has now; `held` says what the rooms know of themselves.

    `greenlets`: those that live, by what they run. `watchers`: those of the event loop that are on, by kind, timers among
    them; all together, those from before the start too, are `active`. `descriptors`: by what they are open on. Waits for
    nobody; costs a walk over every object made since the start.
    """
    greenlets, watchers = _living()
    return {
        "pid": os.getpid(),
        "greenlets": greenlets,
        "watchers": {**watchers, "active": int(get_hub().loop.activecnt)},
        "descriptors": _descriptors(),
        **held(),
    }


def _living() -> tuple[dict[str, int], dict[str, int]]:
    """Return the greenlets that live and the watchers that are on."""
    greenlets: Counter[str] = Counter()
    watchers: Counter[str] = Counter()
    hub = get_hub()
    kinds = _watcher_kinds(hub.loop)
    for thing in gc.get_objects():
        kind = type(thing)  # not isinstance(): that asks a weak proxy for what it stands for, which may be gone
        if kind in kinds:
            if thing.active:
                watchers[kinds[kind]] += 1
        elif issubclass(kind, greenlet) and not thing.dead and thing is not hub and thing.parent is not None:
            greenlets[_work_of(thing)] += 1
    return dict(sorted(greenlets.items())), dict(sorted(watchers.items()))


def _watcher_kinds(loop: Any) -> dict[type, str]:
    """Return the classes of the watchers of this loop, whichever of gevent's loops it is."""
    module = sys.modules[type(loop).__module__]
    found = {name: getattr(module, name, None) for name in _WATCHERS}
    return {kind: name for name, kind in found.items() if isinstance(kind, type)}


def _work_of(it: Any) -> str:
    """Return what a greenlet runs; of a raw one, what kind it is."""
    if not isinstance(it, Greenlet):
        return type(it).__qualname__
    run = getattr(it, "_run", None)  # a Greenlet that has begun keeps nothing else of it
    return str(getattr(run, "__qualname__", type(it).__qualname__))


def _descriptors() -> dict[str, int]:
    """Return how many descriptors are open on sockets, pipes, files and things of the kernel."""
    found: Counter[str] = Counter()
    try:
        entries = os.listdir(_DESCRIPTORS)
    except OSError:  # listing takes one: there is none left
        return {"all": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    for entry in entries:
        try:
            target = os.readlink(_DESCRIPTORS / entry)
        except FileNotFoundError:
            continue  # it was the listing's own
        kind, colon, _ = target.partition(":")
        found[kind if colon and kind in ("socket", "pipe", "anon_inode") else "file"] += 1
    return dict(sorted(found.items()))
