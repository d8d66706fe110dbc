"""Every place where an exchange may wait stands in a table, and some scenario comes to it."""

from __future__ import annotations

import gc

import pytest

from greenproxy.net.resolver import Resolver
from tests.fakes import memory_logger
from tests.kill.places import Place, places
from tests.kill.scenarios import SCENARIOS
from tests.kill.stage import Stage
from tests.kill.waits import Place as Line
from tests.net.test_recycler import hub_errors

EXCHANGE = "an exchange waits here"
IN_THE_HUB = "in the hub: wakes somebody, and does not wait"
IDLE = "between two exchanges"
UNUSED = "nobody calls it in an exchange yet"
LIFE = "in the life of a worker, not of an exchange: tests of its own room"

#: What each place is. A new one fails the test until it stands here; one for exchanges also until a scenario comes to it.
TABLE: dict[str, str] = {
    "middleware/stopwatch.py Stopwatch._ring: self._greenlet.throw": IN_THE_HUB,
    "net/ahead.py Ahead.send: self._client.wait_writable": EXCHANGE,
    "net/ahead.py Ahead._go_on: self._source.wait_beside": EXCHANGE,
    "net/dial.py _wait_connected: hub.switch": EXCHANGE,
    "net/dial.py dial: _wait_connected": EXCHANGE,
    "net/recycler.py Recycler._loop: hub.switch": IDLE,
    "net/recycler.py Recycler._count_own: self._new().switch": IN_THE_HUB,
    "net/recycler.py Recycler._count_own: spare.switch": IN_THE_HUB,
    "net/recycler.py Recycler._new: runner.switch": IN_THE_HUB,
    "net/recycler.py Recycler._trim: idle.pop().switch": IN_THE_HUB,
    "net/recycler.py Recycler.run: runner.switch": IN_THE_HUB,
    "net/recycler.py Recycler.run: self._new().switch": IN_THE_HUB,
    "net/relay.py RelayBody._fill: stream.wait_readable": EXCHANGE,
    "net/relay.py RelayBody._receive: stream.recv": EXCHANGE,
    "net/relay.py RelayBody._take_turn: self.stream.wait_readable": EXCHANGE,
    "net/relay.py RelayBody.wait_beside: client.wait_writable_or": EXCHANGE,
    "net/resolver.py Resolver._ask_in_thread: self._threads.spawn(self._query_safely, encoded).get": LIFE,
    "net/resolver.py Resolver._refresh: gevent.sleep": LIFE,
    "net/resolver.py Resolver.lookup: name.question.join": LIFE,
    "net/resolver.py Resolver.stop: ending.join": LIFE,
    "net/resolver.py Resolver.stop: ending.kill": LIFE,
    "net/resolver.py Resolver.wait_for_first_answers: gevent.joinall": LIFE,
    "net/stream.py Stream._abort: waiting.throw": IN_THE_HUB,
    "net/stream.py Stream._readable: self._reader.switch": IN_THE_HUB,
    "net/stream.py Stream._send_rest: self._wait_writable": EXCHANGE,
    "net/stream.py Stream._switch: self._hub.switch": EXCHANGE,
    "net/stream.py Stream._throw: waiting.throw": IN_THE_HUB,
    "net/stream.py Stream._wake_reader: waiting.switch": IN_THE_HUB,
    "net/stream.py Stream.recv: self.recv_after_wait": EXCHANGE,
    "net/stream.py Stream.recv_after_wait: self._wait_readable": EXCHANGE,
    "net/stream.py Stream.recv_after_wait: self.recv_after_wait": EXCHANGE,
    "net/stream.py Stream.recv_into: self._wait_readable": UNUSED,
    "net/stream.py Stream.wait_readable: self._wait_readable": EXCHANGE,
    "net/stream.py Stream.wait_writable: self._wait_writable": EXCHANGE,
    "net/stream.py Stream.wait_writable_or: self.wait_writable": EXCHANGE,
    "net/tls.py TlsStream._send_rest: self.wait_writable": EXCHANGE,
    "net/tls.py TlsStream.recv: self._wait_readable": EXCHANGE,
    "net/tls.py TlsStream.recv_into: self.recv": UNUSED,
    "net/tls.py TlsStream.wait_writable: super().wait_writable": EXCHANGE,
    "proxy/attempt.py Attempt._receive: stream.recv_after_wait": EXCHANGE,
    "proxy/reverse.py ReverseProxy._try_with_upload: uploads.wait": EXCHANGE,
    "proxy/tunnel.py Tunnel.__call__: upwards.get": EXCHANGE,
    "proxy/tunnel.py Tunnel.__call__: upwards.kill": EXCHANGE,
    "proxy/tunnel.py Tunnel._carry: sink.send": EXCHANGE,
    "proxy/tunnel.py Tunnel._receive: source.recv": EXCHANGE,
    "proxy/upload.py Upload._send: self._stream.send": EXCHANGE,
    "server/body.py ClientBody._receive: self._wait": EXCHANGE,
    "server/body.py ClientBody._wait: self._source.stream.recv": EXCHANGE,
    "server/body.py ClientBody.wait_released: released.wait": EXCHANGE,
    "server/doors.py Doors._cut: gevent.sleep": LIFE,
    "server/doors.py Doors.drain: gevent.sleep": LIFE,
    "server/http1.py Connection._await_body: body.wait_released": EXCHANGE,
    "server/http1.py Connection._cancel: self._greenlet.throw": IN_THE_HUB,
    "server/http1.py Connection._throw_stopped: self._greenlet.throw": IN_THE_HUB,
    "server/http1.py _ClientDuplex.recv: self._stream.recv": EXCHANGE,
    "server/http1.py _ClientDuplex.send: self._stream.send": EXCHANGE,
    "server/reply.py Reply._write: self._stream.send": EXCHANGE,
    "server/reply.py Reply._write_slowly: Ahead(self._stream, self._patience, relay, self._framed).send": EXCHANGE,
    "server/reply.py Reply._write_slowly: self._stream.send": EXCHANGE,
    "server/reply.py Reply.fail: self.send": EXCHANGE,
    "server/serve.py Funnel.serve: wire.send": EXCHANGE,
    "server/side_doors.py SideDoors.close: self._closing.join": LIFE,
    "server/side_doors.py SideDoors.close: self._doubt.kill": LIFE,
    "upstream/backend.py Backend.connect: self._dial": EXCHANGE,
    "upstream/checks.py Checks._ask: stream.recv_after_wait": LIFE,
    "upstream/checks.py Checks._ask: stream.send": LIFE,
    "upstream/checks.py Checks._run: gevent.sleep": LIFE,
    "upstream/checks.py Checks.stop: self._children.kill": LIFE,
    "upstream/checks.py Checks.stop: timetable.kill": LIFE,
    "upstream/group.py Upstream.start: self._resolver.wait_for_first_answers": LIFE,
    "upstream/holds.py Hold._throw: self._waiter.throw": IN_THE_HUB,
    "upstream/line.py Line.wait: waiter.woken.wait": EXCHANGE,
    "upstream/slots.py Slots.acquire: self.line.wait": EXCHANGE,
    "upstream/uploads.py Uploads.wait: turn.wait": EXCHANGE,
}


def test_every_place_stands_in_the_table_and_no_other() -> None:
    assert sorted({place.name for place in places()}) == sorted(TABLE)


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> set[Line]:
    """The lines in which somebody of the house waited while the scenarios were played."""
    found: set[Line] = set()
    log, _ = memory_logger()
    gc.freeze()  # each scenario counts what there is: what other tests left need not be looked at each time
    resolver = Resolver(0.0, log)
    try:
        with hub_errors():
            for scenario in SCENARIOS:
                stage = Stage(scenario, resolver, tmp_path_factory.mktemp("stage"))
                found.update(line for stack in stage.play()[0].stacks for line in stack)
                stage.stop()
    finally:
        resolver.stop()
        gc.unfreeze()
    return found


@pytest.mark.parametrize("place", [each for each in places() if TABLE.get(each.name) == EXCHANGE], ids=lambda each: each.name)
def test_some_scenario_waits_there(reached: set[Line], place: Place) -> None:
    assert any((place.file, line) in reached for line in range(place.first_line, place.last_line + 1))
