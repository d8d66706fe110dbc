"""What a peer makes of bytes: h11, which knows nothing of this project, reads them as a server or as a client."""

from __future__ import annotations

from typing import Any, NamedTuple

import h11

_PLENTY = 1 << 20

Fields = list[tuple[bytes, bytes]]


class Seen(NamedTuple):
    """One message as h11 reads it. `first` is (method, target, version) or (status, reason).

    `is_whole`: its end came. `is_broken`: what came is no message. `interim` are (status, fields) of the heads before it.
    """

    first: tuple[Any, ...] = ()
    fields: Fields = []  # noqa: RUF012  # never changed
    payload: bytes = b""
    trailers: Fields = []  # noqa: RUF012
    rest: bytes = b""
    interim: tuple[tuple[int, Fields], ...] = ()
    is_whole: bool = False
    is_broken: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for each, value in self.fields if each == name]


def fields_of(block: bytes) -> Fields:
    """Return the fields of a block as h11 reports them: lower-case names, transfer codings in lower case too."""
    lines = [line.partition(b":") for line in block.split(b"\r\n") if line]
    pairs = [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in pairs]


def request_in(data: bytes) -> Seen:
    """Return the request that a server reads at the beginning of `data`, as far as it goes."""
    connection = h11.Connection(h11.SERVER, _PLENTY)
    if data:  # no data would be the end
        connection.receive_data(data)
    return _message(connection)


def answer_in(data: bytes, method: bytes, *, is_ended: bool, upgrade: bytes = b"") -> Seen:
    """Return the answer to `method` that a client reads at the beginning of `data`. `is_ended`: an orderly end followed."""
    connection = h11.Connection(h11.CLIENT, _PLENTY)
    asks = [(b"Connection", b"upgrade"), (b"Upgrade", upgrade)] if upgrade else []
    connection.send(h11.Request(method=method, target="/", headers=[(b"Host", b"a"), *asks]))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    seen = _message(connection)
    if seen.is_whole or seen.is_broken or not is_ended:
        return seen
    # What is no message because it ends too early is cut, not broken.
    connection.receive_data(b"")
    end = _message(connection)
    return seen._replace(payload=seen.payload + end.payload, is_whole=end.is_whole, rest=end.rest)


def _message(connection: h11.Connection) -> Seen:
    seen = Seen()
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return seen._replace(is_broken=True)
        if isinstance(event, h11.InformationalResponse):
            seen = seen._replace(interim=(*seen.interim, (event.status_code, list(event.headers))))
        elif isinstance(event, h11.Request):
            seen = seen._replace(first=(event.method, event.target, event.http_version), fields=list(event.headers))
        elif isinstance(event, h11.Response):
            seen = seen._replace(first=(event.status_code, bytes(event.reason)), fields=list(event.headers))
        elif isinstance(event, h11.Data):
            seen = seen._replace(payload=seen.payload + bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            rest = bytes(connection.trailing_data[0])
            return seen._replace(trailers=list(event.headers), is_whole=True, rest=rest)
        else:  # it waits for more, or has switched to another protocol
            return seen._replace(rest=bytes(connection.trailing_data[0]))
