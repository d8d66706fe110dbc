"""A backend's addresses: tried in order, each with its share of the time."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from gevent.event import Event

from greenproxy.config.settings import Address, BackendSettings
from greenproxy.deadline import NEVER, Deadline, Limit
from greenproxy.errors import ConnectFailed, ConnectRefused, ConnectTimeout
from greenproxy.net.dial import SockAddr
from greenproxy.net.stream import Stream
from greenproxy.upstream.backend import Backend
from tests.fakes import HandClock
from tests.upstream.fakes import Dialler, backend, upstream_settings

FIRST, SECOND, THIRD = (SockAddr(socket.AF_INET, (f"10.0.0.{n}", 80)) for n in (1, 2, 3))


class Hill:
    """A backend with three addresses, and the dial that it uses."""

    def __init__(self) -> None:
        self.dial = Dialler()
        self.backend = Backend(backend("a"), upstream_settings(), HandClock(), lambda *_: None, self.dial)
        self.backend.moved((FIRST, SECOND, THIRD), "")

    def connect(self, limit: Deadline = NEVER) -> SockAddr:
        stream, peer = self.backend.connect(limit)
        stream.close()
        return peer


@pytest.fixture
def hill() -> Iterator[Hill]:
    made = Hill()
    yield made
    made.backend.pool.close()


def test_the_first_address_is_used_while_it_works(hill: Hill) -> None:
    assert [hill.connect() for _ in range(3)] == [FIRST] * 3


def test_an_address_that_fails_is_followed_by_the_next_and_goes_to_the_end(hill: Hill) -> None:
    hill.dial.errors = {FIRST: ConnectRefused, SECOND: ConnectFailed}
    assert [hill.connect() for _ in range(3)] == [THIRD] * 3
    assert hill.dial.dialled == [FIRST, SECOND, THIRD, THIRD, THIRD]


@pytest.mark.parametrize("refusing", [FIRST, SECOND, THIRD])
def test_when_all_fail_the_one_that_refused_tells_why(hill: Hill, refusing: SockAddr) -> None:
    hill.dial.errors = {FIRST: ConnectFailed, SECOND: ConnectFailed, THIRD: ConnectFailed, refusing: ConnectRefused}
    with pytest.raises(ConnectRefused):
        hill.connect()


def test_an_address_that_hangs_takes_only_its_share_of_the_time(hill: Hill) -> None:
    shares: list[float] = []

    def silent(target: SockAddr, limit: Limit) -> Stream:
        shares.append(limit.remaining_s())
        if target == THIRD:
            return hill.dial(target, NEVER)
        raise limit.late()

    patient = Backend(backend("a"), upstream_settings(), HandClock(), lambda *_: None, silent)
    patient.moved((FIRST, SECOND, THIRD), "")
    stream, peer = patient.connect(Deadline.after(90.0, ConnectTimeout))
    stream.close()
    assert peer == THIRD
    # The fake's silence takes no time, so that what is left is shared anew: a third, a half, all.
    assert [round(share) for share in shares] == [30, 45, 90]


def test_when_the_time_is_over_no_further_address_is_tried(hill: Hill) -> None:
    hill.dial.gate = Event()
    with pytest.raises(ConnectTimeout):
        hill.connect(Deadline(0.0, ConnectTimeout))
    assert len(hill.dial.dialled) == 1


def test_without_an_address_connecting_fails_at_once(hill: Hill) -> None:
    hill.backend.moved((), "no such name")
    with pytest.raises(ConnectFailed):
        hill.connect()


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (Address(host="shop.test", port=80), b"shop.test"),
        (Address(host="shop.test", port=8080), b"shop.test:8080"),
        (Address(host="::1", port=80), b"[::1]"),
        (Address(host="b\u00fccher.test", port=8080), b"xn--bcher-kva.test:8080"),
        (Address(path="/run/shop.sock"), b"localhost"),
    ],
)
def test_a_backend_knows_its_own_name_as_host_has_it(address: Address, host: bytes) -> None:
    settings = upstream_settings(BackendSettings(address=address))
    assert Backend(settings.backends[0], settings, HandClock(), lambda *_: None).host == host
