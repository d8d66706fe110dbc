"""Memory and descriptors of a master and its workers, and whether they stay flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MIB = 1024 * 1024
#: What is still flat: allocators and caches settle within this, and a leak per reload or per request does not stay below it.
_SLACK_SHARE = 0.10
_SLACK_BYTES = 1.5 * _MIB
_SLACK_DESCRIPTORS = 3


def memory_bytes(pid: int) -> int:
    """Return the memory of a process that is no file's, 0 when it has ended.

    Not its share of it (PSS): what a master and its workers have in common is shared by more or fewer of them from one moment
    to the next. Nor the files that it maps, which it shares with every other Python on the machine.
    """
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Anonymous:"))


def descriptors(pid: int) -> int:
    """Return the number of open descriptors of a process, 0 when it has ended."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


@dataclass(frozen=True)
class Figures:
    """A moment: the master's memory and descriptors, and each worker's."""

    when: str
    master_bytes: int
    master_descriptors: int
    workers_bytes: tuple[int, ...]
    workers_descriptors: tuple[int, ...]

    def __str__(self) -> str:
        workers = " ".join(f"{size / _MIB:.1f}" for size in self.workers_bytes)
        opened = " ".join(map(str, self.workers_descriptors))
        master = f"master {self.master_bytes / _MIB:5.1f} MiB, {self.master_descriptors:2d} fds"
        return f"{self.when:8s}{master}; workers {workers} MiB, {opened} fds"


def take(when: str, master: int, workers: Sequence[int]) -> Figures:
    """Measure now."""
    return Figures(
        when,
        memory_bytes(master),
        descriptors(master),
        tuple(map(memory_bytes, workers)),
        tuple(map(descriptors, workers)),
    )


def grown(before: Figures, after: Figures) -> list[str]:
    """Return what is not flat, in words. Both must be of a proxy at the same settings; the mean of the workers counts."""
    found = []
    if after.master_descriptors > before.master_descriptors + _SLACK_DESCRIPTORS:
        found.append(f"the master's descriptors went from {before.master_descriptors} to {after.master_descriptors}")
    pairs = {"master": (before.master_bytes, after.master_bytes), "mean worker": (_mean(before), _mean(after))}
    for who, (first, last) in pairs.items():
        if last > first * (1 + _SLACK_SHARE) + _SLACK_BYTES:
            found.append(f"the {who}'s memory went from {first / _MIB:.1f} to {last / _MIB:.1f} MiB")
    return found


def _mean(figures: Figures) -> float:
    return sum(figures.workers_bytes) / max(1, len(figures.workers_bytes))
