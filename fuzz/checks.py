"""What must be true of every message that is accepted or sent, said again without the parser's own expressions."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote_to_bytes

from fuzz.case import require

_NAME = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NEVER_FORWARDED = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"}
_CLAIMS = re.compile(rb"(forwarded|via|x-real-ip|x-forwarded-.*)\Z", re.DOTALL)  # with dashes for underscores


def field_lines(block: bytes) -> list[bytes]:
    """Return the lines of a block of fields. Raises Disagreement if one could be read as anything but a single field."""
    require(block == b"" or block.endswith(b"\r\n"), "a block without its last line end", block)
    lines = block.split(b"\r\n")[:-1]
    for line in lines:
        name, colon, value = line.partition(b":")
        require(bool(name) and bool(colon) and set(name) <= _NAME, "a line that is no field", line)
        require(not any((byte < 32 and byte != 9) or byte == 127 for byte in value), "a control in a value", line)
    return lines


def names(lines: list[bytes]) -> list[bytes]:
    """Return the lower-case names of field lines."""
    return [line.partition(b":")[0].lower() for line in lines]


def travels(lines: list[bytes], *, is_request: bool) -> None:
    """Fail if one of these lines, which go on as they came, is for neighbours only, or a claim about them."""
    for name in names(lines):
        require(name not in _NEVER_FORWARDED, "a hop-by-hop field travels on", name)
        dashed = name.replace(b"_", b"-")
        require(not is_request or not _CLAIMS.match(dashed), "a claim about earlier hops travels on", name)
        is_twin = is_request and b"_" in name and dashed in _NEVER_FORWARDED | {b"host", b"content-length", b"expect"}
        require(not is_twin, "a twin with underscores travels on", name)


def framed_once(lines: list[bytes]) -> None:
    """Fail if these field lines state a length in more than one way."""
    found = [name for name in names(lines) if name in (b"content-length", b"transfer-encoding")]
    require(len(found) <= 1, "more than one framing", found)


def resolved(path: str, raw_path: bytes) -> None:
    """Fail unless `path`, which routes see, is what others make of `raw_path`, which the backend gets."""
    segments = path.split("/")
    require(path[:1] == "/", "a path without a root", path)
    require(not {".", ".."} & set(segments), "dots are left in a path", path)
    require("" not in segments[1:-1], "empty segments are left in a path", path)
    require("\0" not in path, "a NUL in a path", path)
    encoded = path.encode("utf-8", "surrogateescape")
    decoded = unquote_to_bytes(raw_path)
    require(encoded == _like_a_browser(decoded), "not the path of RFC 3986", path, raw_path)
    require(not _climbs(decoded), "a path above the root", path, raw_path)
    # Whoever decodes last finds the same: no dot and no slash was hidden in an escape.
    require(encoded == unquote_to_bytes(_like_a_browser(raw_path)), "another path when decoded last", path, raw_path)
    merged_first = posixpath.normpath(re.sub(rb"/+", b"/", decoded))
    require(encoded.rstrip(b"/") == merged_first.rstrip(b"/"), "another path when slashes are merged first", path, raw_path)


def _climbs(path: bytes) -> bool:
    """Whether dots lead above the root on the way."""
    depth = 0
    for segment in path.split(b"/")[1:]:
        depth += -1 if segment == b".." else segment not in (b"", b".")
        if depth < 0:
            return True
    return False


def _like_a_browser(path: bytes) -> bytes:
    """Return `path` after remove_dot_segments (RFC 3986 section 5.2.4), then with slashes merged."""
    output: list[bytes] = []
    segments = path.split(b"/")[1:]
    for at, segment in enumerate(segments):
        is_last = at == len(segments) - 1
        if segment == b"..":
            del output[-1:]
        elif segment != b".":
            output.append(segment)
        if is_last and segment in (b".", b".."):
            output.append(b"")
    return re.sub(rb"/+", b"/", b"/" + b"/".join(output))
