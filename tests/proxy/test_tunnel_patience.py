"""How long a tunnel lasts in which nobody says anything."""

from __future__ import annotations

import socket

import gevent
import pytest

from greenproxy.errors import ReadTimeout
from greenproxy.net.stream import Stream
from greenproxy.proxy import tunnel
from greenproxy.proxy.tunnel import Tunnel

PATIENCE_S = 10


class Ends:
    """A tunnel between two socket pairs: the far ends, and whether it gave its backend up."""

    def __init__(self) -> None:
        backend, self.backend = socket.socketpair()
        client, self.client = socket.socketpair()
        self.near = [Stream(sock) for sock in (backend, client)]
        self.has_ended = False
        self.running = gevent.spawn(Tunnel(self.near[0], b"", self._end), self.near[1])

    def _end(self) -> None:
        self.has_ended = True

    def close(self) -> None:
        self.running.kill()
        for each in (*self.near, self.backend, self.client):
            each.close()


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    monkeypatch.setattr(tunnel, "HALF_CLOSED_S", 0.05)
    made = Ends()
    gevent.sleep(0)
    yield made
    made.close()


@pytest.mark.parametrize("side", ["backend", "client"])
def test_a_side_that_has_ended_does_not_hold_the_other_for_long(ends: Ends, side: str) -> None:
    getattr(ends, side).shutdown(socket.SHUT_WR)
    ends.running.get(timeout=PATIENCE_S)
    assert ends.has_ended


def test_silence_in_both_directions_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "IDLE_S", 0.05)
    quiet = Ends()
    with pytest.raises(ReadTimeout):
        quiet.running.get(timeout=PATIENCE_S)
    assert quiet.has_ended
    quiet.close()
