"""Headers, Request, Response: the values that handlers and middleware exchange. No I/O happens here.

A head that nobody looks at is never split into pairs: `Request` and `Response` keep the validated bytes they
came with (`raw`) and build `Headers` when somebody asks for them. From then on the `Headers` count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeAlias, overload, runtime_checkable

from greenproxy.deadline import NEVER, Deadline, Limit

_MOST_KNOWN_BYTES = 2048
_is_name = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch
_is_value = re.compile("[\t\x20-\x7e\x80-\xff]*").fullmatch  # RFC 9110 section 5.5, no controls


class Headers:
    """Header fields in their order; names compare without case, values are str (latin-1 on the wire).

    `headers[name]` is the first value (KeyError if there is none); assigning replaces all of that name.
    Names and values that could split a message raise ValueError.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._items: list[tuple[str, str]] = []
        for name, value in items.items() if isinstance(items, Mapping) else items:
            self.add(name, value)

    @classmethod
    def from_block(cls, block: bytes) -> Headers:
        """Return the fields of an already validated block: lines `Name: value`, each ended by CRLF."""
        headers = cls.__new__(cls)
        headers._items = list(_known_items(block) if len(block) <= _MOST_KNOWN_BYTES else _items_of(block))
        return headers

    def to_block(self) -> bytes:
        """Return the fields as they go on the wire, each line ended by CRLF."""
        return "".join([f"{name}: {value}\r\n" for name, value in self._items]).encode("latin-1")

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...

    @overload
    def get(self, name: str, default: str) -> str: ...

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of `name`, or `default`."""
        wanted = name.lower()
        for each, value in self._items:
            if each.lower() == wanted:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name`, in order."""
        wanted = name.lower()
        return [value for each, value in self._items if each.lower() == wanted]

    def add(self, name: str, value: str) -> None:
        """Append a field. Raises ValueError for a name or value that is not legal in HTTP."""
        if not _is_name(name):
            raise ValueError(f"not a header name: {name!r}")
        value = value.strip(" \t")
        if not _is_value(value):
            raise ValueError(f"not a value for the header {name}: {value!r}")
        self._items.append((name, value))

    def set(self, name: str, value: str) -> None:
        """Replace every field called `name` by one, in the place of the first."""
        self.add(name, value)
        items, wanted, at = self._items, name.lower(), 0
        while items[at][0].lower() != wanted:
            at += 1
        if at < len(items) - 1:  # there was one already
            new = items.pop()
            items[at:] = [new, *[pair for pair in items[at + 1 :] if pair[0].lower() != wanted]]

    __setitem__ = set

    def __delitem__(self, name: str) -> None:
        """Remove every field called `name`; none is not an error."""
        wanted = name.lower()
        self._items = [pair for pair in self._items if pair[0].lower() != wanted]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self._items])

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> list[tuple[str, str]]:
        """Return every field as (name, value), in order."""
        return list(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(n.lower(), v) for n, v in self._items] == [(n.lower(), v) for n, v in other._items]

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def _items_of(block: bytes) -> list[tuple[str, str]]:
    lines = block.decode("latin-1").split("\r\n")
    return [(name, value.strip(" \t")) for name, _, value in [line.partition(":") for line in lines if line]]


_known_items = lru_cache(maxsize=512)(_items_of)  # heads come again: 0.3 us instead of 3; nobody may change what it returns


class RawHead(Protocol):
    """What a parsed head from the protocol room offers here: its validated field lines."""

    @property
    def seen(self) -> bytes: ...


class ClientAddress(NamedTuple):
    """Who asks. A client on a Unix socket has the ip `unix:` and port 0."""

    ip: str
    port: int


class Duplex(Protocol):
    """Two directions of bytes: what a takeover gets from the server, and what `net.stream.Stream` is."""

    def recv(self, max_bytes: int, limit: Limit = NEVER) -> bytes: ...

    def send(self, data: bytes, limit: Limit = NEVER) -> None: ...

    def shutdown_write(self) -> None: ...

    def wake(self) -> None: ...


