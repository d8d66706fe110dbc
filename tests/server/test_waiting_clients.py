"""Connections that wait: no greenlet, no spin, and an end when they wait too long."""

from __future__ import annotations

import gevent
import pytest

from greenproxy.messages import Request, Response
from tests.client import get
from tests.fronts import MakeFront, recycled_greenlets
from tests.hub import poll, turns, until


def say_target(request: Request) -> Response:
    """A handler that answers with what was asked for."""
    return Response(body=request.target.encode())


# ------------------------------------------------------------------ without a greenlet


def test_a_head_may_come_byte_by_byte(front: MakeFront) -> None:
    client = front(say_target).connect()
    for byte in get("/slow"):
        client.send(bytes((byte,)))
        poll()
    assert client.answer().body == b"/slow"


def test_connections_that_are_silent_hold_no_greenlet(front: MakeFront) -> None:
    it = front(say_target)
    for _ in range(10):
        it.connect()
    poll()
    assert (len(it.front.idle), recycled_greenlets()) == (10, 0)


def test_connections_between_requests_hold_no_greenlet(front: MakeFront) -> None:
    it = front(say_target)
    for _ in range(10):
        it.connect().ask(get())
    until(lambda: len(it.front.idle) == 10)
    assert recycled_greenlets() == 1  # the one that served them all


def test_half_heads_hold_no_greenlet(front: MakeFront) -> None:
    it = front(say_target)
    for _ in range(10):
        it.connect().send(get()[:-5])
    until(lambda: len(it.front.reading) == 10)
    assert recycled_greenlets() == 1


def test_half_a_head_does_not_spin_the_loop(front: MakeFront) -> None:
    it = front(say_target)
    it.connect().send(get()[:-5])
    until(lambda: it.front.reading)
    assert turns() < 10


