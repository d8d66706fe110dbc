"""The built-in `headers`: sets, adds and removes fields of the request (before it is passed on) and of the response.

On each side removing comes first, then setting, then adding. The proxy's own error pages are changed like any response.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from greenproxy.errors import ProxyError
from greenproxy.messages import Handler, Headers, Middleware, Request, Response

_KEYS = ("request-set", "request-add", "request-remove", "response-set", "response-add", "response-remove")
#: Fields that say how a message is framed or belong to one connection: the server and the proxy decide about them.
_RESERVED = frozenset(
    ["connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
)


class Changes(NamedTuple):
    """What happens to the fields of one side."""

    remove: tuple[str, ...]
    set: tuple[tuple[str, str], ...]
    add: tuple[tuple[str, str], ...]

    def apply(self, headers: Headers) -> None:
        """Change `headers`."""
        for name in self.remove:
            del headers[name]
        for name, value in self.set:
            headers[name] = value
        for name, value in self.add:
            headers.add(name, value)


def check(options: Mapping[str, str]) -> None:
    """Raise ValueError, naming the key, if the options of a `headers` are wrong."""
    for key in options:
        if key.replace("_", "-") not in _KEYS:
            raise ValueError(f"{key}: unknown key; headers has {', '.join(_KEYS)}")
    if not any(options.values()):
        raise ValueError(f"type: headers does nothing without one of {', '.join(_KEYS)}")
    _changes(options, "request")
    _changes(options, "response")


def make(options: Mapping[str, str]) -> Middleware:
    """Return the middleware. Raises ValueError as `check` does."""
    check(options)
    on_request, on_response = _changes(options, "request"), _changes(options, "response")

    def headers(request: Request, call_next: Handler) -> Response:
        if any(on_request):
            on_request.apply(request.headers)
        try:
            response = call_next(request)
        except ProxyError as error:
            error.edits.append(edit)
            raise
        edit(response)
        return response

    def edit(response: Response) -> None:
        if any(on_response):
            on_response.apply(response.headers)

    return headers


def _changes(options: Mapping[str, str], side: str) -> Changes:
    spelt = {key.replace("_", "-"): text for key, text in options.items()}
    remove = spelt.get(f"{side}-remove", "").replace(",", "\n").split("\n")
    return Changes(
        tuple(_field(f"{side}-remove", name.strip(), "")[0] for name in remove if name.strip()),
        _fields(f"{side}-set", spelt.get(f"{side}-set", "")),
        _fields(f"{side}-add", spelt.get(f"{side}-add", "")),
    )


def _fields(key: str, text: str) -> tuple[tuple[str, str], ...]:
    fields = []
    for line in text.split("\n"):
        name, colon, value = line.strip().partition(":")
        if name and not colon:
            raise ValueError(f"{key}: {line.strip()!r} is not `Name: value`")
        if colon:
            fields.append(_field(key, name.strip(), value.strip()))
    return tuple(fields)


def _field(key: str, name: str, value: str) -> tuple[str, str]:
    try:
        Headers([(name, value)])
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
    if name.lower() in _RESERVED:
        raise ValueError(f"{key}: {name} belongs to the connection and cannot be changed here")
    return name, value
