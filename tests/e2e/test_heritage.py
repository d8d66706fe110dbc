"""What outlives a worker and a reload: what is known of backends, and what was counted."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import Address, ask, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.test_seen import Statsd
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import expect_request, reset

INI = """
[greenproxy]
workers = {workers}
admin = 127.0.0.1:0
statsd = 127.0.0.1:{statsd}
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends =
    {one} name=one
    {two} name=two
retries = 0
{more}
"""
BY_TRAFFIC = ("health-interval = 0", "max-fails = 1", "fail-timeout = 90s")
BY_CHECKS = ("health-interval = 100ms", "health-fall = 1", "max-fails = 0")


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    """A statsd server that only listens."""
    server = Statsd()
    yield server
    server.sock.close()


class Shop:
    """A proxy in front of two backends, of which one is broken."""

    def __init__(self, proxy: StartProxy, one: ScriptedBackend, two: ScriptedBackend, statsd: Statsd) -> None:
        self._start, self.one, self.two, self.statsd = proxy, one, two, statsd
        self.running: RunningProxy

    def ini(self, *more: str, workers: int = 1) -> str:
        return INI.format(workers=workers, statsd=self.statsd.port, one=self.one.url, two=self.two.url, more="\n".join(more))

    def open(self, *more: str, workers: int = 1) -> Shop:
        self.running = self._start(self.ini(*more, workers=workers))
        return self

    @property
    def address(self) -> Address:
        return self.running.address()

    def status(self, pid: int | None = None) -> dict[str, Any]:
        """Return what the admin listener tells of all workers, or of one."""
        target = "/api/status" if pid is None else f"/api/status?worker={pid}"
        told: dict[str, Any] = json.loads(ask(self.running.address("admin"), get(target, host="localhost")).body)
        return told

    def states(self, pid: int | None = None) -> list[str]:
        """Return what is thought of the two backends; nothing by a worker that is not there."""
        upstreams = self.status(pid).get("upstreams") if pid is None or self.knows(pid) else None
        return [backend["state"] for backend in upstreams[0]["backends"]] if upstreams else []

    def knows(self, pid: int) -> bool:
        return pid in [each["pid"] for each in self.status()["workers"] if each["state"] == "serving"]

    def who_answers(self, count: int = 10) -> Counter[str]:
        """Return which backends answered; failures count under their status."""
        answers = [ask(self.address, get()) for _ in range(count)]
        return Counter(told.get("x-backend") or str(told.status) for told in answers)

    def reload(self, old: str, new: str) -> None:
        """Put `new` for `old` into the configuration and let it be read."""
        file = self.running.file
        file.write_text(file.read_text().replace(old, new))
        self.running.send(signal.SIGHUP)

    def replaced(self, victim: int) -> int:
        """Kill a worker and return its successor, as soon as that serves."""
        before = self.running.workers()
        os.kill(victim, signal.SIGKILL)

        def successor() -> int | None:
            found = [pid for pid in self.running.workers() if pid not in before]
            return found[0] if found and self.knows(found[0]) else None

        return wait_until(successor, "a new worker serves")

    def complaints(self) -> int:
        """Return how often the log says that a backend is down, or up again."""
        return len(re.findall(r"backend one is (?:down|up)", self.running.log()))


@pytest.fixture
def shop(proxy: StartProxy, scripted: MakeBackend, statsd: Statsd) -> Shop:
    """A shop that is not open yet: one resets, two answers."""
    return Shop(proxy, scripted([expect_request, reset], name="one"), scripted(name="two"), statsd)


@pytest.mark.replaces_workers("one is killed")
def test_successor_of_a_killed_worker_knows_what_traffic_had_shown(shop: Shop) -> None:
    shop.open(*BY_TRAFFIC)
    assert shop.who_answers(2) == {"502": 1, "two": 1}
    shop.one.begin_again()
    shop.replaced(shop.running.workers()[0])
    assert shop.who_answers() == {"two": 10}
    assert shop.one.requests == []
    assert shop.states()[0] == "down"
    assert shop.complaints() == 1


@pytest.mark.replaces_workers("one is killed")
def test_successor_of_one_of_several_knows_it_too(shop: Shop) -> None:
    shop.open(*BY_TRAFFIC, workers=2)
    wait_until(lambda: shop.who_answers(4) == {"two": 4} and shop.states() == ["down", "up"], "both have met the failure")
    shop.one.begin_again()
    heir = shop.replaced(shop.running.workers()[0])
    assert shop.states(heir) == ["down", "up"]
    assert shop.who_answers(20) == {"two": 20}
    assert shop.one.requests == []


@pytest.mark.replaces_workers("one is killed")
def test_successor_knows_what_checks_had_shown_and_says_nothing(shop: Shop) -> None:
    shop.one.stop()
    shop.open(*BY_CHECKS)
    wait_until(lambda: shop.states() == ["down", "up"], "the check has failed")
    heir = shop.replaced(shop.running.workers()[0])
    assert shop.states(heir) == ["down", "up"]
    assert shop.who_answers(4) == {"two": 4}
    assert shop.complaints() == 1


@pytest.mark.replaces_workers("a reload")
def test_a_reload_changes_nothing_that_is_known_or_counted(shop: Shop) -> None:
    shop.open(*BY_TRAFFIC)
    shop.who_answers(4)
    [before] = shop.running.workers()
    wait_until(lambda: shop.status()["requests"] == 4, "all are counted")
    wait_until(lambda: shop.statsd.gauge("greenproxy.upstream.shop.one.up") == 0, "statsd knows")
    shop.one.begin_again()
    shop.statsd.lines.clear()
    shop.reload("retries = 0", "retries = 1")
    wait_until(lambda: before not in shop.running.workers(), "the old worker is gone")

    assert shop.who_answers(4) == {"two": 4}
    wait_until(lambda: shop.status()["requests"] == 8, "the counters go on")
    told = shop.status()
    assert told["generation"] == 2
    assert [(each["requests"], each["failures"]) for each in told["upstreams"][0]["backends"]] == [(1, 1), (7, 0)]
    wait_until(lambda: shop.statsd.total("greenproxy.requests") == 4, "statsd has the rest")
    gauges = re.findall(r"^greenproxy\.upstream\.shop\.(\w+)\.up:([\d.]+)", "\n".join(shop.statsd.read()), re.M)
    assert set(gauges) == {("one", "0"), ("two", "1")}
    assert shop.complaints() == 1


@pytest.mark.replaces_workers("a reload")
def test_a_backend_with_another_address_begins_as_unknown(shop: Shop, scripted: MakeBackend) -> None:
    shop.open(*BY_TRAFFIC)
    shop.who_answers(4)
    wait_until(lambda: shop.states() == ["down", "up"], "it is known")
    healthy = scripted(name="one")
    shop.reload(shop.one.url, healthy.url)
    wait_until(lambda: shop.status()["generation"] == 2, "the new configuration serves")
    wait_until(lambda: shop.states() == ["unknown", "up"], "only the new address begins anew")
    assert shop.who_answers(4) == {"one": 2, "two": 2}


def test_tags_stand_behind_every_metric(shop: Shop) -> None:
    shop.running = shop._start(shop.ini().replace("[greenproxy]\n", "[greenproxy]\nstatsd-tags = env:prod, canary\n"))
    shop.who_answers(1)
    wait_until(lambda: [line for line in shop.statsd.read() if "requests:1|c" in line], "the request is counted")
    assert all(line.endswith("|#env:prod,canary") for line in shop.statsd.lines)
