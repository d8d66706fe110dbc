"""Section 3: policies that users write, in a file next to the configuration, and those that come with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import Cut, RawClient, ask, get, post
from tests.e2e.house import MISBEHAVING
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import answer, echo, expect_head, expect_request, hang, send, wait_until_gone

POLICIES = '''
"""Policies of the tests."""

import contextvars
import time

from greenproxy import Handler, Headers, Request, Response

WHO = contextvars.ContextVar("who", default="nobody")


def add_server_name(request: Request, call_next: Handler) -> Response:
    response = call_next(request)
    response.headers["X-Served-By"] = "edge-1"
    return response


def inner(request, call_next):
    request.headers.add("X-Order", "inner")
    return call_next(request)


def outer(request, call_next):
    request.headers.add("X-Order", "outer")
    return call_next(request)


def answer_itself(request, call_next):
    return Response(200, {"Content-Type": "text/plain"}, f"hello {request.client.ip} {request.path}?{request.query}".encode())


def drop_the_answer(request, call_next):
    call_next(request)
    return Response(201, body=b"mine")


class Wrapped:
    def __init__(self, body):
        self.body = body

    def __iter__(self):
        for piece in [self.body] if isinstance(self.body, bytes) else self.body:
            yield piece.upper()

    def close(self):
        if hasattr(self.body, "close"):
            self.body.close()


def shout(request, call_next):
    response = call_next(request)
    response.body = Wrapped(response.body)
    return response


def lie_about_the_length(request, call_next):
    return Response(200, {"Content-Length": "100"}, [b"hello"])


def fail_in_the_body(request, call_next):
    def parts():
        yield b"hello"
        raise RuntimeError("in the body, on purpose")
    return Response(200, {"Content-Length": "100"}, parts())


def read_the_body(request, call_next):
    seen = request.body.read() if not isinstance(request.body, bytes) else request.body
    request.headers["X-Length"] = str(len(seen))
    return call_next(request)


def use_up_the_body(request, call_next):
    for piece in request.body:
        pass
    return call_next(request)


def replace_the_body(request, call_next):
    request.body = [piece.upper() for piece in request.body]
    return call_next(request)


def ask_twice(request, call_next):
    call_next(request).read()
    return call_next(request)


def forge(request, call_next):
    request.target = "/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /admin"
    return call_next(request)


def remember(request, call_next):
    was = WHO.get()
    WHO.set(request.query)
    request.state["who"] = request.query
    time.sleep(0.05)
    return Response(200, body=f"{was} {WHO.get()} {request.state['who']}".encode())


def sleep_outside_its_own_time(request, call_next):
    """Its timeout is shorter than what it calls takes."""
    return call_next(request)


class Tagger:
    def __init__(self, tag_name, tag_value="none"):
        self.name, self.value = tag_name, tag_value

    def __call__(self, request, call_next):
        response = call_next(request)
        response.headers[self.name] = self.value
        return response
'''

ROUTES = {
    "name": ["add_server_name"],
    "order": ["outer", "inner"],
    "itself": ["answer_itself"],
    "drop": ["drop_the_answer"],
    "shout": ["shout"],
    "lie": ["lie_about_the_length"],
    "fail": ["fail_in_the_body"],
    "read": ["read_the_body"],
    "use-up": ["use_up_the_body"],
    "replace": ["replace_the_body"],
    "twice": ["ask_twice"],
    "forge": ["forge"],
    "remember": ["remember"],
    "patient": ["sleep_outside_its_own_time"],
}

INI = """
[listener:web]
bind = 127.0.0.1:0
upstream = shop
[upstream:shop]
backends = {backend} name=blue
health-interval = 0
max-fails = 0
[middleware:tagger]
type = policies:Tagger
tag-name = X-Tag
tag-value = a b
[route:tagged]
path = /tagged/
upstream = shop
middleware = tagger
[route:id]
path = /id/
upstream = shop
middleware = request-id
[middleware:fields]
type = headers
request-set = X-Set: by us
request-remove = X-Remove
response-add = X-Added: too
response-remove = X-Backend
[route:fields]
path = /fields/
upstream = shop
middleware = fields
"""
INI += "".join(
    f"[route:{name}]\npath = /{name}/\nupstream = shop\nmiddleware = {', '.join(used)}\n" for name, used in ROUTES.items()
)
INI += "".join(f"[middleware:{name}]\ntype = policies:{name}\ntimeout = 500ms\n" for used in ROUTES.values() for name in used)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, ScriptedBackend]]:
    with ScriptedBackend(name="blue") as backend:
        files = {"policies.py": POLICIES, "misbehaving.py": MISBEHAVING}
        proxy = RunningProxy(tmp_path_factory.mktemp("middleware"), INI.format(backend=backend.url), files=files)
        with proxy:
            yield proxy, backend


@pytest.fixture
def running(standing: tuple[RunningProxy, ScriptedBackend]) -> Iterator[RunningProxy]:
    running, backend = standing
    backend.begin_again()
    yield running
    backend.begin_again()


@pytest.fixture
def backend(standing: tuple[RunningProxy, ScriptedBackend]) -> ScriptedBackend:
    return standing[1]


def test_the_example_of_the_readme_works(running: RunningProxy) -> None:
    assert ask(running.address(), get("/name/")).get("x-served-by") == "edge-1"


@pytest.mark.parametrize("connection", ["close", "X-Set", "x-set, close"])
def test_no_client_can_take_away_or_double_what_a_middleware_sets(
    running: RunningProxy, backend: ScriptedBackend, connection: str
) -> None:
    ask(running.address(), get("/fields/", "X_Set: by a client", "X-Set: by a client", f"Connection: {connection}"))
    lines = backend.requests[0].head.split(b"\r\n")

    assert [line for line in lines if line.lower().replace(b"_", b"-").startswith(b"x-set")] == [b"X-Set: by us"]


def test_the_first_named_is_the_outermost(running: RunningProxy, backend: ScriptedBackend) -> None:
    ask(running.address(), get("/order/"))

    assert backend.requests[0].all("x-order") == ["outer", "inner"]


def test_a_middleware_may_answer_itself(running: RunningProxy, backend: ScriptedBackend) -> None:
    told = ask(running.address(), get("/itself/a%20b/../c?q=1"))

    assert (told.status, told.body) == (200, b"hello 127.0.0.1 /itself/c?q=1")
    assert not backend.requests


def test_an_answer_that_a_middleware_drops_is_closed(running: RunningProxy, backend: ScriptedBackend) -> None:
    backend.play([expect_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello"), wait_until_gone])
    told = ask(running.address(), get("/drop/"))

    assert (told.status, told.body) == (201, b"mine")
    backend.wait_for(lambda: backend.gone == 1)


def test_a_replaced_body_is_framed_anew(running: RunningProxy, backend: ScriptedBackend) -> None:
    backend.play([expect_request, send(answer(b"hello")), echo])
    with RawClient(running.address()) as client:
        told = client.ask(get("/shout/"))
        assert (told.body, told.get("content-length")) == (b"HELLO", None)
        assert client.ask(get("/")).json()["served"] == 2


def test_fewer_bytes_than_stated_are_a_cut(running: RunningProxy) -> None:
    with RawClient(running.address()) as client, pytest.raises(Cut):
        client.ask(get("/lie/"))


def test_a_body_that_raises_is_a_cut_and_the_log_says_so(running: RunningProxy) -> None:
    with RawClient(running.address()) as client, pytest.raises(Cut):
        client.ask(get("/fail/for-the-log"))

    assert running.entry("/fail/for-the-log")["reason"]
    assert "in the body, on purpose" in running.log()


def test_a_body_that_was_read_still_reaches_the_backend(running: RunningProxy) -> None:
    told = ask(running.address(), post("/read/", b"hello")).json()

    assert (told["body"], dict(told["fields"])["X-Length"]) == ("hello", "5")


def test_a_body_that_was_used_up_is_not_announced_to_the_backend(running: RunningProxy, backend: ScriptedBackend) -> None:
    """A Content-Length without its bytes would make the next client's request the body of this one."""
    told = ask(running.address(), post("/use-up/for-the-log", b"hello"))

    assert (told.status, running.entry("/use-up/for-the-log")["reason"]) == (500, "middleware-error")
    assert not backend.requests
    assert "POST /use-up/for-the-log: The body of the request was used up by a middleware" in running.log()


