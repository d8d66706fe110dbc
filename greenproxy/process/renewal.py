"""Renewal: certificates that have changed come into force by a reload, if they are good."""

from __future__ import annotations

import logging
from typing import Any

from greenproxy.certificates import BadPair
from greenproxy.config.settings import Settings
from greenproxy.net.tls_contexts import tls_contexts
from greenproxy.process.certificate_watch import CertificateWatch, Mark
from greenproxy.process.reload import Reload


class Renewal:
    """Asks for a reload in the name of whoever has written new certificates. Never waits."""

    def __init__(self, reload: Reload[Any], log: logging.Logger, watch: CertificateWatch | None = None) -> None:
        self._reload = reload
        self._log = log
        self._watch = watch or CertificateWatch()

    def look(self, settings: Settings, loaded: dict[str, Mark]) -> None:
        """Reload if files are not what they were when they were `loaded`, and are good.

        Those that are not cost nothing but a line in the log: what is in force goes on, and they are tried again later.
        """
        source = settings.source
        if not self._watch.have_changed(loaded, str(source or "")):
            return
        is_again = self._watch.is_again
        try:
            tls_contexts(settings)
        except (BadPair, OSError) as error:
            why = f"the certificates have changed and cannot be used, those of before stay: {error}"
            self._reload.refuse(why, is_again=is_again)
            return
        if not is_again:
            self._log.info("the certificates have changed: reloading %s", source or "the same flags")
        self._reload.ask(is_again=is_again)
