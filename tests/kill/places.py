"""Places: every call in the rooms of an exchange that may switch to the hub, as the source has them.

A place is named by file, function and call, not by line, so that the table outlives changes elsewhere.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import greenproxy

ROOMS = ("net", "upstream", "proxy", "server", "middleware")
PACKAGE = Path(greenproxy.__file__).parent

#: Names of what waits: gevent's own, and the methods of ours that do nothing else. `get` and `join` only as gevent has them.
_WAITS = frozenset({"switch", "sleep", "joinall", "kill", "throw", "dial", "_dial"})
_WAIT = re.compile(r"_?wait(_[a-z_]+)?")
_STREAM = frozenset({"recv", "recv_after_wait", "recv_into", "send"})
_WITHOUT_ARGUMENTS = frozenset({"get"})
#: What has such a method, and never waits: a socket that does not block.
_NEVER = ("self._sock",)


class Place(NamedTuple):
    """A call, `what`, in a function of a file, and its lines."""

    file: str
    function: str
    what: str
    first_line: int
    last_line: int

    @property
    def name(self) -> str:
        return f"{self.file} {self.function}: {self.what}"


def places() -> list[Place]:
    """Return all of them."""
    files = (file for room in ROOMS for file in sorted((PACKAGE / room).glob("*.py")))
    return [place for file in files for place in _in_file(file)]


def _in_file(file: Path) -> Iterator[Place]:
    yield from _below(ast.parse(file.read_text()), str(file.relative_to(PACKAGE)), "")


def _below(node: ast.AST, file: str, function: str) -> Iterator[Place]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and _may_wait(child):
            yield Place(file, function, ast.unparse(child.func), child.lineno, child.end_lineno or child.lineno)
        name = getattr(child, "name", "") if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else ""
        yield from _below(child, file, ".".join(filter(None, (function, name))))


def _may_wait(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in _WAITS or _WAIT.fullmatch(call.func.id) is not None
    if not isinstance(call.func, ast.Attribute):
        return False
    owner, name = ast.unparse(call.func.value), call.func.attr
    if owner in _NEVER:
        return False
    if name == "join":  # of a greenlet, not of a string
        return not isinstance(call.func.value, ast.Constant)
    if name in _WITHOUT_ARGUMENTS:
        return not call.args
    return name in _WAITS or name in _STREAM or _WAIT.fullmatch(name) is not None