def test_a_body_that_a_middleware_made_reaches_the_backend(running: RunningProxy) -> None:
    assert ask(running.address(), post("/replace/", b"hello")).json()["body"] == "HELLO"


def test_a_body_at_hand_can_be_sent_twice(running: RunningProxy, backend: ScriptedBackend) -> None:
    assert ask(running.address(), post("/twice/", b"hello")).json()["body"] == "hello"
    assert [request.body for request in backend.requests] == [b"hello"] * 2


def test_a_target_that_would_split_the_request_is_not_sent(running: RunningProxy, backend: ScriptedBackend) -> None:
    assert ask(running.address(), get("/forge/")).status == 500
    assert not backend.requests


def test_a_streamed_body_cannot_be_sent_twice(running: RunningProxy) -> None:
    with RawClient(running.address()) as client:
        client.send(get("/twice/", "Content-Length: 200000", method="POST"))
        client.send(b"x" * 200_000)
        assert client.answer().status == 500


def test_each_request_has_its_own_context_and_state(running: RunningProxy) -> None:
    with RawClient(running.address()) as one, RawClient(running.address()) as two:
        one.send(get("/remember/?one"))
        two.send(get("/remember/?two"))
        bodies = [one.answer().body, two.answer().body, one.ask(get("/remember/?three")).body]

    assert bodies == [b"nobody one one", b"nobody two two", b"nobody three three"]


