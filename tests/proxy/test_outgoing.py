"""Outgoing: the bytes that a backend gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from greenproxy.errors import BodyGone
from greenproxy.messages import NO_BODY, ClientAddress, Headers, Request
from greenproxy.protocol.http1 import RequestHead, parse_request_head
from greenproxy.proxy.outgoing import Outgoing, repeated
from tests.proxy.requests import OWN_LINES, VIA, ComingBody, head, request

POST = head("Content-Length: 5", method="POST")
CHUNKED = head("Transfer-Encoding: chunked", method="POST")


def outgoing(it: Request, *, via: bool = False, hops: int | None = None) -> Outgoing:
    return Outgoing(it, it.raw, via=via, hops=hops)  # type: ignore[arg-type]


def head_of(it: Request, *, replaces_host: bool = False, via: bool = False, hops: int | None = None) -> bytes:
    """Return the head for a backend called `backend:80`."""
    return outgoing(it, via=via, hops=hops).head(b"backend:80", replaces_host=replaces_host)


def lines_of(it: Request, **options: bool | int) -> list[bytes]:
    """Return the field lines for the backend, without the request line and without what tells of us."""
    data = head_of(it, **options)  # type: ignore[arg-type]
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
    lines = data[:-4].split(b"\r\n")[1:]
    return [line for line in lines if not line.startswith((b"X-Forwarded-", b"X-Real-IP", b"Forwarded"))]


def touched(it: Request) -> Request:
    """Return the request after a middleware looked at its fields."""
    it.headers.add("X-New", "1")
    del it.headers["x-new"]
    return it


# ------------------------------------------------------------------ heads that come again


def _trusted(it: Request) -> None:
    it.is_peer_trusted = True


CHANGES: dict[str, Callable[[Request], object]] = {
    "nothing": lambda it: None,  # noqa: ARG005
    "method": lambda it: setattr(it, "method", "PUT"),
    "target": lambda it: setattr(it, "target", "/other"),
    "host": lambda it: setattr(it, "host", "other.example.com"),
    "no host": lambda it: setattr(it, "host", ""),
    "scheme": lambda it: setattr(it, "scheme", "https"),
    "another peer": lambda it: setattr(it, "peer", ClientAddress("192.0.2.8", 4712)),
    "trust": _trusted,
    "body": lambda it: setattr(it, "body", b"hello"),
    "fields": lambda it: it.headers.add("X-New", "1"),
    "looked at": touched,
}


def sent_for(raw: RequestHead, change: Callable[[Request], object], *, via: bool) -> bytes:
    """Return what goes out of a request with this head, which a middleware changes, as a reverse proxy asks for it."""
    it = request(head("A: 1"))
    it.raw = raw
    it.method, it.host = raw.method_text, raw.host_text
    change(it)
    out = repeated(it, raw.sent or {}, via) or Outgoing(it, raw, via=via, hops=None)
    return out.head(b"backend:80", replaces_host=False) + (out.held or b"")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("via", [False, True], ids=["", "via"])
def test_a_head_that_came_before_goes_out_as_what_it_is_now(change: Callable[[Request], object], *, via: bool) -> None:
    raw = parse_request_head(head("A: 1"))
    for before in range(3):  # so that it is known
        sent_for(raw, CHANGES["nothing"], via=bool(before % 2))
        sent_for(raw, CHANGES["nothing"], via=False)
    assert sent_for(raw, change, via=via) == sent_for(parse_request_head(head("A: 1")), change, via=via)


def test_a_head_that_comes_again_from_the_same_client_is_not_put_together_again() -> None:
    raw = parse_request_head(head("A: 1"))
    it = request(head("A: 1"))
    first = Outgoing(it, raw, via=False, hops=None).head(b"backend:80", replaces_host=False)
    assert not raw.sent  # most heads come once
    Outgoing(it, raw, via=False, hops=None).head(b"backend:80", replaces_host=False)
    again = repeated(it, raw.sent or {}, False)
    assert again is not None
    assert again.head(b"", replaces_host=False) == first


def test_of_one_head_a_bounded_number_of_clients_is_remembered() -> None:
    raw = parse_request_head(head("A: 1"))
    for n in range(200):
        sent_for(raw, lambda it, n=n: setattr(it, "peer", ClientAddress(f"192.0.2.{n}", 1)), via=False)  # type: ignore[misc]
    assert raw.sent is not None
    assert len(raw.sent) <= 16


def test_what_a_middleware_made_long_is_not_remembered() -> None:
    raw = parse_request_head(head("A: 1"))
    for _ in range(3):
        sent_for(raw, lambda it: setattr(it, "target", "/" + "x" * 5000), via=False)
    assert not raw.sent


def test_a_replaced_host_is_never_remembered() -> None:
    raw = parse_request_head(head("A: 1"))
    for _ in range(3):
        Outgoing(request(head("A: 1")), raw, via=False, hops=None).head(b"backend:80", replaces_host=True)
    assert not raw.sent


# ------------------------------------------------------------------ untouched heads


def test_an_untouched_head_goes_out_byte_for_byte() -> None:
    data = head("x-Odd:   spaced  ", "Cookie: a=b; c=d", "x-odd: again", "Accept:*/*", target="/a%20b?q=1&&r")
    assert head_of(request(data)) == data.replace(b"\r\n\r\n", b"\r\n") + OWN_LINES + b"\r\n"


def test_host_keeps_its_place() -> None:
    data = b"GET / HTTP/1.1\r\nA: 1\r\nhOST: shop.example.com\r\nB: 2\r\n\r\n"
    assert lines_of(request(data)) == [b"A: 1", b"hOST: shop.example.com", b"B: 2"]


def test_a_touched_head_keeps_order_spelling_and_doubles() -> None:
    data = head("x-Odd: 1", "Cookie: a=b", "x-odd: 2")
    assert lines_of(touched(request(data))) == lines_of(request(data))


def test_changes_of_a_middleware_go_out() -> None:
    it = request(head("A: 1", "B: 2"))
    it.headers["A"] = "new"
    del it.headers["B"]
    it.headers.add("C", "3")
    assert lines_of(it) == [b"Host: shop.example.com", b"A: new", b"C: 3"]


def test_http_10_goes_out_as_11() -> None:
    assert head_of(request(head(version="1.0"))).startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("look", [request, lambda data: touched(request(data))], ids=["untouched", "touched"])
class TestRemovals:
    """What never travels on, whether or not a middleware looked at the head."""

    @pytest.mark.parametrize(
        "line",
        [
            "Connection: keep-alive",
            "Connection: close",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "TE: gzip",
            "Upgrade: h2c",
            "Max-Forwards: 3",
        ],
    )
    def test_a_hop_by_hop_field_stays_behind(self, look: type[Request], line: str) -> None:
        assert lines_of(look(head("A: 1", line, "B: 2"))) == [b"Host: shop.example.com", b"A: 1", b"B: 2"]  # type: ignore[arg-type]

    def test_what_connection_names_stays_behind(self, look: type[Request]) -> None:
        it = look(head("X-Hop: 1", "Connection: x-hop, other", "Other: 2", "A: 1"))  # type: ignore[arg-type]
        assert lines_of(it) == [b"Host: shop.example.com", b"A: 1"]

    @pytest.mark.parametrize("name", ["Host", "Cookie", "Authorization", "Content-Type"])
    def test_what_all_are_meant_to_see_cannot_be_named_away(self, look: type[Request], name: str) -> None:
        fields = ["Cookie: 1", "Authorization: 2", "Content-Type: 3"]
        it = look(head(*fields, f"Connection: {name}"))  # type: ignore[arg-type]
        assert lines_of(it) == [b"Host: shop.example.com", *[each.encode() for each in fields]]

    @pytest.mark.parametrize(
        "line",
        ["X-Forwarded-For: 6.6.6.6", "X_Forwarded_For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X-Real_IP: 6"],
    )
    def test_what_a_stranger_says_of_earlier_hops_stays_behind(self, look: type[Request], line: str) -> None:
        assert b"6.6.6.6" not in head_of(look(head(line)))  # type: ignore[arg-type]

    def test_our_own_fields_cannot_be_named_away(self, look: type[Request]) -> None:
        it = look(head("Connection: X-Forwarded-For, X-Real-IP, Forwarded, Via"))  # type: ignore[arg-type]
        assert OWN_LINES + VIA in head_of(it, via=True)

    def test_te_trailers_is_passed_on(self, look: type[Request]) -> None:
        assert lines_of(look(head("TE: trailers, gzip")))[-2:] == [b"Connection: TE", b"TE: trailers"]  # type: ignore[arg-type]


# ------------------------------------------------------------------ our own fields


def test_via_is_added_on_demand() -> None:
    assert head_of(request(head()), via=True).endswith(OWN_LINES + VIA + b"\r\n")


def test_via_names_the_version_that_came() -> None:
    assert b"Via: 1.0 greenproxy\r\n" in head_of(request(head(version="1.0")), via=True)


def test_via_is_appended_to() -> None:
    assert b"Via: 1.1 other, 1.1 greenproxy\r\n" in head_of(request(head("Via: 1.1 other")), via=True)


def test_a_trusted_peer_is_appended_to() -> None:
    it = request(head("X-Forwarded-For: 198.51.100.1", "X-Forwarded-Port: 443"))
    it.is_peer_trusted = True
    data = head_of(it)
    assert (b"X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n" in data, b"X-Forwarded-Port: 443\r\n" in data) == (True, True)


@pytest.mark.parametrize(("hops", "line"), [(1, b"Max-Forwards: 0\r\n"), (7, b"Max-Forwards: 6\r\n")])
def test_max_forwards_is_one_less(hops: int, line: bytes) -> None:
    assert line in head_of(request(head(f"Max-Forwards: {hops}", method="OPTIONS")), hops=hops)


# ------------------------------------------------------------------ Host


def host_lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\r\n") if line.lower().startswith(b"host:")]


HEADS = {
    "untouched": lambda: request(head("A: 1")),
    "touched": lambda: touched(request(head("A: 1"))),
    "HTTP/1.0 with a host": lambda: request(head("A: 1", version="1.0")),
    "absolute form": lambda: request(head("A: 1", target="http://shop.example.com/x", host="other.example.com")),
    "absolute form, touched": lambda: touched(
        request(head("A: 1", target="http://shop.example.com/x", host="other.example.com"))
    ),
    "HTTP/1.0 in absolute form": lambda: request(head(target="http://shop.example.com/x", host="", version="1.0")),
    "made by a middleware": lambda: Request("GET", "/", path="/", host="shop.example.com"),
}
every_head = pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)


@every_head
def test_a_backend_gets_the_host_that_the_client_meant(make: type[Request]) -> None:
    assert host_lines(head_of(make())) == [b"Host: shop.example.com"]  # type: ignore[call-arg]


@every_head
def test_a_backend_may_get_its_own_host(make: type[Request]) -> None:
    assert host_lines(head_of(make(), replaces_host=True)) == [b"Host: backend:80"]  # type: ignore[call-arg]


@every_head
def test_a_host_that_a_middleware_set_goes_out(make: type[Request]) -> None:
    it = make()  # type: ignore[call-arg]
    it.host = "new.example.com"
    assert host_lines(head_of(it)) == [b"Host: new.example.com"]


@pytest.mark.parametrize("lines", [(), ("A: 1",)], ids=["no field", "a field"])
@pytest.mark.parametrize("look", [request, lambda data: touched(request(data))], ids=["untouched", "touched"])
def test_a_request_without_a_host_gets_the_backends(look: type[Request], lines: tuple[str, ...]) -> None:
    it = look(head(*lines, host="", version="1.0"))  # type: ignore[arg-type]
    assert lines_of(it) == [b"Host: backend:80", *[line.encode() for line in lines]]


def test_absolute_form_goes_out_as_origin_form() -> None:
    it = request(head(target="http://shop.example.com/x?y=1", host="other.example.com"))
    assert head_of(it).startswith(b"GET /x?y=1 HTTP/1.1\r\n")


def test_options_of_the_whole_server_stays_a_star() -> None:
    assert head_of(request(head(method="OPTIONS", target="*"))).startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("target", "/a b"),
        ("target", "/\r\nX: 1"),
        ("target", ""),
        ("target", "/caf\xe9"),
        ("method", "GET /"),
        ("method", ""),
        ("host", "a\r\nX: 1"),
        ("host", "a b"),
    ],
)
def test_what_would_make_another_head_is_refused(attribute: str, value: str) -> None:
    it = request(head())
    setattr(it, attribute, value)
    if value == "" and attribute == "host":
        return
    with pytest.raises(ValueError):  # noqa: PT011
        head_of(it)


# ------------------------------------------------------------------ bodies


def framing_lines(it: Request) -> list[bytes]:
    return [line for line in lines_of(it) if line.lower().startswith((b"content-length", b"transfer-encoding"))]


LENGTH_5 = [b"Content-Length: 5"]
IS_CHUNKED = [b"Transfer-Encoding: chunked"]


def made(body: bytes | Iterable[bytes]) -> Request:
    """Return a request that a middleware made."""
    it = Request("POST", "/", path="/", host="a")
    it.body = body
    return it


def replaced(data: bytes, body: bytes | Iterable[bytes], *, touch: bool) -> Request:
    """Return a request whose body a middleware replaced."""
    it = request(data, ComingBody(b"", [b"old"]))
    it.body = body
    return touched(it) if touch else it


BODIES = {
    # name: (request, framing, held or None, first)
    "none": (lambda: request(head()), [], b"", b""),
    "none, touched": (lambda: touched(request(head())), [], b"", b""),
    "a length of zero": (lambda: request(head("Content-Length: 0", method="POST")), [b"Content-Length: 0"], b"", b""),
    "held": (lambda: request(POST, ComingBody(b"hello")), LENGTH_5, b"hello", b""),
    "held, touched": (lambda: touched(request(POST, ComingBody(b"hello"))), LENGTH_5, b"hello", b""),
    "streamed": (lambda: request(POST, ComingBody(b"he", [b"llo"])), LENGTH_5, None, b"he"),
    "streamed, touched": (lambda: touched(request(POST, ComingBody(b"he", [b"llo"]))), LENGTH_5, None, b"he"),
    "streamed, nothing at hand": (lambda: request(POST, ComingBody(b"", [b"hello"])), LENGTH_5, None, b""),
    "chunked and held": (
        lambda: request(CHUNKED, ComingBody(b"hello")),
        IS_CHUNKED,
        b"5\r\nhello\r\n0\r\n\r\n",
        b"",
    ),
    "chunked with trailers": (
        lambda: request(CHUNKED, ComingBody(b"hello", trailers=b"X-Sum: 1\r\n")),
        IS_CHUNKED,
        b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"",
    ),
    "chunked without a byte": (lambda: request(CHUNKED, ComingBody(b"")), IS_CHUNKED, b"0\r\n\r\n", b""),
    "chunked and streamed": (
        lambda: request(CHUNKED, ComingBody(b"he", [b"llo"])),
        IS_CHUNKED,
        None,
        b"2\r\nhe\r\n",
    ),
    "chunked and streamed, nothing at hand": (lambda: request(CHUNKED, ComingBody(b"", [b"x"])), IS_CHUNKED, None, b""),
    "chunked and streamed, touched": (
        lambda: touched(request(CHUNKED, ComingBody(b"he", [b"llo"]))),
        IS_CHUNKED,
        None,
        b"2\r\nhe\r\n",
    ),
    "bytes where none were": (lambda: replaced(head(), b"hello", touch=False), LENGTH_5, b"hello", b""),
    "bytes where a length was": (
        lambda: replaced(head("Content-Length: 99", method="POST"), b"hello", touch=False), LENGTH_5, b"hello", b"",
    ),
    "bytes where a length was, touched": (
        lambda: replaced(head("Content-Length: 99", method="POST"), b"hello", touch=True), LENGTH_5, b"hello", b"",
    ),
    "bytes where chunks were": (lambda: replaced(CHUNKED, b"hello", touch=False), LENGTH_5, b"hello", b""),
    "no bytes where a length was": (lambda: replaced(POST, b"", touch=False), [b"Content-Length: 0"], b"", b""),
    "an iterable where a length was": (lambda: replaced(POST, [b"x"], touch=False), IS_CHUNKED, None, b""),
    "an iterable where a length was, touched": (lambda: replaced(POST, [b"x"], touch=True), IS_CHUNKED, None, b""),
    "an iterable where chunks were": (lambda: replaced(CHUNKED, [b"x"], touch=False), IS_CHUNKED, None, b""),
    "an iterable where none were": (lambda: replaced(head(), [b"x"], touch=False), IS_CHUNKED, None, b""),
    "made with bytes": (lambda: made(b"hello"), LENGTH_5, b"hello", b""),
    "made with an iterable": (lambda: made([b"x"]), IS_CHUNKED, None, b""),
    "nothing where a length was": (lambda: replaced(POST, NO_BODY, touch=False), [], b"", b""),
    "nothing where a length was, touched": (lambda: replaced(POST, NO_BODY, touch=True), [], b"", b""),
    "made with the fields of one that had a body": (
        lambda: Request("GET", "/", path="/", host="a", headers=Headers([("Content-Length", "5"), ("A", "1")])), [], b"", b"",
    ),
}  # fmt: skip
every_body = pytest.mark.parametrize(("make", "framing", "held", "first"), BODIES.values(), ids=BODIES)


@every_body
def test_the_head_says_how_long_the_body_is(
    make: type[Request], framing: list[bytes], held: bytes | None, first: bytes  # noqa: ARG001
) -> None:  # fmt: skip
    assert framing_lines(make()) == framing  # type: ignore[call-arg]


@every_body
def test_what_is_at_hand_of_a_body_is_taken(
    make: type[Request], framing: list[bytes], held: bytes | None, first: bytes  # noqa: ARG001
) -> None:  # fmt: skip
    it = outgoing(make())  # type: ignore[call-arg]
    assert (it.held, it.first) == (held, first)


@every_body
def test_other_fields_are_not_lost_over_the_framing(
    make: type[Request], framing: list[bytes], held: bytes | None, first: bytes  # noqa: ARG001
) -> None:  # fmt: skip
    assert host_lines(head_of(make()))  # type: ignore[call-arg]


def test_a_body_that_was_used_up_is_not_announced() -> None:
    class UsedUp(ComingBody):
        def take_buffered(self) -> bytes:
            raise BodyGone

    with pytest.raises(BodyGone):
        outgoing(request(POST, UsedUp()))


# ------------------------------------------------------------------ Expect and Upgrade

EXPECTING = head("Content-Length: 5", "Expect: 100-continue", method="POST")


@pytest.mark.parametrize("look", [request, lambda *args: touched(request(*args))], ids=["untouched", "touched"])
def test_expect_is_passed_on_while_the_client_waits(look: type[Request]) -> None:
    it = look(EXPECTING, ComingBody(b"", [b"hello"], expects_continue=True))  # type: ignore[arg-type]
    assert b"Expect: 100-continue" in lines_of(it)


def test_expect_is_not_passed_on_for_a_body_that_is_here() -> None:
    assert not any(line.startswith(b"Expect") for line in lines_of(request(EXPECTING, ComingBody(b"hello"))))


def test_expect_is_not_passed_on_for_a_client_that_was_told_to_go_on() -> None:
    it = request(EXPECTING, ComingBody(b"", [b"hello"], expects_continue=False))
    assert not any(line.startswith(b"Expect") for line in lines_of(it))


@pytest.mark.parametrize("look", [request, lambda data: touched(request(data))], ids=["untouched", "touched"])
def test_a_websocket_may_pass(look: type[Request]) -> None:
    it = look(head("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x"))  # type: ignore[arg-type]
    assert lines_of(it) == [
        b"Host: shop.example.com",
        b"Sec-WebSocket-Key: x",
        b"Connection: upgrade",
        b"Upgrade: WebSocket",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: upgrade", "Upgrade: h2c"),
        ("Connection: upgrade", "Upgrade: websocket, h2c"),
        ("Upgrade: websocket",),
        ("Connection: close", "Upgrade: websocket"),
    ],
)
def test_other_upgrades_do_not_pass(lines: tuple[str, ...]) -> None:
    assert lines_of(request(head(*lines))) == [b"Host: shop.example.com"]


def test_a_client_of_http_10_cannot_upgrade() -> None:
    it = request(head("Connection: upgrade", "Upgrade: websocket", version="1.0"))
    assert lines_of(it) == [b"Host: shop.example.com"]
