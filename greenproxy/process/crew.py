"""Crew: who of a master's workers serves which configuration, who is missing, and who could go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar


class Member(Protocol):
    """What is to be known of a worker. `app` is the configuration that it was started for, `age` counts workers."""

    app: Any
    age: int

    @property
    def has_served(self) -> bool:
        """Whether it has begun to serve."""

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to end, or ends by itself."""


W = TypeVar("W", bound=Member)


class Crew(Generic[W]):
    """All workers that live, by their process ids; the master adds to the mapping, and takes away from it.

    A worker belongs to the configuration that is in force, to the one that a reload tries, or to one of before, for which
    it drains.
    """

    def __init__(self, living: Mapping[int, W]) -> None:
        self._living = living

    def of(self, app: Any) -> list[W]:
        """Return the workers of a configuration that are there to stay, oldest first."""
        mine = [worker for worker in self._living.values() if worker.app is app and not worker.is_leaving]
        return sorted(mine, key=lambda worker: worker.age)

    def have_served(self, app: Any, wanted: int) -> bool:
        """Return whether as many workers of a configuration as are wanted serve."""
        return sum(worker.has_served for worker in self.of(app)) >= wanted

    def spare(self, app: Any, wanted: int) -> list[W]:
        """Return the workers that a configuration has beyond those that are wanted: first those that nobody would miss."""
        mine = sorted(self.of(app), key=lambda worker: (worker.has_served, worker.age))
        return mine[: max(0, len(mine) - wanted)]

    def others_than(self, *apps: Any) -> list[W]:
        """Return the workers of all other configurations, also those that leave."""
        return [worker for worker in self._living.values() if worker.app not in apps]
