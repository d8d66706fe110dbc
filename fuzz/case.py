"""Case: how the bytes of a fuzzer become one question, and what it means when two answers differ.

An input begins with CONTROL bytes: two that choose what is asked (`kind`, `mode`) and three sizes of pieces, repeated until
the data ends. The rest is data as it would come over the wire, so that seeds can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple, TypeVar

from greenproxy.protocol import clients, fields, http1, target

CONTROL = 5
_ROLES = (dict(fields.REQUEST), dict(fields.RESPONSE))

Outcome = TypeVar("Outcome")


class Disagreement(AssertionError):
    """Two readings of the same bytes differ, or what was accepted is not what it should be."""


class Case(NamedTuple):
    """One question: `kind` and `mode` choose it, `data` is what comes over the wire, `sizes` how it comes."""

    kind: int
    mode: int
    sizes: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, raw: bytes) -> Case:
        """Return the question that a fuzzer's bytes ask; a short input is as good as one with zeros."""
        control = raw[:CONTROL].ljust(CONTROL, b"\0")
        return cls(control[0], control[1], tuple(control[2:]), raw[CONTROL:])

    def as_bytes(self) -> bytes:
        """Return what `of` was given."""
        return bytes((self.kind, self.mode, *self.sizes)) + self.data

    def splits(self) -> dict[str, list[bytes]]:
        """Return the ways in which `data` may come, by name."""
        return {"whole": [self.data], "byte by byte": pieces(self.data, (1,)), f"in {self.sizes}": pieces(self.data, self.sizes)}


def pieces(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Return `data` in pieces of these sizes, again and again; 0 stands for 256."""
    return list(_cut(data, sizes))


def _cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in cycle(sizes):
        if at >= len(data):
            return
        yield data[at : at + (size or 256)]
        at += size or 256


def require(holds: bool, what: str, *values: object) -> None:
    """Raise Disagreement unless it `holds`."""
    if not holds:
        raise Disagreement(": ".join([what, " | ".join(map(repr, values))]))


def agreed(case: Case, read: Callable[[list[bytes]], Outcome], same: Callable[[Outcome, Outcome], bool] | None = None) -> Outcome:
    """Return what `read` makes of the data in one piece. Raises Disagreement when it makes something else of other pieces.

    Nothing is remembered from one reading to the next; then the first is asked once more, with what is remembered.
    """
    outcomes = {}
    for name, split in case.splits().items():
        forget()
        outcomes[name] = read(split)
    outcomes["again"] = read([case.data])
    whole = outcomes["whole"]
    for name, outcome in outcomes.items():
        is_same = outcome == whole or (same is not None and same(whole, outcome))
        require(is_same, f"whole and {name} differ", whole, outcome)
    return whole


def forget() -> None:
    """Empty every memory of what was read before: an input must mean the same whatever came before it."""
    http1._known_requests.clear()
    http1._known_responses.clear()
    target._remembered_path.cache_clear()
    target._is_host.cache_clear()
    clients._parse_node.cache_clear()
    for roles, before in zip((fields.REQUEST, fields.RESPONSE), _ROLES, strict=True):
        roles.clear()
        roles.update(before)
