"""Section 7: backends that fail are left alone, by what traffic and by what checks see, and come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic

from tests.client import Address, ask, get
from tests.conftest import MakeBackend, StartProxy
from tests.processes import wait_until
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, Script, answer, echo, expect_request, reset

INI = """
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends =
    {one} name=one
    {two} name=two
{more}
"""


def ini(one: ScriptedBackend, two: ScriptedBackend, *more: str) -> str:
    return INI.format(one=one.url, two=two.url, more="\n".join(more))


def who_answers(address: Address, count: int = 10) -> Counter[str]:
    """Return which backends answered `count` requests; failures count under their status."""
    answers = [ask(address, get()) for _ in range(count)]
    return Counter(told.get("x-backend") or str(told.status) for told in answers)


def healthy_if(is_healthy: Callable[[], bool]) -> Script:
    """A keep-alive server whose /healthz follows `is_healthy`; it answers everything else with its name."""

    def script(conn: Connection) -> None:
        while True:
            request = conn.request()
            status = "200 OK" if request.target != "/healthz" or is_healthy() else "503 Unwell"
            conn.send(answer(b"", status, f"X-Backend: {conn.backend.name}"))

    return script


def test_round_robin_shares_evenly(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted(name="one"), scripted(name="two")

    assert who_answers(proxy(ini(one, two, "health-interval = 0")).address()) == {"one": 5, "two": 5}


def test_weights_count(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted(name="one"), scripted(name="two")
    text = ini(one, two, "health-interval = 0").replace("name=one", "name=one weight=4")

    assert who_answers(proxy(text).address()) == {"one": 8, "two": 2}


def test_a_backup_is_asked_only_when_all_others_are_down(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted(name="one"), scripted(name="two")
    text = ini(one, two, "health-interval = 0", "max-fails = 1", "fail-timeout = 90s").replace("name=two", "name=two backup")
    address = proxy(text).address()
    assert who_answers(address) == {"one": 10}
    one.begin_again([expect_request, reset])
    ask(address, get())

    assert who_answers(address) == {"two": 10}


def test_max_fails_in_a_row_take_a_backend_out(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted([expect_request, reset], name="one"), scripted(name="two")
    address = proxy(ini(one, two, "health-interval = 0", "max-fails = 2", "fail-timeout = 90s", "retries = 0")).address()
    seen = who_answers(address, 12)

    assert (seen["502"], seen["two"]) == (2, 10)


def test_backend_errors_of_its_own_do_not_take_it_out(proxy: StartProxy, scripted: MakeBackend) -> None:
    one = scripted([expect_request, lambda conn: conn.send(answer(b"", "503 Busy", "X-Backend: one"))], name="one")
    two = scripted(name="two")
    address = proxy(ini(one, two, "health-interval = 0", "max-fails = 1", "fail-timeout = 90s")).address()

    assert who_answers(address) == {"one": 5, "two": 5}


def test_a_backend_is_tried_again_after_fail_timeout(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted([expect_request, reset], name="one"), scripted(name="two")
    address = proxy(ini(one, two, "health-interval = 0", "max-fails = 1", "fail-timeout = 500ms")).address()
    who_answers(address)
    one.begin_again()

    wait_until(lambda: who_answers(address, 4)["one"] == 2, "it takes its share again")


def test_health_checks_take_a_backend_out_and_bring_it_back(proxy: StartProxy, scripted: MakeBackend) -> None:
    health = {"one": True}
    one, two = scripted(healthy_if(lambda: health["one"]), name="one"), scripted(healthy_if(lambda: True), name="two")
    checks = ["health-path = /healthz", "health-interval = 100ms", "health-fall = 2", "health-rise = 2"]
    address = proxy(ini(one, two, *checks)).address()
    assert who_answers(address) == {"one": 5, "two": 5}

    health["one"] = False
    wait_until(lambda: who_answers(address, 4) == {"two": 4}, "it is out")
    health["one"] = True
    wait_until(lambda: who_answers(address, 4) == {"one": 2, "two": 2}, "it is back")


def test_without_a_path_a_connect_is_the_check(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted(name="one", is_listening=False), scripted(name="two")
    text = ini(one, two, "health-interval = 100ms", "health-fall = 1", "health-rise = 1", "retries = 0", "max-fails = 0")
    address = proxy(text).address()
    wait_until(lambda: who_answers(address, 4) == {"two": 4}, "it is out")
    one.start()

    wait_until(lambda: who_answers(address, 4) == {"one": 2, "two": 2}, "it is in")


def test_a_check_that_hangs_is_a_failure(proxy: StartProxy, scripted: MakeBackend) -> None:
    def hangs_at_checks(conn: Connection) -> None:
        while True:
            if conn.request().target == "/healthz":
                conn.wait_until_gone()
                return
            conn.send(answer(b"", "200 OK", "X-Backend: one"))

    one, two = scripted(hangs_at_checks, name="one"), scripted(name="two")
    checks = ["health-path = /healthz", "health-interval = 100ms", "health-timeout = 200ms", "health-fall = 2"]
    address = proxy(ini(one, two, *checks)).address()

    wait_until(lambda: who_answers(address, 4) == {"two": 4}, "it is out")


def test_a_status_that_is_not_listed_is_a_failed_check(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted(healthy_if(lambda: False), name="one"), scripted(healthy_if(lambda: True), name="two")
    checks = ["health-path = /healthz", "health-interval = 100ms", "health-fall = 1", "health-status = 200-399, 503"]
    address = proxy(ini(one, two, *checks)).address()
    one.wait_for(lambda: sum(request.target == "/healthz" for request in one.requests) > 3)

    assert who_answers(address) == {"one": 5, "two": 5}


def test_active_success_clears_the_passive_mark(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted([expect_request, reset], name="one"), scripted(name="two")
    checks = ["health-interval = 200ms", "health-rise = 2", "max-fails = 1", "fail-timeout = 90s"]
    address = proxy(ini(one, two, *checks)).address()
    who_answers(address, 4)
    one.begin_again()

    wait_until(lambda: who_answers(address, 4)["one"] == 2, "it is back long before fail-timeout")


def test_with_all_down_one_request_per_fail_timeout_may_try(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted([expect_request, reset], name="one"), scripted([expect_request, reset], name="two")
    more = ["health-interval = 0", "max-fails = 1", "fail-timeout = 1s", "retries = 0"]
    running = proxy(ini(one, two, *more))
    address = running.address()
    wait_until(lambda: ask(address, get()).status == 503, "both are out")
    for backend in (one, two):
        backend.begin_again(echo)

    wait_until(lambda: ask(address, get()).status == 200, "the trial brings one back")


def test_a_condition_is_logged_when_it_begins_and_when_it_ends_not_per_request(proxy: StartProxy, scripted: MakeBackend) -> None:
    one, two = scripted([expect_request, reset], name="one"), scripted(name="two")
    running = proxy(ini(one, two, "health-interval = 0", "max-fails = 1", "fail-timeout = 90s"))
    running.wait_for_log("ready")
    before = len(running.log().splitlines())
    who_answers(running.address(), 50)

    assert len(running.log().splitlines()) - before <= 2


def test_a_name_that_does_not_resolve_is_a_backend_that_is_down(proxy: StartProxy, scripted: MakeBackend) -> None:
    two = scripted(name="two")
    text = INI.format(one="http://no-such-host.invalid:80", two=two.url, more="health-interval = 0")
    running = proxy(text)

    # Where a start waits for a name, the first timers of what a worker does each second are older than the collector's freeze,
    # and are not counted: count again when they have come round.
    begun_s = monotonic()
    wait_until(lambda: monotonic() - begun_s > 1.2, "a second has passed")
    running.ledger.open()

    assert who_answers(running.address()) == {"two": 10}
    assert running.log().count("does not resolve") == 1


def test_a_backend_on_a_unix_socket_is_served_and_checked(proxy: StartProxy, scripted: MakeBackend, tmp_path: object) -> None:
    one, two = scripted(name="one", path=f"{tmp_path}/one.sock"), scripted(name="two")
    address = proxy(ini(one, two, "health-path = /healthz", "health-interval = 100ms")).address()
    one.wait_for(lambda: any(request.target == "/healthz" for request in one.requests))

    assert who_answers(address) == {"one": 5, "two": 5}
