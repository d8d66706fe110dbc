"""The admin listener as the masters open it: a listener like others, whose protocol says that it is not one of them."""

from __future__ import annotations

from greenproxy.config.settings import ListenerSettings, Settings

#: What stands in `protocol` instead of http; no file can say it. `House.start` knows the listener by it.
ADMIN = "admin"
_LONGEST_BODY_BYTES = 64 * 1024


def admin_listener(settings: Settings) -> ListenerSettings | None:
    """Return the listener that `admin` in [greenproxy] asks for; None when it is off."""
    address = settings.process.admin
    if address is None:
        return None
    return ListenerSettings(name="admin", bind=(address,), protocol=ADMIN, max_body_bytes=_LONGEST_BODY_BYTES)
