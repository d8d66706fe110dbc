"""Finding prefixes, and what a regex must begin with."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from greenproxy.routing.prefixes import Prefixes, literal_start
from tests.counting import Work

WORDS = st.text("/ab", max_size=6)


@given(st.lists(WORDS, max_size=20), WORDS)
def test_all_that_a_text_begins_with_are_found_the_longest_first(texts: list[str], text: str) -> None:
    expected = sorted({each for each in texts if text.startswith(each)}, key=len, reverse=True)
    assert list(Prefixes(texts).of(text)) == expected


def test_ten_thousand_cost_a_search_what_ten_do() -> None:
    costs = []
    for count in (10, 10_000):
        prefixes = Prefixes([f"/team-{n}/" + "x" * (n % 97) for n in range(count)] + ["/"])
        with Work() as work:
            assert list(prefixes.of("/team-7/xxxxxxxy"))[-1] == "/"
        costs.append(work.count)
    assert costs[1] <= costs[0] * 1.5


@pytest.mark.parametrize(
    ("regex", "start"),
    [
        (r"^/api/v\d+", "/api/v"),
        (r"^/a\.b\-c", "/a.b-c"),
        (r"^/ab?c", "/a"),
        (r"^/ab+c", "/ab"),
        (r"^/a{2}", "/"),
        (r"^/a(b|c)", "/a"),
        (r"^/a|^/b", ""),
        (r"/api", ""),
        (r"(?i)^/api", ""),
        (r"^/a[|]b", "/a"),
        (r"^/a[\]]|b]", ""),
        (r"^/a(?#(b)|c", ""),
        (r"^/a\|b", "/a|b"),
        (r"^(/a|/b)", ""),
        (r"^/a$", "/a"),
    ],
)
def test_start_of_a_regex(regex: str, start: str) -> None:
    assert literal_start(regex) == start


@given(st.text("^/ab\\|()[]*+?{}.-x#:i", max_size=12), st.text("/ab|()]-x", max_size=8))
@example(r"^a[\]]|b]", "b]")
def test_a_regex_is_never_found_in_what_begins_otherwise(regex: str, text: str) -> None:
    try:
        found = re.search(regex, text)
    except (re.error, OverflowError, FutureWarning, DeprecationWarning):
        assume(False)
    assert found is None or text.startswith(literal_start(regex))
