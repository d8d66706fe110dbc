"""The keys of a `[middleware:NAME]` section: those of the built-ins, and those that become keywords of user code.

The built-ins check their options themselves too, when they are made; here it is done with lines and suggestions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from greenproxy.config.errors import BadValue, closest
from greenproxy.config.http_values import parse_field, parse_field_name
from greenproxy.config.reader import Entry
from greenproxy.config.schema import BadEntry, Shape, lines, one, several
from greenproxy.config.values import keyword, parse_choice

Complaint = tuple[Entry, int, str, str]  # the entry, the line, the message, the suggestion

#: Fields that say how a message is framed or belong to one connection: no middleware decides about them.
_RESERVED = frozenset(
    ("connection", "content-length", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)


class Option(NamedTuple):
    """One key of a built-in."""

    shape: Shape
    default: str
    sentence: str


def _changeable_name(text: str) -> str:
    name = parse_field_name(text)
    if name.lower() in _RESERVED:
        raise BadValue(f"{name} belongs to the connection and cannot be changed here")
    return name


def _changeable_field(text: str) -> tuple[str, str]:
    name, value = parse_field(text)
    return _changeable_name(name), value


def _keep(text: str) -> str:
    return parse_choice(text, ("trusted", "always", "never"))


#: Built-in middleware and the keys of each.
BUILT_INS: Mapping[str, Mapping[str, Option]] = {
    "request-id": {
        "header": Option(one(parse_field_name), "X-Request-ID", "the field that carries the id, in request and response"),
        "keep": Option(
            one(_keep), "trusted", "when an id that was sent is kept: trusted (it came over a trusted proxy), always, never"
        ),
    },
    "headers": {
        "request-set": Option(lines(_changeable_field), "", "`Name: value`, one per line: the request has the field once"),
        "request-add": Option(lines(_changeable_field), "", "`Name: value`, one per line: one more field in the request"),
        "request-remove": Option(several(_changeable_name), "", "names of fields that are taken out of the request"),
        "response-set": Option(lines(_changeable_field), "", "`Name: value`, one per line: the response has the field once"),
        "response-add": Option(lines(_changeable_field), "", "`Name: value`, one per line: one more field in the response"),
        "response-remove": Option(several(_changeable_name), "", "names of fields that are taken out of the response"),
    },
}

#: Built-ins that do something without a section of their own.
USABLE_BY_NAME = ("request-id",)


def check_options(kind: str, options: Iterable[Entry]) -> Iterator[Complaint]:
    """Yield what is wrong with the keys of a middleware of this type, other than `type` and `timeout`."""
    if ":" in kind:
        yield from _check_keywords(options)
    elif kind in BUILT_INS:
        for entry in options:
            yield from _check_option(kind, entry)


def _check_option(kind: str, entry: Entry) -> Iterator[Complaint]:
    option = BUILT_INS[kind].get(entry.key)
    if option is None:
        yield entry, entry.line, f"unknown key of {kind}", closest(entry.key, [*BUILT_INS[kind], "type", "timeout"])
    elif not entry.lines and not entry.is_broken:
        yield entry, entry.line, "needs a value", ""
    elif not entry.is_broken:
        try:
            option.shape(entry)
        except BadEntry as error:
            for mistake in error.mistakes:
                yield entry, mistake.line, mistake.message, mistake.suggestion


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