def test_pipelined_requests_have_contexts_of_their_own_too(running: RunningProxy) -> None:
    with RawClient(running.address()) as client:
        client.send(get("/remember/?one") + get("/remember/?two"))

        assert [client.answer().body for _ in range(2)] == [b"nobody one one", b"nobody two two"]


def test_the_timeout_of_a_middleware_leaves_out_what_it_calls(running: RunningProxy, backend: ScriptedBackend) -> None:
    def answer_late(_: object) -> None:
        backend.wait_for(lambda: backend.requests)
        assert not backend.released.wait(0.8)  # longer than the middleware's own 500 ms

    backend.play([expect_head, answer_late, send(answer(b"late")), hang])

    assert ask(running.address(), get("/patient/")).body == b"late"


def test_other_keys_are_settings(running: RunningProxy) -> None:
    assert ask(running.address(), get("/tagged/")).get("x-tag") == "a b"


def test_an_error_page_goes_through_the_built_ins_too(running: RunningProxy, backend: ScriptedBackend) -> None:
    backend.play([expect_request, send(b"nonsense\r\n\r\n")] * 4)
    named, changed = ask(running.address(), get("/id/")), ask(running.address(), get("/fields/"))

    assert (named.status, len(named.get("x-request-id") or "")) == (502, 32)
    assert (changed.status, changed.get("x-added")) == (502, "too")


def test_request_id_goes_to_the_backend_the_client_and_the_log(running: RunningProxy, backend: ScriptedBackend) -> None:
    told = ask(running.address(), get("/id/for-the-log"))
    name = told.get("x-request-id")

    assert name
    assert backend.requests[0].get("x-request-id") == name
    assert running.entry("/id/for-the-log")["request_id"] == name


def test_request_ids_differ(running: RunningProxy) -> None:
    assert len({ask(running.address(), get("/id/")).get("x-request-id") for _ in range(5)}) == 5


def test_headers_sets_adds_and_removes(running: RunningProxy, backend: ScriptedBackend) -> None:
    told = ask(running.address(), get("/fields/", "X-Set: by the client", "X-Remove: 1", "X-Keep: 1"))
    seen = backend.requests[0]

    assert (seen.get("x-set"), seen.get("x-remove"), seen.get("x-keep")) == ("by us", None, "1")
    assert (told.get("x-added"), told.get("x-backend")) == ("too", None)


def test_touched_heads_lose_what_untouched_ones_lose(running: RunningProxy, backend: ScriptedBackend) -> None:
    """Looking at the fields must not let hop-by-hop or forged ones through."""
    ask(
        running.address(),
        get("/order/", "Connection: X-Secret, close", "X-Secret: 1", "Upgrade: h2c", "X_Forwarded_For: 6.6.6.6"),
    )
    seen = backend.requests[0]

    assert (seen.get("x-secret"), seen.get("upgrade"), seen.get("x-forwarded-for")) == (None, None, "127.0.0.1")
    assert "6.6.6.6" not in "\n".join(seen.lines)
