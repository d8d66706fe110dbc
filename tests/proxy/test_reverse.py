"""ReverseProxy: which backend is tried again, how often, and what is noted about it."""

from __future__ import annotations

import itertools

import pytest

from greenproxy.errors import BackendClosed, BackendReset, ConnectRefused, ProxyError, ResponseTimeout
from greenproxy.messages import Request
from tests.conftest import MakeBackend
from tests.hub import poll, until
from tests.proxy.edge import Edge, MakeEdge
from tests.proxy.requests import ComingBody, head, request
from tests.scripted import ScriptedBackend
from tests.scripts import (
    Script,
    Step,
    always,
    answer,
    close,
    expect_request,
    first_fails,
    hang,
    reset,
    send,
    wait_until_gone,
)

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
OTHERS = ["POST", "PATCH"]
EVERYTHING = ("connect", "reset", "timeout", "502", "503", "504")


class Pair:
    """An edge in front of two backends that share a script."""

    def __init__(self, it: Edge, one: ScriptedBackend, two: ScriptedBackend) -> None:
        self.edge = it
        self.backends = (one, two)

    @property
    def tries(self) -> list[int]:
        """How many connections the backends have seen, the smaller number first."""
        return sorted(each.accepted for each in self.backends)


def pair(scripted: MakeBackend, edge: MakeEdge, script: Script, **changes: object) -> Pair:
    one, two = scripted(script, name="one"), scripted(script, name="two")
    return Pair(edge(one, two, **{"max_fails": 0, **changes}), one, two)


def asked(method: str, body: str = "none") -> Request:
    """Return a request with a body that is held whole, still to come, or none."""
    if body == "none":
        return request(head(method=method))
    data = head("Content-Length: 5", method=method)
    return request(data, ComingBody(b"hello") if body == "held" else ComingBody(b"he", [b"llo"]))


FAILURES: dict[str, tuple[list[Step], type[ProxyError]]] = {
    "closed": ([expect_request, close], BackendClosed),
    "reset": ([expect_request, reset], BackendReset),
    "silent": ([expect_request, hang], ResponseTimeout),
}

# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("name", ["closed", "reset"])
@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize("body", ["none", "held"])
def test_an_idempotent_request_goes_to_the_other_backend(
    scripted: MakeBackend, edge: MakeEdge, name: str, method: str, body: str
) -> None:
    it = pair(scripted, edge, first_fails(*FAILURES[name][0]))
    response, _ = it.edge.ask(asked(method, body))
    assert (response.status, it.tries) == (200, [1, 1])


@pytest.mark.parametrize("name", ["closed", "reset"])
@pytest.mark.parametrize(
    ("method", "body"), [*itertools.product(OTHERS, ["none", "held", "coming"]), *[("PUT", "coming"), ("DELETE", "coming")]]
)
def test_what_might_be_done_twice_is_not_tried_again(
    scripted: MakeBackend, edge: MakeEdge, name: str, method: str, body: str
) -> None:
    failure, error = FAILURES[name]
    it = pair(scripted, edge, first_fails(*failure))
    with pytest.raises(error):
        it.edge.ask(asked(method, body))
    assert it.tries == [0, 1]


