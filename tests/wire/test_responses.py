"""Every answer of `responses`, whole and byte by byte, over real sockets: what the client sees, and who is asked next."""

from __future__ import annotations

import fcntl
import termios
from collections.abc import Iterator

import pytest

from tests.client import Answer, Cut, RawClient, get
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, Step, always, answer, expect_request, half_close, send, send_in_pieces, wait_until_gone
from tests.tables import for_each
from tests.wire import response_cases as wire
from tests.wire.response_cases import Broken, Case, Refused, Switched, Whole
from tests.wire.responses import TABLES

INI = """
[listener:web]
bind = 127.0.0.1:0
upstream = shop
[listener:touched]
bind = 127.0.0.1:0
[route:touched]
listener = touched
path = /
upstream = shop
middleware = touch
[middleware:touch]
type = touching:touch
[listener:hasty]
bind = 127.0.0.1:0
upstream = hasty
[upstream:shop]
backends = {backend}
health-interval = 0
max-fails = 0
retries = 0
[upstream:hasty]
backends = {backend}
health-interval = 0
max-fails = 0
retries = 0
response-timeout = 100ms
read-timeout = 100ms
"""
TOUCHING = '''
"""A middleware that looks at the fields of responses, so that their heads are made anew."""


def touch(request, call_next):
    response = call_next(request)
    response.headers.items()
    return response
'''
SLOW_BYTES = 2000  # what is longer comes in pieces of this size instead of byte by byte

House = tuple[RunningProxy, ScriptedBackend]
every_table = pytest.mark.parametrize("subject", TABLES)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One proxy and one backend for all of them."""
    with ScriptedBackend() as backend:
        folder, ini = tmp_path_factory.mktemp("wire"), INI.format(backend=backend.url)
        with RunningProxy(folder, ini, files={"touching.py": TOUCHING}) as running:
            yield running, backend


@pytest.fixture
def house(standing: House) -> Iterator[House]:
    """The same; nobody has a connection to the backend."""
    yield standing
    standing[1].begin_again()


def request(case: Case) -> bytes:
    """Return what is asked; errors are wanted as JSON, since that says the reason."""
    lines = ["Accept: application/json", *case.lines, *([f"Content-Length: {len(case.sent)}"] if case.sent else [])]
    return get("/", *lines, method=case.method, version=case.version) + case.sent


def check_whole(case: Case, told: Whole, client: RawClient) -> None:
    got = client.answer(case.method)
    assert (got.status, got.body, tuple(each.status for each in got.interim)) == (told.status, told.body, told.interim)
    assert tuple(got.trailers) == told.trailers
    # A head that is made anew has one space behind each colon, and none at the end of a line.
    has, lines = (map(normal, told.has), [*map(normal, got.lines)]) if case.listener == "touched" else (told.has, got.lines)
    assert [line for line in has if line not in lines] == []
    assert [name for name in told.lacks if got.all(name)] == []
    assert len(got.all("date")) == 1
    assert got.says_close == told.is_alone


def normal(line: str) -> str:
    name, _, value = line.partition(":")
    return f"{name}: {value.strip()}"


def check_page(case: Case, got: Answer, status: int, reason: str) -> None:
    assert got.status == status
    if case.method == "HEAD":
        assert f'details="{reason}"' in (got.get("proxy-status") or "")
    else:
        assert got.json()["reason"] == reason


def check_broken(case: Case, told: Broken, client: RawClient) -> None:
    try:
        got = client.answer(case.method)
    except Cut:
        return
    check_page(case, got, 502, told.reason)


def check(case: Case, client: RawClient) -> None:
    """Check what the client sees."""
    told = case.told
    if isinstance(told, Whole):
        check_whole(case, told, client)
    elif isinstance(told, Refused):
        got = client.answer(case.method)
        assert tuple(each.status for each in got.interim) == told.interim
        check_page(case, got, told.status, told.reason)
    elif isinstance(told, Broken):
        check_broken(case, told, client)
    elif isinstance(told, Switched):
        assert (client.head().status, client.take(len(told.early))) == (101, told.early)
    else:
        with pytest.raises(Cut) as cut:
            client.answer(case.method)
        assert cut.value.got == told.body
        assert cut.value.was_reset or not told.by_reset


def reset_when_sent(conn: Connection) -> None:
    """Break the connection when the other side has everything: a reset forgets what has not gone out yet."""
    wait_until(lambda: fcntl.ioctl(conn.sock, termios.TIOCOUTQ, bytes(4)) == bytes(4), "everything is sent")
    conn.reset()


ENDS: dict[str, Step] = {wire.STAYS: wait_until_gone, wire.FIN: half_close, wire.RST: reset_when_sent}


def goes_on(case: Case) -> list[Step]:
    """Return what the backend does with the connection behind the answer."""
    if case.is_kept:
        return [always(answer(b"same"))]
    return [ENDS[case.end]]


def play(house: House, case: Case, feed: Step) -> None:
    running, backend = house
    backend.begin_again()
    backend.play([expect_request, feed, *goes_on(case)], always(answer(b"other")))
    with RawClient(running.address(case.listener)) as client:
        client.send(request(case))
        check(case, client)
    if not case.is_kept:
        backend.wait_for(lambda: not backend.open)
    with RawClient(running.address(case.listener)) as client:
        assert client.ask(get("/next")).body == (b"same" if case.is_kept else b"other")


@every_table
def test_an_answer_that_comes_whole_is_what_the_table_says(house: House, subject: str) -> None:
    for_each(TABLES[subject], lambda case: play(house, case, send(case.data)))


@every_table
def test_an_answer_that_a_middleware_touched_is_the_same(house: House, subject: str) -> None:
    passed_on = [case._replace(listener="touched") for case in TABLES[subject] if isinstance(case.told, Whole)]
    for_each(passed_on, lambda case: play(house, case, send(case.data)))


@every_table
def test_an_answer_that_comes_byte_by_byte_is_the_same(house: House, subject: str) -> None:
    def feed(case: Case) -> Step:
        return send_in_pieces(case.data, SLOW_BYTES if len(case.data) > SLOW_BYTES else 1)

    for_each(TABLES[subject], lambda case: play(house, case, feed(case)))
