"""docs/configuration.md: `python -m greenproxy.config.reference` prints it. A test holds the file against this."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from greenproxy.config import later, prose
from greenproxy.config.describe import default_text, is_literal_default, sentence, value_kind
from greenproxy.config.examples import EXAMPLES
from greenproxy.config.middleware_options import BUILT_INS
from greenproxy.config.schema import Key, keys_of
from greenproxy.config.settings import RelaySettings


def reference() -> str:
    """Return the whole text, in Markdown."""
    overrides = [f"`{name}`" for name, key in _keys("route").items() if key.owner is RelaySettings]
    parts = [
        prose.HEAD,
        prose.SYNTAX,
        prose.VALUES,
        *(prose.GREENPROXY, _table("greenproxy"), prose.GREENPROXY_MORE),
        *(prose.LISTENER, _table("listener"), prose.LISTENER_MORE),
        *(prose.UPSTREAM, _table("upstream"), prose.UPSTREAM_MORE),
        *(prose.ROUTE, _table("route"), prose.ROUTE_MORE.format(overrides=_folded(overrides))),
        *(prose.MIDDLEWARE, _table("middleware")),
        prose.MIDDLEWARE_MORE.format(request_id=_options("request-id"), headers=_options("headers")),
        *(prose.DEMO, _table("demo")),
        prose.MISTAKES,
        "## Examples\n",
        *(f"### {title}\n\n```ini\n{text}```\n" for title, text in EXAMPLES),
        prose.LATER,
        _later(),
    ]
    return "\n".join(parts)


def _keys(kind: str) -> dict[str, Key]:
    return keys_of(kind, Path())


def _table(kind: str) -> str:
    rows = [_row(kind, name, key) for name, key in _keys(kind).items() if not (kind == "route" and key.owner is RelaySettings)]
    return _as_markdown(("key", "value", "default", "meaning"), rows)


def _row(kind: str, name: str, key: Key) -> tuple[str, str, str, str]:
    default = default_text(key.field, kind)
    if is_literal_default(key.field, kind):
        default = f"`{default}`"
    mark = " →" if kind == "upstream" and key.owner is RelaySettings else ""
    return f"`{name}`{mark}", value_kind(key.field), default, sentence(key.field)


def _options(kind: str) -> str:
    rows = [
        (f"`{name}`", f"`{option.default}`" if option.default else "", option.sentence)
        for name, option in BUILT_INS[kind].items()
    ]
    return _as_markdown(("key", "default", "meaning"), rows).rstrip("\n")


def _as_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _later() -> str:
    lines = [f"- in `[{kind}]`: {_listed(keys)}" for kind, keys in later.KEYS.items() if keys and kind == "greenproxy"]
    lines += [f"- in `[{kind}:NAME]`: {_listed(later.KEYS[kind])}" for kind in ("listener", "upstream")]
    only_route = [key for key in later.KEYS["route"] if key not in later.KEYS["upstream"]]
    lines += [
        f"- in `[route:NAME]`: those of an upstream, and {_listed(only_route)}",
        f"- sections: {_listed(f'[{kind}:NAME]' for kind in later.SECTIONS)}",
        f"- values of `protocol`: {_listed(later.PROTOCOLS)}; of `balance`: {_listed(later.BALANCE)}",
        f"- backends: {_listed(f'{scheme}://' for scheme in later.BACKEND_SCHEMES)}",
        f"- built-in middleware: {_listed(later.MIDDLEWARE[:1])} and others",
    ]
    return "".join(_folded_item(line) for line in lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _folded(names: Sequence[str]) -> str:
    return ", ".join(names) + "."


def _folded_item(line: str) -> str:
    width, rows, row = 120, [], ""
    for word in line.split(" "):
        if len(row) + len(word) >= width:
            rows.append(row)
            row = " "
        row = f"{row} {word}" if row else word
    return "\n".join([*rows, row]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