def test_a_body_that_is_held_is_sent_again_whole(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = pair(scripted, edge, first_fails(expect_request, close))
    it.edge.ask(asked("PUT", "held"))
    assert [each.body for backend in it.backends for each in backend.requests] == [b"hello", b"hello"]


@pytest.mark.parametrize("method", [*IDEMPOTENT, *OTHERS])
@pytest.mark.parametrize("body", ["none", "held", "coming"])
def test_every_request_goes_on_from_a_backend_that_refuses(scripted: MakeBackend, edge: MakeEdge, method: str, body: str) -> None:
    up = scripted(always(answer(b"" if method == "HEAD" else b"up")), name="up")
    it = edge(scripted(is_listening=False, name="gone"), up)
    statuses = [it.ask(asked(method, body))[0].status for _ in range(2)]  # one of them meets the one that refuses first
    assert (statuses, it.failures > 0) == ([200, 200], True)


def test_silence_is_not_tried_again_unless_it_is_listed(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = pair(scripted, edge, first_fails(expect_request, hang), response_timeout_s=0.05)
    with pytest.raises(ResponseTimeout):
        it.edge.ask()
    assert it.tries == [0, 1]


def test_silence_is_tried_again_if_it_is_listed(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = pair(scripted, edge, first_fails(expect_request, hang), response_timeout_s=0.2, retry_on=("timeout",))
    assert (it.edge.ask()[0].status, it.tries) == (200, [1, 1])


@pytest.mark.parametrize("data", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
@pytest.mark.parametrize("then", [close, reset])
def test_a_byte_of_an_answer_ends_all_trying(scripted: MakeBackend, edge: MakeEdge, data: bytes, then: Step) -> None:
    gate: list[Step] = [hang] if then is reset else []  # a reset may overtake what was sent
    it = pair(scripted, edge, first_fails(expect_request, send(data), *gate, then))
    asking = it.edge.spawn()
    until(lambda: any(each.requests for each in it.backends))
    if gate:
        poll()
        for backend in it.backends:
            backend.release()
    with pytest.raises((BackendClosed, BackendReset)):
        asking.get()
    assert it.tries == [0, 1]


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (1, 2), (2, 3), (9, 3)])
def test_no_more_tries_than_allowed_and_no_backend_twice(scripted: MakeBackend, edge: MakeEdge, retries: int, tries: int) -> None:
    backends = [scripted([expect_request, close], name=f"b{n}") for n in range(3)]
    it = edge(*backends, retries=retries, max_fails=0)
    with pytest.raises(BackendClosed):
        it.ask()
    assert (sum(each.accepted for each in backends), max(each.accepted for each in backends)) == (tries, 1)


def test_the_last_error_is_the_one_that_is_told(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, close], name="a"), scripted(is_listening=False, name="b"), max_fails=0)
    asking = asked("GET")
    with pytest.raises((BackendClosed, ConnectRefused)) as raised:
        it.ask(asking)
    assert (asking.trace.backend, raised.type) in [("a", BackendClosed), ("b", ConnectRefused)]


# ------------------------------------------------------------------ the only backend


def test_the_only_backend_is_not_asked_twice(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, close])
    it = edge(backend, retries=3, max_fails=0)
    with pytest.raises(BackendClosed):
        it.ask()
    assert backend.accepted == 1


@pytest.mark.parametrize("method", IDEMPOTENT)
@pytest.mark.parametrize("ending", [close, reset])
def test_the_only_backend_is_asked_again_on_a_fresh_connection_behind_a_stale_one(
    scripted: MakeBackend, edge: MakeEdge, method: str, ending: Step
) -> None:
    fresh = always(answer(b"" if method == "HEAD" else b"fresh"))
    backend = scripted([expect_request, send(answer()), expect_request, ending], fresh)
    it = edge(backend)
    it.ask()
    assert (it.ask(asked(method))[0].status, backend.accepted) == (200, 2)


