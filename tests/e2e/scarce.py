"""Scarce: a worker that runs and gets fewer descriptors than it wants, and what it says of itself meanwhile."""

from __future__ import annotations

import itertools
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.client import RawClient, get
from tests.processes import wait_until
from tests.running import RunningProxy

Join = Callable[[RunningProxy], RawClient]  # connects one more client, which stays


def taken(running: RunningProxy) -> set[int]:
    """Return the descriptors that the worker has, which are numbers."""
    (pid,) = running.workers()
    return {int(each) for each in os.listdir(f"/proc/{pid}/fd")}


@contextmanager
def limited_to(running: RunningProxy, limit: int) -> Iterator[None]:
    """A block in which the worker gets no descriptor of that number or above; those that it has are its own."""
    (pid,) = running.workers()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def room_for(running: RunningProxy, spare: int) -> AbstractContextManager[None]:
    """Return a block in which the worker can open `spare` more descriptors than it has now."""
    connections(running)  # a connection of before that was closed is closed there too by then
    held = taken(running)
    free = (number for number in itertools.count() if number not in held)
    return limited_to(running, next(itertools.islice(free, spare, None)))


def no_room(running: RunningProxy) -> AbstractContextManager[None]:
    """Return a block in which the worker can open nothing, whatever it closes."""
    return limited_to(running, 3)


def no_room_but_what_is_idle(running: RunningProxy, join: Join) -> AbstractContextManager[None]:
    """Return a block in which the worker has to close something to open another, and every number that it has will do."""
    while max(taken(running)) >= len(taken(running)):  # more clients, until no lower number is free
        accepted(running, join)
    return room_for(running, 0)


def accepted(running: RunningProxy, join: Join) -> RawClient:
    """Connect one more client, and return it as soon as the worker has accepted it: a shortage of before makes it pause."""
    before = connections(running)
    client = join(running)
    wait_until(lambda: connections(running) > before, "it is accepted")
    return client


def errors(running: RunningProxy) -> list[str]:
    """Return the lines of the error log that are warnings or worse."""
    return [line.split("] ", 1)[1] for line in running.log().splitlines() if "] error: " in line or "] warning: " in line]


def ask_admin(running: RunningProxy, target: str) -> Any:
    """Return what the admin listener says; its descriptor for us is closed then."""
    with RawClient(str(running.folder / "admin.sock")) as client:
        told = client.ask(get(target, "Connection: close", host="localhost")).json()
        assert client.is_closed()
        return told


def state_of(running: RunningProxy) -> str:
    """Return what is said of the backend of the shop."""
    return str(ask_admin(running, "/api/status")["upstreams"][0]["backends"][0]["state"])


def connections(running: RunningProxy) -> int:
    """Return how many clients the worker has."""
    return int(ask_admin(running, "/api/resources")["clients"]["open"])
