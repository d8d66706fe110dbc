"""The admin handler by itself, with callables that tests turn by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from greenproxy.apps.admin import admin
from greenproxy.messages import ClientAddress, Headers, Request, Response

STATE: Mapping[str, Any] = {"version": "0.1.0", "workers": [{"pid": 7, "state": "serving"}], "upstreams": []}
HELD: Mapping[str, Any] = {"pid": 7, "greenlets": {"_Runner": 1}}
ONE: Mapping[str, Any] = {"version": "0.1.0", "workers": [{"pid": 7, "state": "serving"}]}


def snapshot(pid: int | None) -> Mapping[str, Any] | None:
    """Stand in for the board: there is one worker, 7."""
    return STATE if pid is None else ONE if pid == 7 else None


def ask(
    path: str, *, query: str = "", method: str = "GET", token: str = "", reason: str = "", host: str = "", **fields: str
) -> Response:
    """Return the answer to one request."""
    headers = Headers([(name.replace("_", "-"), value) for name, value in fields.items()])
    request = Request(method, path, path=path, query=query, headers=headers, host=host)
    return admin(snapshot, lambda: reason, lambda: HELD, token, "greenproxy")(request)


def text(response: Response) -> str:
    return response.read().decode()


def test_healthz_is_ok_whatever_happens() -> None:
    response = ask("/healthz", reason="stopping")
    assert (response.status, text(response)) == (200, "ok\n")


def test_readyz_is_ok_while_there_is_no_reason_against_it() -> None:
    response = ask("/readyz")
    assert (response.status, text(response)) == (200, "ok\n")


def test_readyz_tells_the_reason() -> None:
    response = ask("/readyz", reason="upstream shop has no available backend")
    assert (response.status, text(response)) == (503, "upstream shop has no available backend\n")


def test_status_is_the_state_of_all_workers() -> None:
    response = ask("/api/status")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(response.read()) == STATE


def test_resources_are_what_the_worker_that_is_asked_holds() -> None:
    response = ask("/api/resources")
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(response.read()) == HELD


def test_status_of_one_worker() -> None:
    assert json.loads(ask("/api/status", query="worker=7").read()) == ONE


@pytest.mark.parametrize("query", ["worker=8", "worker=", "worker=-7", "worker=%D9%A7", "worker=0", "worker=" + "7" * 5000])
def test_unknown_worker_is_not_found(query: str) -> None:
    assert ask("/api/status", query=query).status == 404


@pytest.mark.parametrize("path", ["/", "/healthz/", "/api", "/api/", "/api/status/x", "/metrics", "*"])
def test_anything_else_is_not_found(path: str) -> None:
    assert ask(path).status == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/status", "/api/resources"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(path: str, method: str) -> None:
    response = ask(path, method=method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/status", "/api/resources", "/nowhere"])
def test_answers_are_fresh_and_say_so(path: str) -> None:
    headers = ask(path).headers
    assert (headers["Cache-Control"], headers["Server"]) == ("no-store", "greenproxy")
    assert headers["Date"].endswith(" GMT")


def test_the_right_token_opens_the_api() -> None:
    assert ask("/api/status", token="s3cret", Authorization="Bearer s3cret").status == 200


def test_the_scheme_may_be_written_in_any_case() -> None:
    assert ask("/api/status", token="s3cret", Authorization="bearer  s3cret").status == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer \xff"]
)
def test_a_wrong_token_does_not(given: str) -> None:
    response = ask("/api/status", token="s3cret", Authorization=given)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="greenproxy", error="invalid_token"'


def test_without_a_token_one_is_asked_for() -> None:
    response = ask("/api/status", token="s3cret")
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="greenproxy"')


def test_two_tokens_are_none() -> None:
    request = Request("GET", "/api/status", path="/api/status", headers=Headers([("Authorization", "Bearer s3cret")] * 2))
    assert admin(snapshot, str, dict, "s3cret")(request).status == 401


@pytest.mark.parametrize("path", ["/api/", "/api/nowhere", "/api/resources"])
def test_strangers_do_not_learn_what_is_under_the_api(path: str) -> None:
    assert ask(path, token="s3cret").status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token(path: str) -> None:
    assert ask(path, token="s3cret").status == 200


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1", "127.0.0.1:9901", "[::1]", "[::1]:9901", "localhost:9901", "LOCALHOST", "10.0.0.1"]
)
def test_without_a_token_it_is_asked_by_address(host: str) -> None:
    assert ask("/api/status", host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9901", "127.0.0.1.evil.example", "localhost.evil.example"])
def test_a_page_whose_name_points_to_us_reads_nothing(host: str) -> None:
    assert (ask("/api/status", host=host).status, ask("/healthz", host=host).status) == (403, 200)
    assert ask("/api/resources", host=host).status == 403
    assert ask("/api/status", host=host, token="x", Authorization="Bearer x").status == 200


def test_a_unix_socket_has_no_name_that_could_be_anothers() -> None:
    request = Request("GET", "/api/status", path="/api/status", host="admin", client=ClientAddress("unix:", 0))
    assert admin(snapshot, str, dict)(request).status == 200
