"""The keys of a `[middleware:NAME]` section: those of the built-ins, and those that become keywords of user code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from greenproxy.config.errors import BadValue, closest
from greenproxy.config.http_values import parse_field, parse_field_name
from greenproxy.config.reader import Entry
from greenproxy.config.values import keyword

Complaint = tuple[Entry, int, str, str]  # the entry, the line, the message, the suggestion

#: Built-in middleware: the keys of each, how one line of the value is read, and what it means.
BUILT_INS: Mapping[str, Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "request-id": {},
    "headers": {
        "request-set": (parse_field, "`Name: value`: the request has this field once, with this value"),
        "request-add": (parse_field, "`Name: value`: one more field in the request"),
        "request-remove": (parse_field_name, "`Name`: a field that is taken out of the request"),
        "response-set": (parse_field, "`Name: value`: the response has this field once, with this value"),
        "response-add": (parse_field, "`Name: value`: one more field in the response"),
        "response-remove": (parse_field_name, "`Name`: a field that is taken out of the response"),
    },
}


def check_options(kind: str, options: Iterable[Entry]) -> Iterator[Complaint]:
    """Yield what is wrong with the keys of a middleware of this type, other than `type` and `timeout`."""
    if ":" in kind:
        yield from _check_keywords(options)
    elif kind in BUILT_INS:
        for entry in options:
            if entry.key not in BUILT_INS[kind]:
                yield entry, entry.line, f"unknown key of {kind}", closest(entry.key, [*BUILT_INS[kind], "type", "timeout"])
            elif not entry.is_broken:
                yield from _check_lines(entry, BUILT_INS[kind][entry.key][0])


def _check_lines(entry: Entry, parse: Callable[[str], Any]) -> Iterator[Complaint]:
    if not entry.lines:
        yield entry, entry.line, "needs a value", ""
    for line in entry.lines:
        try:
            parse(line.text)
        except BadValue as error:
            yield entry, line.number, str(error), error.suggestion


def _check_keywords(options: Iterable[Entry]) -> Iterator[Complaint]:
    seen: dict[str, Entry] = {}
    for entry in options:
        try:
            word = keyword(entry.key)
        except BadValue as error:
            yield entry, entry.line, str(error), error.suggestion
            continue
        if word in seen:
            yield entry, entry.line, f"the same keyword as {seen[word].key} in line {seen[word].line}", ""
        seen[word] = entry
