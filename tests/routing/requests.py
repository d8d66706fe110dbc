"""Requests and routes for the tests of this room, in one line each."""

from __future__ import annotations

from greenproxy.config.settings import PathMatch, RouteSettings
from greenproxy.messages import Handler, Headers, Request, Response
from greenproxy.routing.router import Router
from greenproxy.routing.table import Route


def path_match(text: str) -> PathMatch:
    """Return the condition that a line of `path` stands for."""
    for mark, kind in (("= ", "exact"), ("~ ", "regex")):
        if text.startswith(mark):
            return PathMatch(kind=kind, text=text.removeprefix(mark))
    return PathMatch(kind="prefix", text=text)


def settings(
    name: str,
    *paths: str,
    line: int = 0,
    host: tuple[str, ...] = (),
    method: tuple[str, ...] = (),
    header: tuple[tuple[str, str], ...] = (),
    listener: tuple[str, ...] = (),
) -> RouteSettings:
    """Return the settings of a route."""
    return RouteSettings(
        name=name, line=line, path=tuple(map(path_match, paths)), host=host, method=method, header=header, listener=listener
    )


def answers(name: str) -> Handler:
    """Return a handler that answers with a name."""

    def named(_request: Request) -> Response:
        return Response(200, body=name.encode())

    return named


def router(*routes: RouteSettings, default: str = "") -> Router:
    """Return a router whose routes answer with their names."""
    return Router([Route(each, answers(each.name)) for each in routes], answers(default) if default else None)


def get(path: str, host: str = "a.example", method: str = "GET", headers: Headers | None = None) -> Request:
    """Return a request for a path."""
    return Request(method, path, path=path, host=host, headers=headers or Headers())


def chosen(found: Router, request: Request) -> str:
    """Return the name of the route that answers."""
    body = found(request).body
    assert isinstance(body, bytes)
    return body.decode()
