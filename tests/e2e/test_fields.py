"""Section 6: which fields pass, which are removed, which are ours, in what order and spelling."""

from __future__ import annotations

import pytest

from tests.client import RawClient, ask, get
from tests.conftest import MakeBackend, StartProxy
from tests.e2e.house import House
from tests.scripted import Received, ScriptedBackend
from tests.scripts import answer, expect_request, hang, send

OURS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded", "via")


def foreign(request: Received) -> list[str]:
    """Return the field lines that are not ours."""
    return [line for line in request.lines if line.split(":")[0].lower() not in OURS]


def test_order_and_spelling_of_request_fields_are_kept(backend: ScriptedBackend, client: RawClient) -> None:
    lines = ["uSeR-aGeNt: curl/8", "X-B: 2", "x-a: 1", "X-B: 3", "Cookie: a=b; c=d", "ACCEPT: */*"]
    client.ask(get("/", *lines))

    assert foreign(backend.requests[0]) == ["Host: shop.example.com", *lines]


def test_order_and_spelling_of_response_fields_are_kept(backend: ScriptedBackend, client: RawClient) -> None:
    lines = ["SERVER: origin/1", "Set-Cookie: a=1", "x-b: 2", "Set-Cookie: b=2", "dAtE: Thu, 01 Jan 1970 00:00:00 GMT"]
    backend.play([expect_request, send(answer(b"ok", "200 Right On", *lines)), hang])
    told = client.ask(get())

    assert (told.reason, told.lines) == ("Right On", [*lines, "Content-Length: 2"])


def test_values_pass_untouched_down_to_odd_bytes(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "X-Odd: a  b\t\xe9\xff"))

    assert backend.requests[0].get("x-odd") == "a  b\t\xe9\xff"


def test_targets_pass_raw(backend: ScriptedBackend, client: RawClient) -> None:
    target = "/a%20b/%7Ex/./c//d?q=%2F&r=a+b&&=;/../"
    client.ask(get(target))

    assert backend.requests[0].target == target


def test_absolute_form_is_sent_on_in_origin_form_with_its_host(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("http://other.example.com:81/x?y", host="ignored.example.com"))

    assert (backend.requests[0].target, backend.requests[0].get("host")) == ("/x?y", "other.example.com:81")


def test_options_of_the_whole_server_keeps_its_asterisk(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("*", method="OPTIONS"))

    assert (backend.requests[0].method, backend.requests[0].target) == ("OPTIONS", "*")


@pytest.mark.parametrize("method", ["get", "PROPFIND", "X-Private"])
def test_methods_are_case_sensitive_and_not_judged(backend: ScriptedBackend, client: RawClient, method: str) -> None:
    client.ask(get(method=method))

    assert backend.requests[0].method == method


HOP_BY_HOP = [
    "Connection: keep-alive",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: gzip",
    "Upgrade: h2c",
]


@pytest.mark.parametrize("line", HOP_BY_HOP)
def test_hop_by_hop_fields_of_requests_stay_here(backend: ScriptedBackend, client: RawClient, line: str) -> None:
    client.ask(get("/", line))

    assert foreign(backend.requests[0]) == ["Host: shop.example.com"]


def test_te_trailers_passes(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "TE: gzip, trailers", "Connection: TE"))

    assert backend.requests[0].get("te") == "trailers"


def test_fields_that_connection_names_are_removed(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "X-Secret: 1", "Connection: close, x-SECRET", "X-Open: 2"))

    assert foreign(backend.requests[0]) == ["Host: shop.example.com", "X-Open: 2"]


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "Via", "Forwarded", "X-Forwarded-Proto"])
def test_our_own_fields_cannot_be_nominated_away(backend: ScriptedBackend, client: RawClient, name: str) -> None:
    client.ask(get("/", f"Connection: {name}"))

    assert backend.requests[0].get(name)


def test_framing_cannot_be_nominated_away(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Connection: content-length", "Content-Length: 5", method="POST") + b"hello")

    assert backend.requests[0].body == b"hello"


def test_hop_by_hop_fields_of_responses_stay_here(backend: ScriptedBackend, client: RawClient) -> None:
    lines = [
        "Connection: X-Inner",
        "X-Inner: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: close",
        "Upgrade: h2c",
        "X-Outer: 2",
    ]
    backend.play([expect_request, send(answer(b"ok", "200 OK", *lines)), hang])
    told = client.ask(get())

    assert [line for line in told.lines if not line.lower().startswith("date")] == ["X-Outer: 2", "Content-Length: 2"]


def test_via_is_added_to_forwarded_requests(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get())

    assert backend.requests[0].get("via") == "1.1 greenproxy"


def test_via_of_others_comes_first(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Via: 1.0 fred", version="1.0"))
    joined = ", ".join(backend.requests[0].all("via"))

    assert joined == "1.0 fred, 1.0 greenproxy"


def test_max_forwards_is_counted_down(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Max-Forwards: 3", method="OPTIONS"))

    assert backend.requests[0].get("max-forwards") == "2"


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_max_forwards_of_0_is_answered_here(backend: ScriptedBackend, client: RawClient, method: str) -> None:
    """RFC 9110 section 7.6.2: the recipient must not forward it, but answer as the final recipient."""
    told = client.ask(get("/", "Max-Forwards: 0", method=method))

    assert told.status < 500
    assert not backend.requests


def test_max_forwards_of_other_methods_is_none_of_our_business(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Max-Forwards: 0"))

    assert len(backend.requests) == 1


def test_no_connection_field_goes_to_the_backend_that_would_close_it(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "Connection: close"))

    assert "close" not in (backend.requests[0].get("connection") or "")


def test_a_response_without_date_gets_one(backend: ScriptedBackend, client: RawClient) -> None:
    """RFC 9110 section 6.6.1: a recipient with a clock that forwards a message without Date adds it."""
    backend.play([expect_request, send(answer())])

    assert client.ask(get()).get("date")


def test_the_host_of_the_client_is_preserved(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", host="shop.example.com:8080"))

    assert backend.requests[0].get("host") == "shop.example.com:8080"


def test_host_header_backend_sends_the_backends_own_name(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted()
    running = proxy(f"""
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = http://localhost:{backend.port}
host-header = backend
health-interval = 0
""")
    told = ask(running.address(), get("/", host="shop.example.com"))

    assert told.status == 200
    assert backend.requests[0].get("host") == f"localhost:{backend.port}"
    assert backend.requests[0].get("x-forwarded-host") == "shop.example.com"


def test_via_and_server_can_be_switched_off(proxy: StartProxy, scripted: MakeBackend) -> None:
    backend = scripted()
    running = proxy(f"""
[greenproxy]
via = off
server-header = off
[listener:web]
bind = 127.0.0.1:0
[upstream:shop]
backends = {backend.url}
health-interval = 0
""")
    ask(running.address(), get())
    own = ask(running.address(), get("/", "Host: two"))

    assert backend.requests[0].get("via") is None
    assert (own.status, own.get("server")) == (400, None)


def test_answers_of_a_large_head_pass(house: House, backend: ScriptedBackend) -> None:
    lines = [f"X-Cookie-{number}: {'v' * 500}" for number in range(50)]
    backend.play([expect_request, send(answer(b"ok", "200 OK", *lines))])
    with house.client() as client:
        told = client.ask(get())

    assert told.lines[:50] == lines
