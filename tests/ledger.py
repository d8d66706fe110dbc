"""Ledger: what the workers of a proxy hold after a test, beside what they held before their first request.

The workers count themselves (`/api/resources`). What belongs to exchanges must be gone when the clients are: requests in
flight, leases, those who wait for one, greenlets but for recycled ones, timers, watchers and descriptors but for the idle
sockets to backends, which their pools account for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tests.client import Address, RawClient, get
from tests.processes import wait_until

GRACE_S = 5.0  # to notice that a client has left, to end a health check, to wait out a pause: more than any takes
LONGEST_PATH = 107  # of a Unix socket, sun_path
_RECYCLED = "_Runner"
#: What comes with the first use and stays: the threads that write the access log and look up names.
_WITH_FIRST_USE = {"greenlets: _WorkerGreenlet": 2, "watchers: fork": 2}
#: Not compared: the recycled ones are judged by who is idle, and a listener that pauses comes back with another watcher than
#: the one from before the count began. All watchers together are compared.
_NOT_COMPARED = {f"greenlets: {_RECYCLED}", "watchers: io"}
_MOST_TRIES = 400

Held = Mapping[str, Any]


class Allowance:
    """What the test that runs now says of its workers: `reason` is why there are others than at its beginning, "" if not."""

    reason = ""


ALLOWANCE = Allowance()


class Ledger:
    """Keeps the first census of each worker. `admin` is their listener; `workers` is how many answer there."""

    def __init__(self, admin: Address, workers: int) -> None:
        assert not isinstance(admin, str) or len(admin) <= LONGEST_PATH, admin
        self._admin = admin
        self._workers = workers
        self._before: dict[int, dict[str, int]] = {}

    def open(self) -> None:
        """Take the first census: of a moment in which two in a row are the same, so that nobody is on the way."""

        def is_at_rest() -> bool:
            first = self._by_worker()
            self._before = self._by_worker()
            return first == self._before and not any(in_flight(held) for held in self._censuses())

        wait_until(is_at_rest, "a proxy without requests is at rest")

    def left_behind(self, within_s: float = GRACE_S) -> dict[str, int]:
        """Return what has come since and does not go away, and how many of it. Workers that are new must be allowed for."""
        end = time.monotonic() + within_s
        while (left := self._new()) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def _new(self) -> dict[str, int]:
        left: dict[str, int] = {}
        for held in self._censuses():
            left |= in_flight(held)
            now = standing(held)
            if held["pid"] not in self._before:
                if not ALLOWANCE.reason:
                    return {"workers that nobody announced: mark the test with `replaces_workers`": 1}
                self._before[held["pid"]] = now
            left |= grown(self._before[held["pid"]], now)
        return left

    def sockets(self) -> int:
        """Return how many sockets all workers have."""
        return sum(now.get("descriptors: socket", 0) for now in self._by_worker().values())

    def _by_worker(self) -> dict[int, dict[str, int]]:
        return {held["pid"]: standing(held) for held in self._censuses()}

    def _censuses(self) -> Iterator[Held]:
        """Yield the census of every worker, once each."""
        seen: set[int] = set()
        for _ in range(_MOST_TRIES):
            held = ask(self._admin)
            if held["pid"] not in seen:
                seen.add(held["pid"])
                yield held
            if len(seen) >= self._workers:
                return
        raise AssertionError(f"of {self._workers} workers only {sorted(seen)} answer")


def ask(admin: Address) -> Held:
    """Return the census of the worker that accepts."""
    with RawClient(admin) as client:
        told: Held = json.loads(client.ask(get("/api/resources", "Connection: close", host="localhost")).body)
        return told


def in_flight(held: Held) -> dict[str, int]:
    """Return what must be gone whatever was there before: everything that an exchange, or a client, has."""
    found = {f"clients that are {what}": count for what, count in held["clients"].items()}
    found["greenlets that serve"] = held["greenlets"].get(_RECYCLED, 0) - held["idle_greenlets"] - held["admin_clients"]
    for upstream in held["upstreams"]:
        found[f"requests in the line of {upstream['name']}"] = upstream["queued"]
        for backend in upstream["backends"]:
            found[f"slots of {upstream['name']}.{backend['name']}"] = backend["lent"]
    return {what: count for what, count in found.items() if count > 0}


def standing(held: Held) -> dict[str, int]:
    """Return what is to be no more than it was: what is there, less what is known to have a reason."""
    checks = sum(upstream["checks"] for upstream in held["upstreams"])
    idle = sum(backend["idle"] for upstream in held["upstreams"] for backend in upstream["backends"])
    known = {
        "watchers: active": idle + held["clients"]["open"] + held["admin_clients"] + 2 * checks,
        "watchers: timer": checks,
        "descriptors: socket": idle + held["clients"]["open"] + held["admin_clients"] + checks,
        "descriptors: pipe": held["pipes"],
        "greenlets: Checks.check": checks,
    }
    kinds = ("greenlets", "watchers", "descriptors")
    found = {f"{kind}: {what}": count for kind in kinds for what, count in held[kind].items()}
    return {what: count - known.get(what, 0) for what, count in found.items() if what not in _NOT_COMPARED}


def grown(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Return what is more than it was, and by how many; what comes with the first use is not."""
    more = {what: count - max(before.get(what, 0), _WITH_FIRST_USE.get(what, 0)) for what, count in now.items()}
    return {what: count for what, count in more.items() if count > 0}
