"""Boots: what workers tell gunicorn's master, in shared memory, about their start. Its own ways end the service."""

from __future__ import annotations

import mmap

_SUCCEEDED, _FAILED = 0, 1


class Boots:
    """Two bytes. Made by the master, which calls `begin`; workers note how their start went."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2)

    def begin(self) -> None:
        """Forget the failures of an earlier configuration."""
        self._memory[_FAILED] = 0

    def succeeded(self) -> None:
        """Note that a worker serves."""
        self._memory[_SUCCEEDED] = 1

    def failed(self) -> None:
        """Note that a worker could not start with the configuration that holds."""
        self._memory[_FAILED] = 1

    @property
    def has_succeeded(self) -> bool:
        """Whether a worker ever served, under any configuration."""
        return bool(self._memory[_SUCCEEDED])

    @property
    def have_failed(self) -> bool:
        """Whether a worker could not start with the configuration that holds."""
        return bool(self._memory[_FAILED])
