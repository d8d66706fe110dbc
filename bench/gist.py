"""The gist: the one sentence of figures in README.md, made from docs/performance.json, and put between two marks there."""

from __future__ import annotations

import textwrap
from typing import Any

from bench.figures import times

_BEGIN, _END = "<!-- from docs/performance.json -->\n", "<!-- end -->\n"
_OURS = "greenproxy"
_WIDTH = 130
#: Scenarios, and how the sentence names what is asked there.
_BESIDE_NGINX = {
    "small": "small requests",
    "small-512": "the same over 512 connections",
    "tls": "small ones over TLS",
    "bulk-1m": "downloads of 1 MiB",
}


def gist(data: dict[str, Any]) -> str:
    """Return the sentence; what was not measured, or has failed, is not in it."""
    ratios = {what: _times(data, name, "nginx") for name, what in _BESIDE_NGINX.items()}
    nginx = [f"{ratio:.2g} for {what}" for what, ratio in ratios.items() if ratio is not None]
    aiohttp = _times(data, "small", "aiohttp")
    parts = [f"where nginx as it comes takes a second of processor time, greenproxy takes {', '.join(nginx)}"] if nginx else []
    if aiohttp is not None:
        parts.append(f"where a proxy written with aiohttp takes one, it takes {aiohttp:.2g} for small requests")
    text = "; ".join(parts) or "nothing was measured beside others"
    return textwrap.fill(f"{text[0].upper()}{text[1:]}.", _WIDTH) + "\n"


def _times(data: dict[str, Any], name: str, peer: str) -> float | None:
    scenario = data["scenarios"].get(name)
    return None if scenario is None else times(scenario, _OURS, peer, "cpu_us")


def put(text: str, sentence: str) -> str:
    """Return the text with the sentence between its marks. Raises ValueError where it has none."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"README.md has no place for figures between {_BEGIN.strip()} and {_END.strip()}")
    return before + begin + sentence + end + after
