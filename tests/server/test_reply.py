"""Reply: how answers are framed, for every kind of body and every kind of client (RFC 9112 section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from greenproxy.messages import Request, Response
from greenproxy.protocol.http1 import parse_response_head
from tests.client import Answer, Cut, get
from tests.fakes import ClosingBody
from tests.fronts import MakeFront, answering
from tests.hub import HubClient


def say(*lines: str, status: str = "200 OK") -> object:
    """Return the head of a backend's answer."""
    return parse_response_head("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode())


def relayed(body: bytes | Iterable[bytes], *lines: str, status: str = "200 OK") -> Response:
    """Return a response as the proxy makes it: with the head that came, and nobody looked at it."""
    head = say(*lines, status=status)
    return Response(head.status, body=body, raw=head)  # type: ignore[attr-defined, arg-type]


def from_middleware(response: Response, body: bytes | Iterable[bytes] | None = None, **fields: str) -> Response:
    """Return the response after a middleware: with another body, and other fields."""
    if body is not None:
        response.body = body
    for name, value in fields.items():
        response.headers[name.replace("_", "-")] = value
    return response


# ------------------------------------------------------------------ the table


@dataclass(frozen=True)
class Framed:
    """A response, and how it is delimited for clients of HTTP/1.1 and 1.0: `5` (Content-Length), `chunked` or `closed`."""

    make: Callable[[], Response]
    http11: str
    http10: str


HELLO = (b"he", b"llo")

TABLE = {
    "bytes": Framed(lambda: Response(body=b"hello"), "5", "5"),
    "no bytes": Framed(lambda: Response(body=b""), "0", "0"),
    "an iterable": Framed(lambda: Response(body=list(HELLO)), "chunked", "closed"),
    "an empty iterable": Framed(lambda: Response(body=[]), "chunked", "closed"),
    "an iterable with empty pieces": Framed(lambda: Response(body=[b"", b"he", b"", b"llo", b""]), "chunked", "closed"),
    "an iterable with a length": Framed(lambda: Response(headers={"Content-Length": "5"}, body=list(HELLO)), "5", "5"),
    "an iterable with a length that is none": Framed(
        lambda: Response(headers={"Content-Length": "five"}, body=list(HELLO)), "chunked", "closed"
    ),
    "an iterable that says it is chunked": Framed(
        lambda: Response(headers={"Transfer-Encoding": "chunked"}, body=list(HELLO)), "chunked", "closed"
    ),
    "bytes with a false length": Framed(lambda: Response(headers={"Content-Length": "7"}, body=b"hello"), "5", "5"),
    "relayed bytes": Framed(lambda: relayed(b"hello", "Content-Length: 5"), "5", "5"),
    "relayed pieces with a length": Framed(lambda: relayed(list(HELLO), "Content-Length: 5"), "5", "5"),
    "relayed chunks that came at once": Framed(lambda: relayed(b"hello", "Transfer-Encoding: chunked"), "chunked", "5"),
    "relayed chunks without a byte": Framed(lambda: relayed(b"", "Transfer-Encoding: chunked"), "chunked", "0"),
    "relayed chunks": Framed(lambda: relayed(list(HELLO), "Transfer-Encoding: chunked"), "chunked", "closed"),
    "relayed up to the end": Framed(lambda: relayed(list(HELLO)), "chunked", "closed"),
    "relayed and looked at": Framed(lambda: from_middleware(relayed(b"hello", "Content-Length: 5"), X="1"), "5", "5"),
    "relayed pieces and looked at": Framed(lambda: from_middleware(relayed(list(HELLO), "Content-Length: 5"), X="1"), "5", "5"),
    "replaced by bytes": Framed(lambda: from_middleware(relayed(b"backend's", "Content-Length: 9"), b"hello"), "5", "5"),
    "replaced by bytes and looked at": Framed(
        lambda: from_middleware(relayed(b"backend's", "Content-Length: 9"), b"hello", X="1"), "5", "5"
    ),
    "replaced by bytes, where chunks were": Framed(
        lambda: from_middleware(relayed(b"backend's", "Transfer-Encoding: chunked"), b"hello"), "5", "5"
    ),
    "replaced by pieces": Framed(
        lambda: from_middleware(relayed(b"backend's", "Content-Length: 9"), list(HELLO)), "chunked", "closed"
    ),
    "replaced by pieces and looked at": Framed(
        lambda: from_middleware(relayed(b"backend's", "Content-Length: 9"), list(HELLO), X="1"), "chunked", "closed"
    ),
    "replaced by pieces with a length of their own": Framed(
        lambda: from_middleware(relayed(b"backend's", "Content-Length: 9"), list(HELLO), Content_Length="5"), "5", "5"
    ),
}
every_row = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)


