"""From the `type` and the keys of a section to a middleware."""

from __future__ import annotations

import pytest

from greenproxy.config.settings import MiddlewareSettings
from greenproxy.messages import Request, Response
from greenproxy.middleware.loading import LoadError, bind, check, load
from tests.middleware import samples


def request() -> Request:
    return Request("GET", "/", path="/")


def test_without_options_the_object_is_the_middleware() -> None:
    assert load("tests.middleware.samples:plain", {}) is samples.plain


def test_with_options_it_is_called_once_with_keywords() -> None:
    greeting = load("tests.middleware.samples:Greeting", {"text": "hi", "header-name": "X-Hi"})
    assert greeting(request(), lambda _request: Response()).headers["X-Hi"] == "hi"


def test_attribute_of_an_object_can_be_named() -> None:
    loud = load("tests.middleware.samples:Greeting.loud", {})
    assert loud(request(), lambda _request: Response()).headers["X-Greeting"] == "HELLO"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("limit", {}, "'limit' is neither a built-in (headers, request-id) nor package.module:callable"),
        ("tests.middleware.samples:", {}, "'tests.middleware.samples:' is neither a built-in"),
        (":plain", {}, "':plain' is neither a built-in"),
        ("nowhere.at.all:x", {}, "there is no module nowhere"),
        ("tests.middleware.nowhere:x", {}, "there is no module tests.middleware.nowhere"),
        (
            "tests.middleware.needy:x",
            {},
            "importing tests.middleware.needy failed: ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        ),
        ("tests.middleware.broken:x", {}, "importing tests.middleware.broken failed: OSError: no database"),
        ("tests.middleware.samples:plian", {}, "module tests.middleware.samples has no plian"),
        ("tests.middleware.samples:Greeting.quiet", {}, "module tests.middleware.samples has no Greeting.quiet"),
        ("tests.middleware.samples:NOT_CALLABLE", {}, "is int, which cannot be called with (request, call_next)"),
        ("tests.middleware.samples:NOT_CALLABLE", {"a": "1"}, "is int, which cannot be called with the keys of its section"),
        ("tests.middleware.samples:Greeting", {"txet": "hi"}, "tests.middleware.samples:Greeting(txet) failed: TypeError"),
        ("tests.middleware.samples:Greeting", {"text": ""}, "samples:Greeting(text) failed: ValueError: text is empty"),
        ("tests.middleware.samples:forgets_to_return", {"a": "1"}, "returned NoneType, which cannot be called with"),
        ("tests.middleware.leaves:x", {}, "importing tests.middleware.leaves failed: SystemExit: 1"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_sentence(spec: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(LoadError) as raised:
        load(spec, options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_section_becomes_a_bound_middleware() -> None:
    settings = MiddlewareSettings(name="hi", type="tests.middleware.samples:Greeting", timeout_s=2.0, options=(("text", "hi"),))
    bound = bind(settings)
    assert (bound.name, bound.timeout_s, bound.is_user_code) == ("hi", 2.0, True)


def test_built_in_is_no_user_code() -> None:
    assert not bind(MiddlewareSettings(name="request-id", type="request-id")).is_user_code


def test_check_says_what_bind_would_say() -> None:
    check(MiddlewareSettings(name="id", type="request-id", options=(("header", "X-Trace"),)))
    with pytest.raises(LoadError, match="'no name' is not a header name"):
        check(MiddlewareSettings(name="id", type="request-id", options=(("header", "no name"),)))
