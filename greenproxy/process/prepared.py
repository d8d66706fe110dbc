"""Prepared: what a master makes before its first fork and every worker inherits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from greenproxy.config.settings import Settings
from greenproxy.net.tls_contexts import ServerContext, tls_contexts
from greenproxy.observability.board import Board
from greenproxy.observability.layout import Layout
from greenproxy.observability.names import names_of
from greenproxy.process.certificate_watch import Mark, files_of, marks_of
from greenproxy.process.limits import fit, raise_open_files
from greenproxy.process.listening import Door


@dataclass(frozen=True)
class Prepared:
    """Settings that fit into the limits of this process, the open doors, and the board that workers share.

    `layout` says where on the board a worker with these settings has its numbers, `tls` has the context of each listener with
    certificates, by its name.
    """

    settings: Settings
    doors: tuple[Door, ...]
    board: Board
    layout: Layout
    tls: Mapping[str, ServerContext] = field(default_factory=dict)
    #: What the files of the certificates were when they were loaded
    certificates: dict[str, Mark] = field(default_factory=dict)

    @property
    def generation(self) -> int:
        """Which configuration this is, counted from 1 by the board; refused and undone ones may have had a number too."""
        return self.layout.generation


def prepare(
    settings: Settings, doors: Iterable[Door], board: Board, log: logging.Logger, keep: Iterable[Layout] = ()
) -> Prepared:
    """Raise the limit of open files and return what workers need; one warning if fewer clients fit than were asked for.

    Certificates are read here, with the rights of the master. What workers on the board count goes on; `keep` has layouts of
    others that still live, or may live again. Raises BadPair or OSError when a certificate has changed for the worse since the
    configuration was checked.
    """
    certificates = marks_of(files_of(settings))
    contexts = tls_contexts(settings)
    for line in settings.warnings:
        log.warning("%s", line)
    settings, warning = fit(settings, raise_open_files())
    if warning:
        log.warning("%s", warning)
    names = names_of(settings)
    layout = board.layout(names.gauges, names.counters, names.verdicts, keep)
    if layout.left_out:
        log.warning("so many backends do not fit on the board: %d of their numbers will not be seen", layout.left_out)
    return Prepared(settings, tuple(doors), board, layout, contexts, certificates)


def free_slot(taken: Iterable[int]) -> int:
    """Return the lowest slot of the board that no living worker has."""
    used = set(taken)
    return next(slot for slot in range(len(used) + 1) if slot not in used)
