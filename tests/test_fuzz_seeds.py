"""The fuzz targets, without a fuzzer: every committed input passes, and every target sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fuzz.answers
import fuzz.chain
import fuzz.chunks
import fuzz.connection
import fuzz.heads
import fuzz.relay
from fuzz.case import CONTROL, Case, Disagreement
from fuzz.fed import End, Errands, FedStream
from fuzz.situations import situations
from fuzz.targets import SEEDS, TARGETS, seeds, target
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import ChunkedDecoder
from greenproxy.protocol.http1 import HeadLimits, RequestHead, ResponseHead
from greenproxy.upstream.lease import Lease

MOST_FILES, MOST_BYTES = 500, 300 * 1024


@pytest.mark.parametrize("name", TARGETS)
def test_every_committed_input_passes(name: str) -> None:
    one_input = target(name)
    for path in seeds(name):
        try:
            one_input(path.read_bytes())
        except Exception as error:
            raise AssertionError(f"python -m fuzz.one {name} {path.relative_to(SEEDS.parent.parent)}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_every_situation_passes(name: str) -> None:
    one_input = target(name)
    for data in situations(name):
        try:
            one_input(data)
        except Exception as error:
            raise AssertionError(data) from error


def test_the_committed_inputs_are_few_and_small() -> None:
    sizes = [path.stat().st_size for name in TARGETS for path in seeds(name)]
    assert (len(sizes) <= MOST_FILES, sum(sizes) <= MOST_BYTES) == (True, True)


@pytest.mark.parametrize("name", TARGETS)
def test_no_target_minds_an_empty_input(name: str) -> None:
    target(name)(b"")


def test_an_input_can_be_read_and_written() -> None:
    raw = bytes(range(CONTROL)) + b"GET / HTTP/1.1\r\n"
    assert Case.of(raw).as_bytes() == raw


def test_the_pieces_of_an_input_are_all_of_it() -> None:
    case = Case(0, 0, (3, 0, 1), bytes(range(256)) * 3)
    assert [b"".join(split) for split in case.splits().values()] == [case.data] * 3


def test_a_fed_stream_has_all_that_a_stream_has() -> None:
    fed = FedStream([], End.CLOSE, Errands())
    missing = [name for name in dir(Stream) if not name.startswith("_") and not hasattr(fed, name)]
    assert missing == [], "fuzz/fed.py must follow greenproxy/net/stream.py"


# ------------------------------------------------------------------ broken on purpose

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n" + HEAD


def says(target: Callable[[bytes], None], data: bytes, kind: int = 0, mode: int = 0) -> str:
    """Return what a target complains of."""
    with pytest.raises(Disagreement) as found:
        target(bytes((kind, mode, 1, 2, 3)) + data)
    return str(found.value)


class Forgetful(ChunkedDecoder):
    """Forgets the beginning of a line that comes in two pieces."""

    def feed(self, data: bytes) -> bytes:
        self._partial.clear()
        return super().feed(data)


class Generous(ChunkedDecoder):
    """Takes white space before the size."""

    def feed(self, data: bytes) -> bytes:
        return super().feed(data.replace(b" ", b""))


class Shouting(ChunkedDecoder):
    """Changes the payload."""

    def feed(self, data: bytes) -> bytes:
        return super().feed(data).upper()


def test_a_decoder_that_depends_on_the_pieces_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.chunks, "ChunkedDecoder", Forgetful)
    assert "whole and byte by byte differ" in says(fuzz.chunks.one_input, b"5\r\nhello\r\n0\r\n\r\n")


def test_a_decoder_that_takes_more_than_others_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.chunks, "ChunkedDecoder", Generous)
    assert "a chunk size that is no number" in says(fuzz.chunks.one_input, b" 5\r\nhello\r\n0\r\n\r\n")


def test_a_decoder_that_reads_other_bytes_than_h11_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.chunks, "ChunkedDecoder", Shouting)
    assert "h11 reads another payload" in says(fuzz.chunks.one_input, b"5\r\nhello\r\n0\r\n\r\n")


def test_an_end_that_is_only_looked_for_in_new_bytes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(buffer: bytes, limits: HeadLimits, searched: int) -> int:  # noqa: ARG001
        return buffer.find(b"\r\n\r\n", searched) + 4 if b"\r\n\r\n" in buffer[searched:] else -1

    monkeypatch.setattr(fuzz.heads, "find_head_end", find)
    assert "whole and byte by byte differ" in says(fuzz.heads.one_input, HEAD)


def test_a_field_that_must_not_travel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fuzz.heads.parse_request_head

    def careless(head: bytes, *limits: Any) -> RequestHead:
        request = real(head, *limits)
        request.forwarded, request.kept = request.block, request.block.split(b"\r\n")[:-1]
        return request

    monkeypatch.setattr(fuzz.heads, "parse_request_head", careless)
    assert "a claim about earlier hops travels on" in says(fuzz.heads.one_input, HEAD[:-2] + b"Via: 1.1 x\r\n\r\n")


def test_a_body_where_none_may_be_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(head: ResponseHead, method: bytes) -> str:  # noqa: ARG001
        return "length"

    monkeypatch.setattr(fuzz.answers, "response_body_kind", kind)
    assert "h11" in says(fuzz.answers.one_input, OK, kind=1)


def test_a_cut_that_looks_like_an_end_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """To HTTP/1.0 a body that is too short ends like one that is whole, unless the connection is reset."""
    monkeypatch.setattr(FedStream, "reset", FedStream.close)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert "passed off as the whole" in says(fuzz.relay.one_input, chunked, kind=2)


def test_a_connection_that_is_kept_with_an_answer_in_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "drop", Lease.give_back)
    assert "did not end cleanly" in says(fuzz.relay.one_input, OK + OK, mode=2)


def test_a_request_that_must_not_be_sent_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A POST on a reused connection that ended without a word: nobody knows whether the backend did it."""
    monkeypatch.setattr("greenproxy.proxy.retry.IDEMPOTENT", frozenset({"POST"}))
    assert "a POST that was sent twice" in says(fuzz.relay.one_input, b"", kind=5, mode=64)


def test_a_smuggled_request_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fuzz.connection.parse_request_head

    def blind(head: bytes, *limits: Any) -> RequestHead:
        request = real(head, *limits)
        request.content_length = None
        return request

    monkeypatch.setattr("greenproxy.server.http1.parse_request_head", blind)
    assert "asked more than the client asked" in says(fuzz.connection.one_input, POST)


def test_answers_in_the_wrong_order_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fuzz.connection, "_length", lambda number: OK.replace(b"OK\r\n", b"OK\r\nX-Number: %d\r\n" % (number + 1))
    )
    monkeypatch.setattr(fuzz.connection, "ANSWERS", (fuzz.connection._length,))
    assert "an answer to somebody else" in says(fuzz.connection.one_input, HEAD)


def test_a_forged_client_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz.chain, "effective_client", lambda *_: ("192.0.2.66", ""))
    assert "a stranger was believed" in says(fuzz.chain.one_input, b"192.0.2.66", kind=1)
