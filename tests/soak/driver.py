"""The load: many clients of many kinds in a process of its own, so that neither the proxy nor the test waits for it.

`python -m tests.soak.driver SPEC.json` runs until TERM; then every client finishes what it is at. Twice a second, and at the
end, the report so far replaces the file that the specification names. The specification:

    {"report": PATH, "targets": [["127.0.0.1", 8080], ["127.0.0.1", 8443, "tls"]], "routes": ["plain", "stamped"],
     "timeout_s": 30, "mix": [{"kind": "keepalive", "clients": 8}, {"kind": "open", "rate": 100, "clients": 80}, ...]}
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group

from tests.soak.client import Client
from tests.soak.habits import HABITS
from tests.soak.rough import RoughClient
from tests.soak.tally import Report

_TELL_EVERY_S = 0.5
_SHORT_PAUSE_S = 0.02  # upper bound of a closed loop's pause: what is measured here is loss, not speed
_PAUSE_AFTER_FAILURE_S = 0.5  # whoever finds the door closed does not knock without end
_THINK_S = 2.0
_TICK_S = 0.05
_RATE = 2_000_000  # of downloads, bytes/s
_PIECES = 8  # in which uploads are sent

Entry = dict[str, Any]


class Load:
    """The clients of one specification."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.report = Report()
        self.is_over = Event()
        self._spec = spec
        self._greenlets = Group()
        self._number = itertools.count()

    def client(self, kind: str) -> RoughClient:
        """Return a new client, which has the next target and the next route."""
        number = next(self._number)
        targets, routes = self._spec["targets"], self._spec["routes"]
        route = routes[number // len(targets) % len(routes)]
        return RoughClient(self.report, kind, targets[number % len(targets)], route, timeout_s=self._spec["timeout_s"])

    def spawn(self, run: Callable[..., None], *arguments: Any) -> None:
        """Run something that `finish` waits for."""
        self._greenlets.start(gevent.Greenlet(run, *arguments))

    def pause(self, longest_s: float) -> None:
        """Wait a random time, or until the load is over."""
        self.is_over.wait(random.uniform(0, longest_s))

    def run(self) -> None:
        """Run until it is told to be over, and until every client has finished."""
        for entry in self._spec["mix"]:
            if entry["kind"] == "open":
                self.spawn(open_loop, self, entry)
                continue
            for _ in range(entry["clients"]):
                self.spawn(KINDS[entry["kind"]], self, self.client(entry["kind"]), entry)
        watching = gevent.spawn(self._watch)
        self._greenlets.join()
        watching.kill()
        self.report.is_over = True
        self.tell()

    def _watch(self) -> None:
        """Measure silences, and tell what was seen so far."""
        seen, answer_s, told_s = 0, time.monotonic(), 0.0
        while True:
            now_s = time.monotonic()
            if self.report.requests != seen:
                seen, answer_s = self.report.requests, now_s
            if not self.is_over.is_set():  # the last ones may take their time
                self.report.longest_silence_s = max(self.report.longest_silence_s, now_s - answer_s)
            if now_s - told_s > _TELL_EVERY_S:
                told_s = now_s
                self.tell()
            gevent.sleep(_TICK_S)

    def tell(self) -> None:
        """Replace the file with the report so far."""
        path = Path(self._spec["report"])
        path.with_suffix(".new").write_text(json.dumps(self.report.as_data()))
        os.replace(path.with_suffix(".new"), path)


# ------------------------------------------------------------------ the kinds of clients


def keepalive(load: Load, client: Client, _entry: Entry) -> None:
    """Ask on one connection, again and again, with hardly a pause."""
    while not load.is_over.is_set():
        load.pause(_SHORT_PAUSE_S if client.echo() else _PAUSE_AFTER_FAILURE_S)
    client.close()


def fresh(load: Load, client: Client, _entry: Entry) -> None:
    """Ask on a new connection each time; half of the requests say that they are the last."""
    while not load.is_over.is_set():
        is_good = client.echo(last=random.random() < 0.5)
        client.close()
        load.pause(_SHORT_PAUSE_S if is_good else _PAUSE_AFTER_FAILURE_S)


def thinking(load: Load, client: Client, _entry: Entry) -> None:
    """Ask on one connection, with pauses in which the proxy may well end it."""
    while not load.is_over.is_set():
        client.echo()
        load.pause(_THINK_S)
    client.close()


def slow(load: Load, client: Client, _entry: Entry) -> None:
    """Ask for answers that take a second."""
    while not load.is_over.is_set():
        load.pause(_SHORT_PAUSE_S if client.echo(1.0) else _PAUSE_AFTER_FAILURE_S)
    client.close()


def upload(load: Load, client: Client, entry: Entry) -> None:
    """Send bodies of all sizes in both framings, some of them over `longest_s` seconds."""
    while not load.is_over.is_set():
        size = int(2 ** random.uniform(0, 21))
        pause_s = random.choice((0.0, 0.01, entry["longest_s"] / _PIECES))
        is_good = client.upload(size, is_chunked=random.random() < 0.5, pause_s=pause_s, sleep=gevent.sleep)
        load.pause(_SHORT_PAUSE_S if is_good else _PAUSE_AFTER_FAILURE_S)
    client.close()


def download(load: Load, client: Client, entry: Entry) -> None:
    """Receive bodies of all sizes in both framings, which take up to `longest_s` seconds."""
    while not load.is_over.is_set():
        size = int(2 ** random.uniform(10, math.log2(_RATE * entry["longest_s"])))
        is_good = client.download(size, _RATE, is_chunked=random.random() < 0.5)
        load.pause(_SHORT_PAUSE_S if is_good else _PAUSE_AFTER_FAILURE_S)
    client.close()


def once(_load: Load, client: Client, _entry: Entry) -> None:
    """Ask one thing that is answered when the backends are told to (`tests.soak.site.release`)."""
    client.echo_held()
    client.close()


def bulk(_load: Load, client: Client, entry: Entry) -> None:
    """Receive one body of `size` bytes at `rate` bytes/s."""
    client.download(entry["size"], entry["rate"], is_chunked=entry["chunked"])
    client.close()


KINDS: dict[str, Callable[[Load, RoughClient, Entry], None]] = {
    "keepalive": keepalive,
    "fresh": fresh,
    "thinking": thinking,
    "slow": slow,
    "upload": upload,
    "download": download,
    "once": once,
    "bulk": bulk,
    **HABITS,
}


def open_loop(load: Load, entry: Entry) -> None:
    """Ask `rate` times a second, come what may, each time on another of `clients` connections: they idle between a moment and
    seconds. Times count from when the request was due.
    """
    idle = [load.client("open") for _ in range(entry["clients"])]

    def ask(client: RoughClient, due_s: float) -> None:
        client.echo(began_s=due_s)
        idle.append(client)

    due_s = time.monotonic()
    while not load.is_over.is_set():
        due_s += 1 / entry["rate"]
        load.is_over.wait(max(0.0, due_s - time.monotonic()))
        client = idle.pop(random.randrange(len(idle))) if idle else load.client("open")
        load.spawn(ask, client, due_s)
    gevent.sleep(_TICK_S)
    for client in idle:
        client.close()


def main() -> None:
    """Run the load of a specification."""
    load = Load(json.loads(Path(sys.argv[1]).read_text()))
    gevent.signal_handler(signal.SIGTERM, load.is_over.set)
    load.run()


if __name__ == "__main__":
    main()