@runtime_checkable
class Closable(Protocol):
    """A body that owns something (a connection, a file) has `close()`, as in WSGI (PEP 3333)."""

    def close(self) -> None: ...


class RequestBody(Protocol):
    """The request's body, read from the client as it is asked for.

    Iterating waits for the next bytes (body-timeout) and raises BodyTimeout, BodyTooLarge, BadRequest or ClientGone.
    """

    #: True when there is nothing to read: no body, or all of it was read
    @property
    def is_complete(self) -> bool: ...

    def __iter__(self) -> Iterator[bytes]: ...

    def read(self) -> bytes:
        """Return the whole body, and keep it: whoever reads it later gets the same, the backend too.

        Behind a loop over its pieces it is only the rest, and the request cannot be passed on any more.
        """
        ...


class StreamedBody(RequestBody, Protocol):
    """The request body as the proxy room forwards it: without making the client wait for a 100 (Continue) of ours."""

    #: Trailer fields behind a chunked body, as field lines; complete only with the body
    @property
    def trailers(self) -> bytes: ...

    def take_buffered(self) -> bytes:
        """Return what is here already, without waiting."""
        ...

    def expect_continue_from_backend(self, gone_on: Callable[[], None] = lambda: None) -> bool:
        """Return whether the client waits for a 100 (Continue); from now on the caller sees to it that it gets one.

        Until `continue_sent` is called it is not the client's turn. Not every backend knows of expectations: when it was not
        called within a second of waiting for the body, the client is told to go on all the same, and `gone_on` is called.
        """
        ...

    def continue_sent(self) -> None:
        """The client was told to go on: body-timeout counts from now."""
        ...

    def set_limit(self, max_bytes: int) -> None:
        """Set the longest body (0: any). Raises BodyTooLarge when it is longer by its Content-Length already."""
        ...

    def pause(self) -> None:
        """Stop whoever waits for the client's bytes in another greenlet; somebody else may go on."""
        ...

    def cancel(self) -> None:
        """Stop whoever waits for the client's bytes in another greenlet: nobody wants the rest."""
        ...

    def when_cancelled(self, told: Callable[[], None]) -> None:
        """Call `told` when it is cancelled: whoever passes it on may wait for somebody else than the client."""
        ...


class NoBody:
    """The body of a request without one."""

    is_complete = True
    trailers = b""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def read(self) -> bytes:
        return b""

    def take_buffered(self) -> bytes:
        return b""

    def expect_continue_from_backend(self, gone_on: Callable[[], None] = lambda: None) -> bool:  # noqa: ARG002
        return False

    def continue_sent(self) -> None:
        """There is nothing to go on with."""

    def set_limit(self, max_bytes: int) -> None:
        """A body that is not there is never too long."""

    def pause(self) -> None:
        """Nobody waits for it."""

    def cancel(self) -> None:
        """Nobody waits for it."""

    def when_cancelled(self, told: Callable[[], None]) -> None:
        """It never is."""


NO_BODY = NoBody()

Body: TypeAlias = bytes | Iterable[bytes]
Takeover: TypeAlias = Callable[[Duplex], None]
#: Sends an interim response (1xx) to the client: its status and its field lines.
Inform: TypeAlias = Callable[[int, bytes], None]


def _inform_nobody(status: int, block: bytes) -> None:
    """The interim responses of a request that no client waits for."""


class Trace:
    """What only the proxy room knows of an exchange and the log wants: filled in on the way.

    `upstream_time_s` runs from the first lease to the end of the response head, summed over tries. `retry_reasons` say, of
    every try behind which there was another one, why it failed: one of `errors.RETRY_REASONS`.
    """

    __slots__ = ("backend", "retry_reasons", "upstream", "upstream_time_s")

    def __init__(self) -> None:
        self.upstream = ""
        self.backend = ""
        self.upstream_time_s = -1.0  # negative: no backend was asked
        self.retry_reasons: tuple[str, ...] = ()

    @property
    def retries(self) -> int:
        """How many tries there were after the first."""
        return len(self.retry_reasons)