def framing_of(answer: Answer) -> str:
    coding, length = answer.get("transfer-encoding"), answer.get("content-length")
    assert coding is None or length is None
    return coding or length or "closed"


@every_row
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_is_delimited_as_its_client_can_read_it(front: MakeFront, row: Framed, version: str) -> None:
    answer = front(lambda _request: row.make()).connect().ask(get(version=version))
    assert framing_of(answer) == (row.http11 if version == "1.1" else row.http10)


@every_row
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_has_its_body_whatever_its_framing(front: MakeFront, row: Framed, version: str) -> None:
    answer = front(lambda _request: row.make()).connect().ask(get(version=version))
    assert answer.body in (b"hello", b"")


@every_row
def test_only_what_ends_with_the_connection_ends_the_connection(front: MakeFront, row: Framed) -> None:
    client = front(lambda _request: row.make()).connect()
    answer = client.ask(get("/", "Connection: keep-alive", version="1.0"))
    assert (answer.says_close, answer.get("connection") == "keep-alive") == (
        row.http10 == "closed",
        row.http10 != "closed",
    )


@every_row
def test_the_next_answer_follows_on_the_same_connection(front: MakeFront, row: Framed) -> None:
    client = front(lambda _request: row.make()).connect()
    first = client.ask(get())
    second = client.ask(get())
    assert (first.body, first.status) == (second.body, second.status)


@every_row
def test_body_bytes_are_counted_without_their_framing(front: MakeFront, row: Framed) -> None:
    it = front(lambda _request: row.make())
    answer = it.connect().ask(get())
    assert it.ended()[0].bytes_out == len(answer.body)


@every_row
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_head_gets_no_body(front: MakeFront, row: Framed, version: str) -> None:
    client = front(lambda _request: row.make()).connect()
    client.send(get("/", "Connection: close", method="HEAD", version=version))
    client.head()
    assert client.until_closed() == b""


@every_row
def test_head_may_be_followed_by_another_request(front: MakeFront, row: Framed) -> None:
    client = front(lambda _request: row.make()).connect()
    statuses = [client.ask(get(method="HEAD")).status for _ in range(2)]
    assert statuses == [200, 200]


@every_row
@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_get_none(front: MakeFront, row: Framed, status: int) -> None:
    def handler(_request: Request) -> Response:
        response = row.make()
        response.status = status
        return response

    client = front(handler).connect()
    client.send(get("/", "Connection: close"))
    client.head()
    assert client.until_closed() == b""


@every_row
def test_a_204_has_no_length(front: MakeFront, row: Framed) -> None:
    def handler(_request: Request) -> Response:
        response = row.make()
        response.status = 204
        return response

    answer = front(handler).connect().ask(get())
    assert (answer.get("content-length"), answer.get("transfer-encoding")) == (None, None)


# ------------------------------------------------------------------ lengths that are not true

STATED = {"own": lambda n, pieces: Response(headers={"Content-Length": n}, body=pieces)} | {
    "set by middleware": lambda n, pieces: from_middleware(relayed(b"backend's", "Content-Length: 9"), pieces, Content_Length=n)
}
every_maker = pytest.mark.parametrize("make", STATED.values(), ids=STATED)


def cut_off(client: HubClient) -> Cut:
    """Return how an answer was cut."""
    with pytest.raises(Cut) as cut:
        client.ask(get())
    return cut.value


@every_maker
def test_fewer_bytes_than_stated_are_a_cut(front: MakeFront, make: Callable[..., Response]) -> None:
    it = front(lambda _request: make("7", list(HELLO)))
    assert (cut_off(it.connect()).got, it.reasons) == (b"hello", ["app-error"])


@every_maker
def test_more_bytes_than_stated_are_a_cut(front: MakeFront, make: Callable[..., Response]) -> None:
    it = front(lambda _request: make("3", list(HELLO)))
    assert (cut_off(it.connect()).got, it.reasons) == (b"he", ["app-error"])


