"""RelayBody: a body read from its backend, and what it says about the connection when it ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import gevent
import pytest

from greenproxy.deadline import Patience
from greenproxy.errors import BackendInvalid, BackendReset, ClientGone, ProxyError, ReadTimeout
from greenproxy.net import relay as relay_module
from greenproxy.net.relay import Decoder, RelayBody
from greenproxy.net.splice import PIPE, Unable
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import ChunkedDecoder, EofDecoder, LengthDecoder
from tests.hub import HubSocket, connected, is_waiting, poll, read_all, read_exactly, reset, until, watchers
from tests.net.conftest import MakePair

PATIENT = Patience(10, ReadTimeout)


@dataclass
class Relay:
    """A body whose backend is the test, and what it told its owner."""

    stream: Stream
    backend: HubSocket
    body: RelayBody
    released: list[bool] = field(default_factory=list)
    failures: list[ProxyError] = field(default_factory=list)

    def read(self) -> bytes:
        return b"".join(self.body)


MakeRelay: TypeAlias = Callable[..., Relay]


@pytest.fixture
def relay(pair: MakePair) -> MakeRelay:
    """Return a function that makes a relayed body; `first` is payload that came with the head."""

    def make(decoder: Decoder, first: bytes = b"", patience: Patience = PATIENT) -> Relay:
        stream, backend = pair()
        released: list[bool] = []
        failures: list[ProxyError] = []
        body = RelayBody(stream, decoder, first, patience, released.append, failures.append)
        return Relay(stream, backend, body, released, failures)

    return make


def chunked() -> ChunkedDecoder:
    return ChunkedDecoder(1024)


# A body `hello world` on the wire, by decoder; the last one ends with the connection.
WHOLE: dict[str, tuple[Callable[[], Decoder], bytes]] = {
    "length": (lambda: LengthDecoder(11), b"hello world"),
    "chunked": (chunked, b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    "eof": (EofDecoder, b"hello world"),
}
every_kind = pytest.mark.parametrize("kind", WHOLE)
delimited = pytest.mark.parametrize("kind", ["length", "chunked"])


def sent_whole(relay: MakeRelay, kind: str) -> Relay:
    """Return a relay whose backend has sent everything."""
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    it.backend.sendall(data)
    if kind == "eof":
        it.backend.close()
    return it


def begun(relay: MakeRelay, kind: str) -> Relay:
    """Return a relay whose backend has sent a part."""
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    it.backend.sendall(data[:10])
    return it


# ------------------------------------------------------------------ to the end


@every_kind
def test_the_payload_comes_without_its_framing(relay: MakeRelay, kind: str) -> None:
    assert sent_whole(relay, kind).read() == b"hello world"


@every_kind
def test_an_exhausted_body_says_once_that_it_is_complete(relay: MakeRelay, kind: str) -> None:
    it = sent_whole(relay, kind)
    it.read()
    it.body.close()
    assert it.released == [True]


@every_kind
def test_a_complete_body_is_no_failure(relay: MakeRelay, kind: str) -> None:
    it = sent_whole(relay, kind)
    it.read()
    it.body.close()
    assert it.failures == []


@every_kind
def test_nothing_is_said_before_the_end(relay: MakeRelay, kind: str) -> None:
    it = begun(relay, kind)
    next(iter(it.body))
    assert it.released == []


@delimited
def test_a_backend_is_free_with_its_last_byte_before_anybody_asks_for_more(relay: MakeRelay, kind: str) -> None:
    it = sent_whole(relay, kind)
    next(iter(it.body))
    assert it.released == [True]


def test_a_backend_is_free_when_all_of_it_came_with_the_head(relay: MakeRelay) -> None:
    decoder = LengthDecoder(5)
    it = relay(decoder, decoder.feed(b"hello"))
    it.body.take_ready()
    assert it.released == [True]


@delimited
def test_bytes_that_come_behind_the_end_are_left_for_whoever_has_the_connection_now(relay: MakeRelay, kind: str) -> None:
    it = sent_whole(relay, kind)
    pieces = iter(it.body)
    next(pieces)
    it.backend.sendall(b"next")
    assert (b"".join(pieces), it.stream.recv(100)) == (b"", b"next")


@every_kind
def test_pieces_are_passed_on_as_they_come(relay: MakeRelay, kind: str) -> None:
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    pieces = iter(it.body)
    half = 10 if kind == "chunked" else 5
    it.backend.sendall(data[:half])
    first = next(pieces)
    it.backend.sendall(data[half:])
    assert (first, next(pieces)) == (b"hello", b" world")


@every_kind
def test_a_body_that_comes_byte_by_byte_is_the_same(relay: MakeRelay, kind: str) -> None:
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    reader = gevent.spawn(it.read)
    for byte in data:
        it.backend.sendall(bytes((byte,)))
        poll()
    it.backend.close()
    assert (reader.get(), it.released) == (b"hello world", [True])


def test_what_came_with_the_head_comes_first(relay: MakeRelay) -> None:
    it = relay(LengthDecoder(6), b"hello ")
    it.backend.sendall(b"world!")
    assert it.read() == b"hello world!"


def test_what_came_with_the_head_can_be_taken_without_waiting(relay: MakeRelay) -> None:
    it = relay(LengthDecoder(6), b"hello ")
    ready = it.body.take_ready()
    it.backend.sendall(b"world!")
    assert (ready, it.read()) == (b"hello ", b"world!")


def test_a_body_that_came_whole_with_its_head_is_exhausted_without_its_backend(relay: MakeRelay) -> None:
    decoder = LengthDecoder(5)
    it = relay(decoder, decoder.feed(b"hello"))
    it.backend.close()
    assert (it.read(), it.released) == (b"hello", [True])


def test_trailers_are_known_at_the_end(relay: MakeRelay) -> None:
    it = relay(chunked())
    it.backend.sendall(b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")
    it.read()
    assert it.body.trailers == b"X-Sum: 1\r\n"


@pytest.mark.parametrize("decoder", [LengthDecoder(0), EofDecoder()])
def test_only_chunked_bodies_have_trailers(relay: MakeRelay, decoder: Decoder) -> None:
    assert relay(decoder).body.trailers == b""


# ------------------------------------------------------------------ bytes behind the end


@delimited
def test_excess_bytes_make_the_connection_useless(relay: MakeRelay, kind: str) -> None:
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    it.backend.sendall(data + b"HTTP/1.1 200 OK\r\n")
    it.read()
    assert it.released == [False]


@delimited
def test_excess_bytes_are_no_part_of_the_body(relay: MakeRelay, kind: str) -> None:
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    it.backend.sendall(data + b"more")
    assert it.read() == b"hello world"


# ------------------------------------------------------------------ given up


@every_kind
@pytest.mark.parametrize("taken", [0, 1])
def test_a_body_closed_early_says_once_that_it_is_not_complete(relay: MakeRelay, kind: str, taken: int) -> None:
    decoder, data = WHOLE[kind]
    it = relay(decoder())
    it.backend.sendall(data[:10])
    pieces = iter(it.body)
    for _ in range(taken):
        next(pieces)
    it.body.close()
    it.body.close()
    assert it.released == [False]


def test_closing_early_is_no_failure_of_the_backend(relay: MakeRelay) -> None:
    it = relay(LengthDecoder(11))
    it.body.close()
    assert it.failures == []


def test_a_body_whose_last_piece_was_taken_is_complete_when_it_is_closed(relay: MakeRelay) -> None:
    it = sent_whole(relay, "length")
    next(iter(it.body))
    it.body.close()
    assert it.released == [True]


def test_closing_does_not_wait(relay: MakeRelay) -> None:
    it = relay(LengthDecoder(11))
    closing = gevent.spawn(it.body.close)
    gevent.sleep(0)
    assert closing.ready()


@pytest.mark.parametrize("error", [gevent.GreenletExit, gevent.Timeout, ClientGone])
def test_a_body_whose_reader_was_killed_waits_for_its_close(relay: MakeRelay, error: type[BaseException]) -> None:
    it = relay(LengthDecoder(11))
    reader = gevent.spawn(it.read)
    poll()
    assert is_waiting(reader)
    reader.kill(error())
    before = list(it.released)
    it.body.close()
    assert (before, it.released) == ([], [False])


def test_a_reader_that_was_killed_leaves_no_timer(relay: MakeRelay) -> None:
    it = relay(LengthDecoder(11))
    reader = gevent.spawn(it.read)
    poll()
    before = watchers()
    reader.kill()
    assert watchers() < before


# ------------------------------------------------------------------ broken off


@dataclass(frozen=True)
class Break:
    """A way in which a backend breaks off a body, and what whoever reads it is told."""

    decoder: Callable[[], Decoder]
    data: bytes
    then: str
    error: type[ProxyError]


BREAKS: dict[str, Break] = {
    "an end in a length": Break(lambda: LengthDecoder(11), b"hello", "close", BackendReset),
    "an end before a length": Break(lambda: LengthDecoder(11), b"", "close", BackendReset),
    "an end in a chunk": Break(chunked, b"5\r\nhel", "close", BackendReset),
    "an end before the last chunk": Break(chunked, b"5\r\nhello\r\n", "close", BackendReset),
    "an end in the trailers": Break(chunked, b"0\r\nX: 1\r\n", "close", BackendReset),
    "a reset in a length": Break(lambda: LengthDecoder(11), b"", "reset", BackendReset),
    "a reset in a chunk": Break(chunked, b"", "reset", BackendReset),
    "a reset where the end should be": Break(EofDecoder, b"", "reset", BackendReset),
    "a malformed size": Break(chunked, b"zz\r\n", "nothing", BackendInvalid),
    "a chunk longer than its size": Break(chunked, b"1\r\nxyz\r\n", "nothing", BackendInvalid),
    "a bare line feed": Break(chunked, b"5\nhello\n0\n\n", "nothing", BackendInvalid),
    "a forbidden trailer": Break(chunked, b"0\r\nContent-Length: 5\r\n\r\n", "nothing", BackendInvalid),
    "silence in a length": Break(lambda: LengthDecoder(11), b"", "nothing", ReadTimeout),
    "silence in a chunk": Break(chunked, b"5\r\nhe", "nothing", ReadTimeout),
    "silence before an end": Break(EofDecoder, b"hello", "nothing", ReadTimeout),
}
every_break = pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)


def broken_off(relay: MakeRelay, how: Break) -> Relay:
    """Return a relay whose backend breaks its body off."""
    it = relay(how.decoder(), patience=Patience(0.03, ReadTimeout) if how.error is ReadTimeout else PATIENT)
    it.backend.sendall(how.data)
    if how.then == "close":
        it.backend.close()
    elif how.then == "reset":
        reset(it.backend)
    return it


@every_break
def test_a_body_that_breaks_off_raises(relay: MakeRelay, how: Break) -> None:
    with pytest.raises(how.error):
        broken_off(relay, how).read()


@every_break
def test_a_break_is_told_to_the_owner_once(relay: MakeRelay, how: Break) -> None:
    it = broken_off(relay, how)
    with pytest.raises(how.error):
        it.read()
    it.body.close()
    assert [type(each) for each in it.failures] == [how.error]


@every_break
def test_a_body_that_broke_off_says_once_that_it_is_not_complete(relay: MakeRelay, how: Break) -> None:
    it = broken_off(relay, how)
    with pytest.raises(how.error):
        it.read()
    it.body.close()
    it.body.close()
    assert it.released == [False]


def test_what_came_before_the_break_was_passed_on(relay: MakeRelay) -> None:
    it = broken_off(relay, BREAKS["an end in a length"])
    assert next(iter(it.body)) == b"hello"


# ------------------------------------------------------------------ unseen, inside the kernel

LARGE = bytes(range(256)) * 1024  # 256 KiB

needs_splice = pytest.mark.skipif(not hasattr(os, "splice"), reason="there is no splice here")


@dataclass
class Passage:
    """A large body on its way to a client without being looked at."""

    relay: Relay
    sink: Stream
    client: HubSocket
    rest: bytes = b""

    def run(self) -> None:
        """Pass it on as long as it can be; `rest` is what the client did not take."""
        while self.relay.body.can_pass_on(self.sink):
            self.rest += self.relay.body.pass_on(self.sink)[1]


MakePassage: TypeAlias = Callable[..., Passage]


@pytest.fixture
def passage(relay: MakeRelay, pair: MakePair, monkeypatch: pytest.MonkeyPatch) -> MakePassage:
    """Return a function that makes the relay of a large body, and its client. What is large is smaller here."""
    monkeypatch.setattr(relay_module, "LEAST_BYTES", 64 * 1024)

    def make(decoder: Decoder, patience: Patience = PATIENT, buffers: int = 0) -> Passage:
        return Passage(relay(decoder, patience=patience), *pair(buffers=buffers))

    return make


def sending(it: Passage, data: bytes, *, closes: bool = False) -> None:
    """Let the backend send that while the test goes on."""

    def send() -> None:
        it.relay.backend.sendall(data)
        if closes:
            it.relay.backend.close()

    gevent.spawn(send)


LONG_KINDS = {"length": lambda: LengthDecoder(len(LARGE)), "eof": EofDecoder}
every_long_kind = pytest.mark.parametrize("kind", LONG_KINDS)


@needs_splice
@every_long_kind
def test_a_large_body_is_passed_on_unseen(passage: MakePassage, kind: str) -> None:
    it = passage(LONG_KINDS[kind]())
    sending(it, LARGE, closes=kind == "eof")
    reading = gevent.spawn(read_exactly, it.client, len(LARGE))
    it.run()
    it.sink.send(it.rest + b"".join(it.relay.body))
    assert reading.get() == LARGE


@needs_splice
@every_long_kind
def test_a_body_that_was_passed_on_says_once_that_it_is_complete(passage: MakePassage, kind: str) -> None:
    it = passage(LONG_KINDS[kind]())
    sending(it, LARGE, closes=kind == "eof")
    it.run()
    list(it.relay.body)
    it.relay.body.close()
    assert (it.relay.released, it.relay.failures) == ([True], [])


@needs_splice
def test_a_backend_is_free_with_its_last_byte_also_when_the_client_takes_none(passage: MakePassage) -> None:
    it = passage(LengthDecoder(len(LARGE)), buffers=4096)
    while it.sink.send_now(b"-" * 65536):
        pass
    sending(it, LARGE)
    it.run()
    rest = it.rest + b"".join(it.relay.body)
    assert (rest, it.relay.released) == (LARGE, [True])


@needs_splice
def test_what_comes_behind_a_body_is_left_where_it_is(passage: MakePassage) -> None:
    it = passage(LengthDecoder(100_000))
    it.relay.backend.sendall(LARGE[:100_000] + b"next")
    it.run()
    assert (it.relay.released, it.relay.stream.recv(100)) == ([True], b"next")


@needs_splice
def test_no_more_is_taken_at_once_than_may_wait_for_a_slow_client(passage: MakePassage) -> None:
    it = passage(LengthDecoder(1 << 20), buffers=4096)
    it.relay.body.ahead_bytes = 150_000
    while it.sink.send_now(b"-" * 65536):
        pass
    it.relay.backend.sendall(LARGE[:200_000])
    assert it.relay.body.pass_on(it.sink)[0] <= 150_000


CANNOT: dict[str, Callable[[], Decoder]] = {
    "chunks, which must be looked at": chunked,
    "little": lambda: LengthDecoder(65_535),
    "nothing": lambda: LengthDecoder(0),
}


@pytest.mark.parametrize("kind", CANNOT)
def test_what_is_not_passed_on_unseen(passage: MakePassage, kind: str) -> None:
    it = passage(CANNOT[kind]())
    assert not it.relay.body.can_pass_on(it.sink)


@needs_splice
def test_an_urgent_byte_in_the_middle_stops_nobody(passage: MakePassage) -> None:
    it = passage(LengthDecoder(len(LARGE)))
    backend, taken = it.relay.backend, gevent.spawn(read_all, it.client)
    sender = gevent.spawn(it.run)
    backend.sendall(LARGE[:1000])
    until(lambda: it.relay.body._decoder.left == len(LARGE) - 1000)  # type: ignore[attr-defined]  # it counts
    backend.send(b"!", socket.MSG_OOB)
    sending(it, LARGE[1000:])
    sender.join()
    it.sink.send(it.rest + b"".join(it.relay.body))
    it.sink.close()
    assert taken.get() == LARGE


def test_what_is_over_is_not_passed_on(passage: MakePassage) -> None:
    it = passage(EofDecoder())
    it.relay.body.close()
    assert not it.relay.body.can_pass_on(it.sink)


class Secret(Stream):
    """A stream that changes what it is given, as TLS does."""


def test_nothing_is_passed_on_to_a_stream_that_changes_it(passage: MakePassage) -> None:
    it = passage(EofDecoder())
    raw, peer = connected()
    secret = Secret(raw)
    assert not it.relay.body.can_pass_on(secret)
    secret.close()
    peer.close()


@needs_splice
def test_where_splicing_fails_the_body_is_copied(passage: MakePassage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Unable

    it = passage(LengthDecoder(len(LARGE)))
    sending(it, LARGE)
    monkeypatch.setattr(PIPE, "fill", refuse)
    it.run()
    assert it.relay.read() == LARGE


LONG_BREAKS = {"closes": BackendReset, "resets": BackendReset, "is silent": ReadTimeout}


@needs_splice
@pytest.mark.parametrize("how", LONG_BREAKS)
def test_a_large_body_that_breaks_off_is_told_to_its_owner_once(passage: MakePassage, how: str) -> None:
    it = passage(LengthDecoder(len(LARGE)), patience=Patience(0.05, ReadTimeout))
    it.relay.backend.sendall(LARGE[:1000])
    it.relay.body.pass_on(it.sink)
    if how == "closes":
        it.relay.backend.close()
    elif how == "resets":
        reset(it.relay.backend)
    with pytest.raises(LONG_BREAKS[how]):
        it.run()
    it.relay.body.close()
    assert ([type(each) for each in it.relay.failures], it.relay.released) == ([LONG_BREAKS[how]], [False])


@needs_splice
def test_a_client_that_resets_is_no_failure_of_the_backend_of_a_large_body(passage: MakePassage) -> None:
    it = passage(EofDecoder())
    reset(it.client)
    sending(it, LARGE)
    with pytest.raises(OSError, match=r"reset|pipe"):
        it.run()
    assert it.relay.failures == []


@needs_splice
def test_whoever_is_killed_in_a_large_body_leaves_nothing_on(passage: MakePassage) -> None:
    it = passage(EofDecoder())
    passing = gevent.spawn(it.run)
    poll()
    during = watchers()
    passing.kill()
    it.relay.body.close()
    assert (watchers() < during, it.relay.released) == (True, [False])


@pytest.mark.parametrize("is_seen", [True, False], ids=["copied", "spliced"])
def test_however_fast_it_comes_others_get_their_turn(
    passage: MakePassage, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    monkeypatch.setattr("greenproxy.net.relay.TURN_BYTES", 1)
    it = passage(EofDecoder())
    it.relay.backend.sendall(b"x" * 1000)
    it.relay.body.pass_on(it.sink) if not is_seen else next(iter(it.relay.body))
    it.relay.backend.sendall(b"x" * 1000)
    until(it.relay.stream.has_arrived)
    other = gevent.spawn(lambda: None)
    it.relay.body.pass_on(it.sink) if not is_seen else next(iter(it.relay.body))
    assert other.ready()
