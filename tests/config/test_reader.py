from __future__ import annotations

import configparser
import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenproxy.config.reader import Reader


def read(text: str, environ: Mapping[str, str] | None = None) -> dict[str, dict[str, list[tuple[int, str]]]]:
    reader = Reader(text, "f.ini", environ or {})
    assert [str(error) for error in reader.errors] == []
    return {
        section.title: {key: [(line.number, line.text) for line in entry.lines] for key, entry in section.entries.items()}
        for section in reader.sections
    }


def complaints(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    return [str(error) for error in Reader(text, "f.ini", environ or {}).errors]


def test_every_line_of_a_value_knows_its_number() -> None:
    text = "[greenproxy]\n\nworkers = 2\n[listener:web]\nbind =\n  a\n\n  # a note\n  b\nupstream = x\n"
    assert read(text) == {
        "greenproxy": {"workers": [(3, "2")]},
        "listener:web": {"bind": [(6, "a"), (9, "b")], "upstream": [(10, "x")]},
    }


def test_a_section_knows_its_line_kind_and_name() -> None:
    section = Reader("\n[ listener : web ]\n", "f.ini", {}).sections[0]
    assert (section.kind, section.name, section.line, section.title) == ("listener", "web", 2, "listener:web")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("k = a # note", "a"),
        ("k = a\t# note", "a"),
        ("k = a#b", "a#b"),
        ("k = a \\# b", "a # b"),
        ("k = \\#a # b", "#a"),
        ("k = a ; b", "a ; b"),
        ("k = 100%", "100%"),
        ("k = %(x)s", "%(x)s"),
        ("k = a=b", "a=b"),
        ("k=a", "a"),
        ("  k   =   a  ", "a"),
        ("k = a:b", "a:b"),
        ("k = $a $ {b}", "$a $ {b}"),
        ("k = \\${HOME}", "${HOME}"),
        ("k = a\r", "a"),
    ],
)
def test_signs_mean_what_the_reference_says(line: str, value: str) -> None:
    assert read(f"[greenproxy]\n{line}\n") == {"greenproxy": {"k": [(2, value)]}}


@pytest.mark.parametrize("line", ["# a", "; a", "   # a", "   ; a", "#", ";", "", "   ", "\t"])
def test_comments_and_empty_lines_neither_say_nor_end_anything(line: str) -> None:
    assert read(f"[greenproxy]\nk =\n  a\n{line}\n  b\n") == {"greenproxy": {"k": [(3, "a"), (5, "b")]}}


def test_keys_may_be_indented_as_long_as_values_are_indented_more() -> None:
    assert read("[greenproxy]\n  a = 1\n    2\n  b = 3\nc = 4\n") == {
        "greenproxy": {"a": [(2, "1"), (3, "2")], "b": [(4, "3")], "c": [(5, "4")]}
    }


def test_a_tab_is_as_deep_as_it_looks() -> None:
    assert read("[greenproxy]\n  a =\n\tb = 1\n\tc\n") == {"greenproxy": {"a": [(3, "b = 1"), (4, "c")]}}


def test_a_bracket_or_an_equals_sign_in_a_continued_value_is_part_of_it() -> None:
    assert read("[listener:web]\nbind =\n  [::1]:80\n  a = b\n") == {"listener:web": {"bind": [(3, "[::1]:80"), (4, "a = b")]}}


def test_a_byte_order_mark_is_no_character() -> None:
    assert read("\ufeff[greenproxy]\nk = 1\n") == {"greenproxy": {"k": [(2, "1")]}}


def test_an_environment_variable_takes_its_place_and_begins_no_comment() -> None:
    assert read("[greenproxy]\nk = a${X}c${X} # ${Y}\n", {"X": " #b"}) == {"greenproxy": {"k": [(2, "a #bc #b")]}}


