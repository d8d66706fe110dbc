"""Open files: the soft limit is raised to the hard one, and the ceiling of clients is lowered to what fits."""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path

from greenproxy.config.settings import Settings

#: Descriptors that are neither clients nor pooled backends: listeners, logs, health checks, and what user code opens.
RESERVE = 64


def raise_open_files() -> int:
    """Raise this process's soft limit of open files to the hard one and return the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        # The kernel has a ceiling of its own, above which even "unlimited" is refused.
        hard = int(Path("/proc/sys/fs/nr_open").read_text())
    if soft != resource.RLIM_INFINITY and soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            soft = hard
        except (OSError, ValueError):
            return soft
    return hard if soft == resource.RLIM_INFINITY else soft


def fit(settings: Settings, open_files: int) -> tuple[Settings, str]:
    """Return the settings with a `worker_connections` that fits into a limit of open files, and a warning ("" if it did).

    No limit (0) becomes the most that fits, without a warning. A quarter of the descriptors is for clients in any case.
    """
    pools = sum(upstream.pool_size * len(upstream.backends) for upstream in settings.upstreams)
    room = max(open_files - pools - RESERVE, open_files // 4, 1)
    wanted = settings.process.worker_connections
    if 0 < wanted <= room:
        return settings, ""
    warning = (
        f"worker-connections = {wanted} does not fit: {open_files} files may be open, {pools} of them for backends; "
        f"it is lowered to {room} (raise the limit with ulimit -n)"
    )
    process = dataclasses.replace(settings.process, worker_connections=room)
    return dataclasses.replace(settings, process=process), warning if wanted else ""
