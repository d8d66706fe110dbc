"""The built-in request-id: whose ids are kept, and where they stand."""

from __future__ import annotations

import re

import pytest

from greenproxy.messages import Headers, Request, Response
from greenproxy.middleware.request_id import check, make


def asked(sent: str | None, *, over_proxy: bool = False, header: str = "X-Request-ID") -> Request:
    request = Request("GET", "/", path="/", headers=Headers({header: sent} if sent is not None else {}))
    request.is_peer_trusted = over_proxy
    return request


def served(request: Request, **options: str) -> Response:
    return make(options)(request, lambda _request: Response(headers={"X-Request-ID": "the backend's"}))


def test_request_without_an_id_gets_one_everywhere() -> None:
    request = asked(None)
    response = served(request)
    assert re.fullmatch("[0-9a-f]{32}", request.request_id)
    assert request.headers["X-Request-ID"] == request.request_id
    assert response.headers.get_all("X-Request-ID") == [request.request_id]


def test_every_request_gets_its_own() -> None:
    requests = [asked(None) for _ in range(100)]
    for request in requests:
        served(request)
    assert len({request.request_id for request in requests}) == 100


@pytest.mark.parametrize(
    ("keep", "over_proxy", "is_kept"),
    [
        ("trusted", True, True),
        ("trusted", False, False),
        ("always", False, True),
        ("always", True, True),
        ("never", True, False),
        ("never", False, False),
    ],
)
def test_ids_of_others_are_kept_from_whom_they_are_believed(keep: str, over_proxy: bool, is_kept: bool) -> None:
    request = asked("theirs-1", over_proxy=over_proxy)
    served(request, keep=keep)
    assert (request.request_id == "theirs-1") is is_kept
    assert request.headers.get_all("X-Request-ID") == [request.request_id]


def test_ids_over_a_trusted_proxy_are_kept_by_default() -> None:
    request = asked("theirs-1", over_proxy=True)
    served(request)
    assert request.request_id == "theirs-1"


@pytest.mark.parametrize("sent", ["", "a b", 'a"b', "a\\b", "a,b", "é", "x" * 129, "a;b", "<script>"])
def test_insane_ids_are_never_kept(sent: str) -> None:
    request = asked(sent, over_proxy=True)
    served(request, keep="always")
    assert request.request_id != sent


@pytest.mark.parametrize("sent", ["a", "x" * 128, "Root=1-67891233-abcdef012345678912345678", "AZaz09._~+/=:@-"])
def test_sane_ids_are_kept(sent: str) -> None:
    request = asked(sent)
    served(request, keep="always")
    assert request.request_id == sent


def test_header_can_have_another_name() -> None:
    request = asked("theirs", header="X-Trace")
    response = served(request, header="X-Trace", keep="always")
    assert (request.request_id, response.headers["X-Trace"]) == ("theirs", "theirs")
    assert "X-Request-ID" not in request.headers


@pytest.mark.parametrize(
    ("options", "key"),
    [({"header": "X Trace"}, "header"), ({"header": ""}, "header"), ({"keep": "sometimes"}, "keep"), ({"haeder": "X"}, "haeder")],
)
def test_wrong_options_are_named(options: dict[str, str], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: "):
        check(options)
    with pytest.raises(ValueError, match=f"^{key}: "):
        make(options)
