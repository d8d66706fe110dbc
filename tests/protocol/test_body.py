"""Bodies: the table of chunks, the decoders fed in every way, and the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.protocol.body import (
    MAX_TRAILERS,
    ChunkedDecoder,
    EofDecoder,
    LengthDecoder,
    Malformed,
    encode_chunk,
    is_forbidden_trailer,
    last_chunk,
)
from tests.protocol.cases import ACCEPTED_CHUNKS, REFUSED_CHUNKS, Accepted, Refused
from tests.protocol.reading import NEXT, byte_by_byte, whole
from tests.tables import for_each

Cut = Callable[[bytes], Iterable[bytes]]

both_cuts = pytest.mark.parametrize("cut", [whole, byte_by_byte])


def decoded(decoder: ChunkedDecoder | LengthDecoder, pieces: Iterable[bytes]) -> bytes:
    return b"".join([decoder.feed(piece) for piece in pieces])


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


class TestChunkedDecoder:
    @both_cuts
    def test_valid_chunks_are_read(self, cut: Cut) -> None:
        def is_read(row: Accepted) -> None:
            decoder = ChunkedDecoder()
            assert decoded(decoder, cut(row.data)) == row.payload
            assert (decoder.is_done, decoder.excess) == (True, b"")

        for_each(ACCEPTED_CHUNKS, is_read)

    @both_cuts
    def test_what_is_behind_the_last_chunk_is_excess(self, cut: Cut) -> None:
        def is_read(row: Accepted) -> None:
            decoder = ChunkedDecoder()
            assert decoded(decoder, cut(row.data + NEXT)) == row.payload
            assert (decoder.is_done, decoder.excess) == (True, NEXT)

        for_each(ACCEPTED_CHUNKS, is_read)

    @both_cuts
    def test_doubtful_chunks_are_refused(self, cut: Cut) -> None:
        def is_refused(row: Refused) -> None:
            with pytest.raises(Malformed):
                decoded(ChunkedDecoder(), cut(row.data))

        for_each(REFUSED_CHUNKS, is_refused)

    @pytest.mark.parametrize("size", range(len(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n")))
    def test_a_part_is_never_the_whole(self, size: int) -> None:
        decoder = ChunkedDecoder()
        decoder.feed(b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"[:size])
        assert not decoder.is_done

    def test_trailers_are_kept_as_they_came(self) -> None:
        decoder = ChunkedDecoder()
        decoder.feed(b"0\r\nX-One:  1 \r\nx-two:2\r\n\r\n")
        assert decoder.trailers == b"X-One:  1 \r\nx-two:2\r\n"

    @both_cuts
    def test_trailers_are_bounded(self, cut: Cut) -> None:
        with pytest.raises(Malformed):
            decoded(ChunkedDecoder(max_trailer_bytes=20), cut(b"0\r\nX: 1\r\nX: 2\r\nX: 3\r\nX: 4\r\n\r\n"))

    @both_cuts
    def test_trailers_may_be_as_long_as_their_limit(self, cut: Cut) -> None:
        decoder = ChunkedDecoder(max_trailer_bytes=12)
        decoded(decoder, cut(b"0\r\nX: 1\r\nX: 2\r\n\r\n"))
        assert (decoder.is_done, len(decoder.trailers)) == (True, 12)

    @pytest.mark.parametrize(("count", "is_taken"), [(MAX_TRAILERS, True), (MAX_TRAILERS + 1, False)])
    def test_trailers_are_counted(self, count: int, is_taken: bool) -> None:
        """Each costs as much as a field of a head; in 16 KiB there is room for thousands."""
        decoder = ChunkedDecoder(max_trailer_bytes=16384)
        data = b"0\r\n" + b"X: y\r\n" * count + b"\r\n"
        if is_taken:
            assert (decoder.feed(data), decoder.is_done, decoder.trailers) == (b"", True, b"X: y\r\n" * count)
        else:
            with pytest.raises(Malformed):
                decoder.feed(data)

    def test_a_trailer_that_never_ends_is_refused(self) -> None:
        decoder = ChunkedDecoder(max_trailer_bytes=20)
        decoder.feed(b"0\r\n")
        with pytest.raises(Malformed):
            decoder.feed(b"X: " + b"y" * 20)

    def test_a_chunk_line_is_bounded(self) -> None:
        decoder = ChunkedDecoder()
        assert decoder.feed(b"1;a=" + b"b" * 4090 + b"\r\nx") == b"x"
        with pytest.raises(Malformed):
            ChunkedDecoder().feed(b"1;a=" + b"b" * 4091 + b"\r\nx")
        with pytest.raises(Malformed):
            decoded(ChunkedDecoder(), byte_by_byte(b"1;a=" + b"b" * 4093))

    def test_the_middle_of_a_big_chunk_is_handed_on_uncopied(self) -> None:
        decoder = ChunkedDecoder()
        decoder.feed(b"100000\r\n")
        data = bytes(65536)
        assert decoder.feed(data) is data

    def test_many_small_chunks_take_time_in_proportion(self) -> None:
        def seconds(chunks: int) -> float:
            data = b"1\r\nx\r\n" * chunks
            begin = process_time()
            ChunkedDecoder().feed(data)
            return process_time() - begin

        few = min(seconds(2_000) for _ in range(3))
        many = min(seconds(40_000) for _ in range(3))
        assert many < 20 * few * 4  # 20 when linear, 400 when quadratic

    @given(
        st.lists(st.binary(min_size=1, max_size=300), max_size=8),
        st.lists(st.integers(0, 10_000), max_size=12),
        st.binary(max_size=9),
    )
    def test_what_was_encoded_is_decoded_however_it_arrives(self, chunks: list[bytes], places: list[int], behind: bytes) -> None:
        data = b"".join(map(encode_chunk, chunks)) + last_chunk(b"X: y\r\n") + behind
        decoder = ChunkedDecoder()
        assert decoded(decoder, cut_at(data, places)) == b"".join(chunks)
        assert (decoder.is_done, decoder.trailers, decoder.excess) == (True, b"X: y\r\n", behind)

    @given(
        st.lists(
            st.sampled_from([b"5", b"0", b"a", b"\r\n", b"\r", b"\n", b";x", b"=", b'"', b"hello", b"X: y", b" "]), max_size=14
        ),
        st.lists(st.integers(0, 1000), max_size=6),
    )
    def test_the_verdict_does_not_depend_on_how_bytes_arrive(self, parts: list[bytes], places: list[int]) -> None:
        data = b"".join(parts)
        assert self.verdict([data]) == self.verdict(cut_at(data, places)) == self.verdict(byte_by_byte(data))

    @staticmethod
    def verdict(pieces: Iterable[bytes]) -> tuple[bytes, bytes, bytes, bool] | None:
        decoder = ChunkedDecoder()
        try:
            payload = decoded(decoder, pieces)
        except Malformed:
            return None
        return payload, decoder.trailers, decoder.excess, decoder.is_done


class TestLengthDecoder:
    @both_cuts
    def test_the_body_ends_after_its_length(self, cut: Cut) -> None:
        decoder = LengthDecoder(5)
        assert decoded(decoder, cut(b"hello" + NEXT)) == b"hello"
        assert (decoder.is_done, decoder.excess) == (True, NEXT)

    def test_an_empty_body_is_done_at_once(self) -> None:
        assert LengthDecoder(0).is_done

    def test_a_part_is_not_the_whole(self) -> None:
        decoder = LengthDecoder(5)
        assert decoder.feed(b"hell") == b"hell"
        assert not decoder.is_done


class TestEofDecoder:
    def test_only_the_end_of_the_connection_ends_it(self) -> None:
        decoder = EofDecoder()
        assert decoder.feed(b"hello") == b"hello"
        assert not decoder.is_done
        decoder.finish()
        assert (decoder.is_done, decoder.excess) == (True, b"")


class TestEncoding:
    def test_a_chunk_has_its_size_in_hex(self) -> None:
        assert encode_chunk(b"x" * 31) == b"1f\r\n" + b"x" * 31 + b"\r\n"

    def test_no_data_is_no_chunk(self) -> None:
        assert encode_chunk(b"") == b""

    def test_the_last_chunk_carries_the_trailers(self) -> None:
        assert last_chunk() == b"0\r\n\r\n"
        assert last_chunk(b"X: y\r\n") == b"0\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("name", [b"ETag", b"Server-Timing", b"grpc-status", b"Content-Digest", b"X-Checksum"])
def test_what_is_known_only_at_the_end_may_be_a_trailer(name: bytes) -> None:
    assert not is_forbidden_trailer(name)
