"""The demo backend: a small JSON server to try greenproxy with, `greenproxy demo --bind 127.0.0.1:9001 --name blue`.

It names itself in every answer, waits for `?delay=250ms`, answers with `?status=503`, and is healthy at `/healthz`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import gevent
from gevent import socket
from gevent.pywsgi import WSGIServer

from greenproxy.config.settings import Address
from greenproxy.unix_socket import SocketFile, listen

_BACKLOG = 1024
_LONGEST_DELAY_S = 300.0
_PARENT_EVERY_S = 0.5
_STOP_WITHIN_S = 1.0
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_TEXT = "text/plain; charset=utf-8"
_is_duration = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|)").fullmatch

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], object]


class CannotListen(Exception):
    """The address is not to be had. `str()` is one line for the user."""


def serve(
    address: Address, name: str, *, dies_with_parent: bool = False, on_listening: Callable[[], object] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT, or, if so asked, until the parent process has ended. Raises CannotListen.

    `on_listening` is called as soon as clients can connect.

    Must be called in the main thread of a process of its own: it installs signal handlers. With a parent it says nothing
    about itself, and leaves SIGINT to the parent, because a terminal sends that to both.
    """
    parent = os.getppid()
    listener, file = _listen(address, is_shared=dies_with_parent)
    server = WSGIServer(listener, DemoApp(name), log=None, error_log=None)
    handlers = [gevent.signal_handler(signal.SIGTERM, _close, server, file)]
    if dies_with_parent:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes tells everyone, and the master goes on
    else:
        handlers.append(gevent.signal_handler(signal.SIGINT, _close, server, file))
        where = address.path or "{}:{}".format(*listener.getsockname()[:2])
        print(f"demo backend {name} listens on {where} (pid {os.getpid()})", file=sys.stderr, flush=True)
    on_listening()
    watch = gevent.spawn(_close_without, parent, server, file) if dies_with_parent else None
    try:
        server.serve_forever(stop_timeout=_STOP_WITHIN_S)
    finally:
        for handler in handlers:
            handler.cancel()
        if watch is not None:
            watch.kill()
        _close(server, file)


def _close_without(parent: int, server: WSGIServer, file: SocketFile | None) -> None:
    while os.getppid() == parent:
        gevent.sleep(_PARENT_EVERY_S)
    _close(server, file)


def _close(server: WSGIServer, file: SocketFile | None) -> None:
    if not server.closed:
        if file is not None:
            file.remove()  # first: once the socket is closed it cannot be told whose the file is
        server.close()


def _listen(address: Address, *, is_shared: bool) -> tuple[socket.socket, SocketFile | None]:
    try:
        if address.path:
            bound, file = listen(address.path, _BACKLOG)
            listener = socket.socket(fileno=bound.detach())
        else:
            listener, file = _listen_to_port(address.host, address.port, is_shared), None
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener, file


def _listen_to_port(host: str, port: int, is_shared: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:  # with its like only: while one master follows another (USR2), each has backends of its own
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # pywsgi sends head and body apart: on a reused connection the body would wait 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class DemoApp:
    """A WSGI application (PEP 3333) that tells what it was asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Return the answer, after the delay that the query asks for."""
        code, page, media_type = self._answer(environ)
        has_body = code not in (204, 304)
        phrase = HTTPStatus(code).phrase if code in set(HTTPStatus) else "Status"
        headers = [("Content-Type", media_type), ("Content-Length", str(len(page)))] if has_body else []
        start_response(f"{code} {phrase}", headers)
        return [page] if has_body and environ["REQUEST_METHOD"] != "HEAD" else []

    def _answer(self, environ: Environ) -> tuple[int, bytes, str]:
        if environ["PATH_INFO"] == "/healthz":
            return 200, b"ok\n", _TEXT
        received = len(environ["wsgi.input"].read())
        query = parse_qs(environ.get("QUERY_STRING", ""))
        try:
            delay_s = _duration_s(query["delay"][0]) if "delay" in query else 0.0
            code = _status(query["status"][0]) if "status" in query else 200
        except ValueError as error:
            return 400, f"{error}\n".encode(), _TEXT
        if delay_s:
            gevent.sleep(delay_s)
        return code, json.dumps(self._describe(environ, received), indent=2).encode() + b"\n", "application/json"

    def _describe(self, environ: Environ, received: int) -> dict[str, object]:
        sent = {key for key in environ if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")}
        return {
            "name": self._name,
            "pid": os.getpid(),
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "query": environ.get("QUERY_STRING", ""),
            "host": environ.get("HTTP_HOST", ""),
            "forwarded_for": environ.get("HTTP_X_FORWARDED_FOR", ""),
            "headers": len([key for key in sent if environ[key]]),
            "bytes": received,
        }


def _duration_s(text: str) -> float:
    match = _is_duration(text)
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else -1.0
    if not 0 <= seconds <= _LONGEST_DELAY_S:
        raise ValueError(f"delay: {text!r} is no duration up to 300s, such as 250ms or 2s")
    return seconds


def _status(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 200 <= int(text) <= 599):
        raise ValueError(f"status: {text!r} is no status from 200 to 599")
    return int(text)
