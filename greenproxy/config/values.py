"""Single values, text in and value out: switches, counts, durations, sizes, choices, names.

Pure functions. Each raises BadValue with a sentence that says what is expected, and where it can be told
with what was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from greenproxy.config.errors import BadValue, closest
from greenproxy.config.later import NOT_AVAILABLE

_COUNT = re.compile(r"[0-9]{1,15}")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_SIZE = re.compile(r"([0-9]{1,15})(KiB|MiB|GiB)?")
_LOOSE_SIZE = re.compile(r"([0-9]{1,15})\s*([kmg])i?b?", re.IGNORECASE)
_LOOSE_DURATION = re.compile(r"([0-9.]{1,12})\s*(ms|milliseconds?|msecs?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)", re.I)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_:./-]*")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
UNIT_BYTES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
LONGEST_S = 366 * 24 * 3600.0  # what is longer overflows the clocks of system calls, and is no limit anyway


def refuse_quotes(text: str) -> None:
    """Raise BadValue if `text` stands in quotes, which an INI file does not take away."""
    if len(text) > 2 and text[0] in "\"'" and text[-1] == text[0]:
        raise BadValue("values are written without quotes", text[1:-1])


def parse_switch(text: str) -> bool:
    """Return True for `on`, False for `off`."""
    if text not in ("on", "off"):
        guess = {"true": "on", "yes": "on", "1": "on", "false": "off", "no": "off", "0": "off", "none": "off"}
        raise BadValue(f"{text!r} is neither on nor off", guess.get(text.lower()) or closest(text, ("on", "off")))
    return text == "on"


def parse_count(text: str, at_least: int = 0, at_most: int = 10**15) -> int:
    """Return a whole number within the bounds."""
    if not _COUNT.fullmatch(text):
        raise BadValue(f"{text!r} is not a whole number")
    number = int(text)
    if number < at_least:
        raise BadValue(f"{text} is too small: at least {at_least}")
    if number > at_most:
        raise BadValue(f"{text} is too large: at most {at_most}")
    return number


def parse_duration_s(text: str) -> float:
    """Return the seconds of `250ms`, `5s`, `2m`, `1h` or a bare number."""
    match = _DURATION.fullmatch(text)
    if match is None:
        loose = _LOOSE_DURATION.fullmatch(text)
        guess = f"{loose[1]}{'ms' if loose[2].lower().startswith(('ms', 'mil')) else loose[2][0].lower()}" if loose else ""
        raise BadValue(f"{text!r} is not a duration such as 250ms, 5s, 2m or 1h", guess if _DURATION.fullmatch(guess) else "")
    number = float(match[1])
    seconds = number / 1000 if match[2] == "ms" else number * UNIT_SECONDS[match[2] or "s"]  # dividing rounds only once
    if seconds > LONGEST_S:
        raise BadValue(f"{text} is longer than a year")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a short text that parse_duration_s reads as these seconds; a minute is 60s, as people write it."""
    for unit, least in (("h", 1), ("m", 2), ("s", 1)):
        number = seconds / UNIT_SECONDS[unit]
        if number >= least and number == int(number):
            return f"{int(number)}{unit}"
    milliseconds = round(seconds * 1000, 6)
    if seconds < 1 and milliseconds == int(milliseconds):
        return f"{int(milliseconds)}ms" if milliseconds else "0"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def parse_size_bytes(text: str) -> int:
    """Return the bytes of `512`, `64KiB`, `1MiB` or `2GiB`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        loose = _LOOSE_SIZE.fullmatch(text)
        raise BadValue(f"{text!r} is not a size such as 512, 64KiB or 1MiB", f"{loose[1]}{loose[2].upper()}iB" if loose else "")
    return int(match[1]) * UNIT_BYTES[match[2] or ""]


def format_size(size_bytes: int) -> str:
    """Return the shortest text that parse_size_bytes reads as this size."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % UNIT_BYTES[unit] == 0:
            return f"{size_bytes // UNIT_BYTES[unit]}{unit}"
    return str(size_bytes)


def parse_choice(text: str, known: Sequence[str], later: Sequence[str] = ()) -> str:
    """Return `text` if it is among `known`; a word of `later` is refused as not available yet."""
    if text in known:
        return text
    if text in later:
        raise BadValue(f"{text} is {NOT_AVAILABLE}")
    listed = f"{', '.join(known[:-1])} or {known[-1]}" if len(known) > 1 else known[0]
    raise BadValue(f"unknown value {text!r}: {listed}", "" if text.isdigit() else closest(text, known))


def parse_name(text: str) -> str:
    """Return a name of letters, digits, `-`, `_` and `.`."""
    if not _NAME.fullmatch(text):
        raise BadValue(f"{text!r} is not a name of letters, digits, '-', '_' and '.'")
    return text


def parse_metric_prefix(text: str) -> str:
    """Return the first part of a metric's name: words with dots between them."""
    if not _PREFIX.fullmatch(text):
        raise BadValue(f"{text!r} is not a prefix of letters, digits, '-' and '_', with dots between")
    return text


def parse_metric_tag(text: str) -> str:
    """Return a tag of a metric: a word, or `key:value`."""
    if not _TAG.fullmatch(text):
        raise BadValue(f"{text!r} is not a tag: letters, digits and _-:./")
    return text


def keyword(key: str) -> str:
    """Return the keyword argument that a key of a middleware becomes."""
    word = key.replace("-", "_")
    if not word.isidentifier():
        raise BadValue("cannot be a keyword of a Python function")
    return word
