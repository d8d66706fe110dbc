"""The lines of the access log."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenproxy.exchange import Exchange
from greenproxy.messages import Headers
from greenproxy.observability import access_format
from greenproxy.observability.access_format import JSON_KEYS, combined_line, json_line
from tests.counting import Work
from tests.observability.exchanges import CLIENT, exchange, proxied, request

COMBINED = re.compile(
    rb"(?P<client>\S+) - - \[(?P<time>[^]]+)\] "
    rb'"(?P<line>(?:[^"\\\x00-\x1f\x7f-\xff]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+) '
    rb'"(?P<referer>(?:[^"\\\x00-\x1f\x7f-\xff]|\\.)*)" "(?P<agent>(?:[^"\\\x00-\x1f\x7f-\xff]|\\.)*)" '
    rb"(?P<took>\d+\.\d{3}) (?P<upstream>\S+) (?P<backend>\S+) (?P<upstream_time>\d+\.\d{3}|-) (?P<reason>\S+)\n"
)


def combined(done: Exchange) -> dict[str, str]:
    """Return the fields of a combined line, which must be one line."""
    match = COMBINED.fullmatch(combined_line(done))
    assert match is not None, combined_line(done)
    return {name: text.decode() for name, text in match.groupdict().items()}


def as_json(done: Exchange) -> dict[str, object]:
    line = json_line(done)
    assert line.count(b"\n") == 1
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


BLOCK = b"Host: a.example\r\nuser-agent: curl/8 (x)\r\nX-Referer: no\r\nREFERER:  http://b/\t\r\nAccept: */*\r\n"


def test_combined_line_in_full() -> None:
    done = proxied()
    done.request = request(block=BLOCK)
    done.upstream_time_s = 0.0044
    line = re.sub(rb"\[[^]]+\]", b"[TIME]", combined_line(done))
    assert line == b'203.0.113.7 - - [TIME] "GET /x?y=1 HTTP/1.1" 200 70 "http://b/" "curl/8 (x)" 0.012 shop blue 0.004 -\n'


def test_absent_fields_of_a_combined_line_are_dashes() -> None:
    fields = combined(exchange(request(), status=404, reason="no-route"))
    assert [fields[key] for key in ("referer", "agent", "upstream", "backend", "upstream_time")] == ["-"] * 5
    assert fields["reason"] == "no-route"


def test_bytes_that_became_no_request_are_shown_as_they_came() -> None:
    done = exchange(None, status=400, reason="bad-request")
    done.first_line = b'\x16\x03\x01"\\\xff hello'
    assert combined(done)["line"] == r"\x16\x03\x01\"\\\xff hello"


def test_connection_without_a_single_line_has_one_in_the_log() -> None:
    assert combined(exchange(None, status=408, reason="header-timeout"))["line"] == "-"


def test_nothing_sent_is_status_000() -> None:
    assert combined(exchange(request(), status=0, reason="stopped"))["status"] == "000"


def test_json_line_has_its_keys_in_order() -> None:
    assert tuple(as_json(proxied())) == JSON_KEYS


def test_json_line_in_full() -> None:
    done = proxied(retried=["connect-refused", "503"], status=504, reason="response-timeout")
    assert done.request is not None
    done.request.raw = request(block=BLOCK).raw
    done.request.host, done.request.request_id = "a.example", "abc"
    found = as_json(done)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(found.pop("time")))
    assert found == {
        "client": "203.0.113.7",
        "method": "GET",
        "target": "/x?y=1",
        "protocol": "HTTP/1.1",
        "host": "a.example",
        "status": 504,
        "bytes_in": 3,
        "bytes_out": 70,
        "referer": "http://b/",
        "user_agent": "curl/8 (x)",
        "request_time": 0.012,
        "upstream": "shop",
        "backend": "blue",
        "upstream_time": 0.004,
        "retries": 2,
        "retry_reasons": ["connect-refused", "503"],
        "request_id": "abc",
        "reason": "response-timeout",
        "worker": os.getpid(),
    }


def test_reasons_of_retries_stand_behind_their_number() -> None:
    keys = list(as_json(proxied(retried=["backend-closed"])))
    assert keys[keys.index("retries") + 1] == "retry_reasons"
    keys.remove("retry_reasons")
    assert tuple(keys) == JSON_KEYS


def test_the_combined_format_knows_no_retries() -> None:
    assert combined(proxied(retried=["backend-closed"])).keys() == combined(proxied()).keys()


def test_absent_values_of_a_json_line_are_null() -> None:
    found = as_json(exchange(request()))
    absent = ("referer", "user_agent", "upstream", "backend", "upstream_time", "request_id", "reason")
    assert [found[key] for key in absent] == [None] * len(absent)
    assert found["retries"] == 0


@pytest.mark.parametrize(
    ("first_line", "expected"),
    [
        (b"GET /x HTTP/1.1", ("GET", "/x", "HTTP/1.1")),
        (b"GET /a b HTTP/2.0", ("GET", "/a b", "HTTP/2.0")),
        (b"GET /x", (None, "GET /x", None)),
        (b"\x16\x03\x01", (None, "\x16\x03\x01", None)),
        (b"", (None, None, None)),
    ],
)
def test_json_line_splits_what_looks_like_a_request_line(first_line: bytes, expected: tuple[str | None, ...]) -> None:
    done = exchange(None, status=400, reason="bad-request")
    done.first_line = first_line
    found = as_json(done)
    assert (found["method"], found["target"], found["protocol"]) == expected


def test_log_shows_what_the_client_sent_not_what_a_middleware_made_of_it() -> None:
    asked = request(block=b"User-Agent: theirs\r\n")
    asked.headers["User-Agent"] = "ours"
    assert combined(exchange(asked))["agent"] == "theirs"


def test_request_without_bytes_is_read_from_its_headers() -> None:
    asked = request(block=None)
    asked.headers["Referer"] = "http://b/"
    assert combined(exchange(asked))["referer"] == "http://b/"


def test_log_does_not_make_headers_of_bytes() -> None:
    asked = request(block=BLOCK)
    combined_line(exchange(asked))
    json_line(exchange(asked))
    assert asked.headers_if_read is None


def test_exchange_that_has_no_end_yet_is_logged_up_to_now() -> None:
    done = exchange(request())
    done.ended_s = 0.0
    assert float(combined(done)["took"]) >= 0


@pytest.mark.parametrize(
    ("sent", "escaped"),
    [('"', r"\""), ("\\", r"\\"), ("\t", r"\x09"), ("\x7f", r"\x7f"), ("é", r"\xe9"), ("\n", r"\x0a"), ("€", r"\u20ac")],
)
def test_what_could_break_a_line_is_escaped(sent: str, escaped: str) -> None:
    asked = request(target=f"/{sent}", block=None)
    asked.headers.add("Referer", "x")
    assert combined(exchange(asked))["line"] == f"GET /{escaped} HTTP/1.1"


raw_text = st.text(st.characters(max_codepoint=255), max_size=30)


@given(raw_text, raw_text, raw_text, st.binary(max_size=40))
def test_nothing_a_client_sends_breaks_a_line(target: str, referer: str, agent: str, first_line: bytes) -> None:
    asked = request(target=target, block=f"Referer:{referer}\r\nUser-Agent:{agent}\r\n".encode("latin-1"))
    asked.host = agent
    garbage = exchange(None, status=400)
    garbage.first_line = first_line
    for done in (exchange(asked), garbage):
        combined(done)
        as_json(done)
    assert as_json(exchange(asked))["target"] == (target or None)


@given(st.text(max_size=30))
def test_text_that_a_middleware_set_breaks_nothing_either(text: str) -> None:
    asked = request(target=text, method=text, host=text, block=None)
    asked.request_id = text
    combined(exchange(asked))
    assert as_json(exchange(asked))["request_id"] == (text or None)


def test_client_of_a_unix_socket_has_a_name() -> None:
    asked = request()
    asked.client = CLIENT._replace(ip="unix:", port=0)
    assert combined(exchange(asked))["client"] == "unix:"


def test_headers_class_is_not_needed_for_a_line() -> None:
    assert Headers.from_block(BLOCK)["referer"] == "http://b/"  # what the cut must agree with
    assert combined(exchange(request(block=BLOCK)))["referer"] == "http://b/"


@pytest.mark.parametrize("form", [combined_line, json_line])
def test_fields_that_come_again_are_not_read_again(form: Callable[[Exchange], bytes]) -> None:
    done = proxied()
    assert done.request is not None
    done.request.raw = request(block=BLOCK + b"Cookie: " + b"x" * 300 + b"\r\n").raw
    form(done)
    with Work() as work:
        form(done)
    assert work.count < 400


@pytest.mark.parametrize("form", [combined_line, json_line])
def test_what_is_known_of_fields_and_words_is_bounded(form: Callable[[Exchange], bytes]) -> None:
    for number in range(2000):
        asked = request(block=b"User-Agent: %d\r\n" % number)
        asked.host = f"host-{number}"
        assert b"%d" % number in form(exchange(asked))
    assert len(access_format._said_combined) <= 512 >= len(access_format._said_json)
    assert len(access_format._texts) <= 512


def test_a_forked_process_logs_its_own_number() -> None:
    child = os.fork()
    if not child:
        os._exit(0 if as_json(proxied())["worker"] == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
