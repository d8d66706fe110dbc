"""Leasing: which connection a request gets, what it is told when there is none, and what the status page says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import gevent
import pytest
from gevent.event import Event

from greenproxy.config.settings import Address, BackendSettings, RelaySettings, Settings
from greenproxy.deadline import NEVER, Deadline
from greenproxy.errors import (
    BackendReset,
    ConnectFailed,
    ConnectRefused,
    ConnectTimeout,
    Draining,
    NoBackend,
    RequestTimeout,
    Stopped,
)
from greenproxy.observability.names import BACKEND_NUMBERS, names_of
from greenproxy.observability.verdicts import STATES, Verdict
from tests.scripted import ScriptedBackend
from tests.scripts import wait_until_gone
from tests.upstream.conftest import MakeHouse, MakeUpstream
from tests.upstream.fakes import Harbour, KnownNames, MemoryStream, addr, backend, until

# ------------------------------------------------------------------ sockets


def test_the_first_lease_dials_and_the_next_one_reuses(house: MakeHouse) -> None:
    shop = house()
    first = shop.lease()
    first.give_back()
    second = shop.lease()
    assert (first.is_reused, second.is_reused) == (False, True)
    assert second.connection is first.connection
    assert second.connection.uses == 2
    assert len(shop.dial.dialled) == 1


def test_a_dropped_connection_is_not_reused(house: MakeHouse) -> None:
    shop = house()
    first = shop.lease()
    first.drop()
    assert first.connection.stream.is_closed
    assert shop.lease().connection is not first.connection


def test_a_fresh_connection_can_be_asked_for(house: MakeHouse) -> None:
    shop = house()
    shop.lease().give_back()
    assert not shop.lease(fresh=True).is_reused


@pytest.mark.parametrize("first", ["give_back", "drop"])
@pytest.mark.parametrize("second", ["give_back", "drop"])
def test_ending_a_lease_twice_is_harmless(house: MakeHouse, first: str, second: str) -> None:
    shop = house(pool_size=2)
    lease, other = shop.lease(), shop.lease()
    getattr(lease, first)()
    getattr(lease, second)()
    assert shop["a"].in_flight == 1
    assert lease.connection.stream.is_closed == (first == "drop")
    other.drop()


def test_an_idle_socket_that_its_backend_closes_costs_no_request(upstream: MakeUpstream, harbour: Harbour) -> None:
    shop = upstream(harbour.settings)
    shop.lease(shop.settings.relay, NEVER).give_back()
    until(lambda: harbour.open == 1)
    harbour.hang_up()
    until(lambda: shop.backends[0].pool.idle == 0)
    lease = shop.lease(shop.settings.relay, NEVER)
    assert not lease.is_reused
    harbour.answers.append(b"pong")
    lease.connection.stream.send(b"ping")
    assert lease.connection.stream.recv(10, Deadline.after(5, RequestTimeout)) == b"pong"
    lease.give_back()


def test_bytes_that_nobody_asked_for_close_an_idle_socket(upstream: MakeUpstream, harbour: Harbour) -> None:
    shop = upstream(harbour.settings)
    shop.lease(shop.settings.relay, NEVER).give_back()
    until(lambda: harbour.accepted)
    harbour.accepted[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
    until(lambda: shop.backends[0].pool.idle == 0)
    lease = shop.lease(shop.settings.relay, NEVER)
    assert not lease.is_reused
    lease.drop()


def test_idle_sockets_are_swept_by_the_upstreams_own_timer(upstream: MakeUpstream, harbour: Harbour) -> None:
    shop = upstream(harbour.settings, pool_idle_timeout_s=0.05)
    shop.lease(shop.settings.relay, NEVER).give_back()
    until(lambda: shop.backends[0].pool.idle == 0)
    until(lambda: harbour.open == 0)


# ------------------------------------------------------------------ choice


def test_requests_take_turns_by_weight(house: MakeHouse) -> None:
    shop = house(backend("a", weight=3), backend("b"))
    for _ in range(8):
        shop.lease().give_back()
    assert (shop["a"].requests, shop["b"].requests) == (6, 2)


def test_a_full_backend_is_passed_over(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=2)
    leases = [shop.lease() for _ in range(4)]
    assert [shop["a"].in_flight, shop["b"].in_flight] == [2, 2]
    for lease in leases:
        lease.give_back()


def test_tried_backends_are_avoided_while_another_one_is_there(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"))
    assert {shop.lease(tried={shop["a"]}).backend for _ in range(3)} == {shop["b"]}


def test_a_tried_backend_is_better_than_none(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"))
    shop["b"].health.drain(True)
    assert shop.lease(tried={shop["a"]}).backend is shop["a"]


def test_backups_are_used_only_while_no_primary_is_available(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("dr", is_backup=True))
    assert shop.lease().backend is shop["a"]
    shop["a"].health.drain(True)
    assert shop.lease().backend is shop["dr"]
    shop["a"].health.drain(False)
    assert shop.lease().backend is shop["a"]


def test_a_full_primary_does_not_spill_over_to_backups(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("dr", is_backup=True), pool_size=1)
    shop.lease()
    waiting = shop.spawn()
    assert shop.queued == 1
    assert shop["dr"].in_flight == 0
    waiting.kill()


def test_names_that_do_not_resolve_are_down_with_one_warning_and_come_up_when_they_do(house: MakeHouse) -> None:
    shop = house(backend("a"), names=KnownNames("a.test"))
    with pytest.raises(NoBackend):
        shop.lease()
    assert shop.log == ["upstream shop: backend a is down: a.test does not resolve: no such name"]
    shop.names.watches["a.test"]((addr(shop["a"].settings.address),), "")
    shop.lease().give_back()
    assert shop.log[1:] == ["upstream shop: backend a is up: its name has an address now"]


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_localhost_works_whichever_of_its_addresses_the_backend_listens_on(
    upstream: MakeUpstream, scripted: Callable[..., ScriptedBackend], family: str
) -> None:
    server = scripted([wait_until_gone], host=family)
    shop = upstream(BackendSettings(address=Address(host="localhost", port=server.port)))
    shop.lease(shop.settings.relay, NEVER).drop()
    assert (shop.backends[0].requests, shop.backends[0].failures) == (1, 0)


def test_a_unix_socket_works(upstream: MakeUpstream, scripted: Callable[..., ScriptedBackend], tmp_path: Path) -> None:
    server = scripted([wait_until_gone], path=str(tmp_path / "shop.sock"))
    shop = upstream(BackendSettings(address=Address(path=server.path)))
    shop.lease(shop.settings.relay, NEVER).drop()
    missing = upstream(BackendSettings(address=Address(path=str(tmp_path / "missing.sock"))))
    with pytest.raises(ConnectFailed):
        missing.lease(missing.settings.relay, NEVER)


# ------------------------------------------------------------------ connecting


def refuse(shop: object, name: str, error: type[ConnectRefused] | type[ConnectFailed] = ConnectRefused) -> None:
    shop.dial.errors[addr(shop[name].settings.address)] = error  # type: ignore[attr-defined,index]


def test_a_connect_error_names_the_backend_and_its_slot_is_back(house: MakeHouse) -> None:
    shop = house(backend("a"), pool_size=1)
    refuse(shop, "a")
    with pytest.raises(ConnectRefused) as refused:
        shop.lease()
    assert refused.value.backend is shop["a"]
    assert (shop["a"].in_flight, shop["a"].failures, shop["a"].requests) == (0, 1, 0)


def test_connecting_is_bounded_by_connect_timeout(house: MakeHouse) -> None:
    shop = house()
    shop.dial.gate = Event()
    shop.relay = RelaySettings(connect_timeout_s=0.01)
    with pytest.raises(ConnectTimeout) as late:
        shop.lease()
    assert late.value.backend is shop["a"]
    assert (shop["a"].in_flight, shop["a"].failures) == (0, 1)


def test_a_request_that_runs_out_of_time_while_connecting_is_not_the_backends_fault(house: MakeHouse) -> None:
    shop = house()
    shop.dial.gate = Event()
    with pytest.raises(RequestTimeout):
        shop.lease(limit=Deadline.after(0.01, RequestTimeout))
    assert (shop["a"].in_flight, shop["a"].failures) == (0, 0)


@pytest.mark.parametrize("death", [gevent.GreenletExit, gevent.Timeout])
def test_a_request_that_dies_while_connecting_gives_its_slot_back(house: MakeHouse, death: type[BaseException]) -> None:
    shop = house(pool_size=1)
    shop.dial.gate = Event()
    dying = gevent.spawn(_swallow, shop.lease, death)
    until(lambda: shop["a"].in_flight == 1)
    dying.kill(death)
    assert (shop["a"].in_flight, shop["a"].failures) == (0, 0)


def _swallow(call: object, error: type[BaseException]) -> None:
    try:
        call()  # type: ignore[operator]
    except error:
        pass


def test_a_backend_that_refuses_is_out_after_max_fails(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"))
    refuse(shop, "a")
    for _ in range(8):
        try:
            shop.lease().give_back()
        except ConnectRefused:
            continue
    assert shop["a"].failures == 3
    assert shop["a"].state == "down"
    assert shop.log == ["upstream shop: backend a is down: 3 requests in a row failed, the last one with connect-refused"]


# ------------------------------------------------------------------ nothing available


def test_with_every_backend_down_the_refusal_is_immediate_and_says_when_to_come_back(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"))
    shop.fail("a", 3, BackendReset())
    shop.fail("b", 3, BackendReset())
    shop.clock.turn(2.5)
    with pytest.raises(NoBackend) as refusal:
        shop.lease()
    assert refusal.value.retry_after_s == 8
    assert not shop.upstream.available()


def test_with_every_backend_draining_that_is_the_reason(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"))
    shop["a"].health.drain(True)
    shop["b"].health.drain(True)
    with pytest.raises(Draining) as refusal:
        shop.lease()
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 1


def test_after_stop_leases_are_refused_and_sockets_close_as_they_come_back(house: MakeHouse) -> None:
    shop = house(pool_size=2)
    used, idle = shop.lease(), shop.lease()
    idle.give_back()
    shop.stop()
    with pytest.raises(Stopped):
        shop.lease()
    used.give_back()
    assert idle.connection.stream.is_closed
    assert used.connection.stream.is_closed


def test_going_down_closes_the_idle_sockets(house: MakeHouse) -> None:
    shop = house()
    lease = shop.lease()
    lease.give_back()
    shop.fail("a", 3, BackendReset())
    assert lease.connection.stream.is_closed


# ------------------------------------------------------------------ what can be seen


def test_the_numbers_of_the_board_tell_what_is_there(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), pool_size=1)
    leases = [shop.lease(), shop.lease()]
    waiting = shop.spawn()
    leases[0].succeeded()
    leases[1].failed(BackendReset())
    good, bad = (lease.backend.label for lease in leases)

    told: dict[str, float] = {}

    def numbers(label: str) -> dict[str, float]:
        stem = f"upstream/shop/http://{label}.test:80/"
        told.update(shop.upstream.numbers())
        return {name.removeprefix(stem): value for name, value in told.items() if name.startswith(stem)}

    told.update(shop.upstream.numbers())
    assert told["upstream/shop/queued"] == 1
    both = {"up": 1, "active": 1, "idle": 0, "requests": 1, "rests_until": 0}
    assert numbers(good) == both | {"state": STATES.index("up"), "verdict": STATES.index("up"), "failures": 0}
    assert numbers(bad) == both | {"state": 0, "verdict": 0, "failures": 1}
    waiting.kill()
    leases[0].give_back()
    told.update(shop.upstream.numbers())
    assert told["upstream/shop/queued"] == 0
    assert [numbers(good)[what] for what in ("up", "active", "idle")] == [1, 0, 1]


def test_only_what_has_changed_is_told_again(house: MakeHouse) -> None:
    shop = house(*(backend(f"b{n}") for n in range(100)))
    whole = shop.upstream.numbers()
    lease = shop.lease()
    busy = f"upstream/shop/http://{lease.backend.label}.test:80"
    assert len(whole) == 1 + 100 * len(BACKEND_NUMBERS)
    assert shop.upstream.numbers() == {"upstream/shop/queued": 0, f"{busy}/active": 1, f"{busy}/requests": 1}
    assert shop.upstream.numbers() == {"upstream/shop/queued": 0}


def test_every_number_is_a_name_of_the_configuration(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), backend("a"))
    names = names_of(Settings(upstreams=(shop.settings,)))
    told = set(shop.upstream.numbers())
    assert told <= set(names.all())
    assert {name for name in names.all() if "://" in name} <= told
    assert len([name for name in told if name.endswith("/up")]) == 3


def test_what_others_know_of_a_backend_is_believed_in_silence(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), backend("c"), is_started=False, health_interval_s=0.0)
    ends_s = shop.clock() + 7.0
    shop.upstream.inherit(
        {"upstream/shop/http://a.test:80": Verdict("up", ends_s), "upstream/shop/http://b.test:80": Verdict("up", 0.0)}
    )
    shop.upstream.start()
    assert [each.state for each in shop.upstream.backends] == ["down", "up", "unknown"]
    assert {shop.lease().backend.label for _ in range(6)} == {"b", "c"}
    assert shop.log == []
    shop.clock.turn(7.0)
    assert shop.lease().backend.label == "a"  # one request tries it


def test_when_all_rest_that_were_inherited_the_first_to_be_ripe_is_tried_then(house: MakeHouse) -> None:
    shop = house(backend("a"), backend("b"), is_started=False, fail_timeout_s=10.0)
    now_s = shop.clock()
    shop.upstream.inherit({f"upstream/shop/http://{each}.test:80": Verdict("up", now_s + 3.0) for each in "ab"})
    shop.upstream.start()
    with pytest.raises(NoBackend):
        shop.lease()
    shop.clock.turn(3.0)
    shop.lease().succeeded()
    assert sorted(each.state for each in shop.upstream.backends) == ["down", "up"]


def test_a_memory_stream_was_parked_by_the_pool(house: MakeHouse) -> None:
    shop = house()
    lease = shop.lease()
    lease.give_back()
    assert cast(MemoryStream, lease.connection.stream).parked is not None
