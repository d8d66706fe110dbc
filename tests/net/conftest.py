"""Fixtures of the net room: streams with a peer, closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from greenproxy.net.stream import Stream
from tests.hub import HubSocket, stream_and_peer

MakePair = Callable[..., tuple[Stream, HubSocket]]


@pytest.fixture
def pair() -> Iterator[MakePair]:
    """Return a function that connects a Stream to a peer; `buffers` bounds what the kernel holds between them."""
    with ExitStack() as pairs:

        def make(*, buffers: int = 0) -> tuple[Stream, HubSocket]:
            stream, peer = stream_and_peer(buffers=buffers)
            pairs.callback(peer.close)
            pairs.callback(stream.close)
            return stream, peer

        yield make
