"""Probe: one HTTP health check, without its socket. h11 speaks, so that our own parser is not its only judge."""

from __future__ import annotations

import h11

from greenproxy.errors import BackendInvalid


class Probe:
    """Asks `path` of `host` (as Host has it) once. Send `request()`, then feed `receive()` until it returns a status."""

    def __init__(self, host: str, path: str) -> None:
        self._host = host
        self._path = path
        self._http = h11.Connection(h11.CLIENT)

    def request(self) -> bytes:
        """Return the bytes to send."""
        head = h11.Request(
            method="GET",
            target=self._path,
            headers=[("Host", self._host), ("User-Agent", "greenproxy"), ("Accept", "*/*"), ("Connection", "close")],
        )
        return (self._http.send(head) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def receive(self, data: bytes) -> int | None:
        """Return the final status, or None while its head is incomplete; b"" says that the backend has closed.

        The body is left unread. Raises BackendInvalid for bytes that are no HTTP response, and for an early end.
        """
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    return event.status_code
                if not isinstance(event, h11.InformationalResponse):
                    break
        except h11.RemoteProtocolError as error:
            raise BackendInvalid(f"The backend's health answer is not valid: {error}") from error
        if event is h11.NEED_DATA:
            return None
        raise BackendInvalid("The backend's health answer ended early.")
