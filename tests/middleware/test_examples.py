"""The examples of docs/middleware.md do what the page says of them."""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from greenproxy.messages import ClientAddress, Handler, Headers, Request, Response
from greenproxy.middleware.chain import BoundMiddleware, chain
from greenproxy.middleware.loading import BUILT_INS
from tests.fakes import ClosingBody

PAGE = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


class Body:
    """A request body that has arrived."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        return self.data


def example(name: str) -> Any:
    """Return what an example defines under this name."""
    [code] = [code for language, code in BLOCKS if language == "python" and re.search(rf"^def {name}\(", code, re.MULTILINE)]
    namespace: dict[str, Any] = {"__name__": "edge"}
    exec(compile(code, "docs/middleware.md", "exec", dont_inherit=True), namespace)
    return namespace[name]


def request(target: str = "/shop", **fields: Any) -> Request:
    return Request("GET", target, path=target, **fields)


def answers(body: bytes | Iterable[bytes] = b"hello", **headers: str) -> Handler:
    return lambda _request: Response(200, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def through(middleware: Any, asked: Request, handler: Handler) -> Response:
    return chain([BoundMiddleware("example", middleware)], handler)(asked)


def server_name_is_added() -> None:
    assert through(example("add_server_name"), request(), answers()).headers["X-Served-By"] == "edge-1"


def only_the_office_passes() -> None:
    middleware = example("only_from_the_office")
    assert through(middleware, request(client=ClientAddress("192.0.2.9", 1)), answers()).status == 200
    for elsewhere in ("198.51.100.1", "2001:db8::1", "unix:"):
        assert through(middleware, request(client=ClientAddress(elsewhere, 1)), answers()).status == 403


def tenant_is_found() -> None:
    asked = request(host="Shop.example.com")
    through(example("find_tenant"), asked, answers())
    assert (asked.state["tenant"], asked.headers["X-Tenant"]) == ("shop", "shop")
    assert through(example("find_tenant"), request(host="other"), answers()).status == 404


def key_is_required() -> None:
    middleware = example("require_key")(keys="a b", header_name="X-Shop-Key")
    assert through(middleware, request(headers=Headers({"X-Shop-Key": "b"})), answers()).status == 200
    assert through(middleware, request(headers=Headers({"X-Key": "b"})), answers()).status == 401


def digest_is_added() -> None:
    asked = request(body=Body(b"data"))
    through(example("add_digest"), asked, answers())
    assert asked.headers["X-Body-SHA256"] == hashlib.sha256(b"data").hexdigest()


def text_is_shouted() -> None:
    backend = ClosingBody([b"hel", b"lo"])
    response = through(example("shout"), request(), answers(backend, Content_Type="text/plain; charset=utf-8"))
    assert b"".join(response.body) == b"HELLO"  # type: ignore[arg-type]
    response.body.close()  # type: ignore[union-attr]
    assert backend.closed == 1
    assert b"".join(through(example("shout"), request(), answers(Content_Type="text/plain")).body) == b"HELLO"  # type: ignore[arg-type]
    assert through(example("shout"), request(), answers(Content_Type="image/png")).body == b"hello"


def fallback_is_asked() -> None:
    first = ClosingBody()

    def backend(asked: Request) -> Response:
        return Response(200, body=b"index") if asked.target == "/index.html" else Response(404, body=first)

    assert through(example("fall_back"), request("/missing"), backend).body == b"index"
    assert first.closed == 1


def example_test_passes() -> None:
    example("test_answers_are_not_for_robots")()


CHECKS: dict[str, Callable[[], None]] = {
    "add_server_name": server_name_is_added,
    "only_from_the_office": only_the_office_passes,
    "find_tenant": tenant_is_found,
    "require_key": key_is_required,
    "add_digest": digest_is_added,
    "shout": text_is_shouted,
    "fall_back": fallback_is_asked,
    "no_robots": example_test_passes,
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_example_does_what_the_page_says(check: Callable[[], None]) -> None:
    check()


def test_every_example_is_checked() -> None:
    first_functions = [re.search(r"^def (\w+)", code, re.MULTILINE) for language, code in BLOCKS if language == "python"]
    assert [found[1] for found in first_functions if found is not None] == list(CHECKS)


def test_ini_examples_name_what_the_page_defines() -> None:
    functions = set(re.findall(r"^def (\w+)\(", PAGE, re.MULTILINE))
    for _, text in (block for block in BLOCKS if block[0] == "ini"):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        for section in parser.sections():
            kind = parser.get(section, "type", fallback="headers")
            module, colon, name = kind.partition(":")
            assert (module == "edge" and name in functions) if colon else kind in BUILT_INS


def test_page_tells_of_every_built_in_and_every_public_attribute() -> None:
    for name in BUILT_INS:
        assert f"\n- `{name}` " in PAGE
    internal = {"inform", "is_peer_trusted", "peer", "raw", "trace"}
    public = {name for name in Request.__slots__ if not name.startswith("_")} | {"headers", "state"}
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE))))
    assert told == public - internal
