"""AdminClient: asks an admin listener for its state, with a time limit, over TCP or a Unix socket. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from greenproxy.config.settings import Address
from greenproxy.control.refusal import CannotDo

_LARGEST_BYTES = 64 * 1024 * 1024
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class Unheard(CannotDo):
    """Nobody answers there, or it does not let us in: a reload may change that."""


class Refuses(Unheard):
    """It wants a token, or another one."""


class Silent(Unheard):
    """Somebody listens there and does not answer: all workers are blocked, or have as many connections as they take."""


class AdminClient:
    """The state of one admin listener. Every `status` is a connection of its own, since workers come and go."""

    def __init__(self, address: Address, token: str, time_limit_s: float) -> None:
        self._address = address
        self._token = token
        self._time_limit_s = time_limit_s

    def status(self) -> dict[str, Any]:
        """Return the document of /api/status. Waits at most the time limit for each step.

        Raises Unheard when nobody listens (Silent: or answers) or the token is wrong (Refuses), CannotDo for whatever else
        goes wrong.
        """
        connection = _Connection(self._address, self._time_limit_s)
        fields = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            connection.request("GET", "/api/status", headers=fields)
            response = connection.getresponse()
            page = response.read(_LARGEST_BYTES)
        except PermissionError:
            raise CannotDo(f"the admin at {self._address} is not for you: no permission to connect") from None
        except (ConnectionError, FileNotFoundError) as error:
            raise Unheard(f"nobody answers at {self._address} (admin): {error.strerror or error}") from None
        except (TimeoutError, BlockingIOError):  # the latter: the queue of a Unix socket is full
            raise Silent(f"the admin at {self._address} did not answer within {self._time_limit_s:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or f"{type(error).__name__} {error}".strip()
            raise CannotDo(f"the admin at {self._address} cannot be asked: {reason}") from None
        finally:
            connection.close()
        return self._document(response.status, page)

    def _document(self, status: int, page: bytes) -> dict[str, Any]:
        if status == 401:
            wrong = "does not know this admin-token" if self._token else "wants an admin-token"
            raise Refuses(f"the admin at {self._address} {wrong}")
        try:
            document = json.loads(page) if status == 200 else None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CannotDo(f"what answers at {self._address} is no admin of greenproxy (status {status})")
        return document


class _Connection(http.client.HTTPConnection):
    """To an address of ours, which may be a Unix socket."""

    def __init__(self, address: Address, time_limit_s: float) -> None:
        super().__init__(_EVERYWHERE.get(address.host, address.host) or "localhost", address.port or None, timeout=time_limit_s)
        self._path = address.path
        self._time_limit_s = time_limit_s

    def connect(self) -> None:
        """Connect, within the time limit."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._time_limit_s)
        self.sock.connect(self._path)
