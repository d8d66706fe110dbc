"""Prefixes: which of many texts a text begins with, found without a look at all of them, and what a regex must begin with."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

_ENDS_LITERAL = frozenset(".^$*+?{}[]()|\\")
# Escapes and sets as a whole, so that what is inside of them is not taken for what it looks like
_tokens = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]", re.DOTALL).findall
_has_comments = re.compile(r"\(\?(?:#|[aiLmsux-]*x)").search


class Prefixes:
    """A set of texts. Its size costs a binary search; beside that only those texts do that begin like what is asked for."""

    __slots__ = ("_parents", "_texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = sorted(set(texts))
        self._parents: dict[str, str | None] = {}  # the longest other text that a text begins with
        last: str | None = None
        for text in self._texts:
            while last is not None and not text.startswith(last):
                last = self._parents[last]
            self._parents[text] = last
            last = text

    def of(self, text: str) -> Iterator[str]:
        """Yield those that `text` begins with, the longest first.

        In their order the longest one is the last that is not behind `text`, or one that this one begins with.
        """
        at = bisect_right(self._texts, text)
        found = self._texts[at - 1] if at else None
        while found is not None:
            if text.startswith(found):
                yield found
            found = self._parents[found]


def literal_start(regex: str) -> str:
    """Return what every text begins with in which a regex is found, as far as that is plain to see; "" is never wrong.

    That is so for one with `^` in front of characters that stand for themselves, and no alternative to all of it.
    """
    if not regex.startswith("^") or _has_alternatives(regex):
        return ""
    start: list[str] = []
    at = 1
    while at < len(regex):
        character, width = regex[at], 1
        if character == "\\" and regex[at + 1 : at + 2] and not regex[at + 1].isalnum():
            character, width = regex[at + 1], 2
        elif character in _ENDS_LITERAL:
            break
        following = regex[at + width : at + width + 1]
        if following and following in "*?{":  # it may be absent
            break
        start.append(character)
        at += width
    return "".join(start)


def _has_alternatives(regex: str) -> bool:
    """Return whether there may be a `|` outside all groups."""
    if _has_comments(regex):
        return True
    depth = 0
    for token in _tokens(regex):
        depth += (token == "(") - (token == ")")
        if token == "|" and not depth:
            return True
    return False
