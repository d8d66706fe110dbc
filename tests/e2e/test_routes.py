"""Section 4, routing: who gets a request, what becomes of its path, and answers without a backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import Answer, RawClient, ask, get, post
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend

INI = """
[listener:web]
bind = 127.0.0.1:0
upstream = fallback

[upstream:fallback]
backends = {fallback}
health-interval = 0
[upstream:api]
backends = {api}
health-interval = 0

[route:host]
host = api.example.com
upstream = api
[route:wildcard]
host = *.wild.example.com
upstream = api
[route:wildcard-longer]
host = *.very.wild.example.com
status = 418
[route:prefix]
path = /api/
upstream = api
strip-prefix = /api
[route:longer-prefix]
path = /api/internal/
status = 403
[route:exact]
path = = /api/exact
status = 204
[route:regex]
path = ~ ^/users/[0-9]+$
upstream = api
[route:method]
path = /upload
method = POST, PUT
upstream = api
[route:header]
path = /beta
header = X-Beta: 1
upstream = api
[route:old]
path = /old/
redirect = https://new.example.com
[route:moved]
path = /moved/
redirect = https://new.example.com/here
redirect-status = 308
[route:own]
path = /own/
redirect = https://$host
[route:small]
path = /small/
upstream = api
max-body = 10
"""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, list[ScriptedBackend]]]:
    with ScriptedBackend(name="fallback") as fallback, ScriptedBackend(name="api") as api:
        proxy = RunningProxy(tmp_path_factory.mktemp("routes"), INI.format(fallback=fallback.url, api=api.url))
        with proxy:
            yield proxy, [fallback, api]


@pytest.fixture
def running(standing: tuple[RunningProxy, list[ScriptedBackend]]) -> Iterator[RunningProxy]:
    running, backends = standing
    yield running
    for backend in backends:
        backend.begin_again()


def who(running: RunningProxy, target: str, *lines: str, host: str = "www.example.org", method: str = "GET") -> str:
    """Return the name of the backend that answered, else the status."""
    told = ask(running.address(), get(target, *lines, host=host, method=method))
    return told.get("x-backend") or str(told.status)


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("/", "www.example.org", "fallback"),
        ("/", "api.example.com", "api"),
        ("/", "API.Example.COM:8080", "api"),
        ("/", "x.wild.example.com", "api"),
        ("/", "x.y.wild.example.com", "api"),
        ("/", "wild.example.com", "fallback"),
        ("/", "x.very.wild.example.com", "418"),
        ("/", "notapi.example.com", "fallback"),
        ("/api/things", "www.example.org", "api"),
        ("/api", "www.example.org", "api"),
        ("/apiary", "www.example.org", "fallback"),
        ("/api/internal/x", "www.example.org", "403"),
        ("/api/exact", "www.example.org", "204"),
        ("/api/exact/", "www.example.org", "api"),
        ("/users/42", "www.example.org", "api"),
        ("/users/me", "www.example.org", "fallback"),
        ("/%61pi/things", "www.example.org", "api"),
        ("/x/../api/internal/y", "www.example.org", "403"),
        ("/api/./internal/y", "www.example.org", "403"),
        ("/api//internal/y", "www.example.org", "403"),
        ("/api/%69nternal/y", "www.example.org", "403"),
        ("http://api.example.com/", "www.example.org", "api"),
    ],
)
def test_a_request_goes_to_its_most_specific_route(running: RunningProxy, target: str, host: str, expected: str) -> None:
    assert who(running, target, host=host) == expected


@pytest.mark.parametrize(
    "target", ["/api%2finternal/y", "/x/%2e%2e/api/internal/y", "/api/%2e/internal", "/a%00b", "/%5c../x/%2F"]
)
def test_encodings_that_would_change_the_path_are_refused(running: RunningProxy, target: str) -> None:
    assert who(running, target) == "400"


def test_a_method_decides(running: RunningProxy) -> None:
    assert (who(running, "/upload", method="PUT"), who(running, "/upload")) == ("api", "fallback")


def test_a_header_decides(running: RunningProxy) -> None:
    assert (who(running, "/beta", "x-beta: 1"), who(running, "/beta"), who(running, "/beta", "X-Beta: 2")) == (
        "api",
        "fallback",
        "fallback",
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/api/things?q=1", "/things?q=1"), ("/api", "/"), ("/api/", "/"), ("/api?q", "/?q"), ("/api/a%20b", "/a%20b")],
)
def test_strip_prefix_leaves_at_least_a_slash(running: RunningProxy, target: str, expected: str) -> None:
    assert ask(running.address(), get(target)).json()["target"] == expected


def location(told: Answer) -> tuple[int, str | None]:
    return told.status, told.get("location")


def test_a_redirect_takes_path_and_query_along(running: RunningProxy) -> None:
    told = ask(running.address(), get("/old/a%20b?q=1"))

    assert location(told) == (302, "https://new.example.com/old/a%20b?q=1")


def test_a_redirect_with_a_path_is_taken_as_it_stands(running: RunningProxy) -> None:
    assert location(ask(running.address(), get("/moved/x?q=1"))) == (308, "https://new.example.com/here")


def test_a_redirect_to_the_host_of_the_request_leaves_its_port_out(running: RunningProxy) -> None:
    told = ask(running.address(), get("/own/x?q=1", host="a.example.com:8080"))
    assert location(told) == (302, "https://a.example.com/own/x?q=1")


def test_a_redirect_to_the_host_of_a_request_that_has_none_is_a_400(running: RunningProxy) -> None:
    assert ask(running.address(), b"GET /own/ HTTP/1.0\r\n\r\n").status == 400


def test_a_redirect_cannot_be_bent_by_the_target(running: RunningProxy) -> None:
    told = ask(running.address(), get("/old/x//evil.example.com/@evil"))

    assert (told.get("location") or "").startswith("https://new.example.com/old/")


def test_answers_without_a_backend_keep_the_connection(running: RunningProxy) -> None:
    with RawClient(running.address()) as client:
        statuses = [client.ask(get(target)).status for target in ("/old/", "/api/internal/", "/api/exact", "/")]

    assert statuses == [302, 403, 204, 200]


def test_max_body_of_a_route_counts(running: RunningProxy) -> None:
    assert ask(running.address(), post("/small/", b"x" * 11)).status == 413
    assert ask(running.address(), post("/small/", b"x" * 10)).status == 200
    assert ask(running.address(), post("/other/", b"x" * 11)).status == 200


def test_max_body_of_a_route_counts_for_chunks(running: RunningProxy) -> None:
    chunked = get("/small/", "Transfer-Encoding: chunked", method="POST") + b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"

    assert ask(running.address(), chunked).status == 413


def test_the_log_names_the_upstream_that_answered(running: RunningProxy) -> None:
    ask(running.address(), get("/api/for-the-log"))

    assert running.entry("/api/for-the-log")["upstream"] == "api"
