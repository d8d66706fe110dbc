"""What wrk, h2load and openssl say becomes figures, and what went wrong is not overlooked."""

from __future__ import annotations

import pytest

from bench.reading import Load, Unreadable, read_h2load_log, read_s_time, read_wrk

_WRK = """Running 11s test @ http://127.0.0.1:18801/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   131.45us  208.58us   3.34ms   92.63%
    Req/Sec    38.09k    14.04k   51.78k   100.00%
  15183 requests in {time}, 2.22MB read
{wrongs}Requests/sec:  37463.54
Transfer/sec:      5.47MB
"""


def wrk(time: str = "405.27ms", wrongs: str = "") -> Load:
    """Read the summary with this duration and these lines of errors."""
    return read_wrk(_WRK.format(time=time, wrongs=wrongs))


@pytest.mark.parametrize(("time", "seconds"), [("405.27ms", 0.40527), ("1.01s", 1.01), ("1.50m", 90.0)])
def test_wrk_tells_requests_and_time(time: str, seconds: float) -> None:
    assert wrk(time) == Load(15183, pytest.approx(seconds))


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("  Non-2xx or 3xx responses: 12\n", "12 answers were not 2xx"),
        ("  Socket errors: connect 0, read 7, write 0, timeout 2\n", "7 errors of read, 2 errors of timeout"),
        ("  Socket errors: connect 0, read 0, write 0, timeout 0\n", ""),
    ],
)
def test_errors_of_wrk_are_a_failure(line: str, failure: str) -> None:
    assert wrk(wrongs=line).failure == failure


def test_wrk_without_an_answer_is_a_failure() -> None:
    assert read_wrk("  0 requests in 1.00s, 0B read\n").failure == "no request was answered"


def test_wrk_that_says_something_else_is_told() -> None:
    with pytest.raises(Unreadable, match="unable to connect"):
        read_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def log(count: int, status: int = 200, per_s: int = 1000) -> str:
    """Return a log of h2load: requests in order, the n-th took n microseconds."""
    return "".join(f"{1_000_000 + n * 1_000_000 // per_s}\t{status}\t{n + 1}\n" for n in range(count))


def test_h2load_tells_percentiles_behind_the_start() -> None:
    load = read_h2load_log(log(2000), 2, 1000)
    assert (load.requests, load.failure) == (1700, "")
    assert load.figures == {"p50_us": 1151, "p99_us": 1984, "p999_us": 1999}


def test_h2load_that_could_not_keep_the_rate_is_a_failure() -> None:
    assert read_h2load_log(log(1000, per_s=500), 2, 1000).failure == "rate missed: 500/s of 1,000/s"


def test_h2load_with_other_answers_is_a_failure() -> None:
    assert read_h2load_log(log(2000, 502), 2, 1000).failure == "1700 answers were not 2xx"


def test_h2load_without_a_log_is_a_failure() -> None:
    assert read_h2load_log("", 1, 1000).requests == 0
    assert read_h2load_log("", 1, 1000).failure


def test_log_of_h2load_in_another_form_is_told() -> None:
    with pytest.raises(Unreadable):
        read_h2load_log("1\t200\n", 1, 1000)


def test_handshakes_of_several_clients_are_added_up() -> None:
    said = "\n\n{} connections in 0.30s; 476.67 connections/user sec, bytes read 32747\n{} connections in 2 real seconds, 9 bytes"
    assert read_s_time([said.format(143, 143), said.format(100, 100)]) == Load(243, 2.0)


def test_handshakes_that_fail_are_a_failure() -> None:
    assert read_s_time(["ERROR\n40:error:alert handshake failure\n"]).failure == "no handshake: 40:error:alert handshake failure"
