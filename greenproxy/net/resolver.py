"""Resolver: from the names of backends to the addresses of sockets, always in the background.

Names are looked up when somebody begins to watch them and again every `resolve-interval`; an answer stays in use while a
later question fails. Nobody waits for a lookup on the path of a request: who watches a name is told when its addresses
change. Per name one question is under way at a time, and all of them share a few threads of their own, because the C
library's `getaddrinfo` blocks. IP literals and Unix paths never leave this file's first function.
"""

from __future__ import annotations

import _socket
import logging
import socket
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic
from typing import Any, TypeAlias

import gevent
from gevent.threadpool import ThreadPool

from greenproxy.config.settings import Address
from greenproxy.deadline import Deadline
from greenproxy.errors import ConnectFailed
from greenproxy.net.dial import SockAddr

#: A name without an answer is asked for again after this, if resolve-interval is not shorter.
RETRY_S = 5.0
#: How long a start waits for first answers, over all names together.
START_GRACE_S = 2.0
_THREADS = 4
_THREAD_IDLE_S = 10  # then a thread ends
_LOOPBACK = (SockAddr(socket.AF_INET, ("127.0.0.1", 0)), SockAddr(socket.AF_INET6, ("::1", 0, 0, 0)))

#: Told the addresses, in the order to try them, and why there are none when there are none.
Changed: TypeAlias = Callable[[tuple[SockAddr, ...], str], None]
#: Asks the system for the addresses of a host, port 0; runs in a thread. Raises OSError.
Query: TypeAlias = Callable[[bytes], Sequence[SockAddr]]


