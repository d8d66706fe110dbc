from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.inis import mistakes_in

REST = """
[listener:rest]
bind = 127.0.0.1:0
upstream = rest
[upstream:rest]
backends = http://127.0.0.1:9001
"""


def table() -> list[tuple[str, list[str]]]:
    """Return the cases of mistakes.txt: a configuration, and the lines that are said of it."""
    cases = []
    for block in Path(__file__).with_name("mistakes.txt").read_text().split("\n\n"):
        if block.startswith("["):
            lines = block.strip("\n").split("\n")
            text = "\n".join(line for line in lines if not line.startswith("--> "))
            cases.append((text, [line.removeprefix("--> ") for line in lines if line.startswith("--> ")]))
    return cases


@pytest.mark.parametrize(("text", "expected"), table(), ids=[" ".join(expected) for _, expected in table()])
def test_one_mistake_is_one_line(text: str, expected: list[str]) -> None:
    assert mistakes_in(text + REST) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: no [listener:NAME] section: nothing to serve"]),
        ("[upstream:a]\nbackends = http://b", ["1: no [listener:NAME] section: nothing to serve"]),
        ("[listener:a]\nbind = :80", ["1: [listener:a] has neither an upstream nor a route: there is nothing it could answer"]),
        (
            "[listener:a]\nbind = :80\n[listener:b]\nbind = :81\n[route:r]\nlistener = a\nstatus = 404",
            ["3: [listener:b] has neither an upstream nor a route: there is nothing it could answer"],
        ),
        (
            "[listener:a]\nbind = :80\n[upstream:x]\nbackends = http://x\n[upstream:y]\nbackends = http://y",
            ["1: [listener:a] names no upstream, and there are 2 to choose from: x, y"],
        ),
        ("[listener:a]\nbind = :80\n[route:r]\npath = /x", ["3: [route:r] has no answer: upstream, redirect or status"]),
        (
            "[upstream:x]\nbackends = http://x\n[listener:a]\nbind = :80\n[listener:b]\nbind = 127.0.0.1:80",
            ["6: [listener:b] bind: 127.0.0.1:80 is taken by :80 of [listener:a] in line 4"],
        ),
        (
            "[upstream:x]\nbackends = http://x\n[listener:a]\nbind =\n  :81\n  0.0.0.0:80\n[demo:b]\nbind = :80",
            ["8: [demo:b] bind: :80 is taken by 0.0.0.0:80 of [listener:a] in line 6"],
        ),
        (
            "[upstream:x]\nbackends = http://x\n[listener:a]\nbind = unix:s\n[listener:b]\nbind = unix:/etc/greenproxy/s",
            ["6: [listener:b] bind: unix:/etc/greenproxy/s is taken by unix:/etc/greenproxy/s of [listener:a] in line 4"],
        ),
        (
            "[app:docs]\ntype = static\nroot = .",
            ["1: no [listener:NAME] section: nothing to serve", "1: [app:docs] not available in this version"],
        ),
    ],
)
def test_mistakes_between_sections_are_told_where_they_can_be_mended(text: str, expected: list[str]) -> None:
    assert sorted(mistakes_in(text)) == sorted(expected)


MANY = """\
        x = 1
        [greenproxi]
        [greenproxy]
        worker = 2
        statsd = ${NOPE}
        [listener:web]
        bind = 8080
        middleware = request_id, rate-limit
        upstream = shpo
        [listener:web]
        [upstream:shop]
        backends =
           https://a
           127.0.0.1:9001
        pool-size = 0
        [app:x]
        [route:a]
        listener = wbe
        path = api
        upstream = shop
    """


def test_every_mistake_of_a_file_is_told_in_the_order_of_its_lines() -> None:
    assert mistakes_in(MANY) == [
        "1: x: stands before the first [section]",
        "2: [greenproxi] unknown section (did you mean greenproxy?)",
        "4: [greenproxy] worker: unknown key (did you mean workers?)",
        "5: [greenproxy] statsd: environment variable NOPE is not set",
        "7: [listener:web] bind: '8080' is not an address to listen on (did you mean :8080?)",
        "8: [listener:web] middleware: there is no [middleware:request_id] (did you mean request-id?)",
        "8: [listener:web] middleware: rate-limit is not available in this version",
        "9: [listener:web] upstream: there is no [upstream:shpo] (did you mean shop?)",
        "10: [listener:web] section stands here twice, first in line 6",
        "13: [upstream:shop] backends: https:// is not available in this version",
        "14: [upstream:shop] backends: '127.0.0.1:9001' is not http://host:port or unix:/path"
        " (did you mean http://127.0.0.1:9001?)",
        "15: [upstream:shop] pool-size: 0 is too small: at least 1",
        "16: [app:x] not available in this version",
        "18: [route:a] listener: there is no [listener:wbe] (did you mean web?)",
        "19: [route:a] path: 'api' does not begin with a slash (did you mean /api?)",
    ]
