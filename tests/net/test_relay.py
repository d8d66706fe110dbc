"""RelayBody: a body read from its backend, and what it says about the connection when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import gevent
import pytest

from greenproxy.deadline import Patience
from greenproxy.errors import BackendInvalid, BackendReset, ClientGone, ProxyError, ReadTimeout
from greenproxy.net.relay import Decoder, RelayBody
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import ChunkedDecoder, EofDecoder, LengthDecoder
from tests.hub import HubSocket, is_waiting, poll, reset, watchers
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
