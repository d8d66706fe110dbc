"""What a proxy uses: processor time and memory of a process and of all its descendants, as the kernel tells."""

from __future__ import annotations

import time
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended while we looked; its descendants are nobody's
    return found


def processor_s(pid: int) -> float:
    """Return the processor time of the family so far, user's and system's, of all threads, in seconds.

    By the clocks that Linux keeps for every process, which count nanoseconds; /proc/PID/stat counts hundredths of a second.
    """
    total_s = 0.0
    for each in family(pid):
        try:
            total_s += time.clock_gettime((~each << 3) | 2)  # CPUCLOCK_SCHED of the process: clock_getcpuclockid(3)
        except OSError:
            continue  # ended in this moment
    return total_s


def memory_bytes(pid: int) -> int:
    """Return the proportional set size of the family: memory in user space, pages that are shared counted once."""
    total = 0
    for each in family(pid):
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def settled_memory_bytes(pid: int, within_s: float) -> int:
    """Return the memory of the family when it has not moved by more than half a percent for a second, or when time is up."""
    seen: list[int] = []
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        seen.append(memory_bytes(pid))
        recent = seen[-5:]
        if len(recent) == 5 and max(recent) - min(recent) <= 0.005 * max(recent):
            break
        time.sleep(0.25)
    return seen[-1] if seen else memory_bytes(pid)
