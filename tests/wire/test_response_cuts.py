"""Three typical answers that end at every byte, in order or by a reset: a part is never passed off as the whole.

Before the head is complete the client gets a 502, behind it a cut that it can see: a length or a last chunk that is missing,
or a reset where only the end of the connection tells the end of the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.client import Cut, RawClient, get
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, half_close
from tests.wire.response_cases import HELLO, chunked, head, sized
from tests.wire.test_responses import reset_when_sent

INI = """
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = {backend}
health-interval = 0
max-fails = 0
retries = 0
"""
ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "a length": (sized(), HELLO),
    "chunks with a trailer": (chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 5\r\n\r\n"), HELLO),
    "until the end": (head(b"Content-Type: text/plain") + HELLO, HELLO),
}
END_SAYS_ALL = "until the end"


class Seen(NamedTuple):
    """What a client saw: a status and its reason, or a body that is whole or cut, by a reset or not."""

    status: int
    reason: str = ""
    body: bytes = b""
    is_cut: bool = False
    by_reset: bool = False


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, ScriptedBackend]]:
    """One proxy and one backend for all of them."""
    with ScriptedBackend() as backend, RunningProxy(tmp_path_factory.mktemp("cuts"), INI.format(backend=backend.url)) as running:
        yield running, backend


def look(running: RunningProxy, size: int, version: str) -> Seen:
    """Ask for an answer that ends behind so many bytes."""
    with RawClient(running.address()) as client:
        client.send(get(f"/{size}", "Accept: application/json", version=version))
        try:
            got = client.answer()
        except Cut as cut:
            return Seen(200, body=cut.got, is_cut=True, by_reset=cut.was_reset)
        return Seen(got.status, got.json()["reason"]) if got.status == 502 else Seen(got.status, body=got.body)


def payload(name: str, sent: bytes) -> bytes:
    """Return what the bytes behind the head have of the body."""
    if name != "chunks with a trailer":
        return sent
    return HELLO[: sum(len(sent) >= at for at in (4, 5, 11, 12, 13))]  # 2 CRLF he CRLF 3 CRLF llo


def expected(name: str, size: int, is_reset: bool) -> Seen:
    data, body = ANSWERS[name]
    begin = data.index(b"\r\n\r\n") + 4
    if size < begin:
        return Seen(502, "backend-reset" if is_reset else "backend-closed")
    got = payload(name, data[begin:size])
    if name == END_SAYS_ALL:
        return Seen(200, body=got, is_cut=is_reset)
    return Seen(200, body=body) if size == len(data) else Seen(200, body=got, is_cut=True)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("is_reset", [False, True], ids=["in order", "by a reset"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_ends_early_is_refused_or_seen_to_be_cut(
    standing: tuple[RunningProxy, ScriptedBackend], name: str, is_reset: bool, version: str
) -> None:
    running, backend = standing
    data, _ = ANSWERS[name]

    def script(conn: Connection) -> None:
        conn.send(data[: int(conn.request().target[1:])])
        (reset_when_sent if is_reset else half_close)(conn)

    backend.begin_again(script)
    wrong = []
    for size in range(len(data) + 1):
        seen, wanted = look(running, size, version), expected(name, size, is_reset)
        # To HTTP/1.0 everything but a length ends with the connection: only a reset tells that it is not all.
        if version == "1.0" and wanted.is_cut:
            wanted = wanted._replace(by_reset=True)
        else:
            seen = seen._replace(by_reset=False)
        if seen != wanted:
            wrong.append((size, data[:size], wanted, seen))
    backend.begin_again()
    assert wrong == []
