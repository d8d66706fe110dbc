"""Field lines: what is kept, what is special, and that remembered names stay few."""

from __future__ import annotations

from greenproxy.protocol.fields import REQUEST, RESPONSE, list_items, sort_fields, without_nominated


def test_lines_are_sorted_in_order() -> None:
    kept, special = sort_fields([b"A: 1", b"host: h", b"Via:  x ", b"B:2", b"VIA: y"], REQUEST)
    assert kept == [b"A: 1", b"host: h", b"B:2"]
    assert special == {b"host": [b"h"], b"via": [b"x", b"y"]}


def test_each_direction_has_its_own_table() -> None:
    lines = [b"Via: x", b"Expect: y", b"Date: z"]
    assert sort_fields(lines, REQUEST) == ([b"Date: z"], {b"via": [b"x"], b"expect": [b"y"]})
    assert sort_fields(lines, RESPONSE) == (lines, {b"date": [b"z"]})


def test_invented_names_do_not_fill_the_memory() -> None:
    sort_fields([b"X-%d: 1" % n for n in range(10_000)], RESPONSE)
    sort_fields([b"X" * 1000 + b": 1"], RESPONSE)
    assert len(RESPONSE) <= 2048
    assert all(len(name) <= 64 for name in RESPONSE)
    assert sort_fields([b"Y-New: 1", b"CONNECTION: a"], RESPONSE) == ([b"Y-New: 1"], {b"connection": [b"a"]})


def test_a_list_is_read_over_all_its_lines() -> None:
    assert list_items([b"A, b", b" ,C\t,,", b""]) == [b"a", b"b", b"c"]


def test_nominated_lines_go_and_protected_ones_stay() -> None:
    lines = [b"Host: a", b"X-Hop: b", b"X-Hop-2: c"]
    assert without_nominated(lines, [b"host", b"x-hop", b"", b'"x-hop-2"']) == [b"Host: a", b"X-Hop-2: c"]
