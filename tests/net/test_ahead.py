"""Ahead: what a client has not read yet waits in bounded memory, so that its backend is free as soon as possible."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.deadline import Deadline, Patience
from greenproxy.errors import (
    BackendInvalid,
    BackendReset,
    BodyTimeout,
    ProxyError,
    ReadTimeout,
    RequestTimeout,
    SendTimeout,
    Stopped,
)
from greenproxy.net.ahead import Ahead, Left
from greenproxy.net.relay import Decoder, RelayBody
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import ChunkedDecoder, EofDecoder, LengthDecoder
from tests.hub import HubSocket, is_waiting, poll, read_all, read_exactly, reset, stream_and_peer, turns, until, watchers
from tests.net.conftest import MakePair

SMALL = 4096
READ_FIRST = 100  # of each body, so that the kernel's buffers are full before the rest comes
KERNEL = 64 * 1024  # more than the kernel holds between two small sockets
PATIENT = Patience(10, ReadTimeout)
FOREVER = Patience(0, SendTimeout)


class Told:
    """A hold that notes when it is told that the backend waits."""

    def __init__(self) -> None:
        self.waits = 0
        self.is_waiting = False
        self.left: Left = lambda: 0

    @contextmanager
    def waiting(self, error: type[ProxyError], left: Left) -> Iterator[None]:
        assert error is SendTimeout
        self.waits += 1
        self.is_waiting, self.left = True, left
        try:
            yield
        finally:
            self.is_waiting = False


@dataclass
class Scene:
    """A client that is slow, a body that its backend sends, and what became of both."""

    client: HubSocket
    stream: Stream
    backend: HubSocket
    source: Stream
    body: RelayBody
    hold: Told
    patience: Patience
    released: list[bool] = field(default_factory=list)
    failures: list[ProxyError] = field(default_factory=list)
    aheads: list[Ahead] = field(default_factory=list)
    greenlet: gevent.Greenlet[..., None] | None = None

    def start(self, frame: Callable[[bytes], bytes] = bytes) -> None:
        """Relay in a greenlet of its own, as Reply does it."""
        self.greenlet = gevent.spawn(self._relay, frame)
        poll()

    def _relay(self, frame: Callable[[bytes], bytes]) -> None:
        for piece in self.body:
            data = memoryview(frame(piece))
            rest = data[self.stream.send_now(data) :]
            if rest and not self.body.is_over:
                self.aheads.append(Ahead(self.stream, self.patience, self.body, frame))
                self.aheads[-1].send(rest)
            elif rest:
                self.stream.send(rest, self.patience)
        self.stream.shutdown_write()

    @property
    def pending(self) -> int:
        """Bytes that wait in memory."""
        return max((each._size for each in self.aheads), default=0)

    def ended(self) -> BaseException | None:
        """Wait for the end of the relay; return what it raised."""
        assert self.greenlet is not None
        self.greenlet.join(10)
        return self.greenlet.exception


MakeScene = Callable[..., Scene]


@pytest.fixture
def scene(pair: MakePair) -> Iterator[MakeScene]:
    """Return a function that makes a scene."""
    scenes: list[Scene] = []

    def make(
        decoder: Decoder, *, ahead: int = 1 << 20, send: Patience = FOREVER, read: Patience = PATIENT, first: bytes = b""
    ) -> Scene:
        scenes.append(build(pair(buffers=SMALL), pair(), decoder, ahead, send, read, first))
        return scenes[-1]

    yield make
    for each in scenes:
        if each.greenlet is not None:
            each.greenlet.kill()


def build(
    to_client: tuple[Stream, HubSocket],
    to_backend: tuple[Stream, HubSocket],
    decoder: Decoder,
    ahead: int,
    send: Patience = FOREVER,
    read: Patience = PATIENT,
    first: bytes = b"",
) -> Scene:
    released: list[bool] = []
    failures: list[ProxyError] = []
    hold = Told()
    body = RelayBody(to_backend[0], decoder, first, read, released.append, failures.append, ahead_bytes=ahead, hold=hold)
    return Scene(to_client[1], to_client[0], to_backend[1], to_backend[0], body, hold, send, released, failures)


def sent(it: Scene, data: bytes) -> None:
    """Let the backend send all of it, as fast as it is read."""
    sending = gevent.spawn(it.backend.sendall, data)
    until(lambda: sending.ready() or it.hold.is_waiting)
    if not sending.ready():
        sending.kill()
    poll()


def taken(it: Scene) -> bytes:
    """Let the client take what there is until the relay ends; return it."""
    pieces: list[bytes] = []
    with gevent.Timeout(10):
        while it.greenlet is not None and not it.greenlet.ready():
            try:
                pieces.append(it.client.recv(1 << 20, socket.MSG_DONTWAIT))
            except BlockingIOError:
                gevent.sleep(0.001)
    return b"".join(pieces)


BODY = bytes(range(256)) * 1000  # 256,000 bytes
CHUNKS = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:100], BODY[100:70_000], BODY[70_000:]))
KINDS: dict[str, tuple[Callable[[], Decoder], bytes]] = {
    "length": (lambda: LengthDecoder(len(BODY)), BODY),
    "chunked": (lambda: ChunkedDecoder(1024), CHUNKS + b"0\r\nX-Sum: 1\r\n\r\n"),
    "eof": (EofDecoder, BODY),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
delimited = pytest.mark.parametrize("kind", ["length", "chunked"])


# ------------------------------------------------------------------ a backend is free


@every_kind
def test_a_backend_is_free_when_what_it_sent_fits_although_the_client_reads_nothing(scene: MakeScene, kind: str) -> None:
    decoder, data = KINDS[kind]
    it = scene(decoder())
    it.start()
    sent(it, data)
    if kind == "eof":
        it.backend.close()
    until(lambda: it.released)
    assert (it.released, it.failures, it.hold.waits) == ([True], [], 0)


@every_kind
def test_the_client_reads_everything_when_the_backend_is_gone_long_since(scene: MakeScene, kind: str) -> None:
    decoder, data = KINDS[kind]
    it = scene(decoder())
    it.start()
    sent(it, data)
    it.backend.close()
    until(lambda: it.released)
    it.source.close()
    assert read_all(it.client) == BODY


@delimited
def test_a_backend_is_free_when_the_last_piece_was_read_not_when_it_is_sent(scene: MakeScene, kind: str) -> None:
    """All of it is one piece, that the client does not take."""
    decoder, data = KINDS[kind]
    it = scene(decoder())
    it.backend.sendall(data[:KERNEL])
    poll()
    it.start()
    sent(it, data[KERNEL:])
    until(lambda: it.released)
    assert it.released == [True]


def blocked(it: Scene) -> int:
    """Fill the way to the client; return how many bytes wait there."""
    count = 0
    while more := it.stream.send_now(b"-" * KERNEL):
        count += more
    return count


@pytest.mark.parametrize("ahead", [0, 1 << 20])
@pytest.mark.parametrize("then", ["stays", "closes"])
def test_a_whole_body_in_one_piece_is_complete_before_a_blocked_client_takes_it(scene: MakeScene, ahead: int, then: str) -> None:
    it = scene(LengthDecoder(5), ahead=ahead)
    earlier = blocked(it)
    it.start()
    it.backend.sendall(b"hello")
    if then == "closes":
        it.backend.close()
    until(lambda: it.released)
    assert (read_all(it.client)[earlier:], it.released, it.failures, it.hold.waits) == (b"hello", [True], [], 0)


@delimited
def test_a_connection_that_went_on_to_the_next_is_not_touched(scene: MakeScene, kind: str) -> None:
    decoder, data = KINDS[kind]
    it = scene(decoder())
    it.start()
    sent(it, data)
    until(lambda: it.released)
    it.backend.sendall(b"the next answer")
    read_exactly(it.client, len(BODY))
    until(lambda: it.source.has_arrived())
    assert it.source.recv(100) == b"the next answer"


@delimited
def test_bytes_behind_the_end_make_the_connection_useless(scene: MakeScene, kind: str) -> None:
    decoder, data = KINDS[kind]
    it = scene(decoder())
    it.start()
    sent(it, data + b"more")
    until(lambda: it.released)
    assert (it.released, read_all(it.client)) == ([False], BODY)


def test_the_trailers_are_those_that_came(scene: MakeScene) -> None:
    decoder, data = KINDS["chunked"]
    it = scene(decoder())
    it.start()
    sent(it, data)
    until(lambda: it.released)
    assert it.body.trailers == b"X-Sum: 1\r\n"


# ------------------------------------------------------------------ bounded memory


@pytest.mark.parametrize("ahead", [1, 1000, 50_000])
def test_no_more_waits_than_the_bound(scene: MakeScene, ahead: int) -> None:
    it = scene(EofDecoder(), ahead=ahead)
    it.start()
    it.backend.sendall(b"x" * READ_FIRST)
    most = 0
    sending = gevent.spawn(it.backend.sendall, b"x" * (1 << 20))
    for _ in range(30):
        poll()
        rest = it.pending
        most = max(most, rest)
        it.client.recv(1000)
    sending.kill()
    assert len(it.aheads) == 1
    assert most <= max(ahead, 120 * 1024)  # the first piece was read whole


def test_a_full_buffer_reads_no_more_from_the_backend(scene: MakeScene) -> None:
    it = scene(EofDecoder(), ahead=10_000)
    blocked(it)
    it.start()
    sent(it, b"x" * 200_000)
    until(lambda: it.hold.is_waiting)
    assert it.source.has_arrived()


def test_while_the_buffer_is_full_the_client_is_to_blame(scene: MakeScene) -> None:
    it = scene(EofDecoder(), ahead=10_000)
    earlier = blocked(it)
    it.start()
    sent(it, b"x" * 200_000)
    until(lambda: it.hold.is_waiting)
    assert earlier >= it.hold.left() > 0


def test_without_a_buffer_the_client_is_to_blame_at_once(scene: MakeScene) -> None:
    it = scene(EofDecoder(), ahead=0)
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    until(lambda: it.hold.is_waiting)
    assert it.hold.waits == 1


@pytest.mark.parametrize("ahead", [0, 10_000, 1 << 20])
def test_a_client_that_does_not_read_costs_no_turns_of_the_loop(scene: MakeScene, ahead: int) -> None:
    it = scene(EofDecoder(), ahead=ahead)
    blocked(it)
    it.start()
    sent(it, b"x" * 200_000)
    poll()
    assert turns() < 10


# ------------------------------------------------------------------ in order


SIZES = st.one_of(st.integers(2000, 60_000), st.just(1)).flatmap(lambda size: st.tuples(st.just(size), st.just(60_000)))


@settings(max_examples=30, deadline=None)
@given(
    ahead=st.sampled_from([0, 1, 100, 5000, 1 << 18]),
    kind=st.sampled_from(list(KINDS)),
    writes=st.lists(SIZES, min_size=1, max_size=4),
    reads=st.lists(SIZES, min_size=1, max_size=4),
)
def test_every_byte_comes_in_order(ahead: int, kind: str, writes: list[tuple[int, int]], reads: list[tuple[int, int]]) -> None:
    decoder, data = KINDS[kind]
    it = build(stream_and_peer(buffers=SMALL), stream_and_peer(), decoder(), ahead)
    it.start()
    try:
        sending = gevent.spawn(send_in_pieces, it.backend, data, [size for pair in writes for size in pair])
        got = read_in_pieces(it.client, [size for pair in reads for size in pair])
        sending.join()
        assert (got == BODY, it.ended(), it.released, it.failures) == (True, None, [True], [])
    finally:
        for each in (it.client, it.backend, it.stream, it.source):
            each.close()


def send_in_pieces(sock: HubSocket, data: bytes, sizes: list[int]) -> None:
    at, turn = 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        sock.sendall(data[at : at + size])
        at, turn = at + size, turn + 1
        gevent.sleep(0)
    sock.close()


def read_in_pieces(sock: HubSocket, sizes: list[int]) -> bytes:
    got, turn = [], 0
    while piece := sock.recv(sizes[turn % len(sizes)]):
        got.append(piece)
        turn += 1
        gevent.sleep(0)
    return b"".join(got)


# ------------------------------------------------------------------ too late


@pytest.mark.parametrize("ahead", [0, 1 << 20], ids=["full", "room"])
def test_a_client_that_takes_nothing_for_send_timeout_is_late(scene: MakeScene, ahead: int) -> None:
    it = scene(EofDecoder(), ahead=ahead, send=Patience(0.03, SendTimeout))
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    assert isinstance(it.ended(), SendTimeout)


def test_a_backend_that_sends_nothing_for_read_timeout_is_late(scene: MakeScene) -> None:
    it = scene(EofDecoder(), read=Patience(0.03, ReadTimeout))
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    until(lambda: it.failures)
    taken(it)
    assert (type(it.ended()), [type(each) for each in it.failures]) == (ReadTimeout, [ReadTimeout])


def test_read_timeout_does_not_count_while_nothing_is_read(scene: MakeScene) -> None:
    it = scene(EofDecoder(), ahead=0, send=Patience(0.09, SendTimeout), read=Patience(0.03, ReadTimeout))
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    assert isinstance(it.ended(), SendTimeout)


def test_read_timeout_begins_anew_with_every_byte(scene: MakeScene) -> None:
    it = scene(EofDecoder(), read=Patience(0.1, ReadTimeout))
    blocked(it)
    it.start()
    for _ in range(6):
        it.backend.sendall(b"x")
        gevent.sleep(0.03)
    assert is_waiting(it.greenlet)  # type: ignore[arg-type]


def test_send_timeout_begins_anew_with_every_byte_that_is_taken(scene: MakeScene) -> None:
    it = scene(EofDecoder(), send=Patience(0.15, SendTimeout))
    blocked(it)
    it.start()
    sent(it, BODY)
    for _ in range(8):
        it.client.recv(16 * 1024)
        gevent.sleep(0.03)
    assert is_waiting(it.greenlet)  # type: ignore[arg-type]


def test_the_whole_deadline_of_an_exchange_is_kept(scene: MakeScene) -> None:
    it = scene(EofDecoder(), read=Patience(10, ReadTimeout, Deadline.after(0.05, RequestTimeout)))
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    assert isinstance(it.ended(), RequestTimeout)


# ------------------------------------------------------------------ broken off


def broken(it: Scene, how: str) -> None:
    if how == "closes":
        it.backend.close()
    elif how == "resets":
        reset(it.backend)
    else:
        it.backend.sendall(b"zz\r\n")


@pytest.mark.parametrize(("how", "error"), [("closes", BackendReset), ("resets", BackendReset), ("is malformed", BackendInvalid)])
def test_a_backend_that_breaks_off_behind_a_slow_client_is_noticed_at_once_and_what_came_before_it_is_sent(
    scene: MakeScene, how: str, error: type[ProxyError]
) -> None:
    it = scene(ChunkedDecoder(1024))
    blocked(it)
    it.start()
    it.backend.sendall(b"5\r\nhello\r\n")
    poll()
    broken(it, how)
    until(lambda: it.failures)
    assert ([type(each) for each in it.failures], it.released) == ([error], [False])
    got = taken(it)
    assert (type(it.ended()), got[-6:]) == (error, b"-hello")


def test_a_client_that_resets_is_an_error_of_its_connection(scene: MakeScene) -> None:
    it = scene(EofDecoder())
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    poll()
    reset(it.client)
    assert isinstance(it.ended(), OSError)


@pytest.mark.parametrize("ahead", [0, 1 << 20], ids=["full", "room"])
def test_a_client_that_resets_is_no_failure_of_the_backend(scene: MakeScene, ahead: int) -> None:
    it = scene(EofDecoder(), ahead=ahead)
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    poll()
    reset(it.client)
    it.ended()
    assert it.failures == []


def test_what_interrupts_the_backend_ends_the_wait(scene: MakeScene) -> None:
    """An upload that fails beside the answer says so there."""
    it = scene(EofDecoder())
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    poll()
    it.source.interrupt(BodyTimeout())
    assert isinstance(it.ended(), BodyTimeout)


def test_a_connection_to_the_backend_that_is_closed_here_is_not_the_clients_fault(scene: MakeScene) -> None:
    it = scene(EofDecoder())
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    poll()
    it.source.close()
    until(lambda: it.failures)
    taken(it)
    assert isinstance(it.ended(), BackendReset)


@pytest.mark.parametrize("ahead", [0, 1 << 20], ids=["full", "room"])
@pytest.mark.parametrize("error", [gevent.GreenletExit, gevent.Timeout, Stopped])
def test_a_kill_leaves_no_watcher(scene: MakeScene, ahead: int, error: type[BaseException]) -> None:
    it = scene(EofDecoder(), ahead=ahead)
    blocked(it)
    it.start()
    it.backend.sendall(b"x")
    poll()
    during = watchers()
    assert it.greenlet is not None
    it.greenlet.kill(error())
    it.source.close()
    assert (watchers() < during, it.hold.is_waiting, it.stream.is_sending) == (True, False, False)
