"""Notices that files of certificates have changed: by looking, since a watch on a file loses it when it is replaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TypeAlias

from greenproxy.config.settings import Settings

EVERY_S = 2.0
AGAIN_EVERY_S = 60.0
#: What a file is, as far as a change of it shows; None for one that is not there.
Mark: TypeAlias = tuple[int, int, int] | None


def files_of(settings: Settings) -> list[str]:
    """Return the files that the listeners' tls-* keys name."""
    return [
        file
        for each in settings.listeners
        for file in (*each.tls_certificate, *each.tls_key, each.tls_client_ca)
        if file and each.tls_certificate
    ]


def marks_of(files: Iterable[str]) -> dict[str, Mark]:
    """Return what the files are now."""
    return {file: _mark(file) for file in files}


def _mark(file: str) -> Mark:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class CertificateWatch:
    """Compares the files with what they were when they were loaded, every two seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._next_s = 0.0
        self._again_at_s = 0.0
        self._seen: dict[str, Mark] = {}
        self._tried: dict[str, Mark] = {}
        #: Whether the last True was about the same files as the one before it, which have not come into force
        self.is_again = False

    def have_changed(self, loaded: dict[str, Mark], source: str = "") -> bool:
        """Return whether files are not what they were when they were loaded, and it is time to load them.

        That is so once for each change of them, or of `source`, the configuration that may have kept them from being loaded; and
        once a minute while they are not in force. A change counts when it has lasted until the next look: a certificate and its
        key are seldom written in one moment.
        """
        now_s = self._clock()
        if not loaded or now_s < self._next_s:
            return False
        self._next_s = now_s + EVERY_S
        before, self._seen = self._seen, marks_of([*loaded, *filter(None, [source])])
        if self._seen != before or loaded.items() <= self._seen.items():
            return False
        is_again = self._seen == self._tried
        if is_again and now_s < self._again_at_s:
            return False
        self.is_again = is_again
        self._tried = self._seen
        self._again_at_s = now_s + AGAIN_EVERY_S
        return True
