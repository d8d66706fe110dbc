"""Attempt: one try at one backend: what comes of its answer, its errors and its lease."""

from __future__ import annotations

import pytest

from greenproxy.errors import (
    BackendClosed,
    BackendInvalid,
    BackendReset,
    ConnectRefused,
    ConnectTimeout,
    ProxyError,
    QueueFull,
    QueueTimeout,
    ReadTimeout,
    RequestTimeout,
    ResponseTimeout,
)
from tests.conftest import MakeBackend
from tests.hub import until
from tests.proxy.edge import MakeEdge
from tests.proxy.requests import head, request
from tests.scripts import (
    Script,
    always,
    answer,
    close,
    expect_request,
    half_close,
    hang,
    reset,
    send,
    send_in_pieces,
    wait_until_gone,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

# ------------------------------------------------------------------ answers

# name: (what is sent, status, body, whether the connection may serve another request)
ANSWERS: dict[str, tuple[bytes, int, bytes, bool]] = {
    "length": (answer(b"hello"), 200, b"hello", True),
    "a length of zero": (answer(b""), 200, b"", True),
    "chunks": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", 200, b"hello", True),
    "chunks with trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"hello", True),
    "no chunk": (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "an error of its own": (answer(b"oh", "500 Oh"), 500, b"oh", True),
    "a last one": (CLOSING, 200, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "HTTP/1.0 that stays": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "bytes behind a length": (answer(b"hello") + b"more", 200, b"hello", False),
    "bytes behind chunks": (CHUNKED + b"0\r\n\r\nmore", 200, b"", False),
    "bytes behind a 204": (b"HTTP/1.1 204 No Content\r\n\r\nmore", 204, b"", False),
    "a whole second answer": (answer(b"hello") * 2, 200, b"hello", False),
    "large": (answer(b"x" * 300_000), 200, b"x" * 300_000, True),
    "large chunks": (
        CHUNKED + b"493e0\r\n" + b"x" * 300_000 + b"\r\n0\r\n\r\n", 200, b"x" * 300_000, True,
    ),
}  # fmt: skip
every_answer = pytest.mark.parametrize(("data", "status", "body", "stays"), ANSWERS.values(), ids=ANSWERS)


@every_answer
def test_an_answer_is_passed_on(
    scripted: MakeBackend, edge: MakeEdge, data: bytes, status: int, body: bytes, stays: bool  # noqa: ARG001
) -> None:  # fmt: skip
    response, got = edge(scripted([expect_request, send(data), wait_until_gone])).ask()
    assert (response.status, got) == (status, body)


@every_answer
def test_the_connection_is_kept_when_both_messages_ended_cleanly(
    scripted: MakeBackend, edge: MakeEdge, data: bytes, status: int, body: bytes, stays: bool  # noqa: ARG001
) -> None:  # fmt: skip
    it = edge(scripted([expect_request, send(data), wait_until_gone]))
    it.ask()
    it.until_idle()
    assert it.idle == (1 if stays else 0)


@pytest.mark.parametrize("name", ["length", "chunks with trailers", "204"])
def test_an_answer_in_pieces_is_the_same(scripted: MakeBackend, edge: MakeEdge, name: str) -> None:
    data, status, body, _ = ANSWERS[name]
    it = edge(scripted([expect_request, send_in_pieces(data), wait_until_gone]))
    response, got = it.ask()
    assert (response.status, got, it.in_flight, it.idle) == (status, body, 0, 1)


def test_an_answer_that_ends_with_its_connection_is_whole(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, send(b"HTTP/1.1 200 OK\r\n\r\nhello"), close]))
    assert (it.ask()[1], it.idle) == (b"hello", 0)


def test_the_answer_to_head_has_no_body(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), wait_until_gone]))
    assert (it.ask(request(head(method="HEAD")))[1], it.idle) == (b"", 1)


def test_one_connection_serves_one_request_after_the_other(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted()
    it = edge(backend)
    for _ in range(5):
        it.ask()
    assert (backend.accepted, len(backend.requests)) == (1, 5)


def test_a_body_that_was_passed_on_whole_needs_no_close_to_give_its_lease_back(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, send(answer(b"x" * 300_000)), wait_until_gone]))
    response = it.proxy(request(head()))
    b"".join(response.pieces())
    assert (it.in_flight, it.idle) == (0, 1)


def test_a_body_that_is_closed_early_drops_its_connection(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, send(answer(b"x" * 300_000)), wait_until_gone]))
    response = it.proxy(request(head()))
    next(iter(response.pieces()))
    response.body.close()  # type: ignore[union-attr]
    assert (it.in_flight, it.idle) == (0, 0)