@every_maker
def test_more_bytes_than_stated_in_the_first_piece_can_still_be_told(front: MakeFront, make: Callable[..., Response]) -> None:
    it = front(lambda _request: make("1", list(HELLO)))
    assert (it.connect().ask(get()).status, it.reasons) == (500, ["app-error"])


@pytest.mark.parametrize("stated", ["1", "7"])
def test_a_body_of_a_false_length_is_closed_once(front: MakeFront, stated: str) -> None:
    body = ClosingBody([b"he", b"llo"])
    it = front(lambda _request: Response(headers={"Content-Length": stated}, body=body))
    client = it.connect()
    client.send(get())
    it.ended()
    assert body.closed == 1


# ------------------------------------------------------------------ heads


def test_an_untouched_head_goes_out_as_it_came(front: MakeFront) -> None:
    lines = ["x-Odd:  spaced  ", "Content-Length: 5", "Date: yesterday", "X-Odd: again"]
    answer = front(lambda _request: relayed(b"hello", *lines, status="200 Fine by me")).connect().ask(get())
    assert (answer.head.split(b"\r\n")[0], answer.lines) == (b"HTTP/1.1 200 Fine by me", lines)


def test_a_date_is_added_where_none_is(front: MakeFront) -> None:
    assert front(answering(Response())).connect().ask(get()).get("date")


def test_hop_by_hop_fields_of_a_backend_stay_behind(front: MakeFront) -> None:
    response = relayed(b"hello", "Content-Length: 5", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=1", "Upgrade: h2c")
    answer = front(answering(response)).connect().ask(get())
    assert [answer.get(name) for name in ("connection", "x-hop", "keep-alive", "upgrade")] == [None] * 4


def test_hop_by_hop_fields_of_a_handler_are_not_believed(front: MakeFront) -> None:
    client = front(answering(Response(headers={"Connection": "close", "Keep-Alive": "x"}, body=b"hello"))).connect()
    answer = client.ask(get())
    assert (answer.get("connection"), answer.get("keep-alive"), client.ask(get()).body) == (None, None, b"hello")


def test_a_status_that_a_middleware_changed_is_what_goes_out(front: MakeFront) -> None:
    def handler(_request: Request) -> Response:
        response = relayed(b"hello", "Content-Length: 5")
        response.status = 503
        return response

    it = front(handler)
    answer = it.connect().ask(get())
    assert (answer.status, answer.reason, it.ended()[0].status) == (503, "Service Unavailable", 503)


def test_fields_that_a_middleware_changed_are_what_goes_out(front: MakeFront) -> None:
    response = from_middleware(relayed(b"hello", "Content-Length: 5", "X-A: backend"), X_A="middleware", X_B="new")
    answer = front(answering(response)).connect().ask(get())
    assert (answer.all("x-a"), answer.all("x-b"), answer.reason) == (["middleware"], ["new"], "OK")


@pytest.mark.parametrize("status", [299, 599])
def test_a_status_without_a_phrase_of_its_own_may_be_sent(front: MakeFront, status: int) -> None:
    answer = front(answering(Response(status))).connect().ask(get())
    assert (answer.status, answer.reason) == (status, "")


@pytest.mark.parametrize("row", ["bytes", "an iterable with a length", "relayed bytes", "relayed and looked at"])
def test_head_tells_the_length_that_get_would_have(front: MakeFront, row: str) -> None:
    assert front(lambda _request: TABLE[row].make()).connect().ask(get(method="HEAD")).get("content-length") == "5"


def test_a_304_keeps_the_length_of_what_it_stands_for(front: MakeFront) -> None:
    answer = front(answering(relayed(b"", "Content-Length: 5", status="304 Not Modified"))).connect().ask(get())
    assert answer.get("content-length") == "5"


def test_a_handler_may_tell_the_length_that_head_asks_for(front: MakeFront) -> None:
    response = Response(headers={"Content-Length": "1234"})
    assert front(answering(response)).connect().ask(get(method="HEAD")).get("content-length") == "1234"


def test_head_does_not_tell_the_length_of_a_body_that_a_middleware_replaced(front: MakeFront) -> None:
    response = from_middleware(relayed(b"", "Content-Length: 9"), b"hello")
    assert front(answering(response)).connect().ask(get(method="HEAD")).get("content-length") == "5"
