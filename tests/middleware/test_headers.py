"""The built-in headers."""

from __future__ import annotations

import pytest

from greenproxy.messages import Headers, Request, Response
from greenproxy.middleware.headers import check, make


def served(request: Request, options: dict[str, str]) -> Response:
    return make(options)(request, lambda _request: Response(headers=[("Server", "b"), ("Vary", "a"), ("Set-Cookie", "x=1")]))


def asked(*fields: tuple[str, str]) -> Request:
    return Request("GET", "/", path="/", headers=Headers(fields))


def test_request_fields_are_removed_set_and_added_in_this_order() -> None:
    request = asked(("A", "1"), ("B", "1"), ("B", "2"), ("C", "1"))
    served(request, {"request-add": "C: 2\nA: 3", "request-set": "B: 9\nA: 2", "request-remove": "a, D"})
    assert request.headers == Headers([("B", "9"), ("C", "1"), ("A", "2"), ("C", "2"), ("A", "3")])


def test_response_fields_are_changed_likewise() -> None:
    options = {"response-set": "Vary: b", "response-add": "Set-Cookie: y=2; Path=/", "response-remove": "server\nX-Powered-By"}
    assert served(asked(), options).headers == Headers([("Vary", "b"), ("Set-Cookie", "x=1"), ("Set-Cookie", "y=2; Path=/")])


def test_value_may_have_colons_and_be_empty() -> None:
    request = asked()
    served(request, {"request-set": "\n  X-Url: http://x:80/\n\n  X-Empty:\n"})
    assert request.headers == Headers([("X-Url", "http://x:80/"), ("X-Empty", "")])


def test_side_that_is_not_changed_is_not_looked_at() -> None:
    request = Request("GET", "/", path="/")
    response = make({"request-set": "A: 1"})(request, lambda _request: Response())
    assert response.headers_if_read is None
    request = Request("GET", "/", path="/")
    make({"response-set": "A: 1"})(request, lambda _request: Response())
    assert request.headers_if_read is None


def test_keys_may_be_spelt_with_underscores() -> None:
    request = asked()
    served(request, {"request_set": "A: 1"})
    assert request.headers["A"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"request-set": "no colon"}, "^request-set: 'no colon' is not `Name: value`$"),
        ({"response-add": "A B: 1"}, "^response-add: not a header name"),
        ({"response-add": ": 1"}, "^response-add: not a header name"),
        ({"request-set": "A: 1\x00"}, "^request-set: not a value"),
        ({"response-remove": "a b"}, "^response-remove: not a header name"),
        ({"response-set": "Content-Length: 5"}, "^response-set: Content-Length belongs to the connection"),
        ({"request-remove": "transfer-encoding"}, "^request-remove: transfer-encoding belongs to the connection"),
        ({"reqest-set": "A: 1"}, "^reqest-set: unknown key"),
        ({}, "^type: headers does nothing"),
        ({"request-set": ""}, "^type: headers does nothing"),
    ],
)
def test_wrong_options_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(options)
