"""Prepared: what a master makes before its first fork and every worker inherits."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from greenproxy.config.settings import Settings
from greenproxy.observability.board import Board
from greenproxy.process.limits import fit, raise_open_files
from greenproxy.process.listening import Door


@dataclass(frozen=True)
class Prepared:
    """Settings that fit into the limits of this process, the open doors, and the board that workers share."""

    settings: Settings
    doors: tuple[Door, ...]
    board: Board


def prepare(settings: Settings, doors: Iterable[Door], board: Board, log: logging.Logger) -> Prepared:
    """Raise the limit of open files and return what workers need; one warning if fewer clients fit than were asked for."""
    settings, warning = fit(settings, raise_open_files())
    if warning:
        log.warning("%s", warning)
    return Prepared(settings, tuple(doors), board)


def free_slot(taken: Iterable[int]) -> int:
    """Return the lowest slot of the board that no living worker has."""
    used = set(taken)
    return next(slot for slot in range(len(used) + 1) if slot not in used)