# ------------------------------------------------------------------ interim answers

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def informed(scripted: MakeBackend, edge: MakeEdge, *script: object) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the interim responses that were passed on, and the body of the final one."""
    told: list[tuple[int, bytes]] = []
    it = request(head())
    it.inform = lambda status, block: told.append((status, block))
    return told, edge(scripted(list(script))).ask(it)[1]


def test_interim_answers_are_passed_on(scripted: MakeBackend, edge: MakeEdge) -> None:
    told, body = informed(scripted, edge, expect_request, send(HINTS), send(HINTS), send(answer()), wait_until_gone)
    assert (told, body) == ([(103, b"Link: </a>\r\n")] * 2, b"ok")


def test_interim_answers_in_one_packet_with_the_final_one_are_passed_on(scripted: MakeBackend, edge: MakeEdge) -> None:
    told, body = informed(scripted, edge, expect_request, send(HINTS + answer()), wait_until_gone)
    assert (told, body) == ([(103, b"Link: </a>\r\n")], b"ok")


def test_a_100_is_not_passed_on_to_a_client_that_does_not_wait_for_it(scripted: MakeBackend, edge: MakeEdge) -> None:
    told, body = informed(scripted, edge, expect_request, send(CONTINUE + answer()), wait_until_gone)
    assert (told, body) == ([], b"ok")


def test_thirty_two_interim_answers_are_passed_on(scripted: MakeBackend, edge: MakeEdge) -> None:
    told, _ = informed(scripted, edge, expect_request, send(HINTS * 32 + answer()), wait_until_gone)
    assert len(told) == 32


# ------------------------------------------------------------------ errors

# name: (script, error, whether it counts against the backend)
ERRORS: dict[str, tuple[Script, type[ProxyError], bool]] = {
    "closed without an answer": ([expect_request, close], BackendClosed, True),
    "closed at once": ([close], ProxyError, True),
    "reset without an answer": ([expect_request, reset], BackendReset, True),
    "closed in the head": ([expect_request, send(b"HTTP/1.1 200 OK\r\nX"), close], BackendClosed, True),
    "closed behind an interim answer": ([expect_request, send(HINTS), close], BackendClosed, True),
    "no HTTP": ([expect_request, send(b"nonsense\r\n\r\n"), wait_until_gone], BackendInvalid, True),
    "another version": ([expect_request, send(b"HTTP/2.0 200 OK\r\n\r\n"), wait_until_gone], BackendInvalid, True),
    "a bare line feed": ([expect_request, send(b"HTTP/1.1 200 OK\nA: 1\n\n"), wait_until_gone], BackendInvalid, True),
    "two lengths": (
        [expect_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), wait_until_gone],
        BackendInvalid, True,
    ),
    "a head too long": (
        [expect_request, send(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000 + b"\r\n\r\n"), wait_until_gone], BackendInvalid, True,
    ),
    "a malformed first chunk": ([expect_request, send(CHUNKED + b"zz\r\n"), wait_until_gone], BackendInvalid, True),
    "too many interim answers": ([expect_request, send(HINTS * 33), wait_until_gone], BackendInvalid, True),
    "a 101 that nobody asked for": (
        [
            expect_request,
            send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            wait_until_gone,
        ],
        BackendInvalid, True,
    ),
    "silence": ([expect_request, hang], ResponseTimeout, True),
    "silence in the head": ([expect_request, send(b"HTTP/1.1 200 OK\r\nX"), hang], ResponseTimeout, True),
    "silence behind an interim answer": ([expect_request, send(HINTS), hang], ResponseTimeout, True),
    "closed in a length": ([expect_request, send(answer(b"x" * 9)[:-3]), close], BackendReset, True),
    "closed in a chunk": ([expect_request, send(CHUNKED + b"5\r\nhe"), close], BackendReset, True),
    "reset in the body": ([expect_request, send(CHUNKED + b"5\r\nhe"), reset], BackendReset, True),
    "a malformed later chunk": (
        [expect_request, send(CHUNKED + b"1\r\nx\r\n"), hang, send(b"zz\r\n"), wait_until_gone], BackendInvalid, True,
    ),
    "silence in the body": ([expect_request, send(answer(b"x" * 9)[:-3]), hang], ReadTimeout, True),
}  # fmt: skip
every_error = pytest.mark.parametrize(("script", "error", "counts"), ERRORS.values(), ids=ERRORS)


def failed(
    scripted: MakeBackend, edge: MakeEdge, script: Script, error: type[ProxyError], **changes: object
) -> tuple[ProxyError, object]:
    """Return what the only try raised, and the edge."""
    backend = scripted(script)
    slow = error in (ResponseTimeout, ReadTimeout)
    limits = {"response_timeout_s": 0.05, "read_timeout_s": 0.05} if slow else {}
    it = edge(backend, retries=0, max_fails=0, **limits, **changes)
    asking = it.spawn()
    if error is BackendInvalid:
        until(lambda: backend.requests or asking.ready())
        backend.release()
    with pytest.raises(error) as raised:
        asking.get()
    return raised.value, it


@every_error
def test_a_failure_of_the_backend_is_told(
    scripted: MakeBackend, edge: MakeEdge, script: Script, error: type[ProxyError], counts: bool  # noqa: ARG001
) -> None:  # fmt: skip
    failed(scripted, edge, script, error)


@every_error
def test_a_failed_connection_is_dropped_and_its_lease_ended(
    scripted: MakeBackend, edge: MakeEdge, script: Script, error: type[ProxyError], counts: bool  # noqa: ARG001
) -> None:  # fmt: skip
    _, it = failed(scripted, edge, script, error)
    assert (it.in_flight, it.idle) == (0, 0)  # type: ignore[attr-defined]


@every_error
def test_a_failure_counts_against_the_backend_once(
    scripted: MakeBackend, edge: MakeEdge, script: Script, error: type[ProxyError], counts: bool
) -> None:  # fmt: skip
    _, it = failed(scripted, edge, script, error)
    assert it.failures == (1 if counts else 0)  # type: ignore[attr-defined]


def test_a_slot_is_free_again_after_each_of_many_failures(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, close]), retries=0, max_fails=0, pool_size=2)
    for _ in range(10):
        with pytest.raises(BackendClosed):
            it.ask()
    assert it.in_flight == 0


def test_a_backend_that_refuses_is_told(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted(is_listening=False), retries=0)
    with pytest.raises(ConnectRefused):
        it.ask()
    assert (it.in_flight, it.failures) == (0, 1)


def test_a_backend_that_does_not_accept_is_told(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted(is_listening=False).never_accept(), retries=0, connect_timeout_s=0.05)
    with pytest.raises(ConnectTimeout):
        it.ask()
    assert (it.in_flight, it.failures) == (0, 1)


def test_a_full_pool_is_told_at_pool_queue_timeout(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, hang, send(answer()), wait_until_gone])
    it = edge(backend, pool_size=1, pool_queue_timeout_s=0.05)
    first = it.spawn()
    until(lambda: backend.requests)
    with pytest.raises(QueueTimeout):
        it.ask()
    backend.release()
    assert first.get()[1] == b"ok"


def test_a_full_queue_is_told_at_once(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, hang, send(answer()), wait_until_gone])
    it = edge(backend, pool_size=1, pool_queue=0)
    first = it.spawn()
    until(lambda: backend.requests)
    with pytest.raises(QueueFull):
        it.ask()
    backend.release()
    assert first.get()[1] == b"ok"


# ------------------------------------------------------------------ request-timeout

SLOW: dict[str, Script] = {
    "the head": [expect_request, hang],
    "the middle of the head": [expect_request, send(b"HTTP/1.1 200"), hang],
    "the body": [expect_request, send(answer(b"x" * 9)[:-3]), hang],
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_request_timeout_ends_every_wait(scripted: MakeBackend, edge: MakeEdge, script: Script) -> None:
    it = edge(scripted(script), request_timeout_s=0.05)
    with pytest.raises(RequestTimeout):
        it.ask()
    assert (it.in_flight, it.idle) == (0, 0)


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_request_timeout_is_not_the_backends_fault(scripted: MakeBackend, edge: MakeEdge, script: Script) -> None:
    it = edge(scripted(script), request_timeout_s=0.05)
    with pytest.raises(RequestTimeout):
        it.ask()
    assert it.failures == 0


def test_request_timeout_ends_a_dial(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted(is_listening=False).never_accept(), request_timeout_s=0.05)
    with pytest.raises(RequestTimeout):
        it.ask()
    assert (it.in_flight, it.failures) == (0, 0)


def test_request_timeout_ends_a_wait_for_a_slot(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, hang, send(answer()), wait_until_gone])
    it = edge(backend, pool_size=1, pool_queue_timeout_s=10.0)
    first = it.spawn()
    until(lambda: backend.requests)
    late = request(head())
    late.deadline = late.deadline.within(0.05, RequestTimeout)
    with pytest.raises(RequestTimeout):
        it.ask(late)
    backend.release()
    first.get()


# ------------------------------------------------------------------ reused connections


def test_a_reused_connection_that_turns_out_closed_is_not_the_backends_fault(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, send(answer()), expect_request, close], always(answer(b"fresh"))))
    it.ask()
    assert (it.ask()[1], it.failures) == (b"fresh", 0)


def test_an_idle_connection_that_its_backend_closed_is_not_used(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, send(answer()), close], always(answer(b"fresh")))
    it = edge(backend, retries=0)
    it.ask()
    until(lambda: it.idle == 0)
    assert it.ask()[1] == b"fresh"


def test_a_backend_that_half_closes_behind_its_answer_is_not_used_again(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, send(answer()), half_close], always(answer(b"fresh"))), retries=0)
    it.ask()
    until(lambda: it.idle == 0)
    assert it.ask()[1] == b"fresh"