def test_a_client_that_leaves_in_the_middle_of_a_head_is_closed_and_not_counted(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.send(get()[:-5])
    until(lambda: it.front.reading)
    client.leave()
    until(lambda: not it.connections)
    assert (it.endings, len(it.front.reading)) == ([], 0)


@pytest.mark.parametrize("how", ["leave", "reset"])
def test_an_idle_client_that_leaves_is_closed_and_not_counted(front: MakeFront, how: str) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(get())
    getattr(client, how)()
    until(lambda: not it.connections)
    assert (len(it.endings), len(it.front.idle)) == (1, 0)


# ------------------------------------------------------------------ too long


def test_half_a_head_gets_a_408_at_header_timeout(front: MakeFront) -> None:
    it = front(say_target, header_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    client.send(b"GET /half HTTP/1.1\r\nHo")
    answer = client.answer()
    assert (answer.status, answer.says_close, client.is_closed(), it.reasons) == (408, True, True, ["header-timeout"])


def test_the_log_has_the_beginning_of_a_head_that_took_too_long(front: MakeFront) -> None:
    it = front(say_target, header_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    client.send(b"GET /half HTTP/1.1\r\nHo")
    client.answer()
    assert it.endings[0].first_line == b"GET /half HTTP/1.1"


def test_bytes_that_trickle_do_not_put_off_header_timeout(front: MakeFront) -> None:
    it = front(say_target, header_timeout_s=0.1)
    it.keep_sweeping()
    client = it.connect()

    def trickle() -> None:
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 10000:
            client.send(bytes((byte,)))
            gevent.sleep(0.005)

    trickling = gevent.spawn(trickle)
    status = client.answer().status
    trickling.kill()
    assert status == 408


def test_header_timeout_counts_from_the_first_byte_of_a_pipelined_head_too(front: MakeFront) -> None:
    it = front(say_target, header_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    client.send(get("/whole") + get("/half")[:-5])
    assert [client.answer().status for _ in range(2)] == [200, 408]


def test_a_silent_connection_is_closed_without_a_word_at_idle_timeout(front: MakeFront) -> None:
    it = front(say_target, idle_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    assert (client.until_closed(), it.endings) == (b"", [])


def test_a_connection_between_requests_is_closed_at_idle_timeout(front: MakeFront) -> None:
    it = front(say_target, idle_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    client.ask(get())
    assert (client.until_closed(), len(it.endings)) == (b"", 1)


def test_a_request_begins_the_idle_time_anew(front: MakeFront) -> None:
    it = front(say_target, idle_timeout_s=0.4)
    it.keep_sweeping()
    client = it.connect()
    for _ in range(4):
        gevent.sleep(0.15)
        assert client.ask(get()).status == 200


def test_a_request_that_is_served_is_not_idle(front: MakeFront) -> None:
    def handler(request: Request) -> Response:
        gevent.sleep(0.15)
        return say_target(request)

    it = front(handler, idle_timeout_s=0.03, header_timeout_s=0.03)
    it.keep_sweeping()
    assert it.connect().ask(get("/slow")).body == b"/slow"


@pytest.mark.parametrize("setting", ["idle_timeout_s", "header_timeout_s"])
def test_a_timeout_of_zero_is_none(front: MakeFront, setting: str) -> None:
    it = front(say_target, **{setting: 0.0})
    silent, half = it.connect(), it.connect()
    half.send(get("/half")[:-2])
    until(lambda: it.front.reading)
    it.front.sweep()
    poll()
    half.send(b"\r\n")
    assert (half.answer().body, silent.ask(get("/silent")).body) == (b"/half", b"/silent")


@pytest.mark.parametrize("served", [0, 1])
def test_a_request_that_has_just_arrived_is_served_and_not_closed(front: MakeFront, served: int) -> None:
    it = front(say_target)
    client = it.connect()
    for _ in range(served):
        client.ask(get())
    until(lambda: it.front.idle)
    client.send(get("/late"))  # the loop has not turned since
    it.front.close_idle(for_s=0.0, also_new=True)
    assert client.answer().body == b"/late"


def test_only_those_that_waited_too_long_are_closed(front: MakeFront) -> None:
    it = front(say_target, idle_timeout_s=0.1)
    old = it.connect()
    gevent.sleep(0.12)
    young = it.connect()
    it.front.sweep()
    assert (old.until_closed(), young.ask(get("/young")).body) == (b"", b"/young")


# ------------------------------------------------------------------ lingering


def test_a_client_that_read_why_it_was_refused_may_end_the_connection(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(b"nonsense\r\n\r\n", "GET")
    until(lambda: it.front.lingering)
    client.leave()
    until(lambda: not it.connections)
    assert not it.front.lingering


def test_a_refused_client_that_never_leaves_is_cut_in_the_end(front: MakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenproxy.server.front.LINGER_S", 0.05)
    it = front(say_target)
    it.keep_sweeping()
    client = it.connect()
    client.ask(b"nonsense\r\n\r\n", "GET")
    until(lambda: not it.connections)


def test_lingering_holds_no_greenlet(front: MakeFront) -> None:
    it = front(say_target)
    for _ in range(5):
        it.connect().ask(b"nonsense\r\n\r\n", "GET")
    until(lambda: len(it.front.lingering) == 5)
    assert recycled_greenlets() == 1


def test_a_lingering_client_that_sends_does_not_spin_the_loop(front: MakeFront) -> None:
    it = front(say_target)
    client = it.connect()
    client.ask(b"nonsense\r\n\r\n", "GET")
    until(lambda: it.front.lingering)
    client.send(b"more")
    assert turns() < 10


def test_a_408_that_nobody_reads_does_not_hold_the_connection(front: MakeFront) -> None:
    it = front(say_target, header_timeout_s=0.05)
    it.keep_sweeping()
    client = it.connect()
    client.send(b"GET")
    until(lambda: it.front.lingering)
    client.leave()
    until(lambda: not it.connections)