def literal(address: Address) -> SockAddr | None:
    """Return the socket address of a Unix path or an IP literal, None for a name. Never blocks."""
    if address.path:
        return SockAddr(socket.AF_UNIX, address.path)
    try:
        found = _socket.getaddrinfo(address.host, address.port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return _sock_addr(found[0])


def ask_system(host: bytes) -> list[SockAddr]:
    """Return the addresses of a host in the order of RFC 6724, port 0. Blocks: for threads. Raises OSError.

    `localhost` always has both loopback addresses (RFC 6761 section 6.3), whatever the hosts file leaves out.
    """
    # The C function: greenproxy's workers patch the one in `socket`, which must not run in a thread.
    found = [_sock_addr(each) for each in _socket.getaddrinfo(host, 0, 0, socket.SOCK_STREAM)]
    return list(dict.fromkeys([*found, *_LOOPBACK] if host == b"localhost" else found))


def _sock_addr(found: tuple[Any, ...]) -> SockAddr:
    """Return what one entry of `getaddrinfo` says."""
    return SockAddr(found[0], found[4])


class Watch:
    """One interest in a name, until `cancel()`."""

    __slots__ = ("_name", "changed", "port")

    def __init__(self, name: _Name | None, port: int, changed: Changed) -> None:
        self._name = name
        self.port = port
        self.changed = changed

    def tell(self, hosts: Sequence[SockAddr], reason: str) -> None:
        """Pass on what is known of the name, with the port of this watch."""
        self.changed(tuple(_with_port(host, self.port) for host in hosts), reason)

    def cancel(self) -> None:
        """Be told nothing more. Idempotent."""
        name, self._name = self._name, None
        if name is not None:
            name.watches.remove(self)


class _Name:
    """What is known of one host name."""

    __slots__ = ("asked_at_s", "hosts", "is_answered", "is_stale", "question", "reason", "watches")

    def __init__(self) -> None:
        self.hosts: tuple[SockAddr, ...] = ()
        self.reason = ""
        self.is_answered = False  # be it with an error
        self.is_stale = False
        self.asked_at_s = float("-inf")
        self.question: gevent.Greenlet[..., None] | None = None
        self.watches: list[Watch] = []


def _with_port(host: SockAddr, port: int) -> SockAddr:
    address: Any = (host.address[0], port, *host.address[2:])
    return SockAddr(host.family, address)


class Resolver:
    """Looks names up for all upstreams of a worker. Belongs to the hub it was made in.

    `interval_s` 0 means that a name which has an answer is never asked for again.
    """

    def __init__(
        self,
        interval_s: float,
        log: logging.Logger,
        query: Query = ask_system,
        clock: Callable[[], float] = monotonic,
        rng: Random | None = None,
    ) -> None:
        self._interval_s = interval_s or float("inf")
        self._log = log
        self._query = query
        self._clock = clock
        self._rng = rng or Random()
        self._names: dict[str, _Name] = {}
        self._threads: ThreadPool | None = None
        self._refresher: gevent.Greenlet[..., None] | None = None
        self._grace_ends_s: float | None = None

    def start(self) -> None:
        """Begin to look names up again in the background."""
        if self._refresher is None:
            self._refresher = gevent.spawn(self._refresh)

    def stop(self) -> None:
        """Ask nothing more. Waits a moment for the threads; one that hangs in a lookup is left to the end of the process."""
        running = [self._refresher, *(name.question for name in self._names.values())]
        gevent.killall([each for each in running if each is not None])
        self._refresher = None
        threads, self._threads = self._threads, None
        if threads is not None:
            ending = gevent.spawn(threads.kill)
            ending.join(0.5)
            ending.kill()

    # ------------------------------------------------------------------ asking

    def watch(self, address: Address, changed: Changed) -> Watch:
        """Call `changed` with the addresses of `address`, at once if they are known, and whenever they change.

        While there are none, `changed` is told so (and why) once, after the first answer. Never waits.
        """
        known = literal(address)
        if known is not None:
            changed((known,), "")
            return Watch(None, address.port, changed)
        name = self._names.setdefault(address.host, _Name())
        watch = Watch(name, address.port, changed)
        name.watches.append(watch)
        if name.is_answered:
            watch.tell(name.hosts, name.reason)
        else:
            self._ask(address.host, name)
        return watch

    def wait_for_first_answers(self) -> None:
        """Return when every watched name was answered, or when the time that a start may take for that is over.

        The time is one for all calls, so that many upstreams with names that nobody knows do not add up.
        """
        if self._grace_ends_s is None:
            self._grace_ends_s = self._clock() + START_GRACE_S
        unanswered = [name.question for name in self._names.values() if name.question and not name.is_answered]
        gevent.joinall(unanswered, timeout=max(0.0, self._grace_ends_s - self._clock()))

    def lookup(self, address: Address, limit: Deadline) -> tuple[SockAddr, ...]:
        """Return the addresses of `address`, at least one; waits if no answer younger than the interval is there.

        Raises ConnectFailed, or `limit.late()`.
        """
        known = literal(address)
        if known is not None:
            return (known,)
        name = self._names.setdefault(address.host, _Name())
        if self._is_due(name, self._clock()):
            self._ask(address.host, name)
        if not name.hosts and name.question is not None:
            seconds = limit.remaining_s()
            name.question.join(None if seconds == float("inf") else max(0.0, seconds))
            if not name.is_answered:
                raise limit.late()
        if not name.hosts:
            raise ConnectFailed(f"{address.host} does not resolve: {name.reason}")
        return tuple(_with_port(host, address.port) for host in name.hosts)

    def _ask(self, host: str, name: _Name) -> None:
        if name.question is None:
            name.asked_at_s = self._clock()
            name.question = gevent.spawn(self._answer, host, name)

    def _answer(self, host: str, name: _Name) -> None:
        """Put the question to a thread and note the answer. Runs in a greenlet of its own."""
        try:
            found = self._ask_in_thread(host)
        finally:
            name.question = None
        if isinstance(found, Exception):
            self._note_failure(host, name, found)
        else:
            self._note_hosts(host, name, tuple(found))

    def _ask_in_thread(self, host: str) -> Sequence[SockAddr] | Exception:
        try:
            encoded = host.encode("idna")  # here: a codec that is first imported in a thread is asking for trouble
        except UnicodeError as error:
            return error
        if self._threads is None:
            self._threads = ThreadPool(_THREADS, idle_task_timeout=_THREAD_IDLE_S)
        answer: Any = self._threads.spawn(self._query_safely, encoded).get()
        return answer  # type: ignore[no-any-return]

    def _query_safely(self, host: bytes) -> Sequence[SockAddr] | Exception:
        try:
            return self._query(host)
        except Exception as error:  # in a thread: gevent prints whatever is raised there
            return error

    # ------------------------------------------------------------------ answers

    def _note_hosts(self, host: str, name: _Name, hosts: tuple[SockAddr, ...]) -> None:
        if name.is_stale:
            self._log.info("the name %s resolves again", host)
        # Name servers rotate their answers: the same addresses in another order are no news.
        is_news = not name.is_answered or set(hosts) != set(name.hosts)
        name.is_answered, name.is_stale, name.reason = True, False, ""
        if is_news:
            name.hosts = hosts
            for watch in list(name.watches):
                watch.tell(hosts, "")

    def _note_failure(self, host: str, name: _Name, error: Exception) -> None:
        name.reason = str(getattr(error, "strerror", None) or error)
        if name.hosts:
            if not name.is_stale:
                self._log.warning("the name %s does not resolve any more (%s): its last addresses stay in use", host, name.reason)
            name.is_stale = True
        elif not name.is_answered:
            name.is_answered = True
            for watch in list(name.watches):
                watch.tell((), f"{host} does not resolve: {name.reason}")

    # ------------------------------------------------------------------ again

    def _is_due(self, name: _Name, now: float) -> bool:
        interval_s = self._interval_s if name.hosts else min(self._interval_s, RETRY_S)
        return name.asked_at_s + interval_s <= now

    def refresh(self) -> None:
        """Ask again for the watched names whose answer is old; forget the names that nobody watches any more. Never waits."""
        now = self._clock()
        for host, name in list(self._names.items()):
            if not self._is_due(name, now):
                continue
            if name.watches:
                self._ask(host, name)
            elif name.question is None:
                del self._names[host]

    def _refresh(self) -> None:
        while True:
            # A little out of step with other workers.
            gevent.sleep(min(1.0, self._interval_s / 4) * self._rng.uniform(0.9, 1.1))
            self.refresh()