def test_the_only_backend_is_asked_again_once(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted([expect_request, send(answer()), expect_request, close], [expect_request, close])
    it = edge(backend, retries=5, max_fails=0)
    it.ask()
    with pytest.raises(BackendClosed):
        it.ask()
    assert backend.accepted == 2


@pytest.mark.parametrize("method", OTHERS)
def test_a_stale_connection_is_no_reason_to_do_something_twice(scripted: MakeBackend, edge: MakeEdge, method: str) -> None:
    backend = scripted([expect_request, send(answer()), expect_request, close], always(answer(b"fresh")))
    it = edge(backend)
    it.ask()
    with pytest.raises(BackendClosed):
        it.ask(asked(method))
    assert backend.accepted == 1


# ------------------------------------------------------------------ statuses


def unwell(status: str, length: int = 2) -> list[Step]:
    return [expect_request, send(answer(b"x" * length, status)), wait_until_gone]


@pytest.mark.parametrize("status", ["502 Bad", "503 Busy", "504 Late"])
@pytest.mark.parametrize("length", [2, 300_000])
def test_a_listed_status_is_thrown_away_and_the_other_backend_asked(
    scripted: MakeBackend, edge: MakeEdge, status: str, length: int
) -> None:
    it = pair(scripted, edge, first_fails(*unwell(status, length)), retry_on=EVERYTHING)
    response, body = it.edge.ask()
    assert (response.status, body in (b"one", b"two"), it.tries) == (200, True, [1, 1])


@pytest.mark.parametrize("status", ["502 Bad", "503 Busy", "504 Late", "500 Oh", "404 No"])
def test_a_status_that_is_not_listed_passes(scripted: MakeBackend, edge: MakeEdge, status: str) -> None:
    it = pair(scripted, edge, first_fails(*unwell(status)))
    assert (it.edge.ask()[0].status, it.tries) == (int(status[:3]), [0, 1])


@pytest.mark.parametrize("method", OTHERS)
def test_a_listed_status_passes_for_methods_that_may_not_be_repeated(scripted: MakeBackend, edge: MakeEdge, method: str) -> None:
    it = pair(scripted, edge, first_fails(*unwell("503 Busy")), retry_on=EVERYTHING)
    assert (it.edge.ask(asked(method))[0].status, it.tries) == (503, [0, 1])


def test_a_listed_status_of_the_last_backend_passes(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = pair(scripted, edge, unwell("503 Busy"), retry_on=EVERYTHING, retries=9)
    response, body = it.edge.ask()
    assert (response.status, body, it.tries) == (503, b"xx", [1, 1])


def test_a_status_thrown_away_leaves_no_lease(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = pair(scripted, edge, first_fails(*unwell("503 Busy", 300_000)), retry_on=EVERYTHING)
    it.edge.ask()
    assert it.edge.in_flight == 0


# ------------------------------------------------------------------ what is noted


def test_the_backend_and_the_retries_are_noted(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = pair(scripted, edge, first_fails(expect_request, close))
    asking = asked("GET")
    _, body = it.edge.ask(asking)
    trace = asking.trace
    assert (trace.upstream, trace.backend, trace.retries) == ("shop", body.decode(), 1)


def test_the_time_is_noted_also_when_it_fails(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted([expect_request, hang]), response_timeout_s=0.05)
    asking = asked("GET")
    with pytest.raises(ResponseTimeout):
        it.ask(asking)
    assert 0.04 < asking.trace.upstream_time_s < 5


def test_a_backend_that_refused_is_noted(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = edge(scripted(is_listening=False, name="gone"))
    asking = asked("GET")
    with pytest.raises(ConnectRefused):
        it.ask(asking)
    assert (asking.trace.backend, asking.trace.retries) == ("gone", 0)


# ------------------------------------------------------------------ Max-Forwards


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_a_request_that_may_go_no_further_is_answered_here(scripted: MakeBackend, edge: MakeEdge, method: str) -> None:
    backend = scripted()
    response, _ = edge(backend).ask(request(head("Max-Forwards: 0", method=method)))
    assert (response.status, backend.accepted) == (200, 0)


def test_a_trace_answered_here_shows_the_request_without_its_secrets(scripted: MakeBackend, edge: MakeEdge) -> None:
    it = request(head("Max-Forwards: 0", "Cookie: secret", "Authorization: secret", "A: 1", method="TRACE"))
    _, body = edge(scripted()).ask(it)
    assert (b"A: 1" in body, b"secret" in body) == (True, False)


@pytest.mark.parametrize(("method", "sent"), [("TRACE", ["1"]), ("OPTIONS", ["1"]), ("GET", [])])
def test_a_request_that_may_go_further_goes(scripted: MakeBackend, edge: MakeEdge, method: str, sent: list[str]) -> None:
    backend = scripted()
    edge(backend).ask(request(head("Max-Forwards: 2", method=method)))
    assert backend.requests[0].all("max-forwards") == sent


def test_the_backends_own_host_may_be_sent(scripted: MakeBackend, edge: MakeEdge) -> None:
    backend = scripted()
    edge(backend, replaces_host=True).ask()
    assert backend.requests[0].get("host") == f"127.0.0.1:{backend.port}"
