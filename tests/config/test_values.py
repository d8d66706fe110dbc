from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.config.errors import BadValue
from greenproxy.config.values import (
    LONGEST_S,
    format_duration,
    format_size,
    keyword,
    parse_choice,
    parse_count,
    parse_duration_s,
    parse_metric_prefix,
    parse_name,
    parse_size_bytes,
    parse_switch,
)
from tests.config.verdicts import is_read_or_refused


def refusal(parse: Callable[[str], Any], text: str) -> tuple[str, str]:
    with pytest.raises(BadValue) as refused:
        parse(text)
    return str(refused.value), refused.value.suggestion


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("2m", 120),
        ("1h", 3600),
        ("7", 7),
        ("0", 0),
        ("1.5s", 1.5),
        ("0.1", 0.1),
        ("8784h", LONGEST_S),
    ],
)
def test_durations_have_units_and_bare_numbers_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("5 s", "5s"),
        ("5 seconds", "5s"),
        ("5sec", "5s"),
        ("2min", "2m"),
        ("1hour", "1h"),
        ("1H", "1h"),
        ("250 msec", "250ms"),
        ("3 milliseconds", "3ms"),
        ("-1s", ""),
        ("1d", ""),
        ("1.s", ""),
        (".5s", ""),
        ("1e3", ""),
        ("inf", ""),
        ("nan", ""),
        ("1m30s", ""),
        ("\u0665s", ""),
    ],
)
def test_other_durations_are_refused_with_what_may_be_meant(text: str, suggestion: str) -> None:
    assert refusal(parse_duration_s, text) == (f"{text!r} is not a duration such as 250ms, 5s, 2m or 1h", suggestion)


def test_a_duration_is_at_most_a_year() -> None:
    assert refusal(parse_duration_s, "8785h") == ("8785h is longer than a year", "")


@pytest.mark.parametrize(("text", "size"), [("512", 512), ("0", 0), ("64KiB", 65536), ("1MiB", 1048576), ("2GiB", 2147483648)])
def test_sizes_have_units_and_bare_numbers_are_bytes(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("64k", "64KiB"), ("64KB", "64KiB"), ("1 mib", "1MiB"), ("1G", "1GiB"), ("1TiB", ""), ("-1", ""), ("1.5MiB", ""), ("x", "")],
)
def test_other_sizes_are_refused_with_what_may_be_meant(text: str, suggestion: str) -> None:
    assert refusal(parse_size_bytes, text) == (f"{text!r} is not a size such as 512, 64KiB or 1MiB", suggestion)


@pytest.mark.parametrize(("text", "expected"), [("on", True), ("off", False)])
def test_switches_are_on_or_off(text: str, expected: bool) -> None:
    assert parse_switch(text) is expected


@pytest.mark.parametrize(
    ("text", "suggestion"), [("true", "on"), ("Yes", "on"), ("1", "on"), ("0", "off"), ("onn", "on"), ("x", "")]
)
def test_other_switches_are_refused_with_what_is_meant(text: str, suggestion: str) -> None:
    assert refusal(parse_switch, text) == (f"{text!r} is neither on nor off", suggestion)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1", "'-1' is not a whole number"),
        ("1.0", "'1.0' is not a whole number"),
        ("0x10", "'0x10' is not a whole number"),
        ("\u0661", "'\u0661' is not a whole number"),
        ("9" * 5000, f"{'9' * 5000!r} is not a whole number"),
        ("1", "1 is too small: at least 2"),
        ("9", "9 is too large: at most 8"),
    ],
)
def test_numbers_are_whole_and_within_their_bounds(text: str, message: str) -> None:
    assert refusal(lambda value: parse_count(value, 2, 8), text) == (message, "")


def test_a_word_that_is_not_among_the_known_ones_is_refused_with_the_nearest() -> None:
    assert parse_choice("info", ("info", "debug")) == "info"
    assert refusal(lambda text: parse_choice(text, ("debug", "info", "error")), "inf") == (
        "unknown value 'inf': debug, info or error",
        "info",
    )


def test_a_word_of_a_later_version_is_not_unknown() -> None:
    assert refusal(lambda text: parse_choice(text, ("http",), ("tcp",)), "tcp") == ("tcp is not available in this version", "")


@pytest.mark.parametrize("text", ["", "a b", "-a", ".a", "a/b", "\u00e9", "a:b"])
def test_names_have_letters_digits_and_a_few_signs(text: str) -> None:
    assert parse_name("A-b_c.d1") == "A-b_c.d1"
    assert refusal(parse_name, text)[1] == ""


@pytest.mark.parametrize("text", ["a..b", ".a", "a.", "a b", "a:b"])
def test_metric_prefixes_are_words_with_dots_between(text: str) -> None:
    assert parse_metric_prefix("edge-1.greenproxy") == "edge-1.greenproxy"
    assert refusal(parse_metric_prefix, text)[1] == ""


def test_a_key_becomes_a_keyword_with_underscores() -> None:
    assert keyword("max-age") == "max_age"
    assert refusal(keyword, "2nd") == ("cannot be a keyword of a Python function", "")


@settings(deadline=None)
@given(st.one_of(st.integers(0, int(LONGEST_S)), st.integers(0, 10**7).map(lambda number: number / 1000)))
def test_what_is_written_of_a_duration_is_read_as_the_same(seconds: float) -> None:
    assert parse_duration_s(format_duration(seconds)) == seconds


@settings(deadline=None)
@given(st.integers(0, 2**45))
def test_what_is_written_of_a_size_is_read_as_the_same(size: int) -> None:
    assert parse_size_bytes(format_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0"), (0.25, "250ms"), (60, "60s"), (600, "10m"), (5400, "90m"), (7200, "2h"), (1.5, "1.5s")]
)
def test_durations_are_written_as_people_write_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@settings(deadline=None)
@given(
    st.text(), st.sampled_from([parse_switch, parse_count, parse_duration_s, parse_size_bytes, parse_name, parse_metric_prefix])
)
def test_any_text_is_a_value_or_a_bad_value(text: str, parse: Callable[[str], Any]) -> None:
    assert is_read_or_refused(parse, text)
