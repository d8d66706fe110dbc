"""The log of our master: what gunicorn's Arbiter and workers use as theirs, in front of our error log.

What the Arbiter says at level info is for those who debug gunicorn, and becomes debug; what users read is said by us.
"""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from greenproxy.observability.error_log import ErrorLog, set_up


class MasterLog(Logger):
    """Stands where the Arbiter and its workers expect gunicorn's logger, and writes our error log."""

    def setup(self, cfg: Any) -> None:
        """Open the error log that `cfg` names. Raises OSError if that is not possible."""
        self.cfg = cfg
        self._handler: ErrorLog = set_up(cfg.errorlog, cfg.loglevel, (cfg.uid, cfg.gid))
        self.error_log = logging.getLogger("greenproxy")

    def info(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log what the Arbiter tells about itself."""
        self.error_log.debug(msg, *args, **kwargs)

    def debug(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Leave out what the Arbiter tells at this level: its whole configuration, of which most is not ours."""

    def reopen_files(self) -> None:
        """Follow a log file that was moved away."""
        self._handler.reopen()