class Message:
    """What a request and a response have in common: a head that is split into fields only when somebody asks for them."""

    __slots__ = ("headers_if_read", "raw")

    raw: RawHead | None  # the bytes it came with; no longer true of the fields once `headers` was asked for
    headers_if_read: Headers | None  # the fields if anybody asked for them, else None: then `raw` still says it all

    @property
    def headers(self) -> Headers:
        """The header fields; changes to them go out."""
        if self.headers_if_read is None:
            self.headers_if_read = Headers.from_block(self.raw.seen) if self.raw is not None else Headers()
        return self.headers_if_read


class Request(Message):
    """One request. Public to middleware; see `docs/middleware.md`.

    `method`, `target` (as the client sent it, origin-form), `path` (decoded, dots resolved), `query` (without `?`),
    `version` ("1.0" or "1.1"), `client`, `scheme`, `host` (as sent, port included), `body`, `deadline`, `headers`, `state`.
    """

    __slots__ = (
        "_certificate_lines", "_state", "body", "client", "deadline", "host", "inform", "is_peer_trusted", "method", "path",
        "peer", "query", "request_id", "scheme", "target", "trace", "version",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        target: str,
        path: str,
        query: str = "",
        version: str = "1.1",
        host: str = "",
        scheme: str = "http",
        client: ClientAddress = ClientAddress("", 0),
        headers: Headers | None = None,
        raw: RawHead | None = None,
        body: Any = NO_BODY,
        deadline: Deadline = NEVER,
        inform: Inform = _inform_nobody,
        trace: Trace | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.version = version
        self.host = host
        self.scheme = scheme
        self.client = client
        self.body = body
        self.deadline = deadline
        self.raw = raw
        self.inform = inform
        self.is_peer_trusted = False  # what the peer says of earlier hops (X-Forwarded-For and the like) is believed
        self.peer = client  # the socket's other end; `client` may be somebody behind a trusted proxy
        self.request_id = ""
        self.trace = Trace() if trace is None else trace
        self.headers_if_read = headers
        self._state: dict[str, Any] | None = None

    @property
    def certificate_lines(self) -> bytes:
        """The field lines that tell a backend of the client's certificate; b"" where nobody asked for one."""
        return getattr(self, "_certificate_lines", b"")  # set where there are any: no other request pays for it

    @certificate_lines.setter
    def certificate_lines(self, lines: bytes) -> None:
        self._certificate_lines = lines

    @property
    def state(self) -> dict[str, Any]:
        """A dict that the middleware of this request may share."""
        if self._state is None:
            self._state = {}
        return self._state


class Response(Message):
    """One answer. `body` is bytes or an iterable of bytes with an optional `close()`, as in WSGI.

    `reason` is one of `errors.REASONS` when the answer tells of a failure, else "".
    """

    __slots__ = ("body", "reason", "relayed", "status", "takeover")

    def __init__(
        self,
        status: int = 200,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        body: Body = b"",
        raw: RawHead | None = None,
    ) -> None:
        self.status = status
        self.body: Body = body
        self.raw = raw
        self.relayed = body if raw is not None else None  # `body is relayed`: nobody replaced what the backend sent
        self.reason = ""
        self.takeover: Takeover | None = None  # called with the client's bytes after the head (CONNECT, Upgrade)
        self.headers_if_read = headers if headers is None or isinstance(headers, Headers) else Headers(headers)

    def pieces(self) -> Iterator[bytes]:
        """Return the body's bytes piece by piece, whatever form it has. Each may be waited for, and can be read once."""
        return iter((self.body,)) if isinstance(self.body, bytes) else iter(self.body)

    def read(self) -> bytes:
        """Return the whole body, and keep it as the body. Waits for all of it."""
        if not isinstance(self.body, bytes):
            body, self.body = self.body, b"".join(self.body)
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return self.body


Handler: TypeAlias = Callable[[Request], Response]
Middleware: TypeAlias = Callable[[Request, Handler], Response]