def test_an_empty_variable_leaves_an_empty_value() -> None:
    assert read("[greenproxy]\nk = ${X}\n", {"X": " "}) == {"greenproxy": {"k": []}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", ["f.ini:1: x: stands before the first [section]"]),
        ("x = 1\n  2\n  3", ["f.ini:1: x: stands before the first [section]"]),
        ("[greenproxy]\nx", ["f.ini:2: [greenproxy] expected key = value"]),
        ("[greenproxy]\nx\n  y\n  z", ["f.ini:2: [greenproxy] expected key = value"]),
        ("[greenproxy]\nx: 1", ["f.ini:2: [greenproxy] expected key = value (did you mean x = 1?)"]),
        ("[greenproxy]\nhttp://a", ["f.ini:2: [greenproxy] expected key = value"]),
        ("[greenproxy]\nx y = 1", ["f.ini:2: [greenproxy] expected key = value"]),
        ("[greenproxy]\n= 1", ["f.ini:2: [greenproxy] expected key = value"]),
        ("[greenproxy]\nx = 1\nx = 2", ["f.ini:3: [greenproxy] x: key stands here twice, first in line 2"]),
        ("[greenproxy]\n[greenproxy]", ["f.ini:2: [greenproxy] section stands here twice, first in line 1"]),
        (
            "[listener:a]\n\n[ listener:a]\nbind = x",
            ["f.ini:3: [listener:a] section stands here twice, first in line 1"],
        ),
        ("[greenproxy:x]", ["f.ini:1: [greenproxy:x] has no name (did you mean greenproxy?)"]),
        ("[listener]", ["f.ini:1: [listener] needs a name of letters, digits, '-', '_' and '.': [listener:NAME]"]),
        ("[listener:a b]", ["f.ini:1: [listener:a b] needs a name of letters, digits, '-', '_' and '.': [listener:NAME]"]),
        ("[lisener:a]", ["f.ini:1: [lisener:a] unknown section (did you mean listener:a?)"]),
        ("[upstreams]", ["f.ini:1: [upstreams] unknown section (did you mean upstream:NAME?)"]),
        ("[greenproxi]", ["f.ini:1: [greenproxi] unknown section (did you mean greenproxy?)"]),
        ("[x:y]\nz = 1", ["f.ini:1: [x:y] unknown section"]),
        ("[listener:a", ["f.ini:1: a section is written [kind:name]"]),
        ("[listener:a] x", ["f.ini:1: a section is written [kind:name]"]),
        ("[]", ["f.ini:1: a section is written [kind:name]"]),
        ("[greenproxy]\nx = ${NO}", ["f.ini:2: [greenproxy] x: environment variable NO is not set"]),
        ("[greenproxy]\nx =\n  a\n  ${NO}", ["f.ini:4: [greenproxy] x: environment variable NO is not set"]),
        ("[greenproxy]\nx = ${", ["f.ini:2: [greenproxy] x: an environment variable is written ${NAME}; \\${ is just that"]),
        ("[greenproxy]\nx = ${a b}", ["f.ini:2: [greenproxy] x: an environment variable is written ${NAME}; \\${ is just that"]),
        ("[greenproxy]\nx = a\x00b", ["f.ini:2: [greenproxy] a control character, or bytes that are not UTF-8"]),
        ("[greenproxy]\nx =\n  a\udcffb", ["f.ini:3: [greenproxy] x: a control character, or bytes that are not UTF-8"]),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, expected: list[str]) -> None:
    assert complaints(text) == expected


def test_a_variable_may_not_smuggle_in_a_line() -> None:
    assert complaints("[greenproxy]\nx = ${X}", {"X": "a\nb"}) == [
        "f.ini:2: [greenproxy] x: a control character, or bytes that are not UTF-8"
    ]


# What both can read: no colons (configparser separates keys with them, too), no dollars, and no tabs (it counts one as one).
_word = st.text("ab1=[]%;#-", min_size=1, max_size=4).filter(lambda word: word[0] not in "#;[=")
_value = st.lists(_word, max_size=3).map(" ".join)
_indent = st.sampled_from(["", " ", "  ", "    "])
_key_line = st.builds("{}{} = {}".format, _indent, st.from_regex(r"[abc]{1,3}", fullmatch=True), _value)
_more_line = st.builds("{}{}".format, st.sampled_from(["   ", "          "]), _word)
_any_line = st.one_of(
    _key_line, _more_line, st.sampled_from(["", "# x", "  # x", "; x", "[listener:a]", "[greenproxy]", "[demo:b]"])
)


@settings(deadline=None)
@given(st.lists(_any_line, max_size=12))
def test_configparser_reads_the_same(lines: list[str]) -> None:
    text = "[upstream:first]\n" + "\n".join(lines)
    reader = Reader(text, "f.ini", {})
    if reader.errors:
        return
    oracle = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), inline_comment_prefixes=("#",), empty_lines_in_values=True
    )
    oracle.read_string(text)
    ours = {
        section.title: {k: [line.text for line in e.lines] for k, e in section.entries.items()} for section in reader.sections
    }
    theirs = {
        title: {key: [line for line in value.split("\n") if line] for key, value in oracle[title].items()}
        for title in oracle.sections()
    }
    assert ours == theirs


@settings(deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    count = text.count("\n") + 1
    for error in Reader(text, "f.ini", {}).errors:
        assert re.match(r"f\.ini:\d+: ", str(error))
        assert 1 <= error.line <= count
