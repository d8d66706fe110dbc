"""The kinds of clients that only the mixed traffic has: bulk, slow readers and writers, those who leave, tunnel and err."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent

from tests.soak.rough import ABORTS, MISTAKES, RoughClient

if TYPE_CHECKING:
    from tests.soak.driver import Load

Entry = dict[str, Any]

_MIB = 1024 * 1024
_PAUSE_S = 0.2
_LONG_PAUSE_S = 1.0
_SLOW_BYTES = 4 * _MIB


def massive(load: Load, client: RoughClient, entry: Entry) -> None:
    """Receive and send bodies of up to `most_mib` as fast as it goes, in both framings."""
    while not load.is_over.is_set():
        size, is_chunked = random.randrange(_MIB, entry["most_mib"] * _MIB), random.random() < 0.5
        if random.random() < 0.5:
            client.kind = "bulk down"
            client.download(size, 0, is_chunked=is_chunked)
        else:
            client.kind = "bulk up"
            client.upload(size, is_chunked=is_chunked, pause_s=0, sleep=gevent.sleep)
        load.pause(_LONG_PAUSE_S)
    client.close()


def slow_reader(load: Load, client: RoughClient, entry: Entry) -> None:
    """Receive bodies that no buffer takes whole, over `longest_s` seconds."""
    per_byte_s = entry["longest_s"] / _SLOW_BYTES
    while not load.is_over.is_set():
        size = random.randrange(_MIB, _SLOW_BYTES)
        client.download(size, 0, is_chunked=random.random() < 0.5, think=lambda count: gevent.sleep(count * per_byte_s))
        load.pause(_PAUSE_S)
    client.close()


def slow_writer(load: Load, client: RoughClient, entry: Entry) -> None:
    """Send heads and bodies in small pieces with pauses between them."""
    pause_s = entry["longest_s"] / 16
    client.head_pause_s = pause_s
    while not load.is_over.is_set():
        if random.random() < 0.5:
            client.echo()
        else:
            is_chunked = random.random() < 0.5
            client.upload(random.randrange(1, 100_000), is_chunked=is_chunked, pause_s=pause_s, sleep=gevent.sleep)
        load.pause(_PAUSE_S)
    client.close()


def aborting(load: Load, client: RoughClient, _entry: Entry) -> None:
    """Leave at all stages, in a random order, each as often as the others."""
    while not load.is_over.is_set():
        for stage in random.sample(ABORTS, len(ABORTS)):
            client.abort(stage)
            load.pause(_PAUSE_S)
            if load.is_over.is_set():
                break


def tunnel(load: Load, client: RoughClient, entry: Entry) -> None:
    """Upgrade and talk through the tunnel, some of the time for up to `longest_s` seconds."""
    while not load.is_over.is_set():
        client.tunnel(random.choice((0.05, entry["longest_s"])), wait=load.is_over.wait)
        load.pause(_PAUSE_S)


def mistaken(load: Load, client: RoughClient, _entry: Entry) -> None:
    """Make mistakes of each kind, and ask for every error, in a random order."""
    others: list[Callable[[], object]] = [
        client.nonsense,
        client.too_much,
        lambda: client.cut(is_chunked=False),
        lambda: client.cut(is_chunked=True),
    ]
    asking = [*others, *(lambda name=name: client.mistake(name) for name in MISTAKES)]
    while not load.is_over.is_set():
        for ask in random.sample(asking, len(asking)):
            ask()
            load.pause(_PAUSE_S)
            if load.is_over.is_set():
                break
    client.close()


HABITS: dict[str, Callable[[Load, RoughClient, Entry], None]] = {
    "massive": massive,
    "slow-reader": slow_reader,
    "slow-writer": slow_writer,
    "aborting": aborting,
    "tunnel": tunnel,
    "mistaken": mistaken,
}
