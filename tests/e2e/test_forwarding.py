"""Section 6: who the client is said to be, with and without trusted proxies."""

from __future__ import annotations

import pytest

from tests.client import RawClient, get
from tests.e2e.house import House
from tests.scripted import Received, ScriptedBackend

LIES = [
    "X-Forwarded-For: 198.51.100.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example.com",
    "X-Real-IP: 198.51.100.7",
    "Forwarded: for=198.51.100.7;proto=https",
    "X_Forwarded_For: 198.51.100.7",
    "X_Forwarded-Proto: https",
    "x-forwarded_host: evil.example.com",
    "X_Real_IP: 198.51.100.7",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: /evil",
]


def asked(house: House, backend: ScriptedBackend, listener: str, *lines: str) -> Received:
    """Return what the backend got."""
    with house.client(listener) as client:
        assert client.ask(get("/", *lines)).status == 200
    return backend.requests[-1]


def test_the_backend_learns_who_asks(house: House, backend: ScriptedBackend) -> None:
    seen = asked(house, backend, "web")

    assert seen.get("x-forwarded-for") == "127.0.0.1"
    assert seen.get("x-forwarded-proto") == "http"
    assert seen.get("x-forwarded-host") == "shop.example.com"
    assert seen.get("x-real-ip") == "127.0.0.1"


def test_forwarded_says_the_same(house: House, backend: ScriptedBackend) -> None:
    said = asked(house, backend, "web").get("forwarded") or ""
    pairs = dict(part.strip().split("=", 1) for part in said.split(";"))

    assert (pairs["for"], pairs["proto"], pairs["host"].strip('"')) == ("127.0.0.1", "http", "shop.example.com")


@pytest.mark.parametrize("lie", LIES)
def test_what_an_untrusted_client_says_is_dropped(house: House, backend: ScriptedBackend, lie: str) -> None:
    text = "\n".join(asked(house, backend, "web", lie).lines)

    assert lie.split(": ")[1].split(";")[0].removeprefix("for=") not in text


def test_lies_in_many_fields_are_dropped_together(house: House, backend: ScriptedBackend) -> None:
    seen = asked(house, backend, "web", *LIES)

    assert (seen.get("x-forwarded-for"), seen.get("x-real-ip")) == ("127.0.0.1", "127.0.0.1")
    assert "198.51.100.7" not in "\n".join(seen.lines)


def test_a_trusted_proxy_is_believed(house: House, backend: ScriptedBackend) -> None:
    lines = ["X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https"]
    seen = asked(house, backend, "trusting", *lines)

    assert ", ".join(seen.all("x-forwarded-for")) == "198.51.100.7, 127.0.0.1"
    assert (seen.get("x-forwarded-proto"), seen.get("x-real-ip")) == ("https", "198.51.100.7")


def test_the_client_is_the_first_that_nobody_trusts_from_the_right(house: House, backend: ScriptedBackend) -> None:
    seen = asked(house, backend, "trusting", "X-Forwarded-For: 10.6.6.6, 198.51.100.7, 192.0.2.9")

    assert seen.get("x-real-ip") == "198.51.100.7"


def test_the_log_names_the_client_behind_a_trusted_proxy(house: House) -> None:
    with house.client("trusting") as client:
        client.ask(get("/who-is-it", "X-Forwarded-For: 198.51.100.77"))

    assert house.proxy.entry("/who-is-it")["client"] == "198.51.100.77"


def test_forwarded_of_a_trusted_proxy_is_believed(house: House, backend: ScriptedBackend) -> None:
    seen = asked(house, backend, "trusting", 'Forwarded: for="[2001:db8::1]:4711";proto=https')

    assert (seen.get("x-real-ip"), seen.get("x-forwarded-proto")) == ("2001:db8::1", "https")


def test_underscore_twins_are_dropped_even_from_trusted_proxies(house: House, backend: ScriptedBackend) -> None:
    """A CGI or WSGI application could not tell them from the real ones."""
    seen = asked(house, backend, "trusting", "X_Forwarded_For: 198.51.100.7")

    assert "198.51.100.7" not in "\n".join(seen.lines)


def test_nonsense_from_a_trusted_proxy_does_not_break_the_request(house: House, backend: ScriptedBackend) -> None:
    seen = asked(house, backend, "trusting", "X-Forwarded-For: not-an-address", "Forwarded: ;;;")

    assert seen.get("x-real-ip") == "127.0.0.1"


def test_other_fields_with_underscores_pass(backend: ScriptedBackend, client: RawClient) -> None:
    client.ask(get("/", "X_Mine: 1"))

    assert backend.requests[0].get("x_mine") == "1"
