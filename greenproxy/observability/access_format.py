"""The two forms of an access log line, made from a finished exchange.

Nothing that a client sends can end a line, a quoted field or a JSON string: quotes, backslashes, control characters
and everything beyond ASCII are escaped. Head fields are cut out of the bytes the request came with, as the client sent
them, so a line costs no list of header pairs.

What nearly every line needs stands in the functions of both forms, without calls of ours in between: that saves a fifth.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted  # the C function behind json.dumps
from time import monotonic

from greenproxy.exchange import Exchange
from greenproxy.messages import Request
from greenproxy.observability.clock import THOUSANDTHS, clf_time, iso_time

#: The keys of a JSON line, in their order. Behind `retries` there is one more where it is not 0: `retry_reasons`.
JSON_KEYS = (
    "time", "client", "method", "target", "protocol", "host", "status", "bytes_in", "bytes_out", "referer", "user_agent",
    "request_time", "upstream", "backend", "upstream_time", "retries", "request_id", "reason", "worker",
)  # fmt: skip

_UNDER_A_SECOND = tuple(f"0.{thousandths}" for thousandths in THOUSANDTHS)
_unsafe = re.compile(r'["\\\x00-\x1f\x7f-\uffff]')
_MOST_SAID = 512
_worker = os.getpid()


def _note_worker() -> None:
    """A forked process logs its own number; asking for it with each line would be a system call."""
    global _worker
    _worker = os.getpid()


os.register_at_fork(after_in_child=_note_worker)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in '"\\':
        return "\\" + character
    return f"\\x{ord(character):02x}" if character < "\u0100" else f"\\u{ord(character):04x}"


def _escaped(text: str) -> str:
    """Return what can stand in a quoted field of a combined line. The questions cost half of what the expression does."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _unsafe.sub(_escape, text)


def _cut_field(block: bytes, lowered: bytes, name: bytes) -> str:
    """`lowered` is CRLF and the block in lower case, so that the first field begins like every other."""
    at = lowered.find(b"\r\n" + name + b":")
    if at < 0:
        return ""
    at += len(name) + 1
    return block[at : block.find(b"\r\n", at)].strip(b" \t").decode("latin-1")


class _Said(dict[bytes, str]):
    """What a log shows of Referer and User-Agent, by all field lines of a request.

    Clients repeat them, and the parser knows them again: then the bytes are the very same object, whose hash is known. A
    look-up instead of 2 us.
    """

    def __init__(self, form: Callable[[str, str], str]) -> None:
        super().__init__()
        self._form = form

    def __missing__(self, block: bytes) -> str:
        lowered = b"\r\n" + block.lower()
        text = self._form(_cut_field(block, lowered, b"referer"), _cut_field(block, lowered, b"user-agent"))
        if len(self) >= _MOST_SAID:
            self.clear()
        self[block] = text
        return text

    def of(self, request: Request | None) -> str:
        """Return the text for a request, for one without bytes too, and for what became no request."""
        if request is None:
            return self._form("", "")
        if request.raw is not None:
            return self[request.raw.seen]
        return self._form(request.headers.get("referer", "") or "", request.headers.get("user-agent", "") or "")


class _Texts(dict[str, str]):
    """The JSON of words that come again and again: clients, methods, hosts, backends."""

    def __missing__(self, text: str) -> str:
        if len(self) >= _MOST_SAID:
            self.clear()
        made = self[text] = _text(text)
        return made


def _combined_fields(referer: str, agent: str) -> str:
    return f'"{_escaped(referer) or "-"}" "{_escaped(agent) or "-"}"'


def _json_fields(referer: str, agent: str) -> str:
    return f'"referer": {_text(referer)}, "user_agent": {_text(agent)}'


def _text(text: str) -> str:
    return quoted(text) if text else "null"


_said_combined, _said_json = _Said(_combined_fields), _Said(_json_fields)
_texts = _Texts()


def combined_line(exchange: Exchange) -> bytes:
    """Return the line in the combined format, with ` request_time upstream backend upstream_time reason` behind it."""
    request = exchange.request
    if request is None:
        client, line = exchange.client.ip, exchange.first_line.decode("latin-1")
    else:
        client, line = request.client.ip, f"{request.method} {request.target} HTTP/{request.version}"
    if not line.isascii() or not line.isprintable() or '"' in line or "\\" in line:  # half of what the expression takes
        line = _unsafe.sub(_escape, line)
    said = _said_combined.of(request) if request is None or request.raw is None else _said_combined[request.raw.seen]
    ended_s = exchange.ended_s or monotonic()
    time_s, upstream_s = ended_s - exchange.started_s, exchange.upstream_time_s
    time, upstream_time = int(time_s * 1000 + 0.5), int(upstream_s * 1000 + 0.5)
    return (
        f'{client or "-"} - - [{clf_time(ended_s)}] "{line or "-"}" {exchange.status or "000"} {exchange.bytes_out} {said} '
        f"{_UNDER_A_SECOND[time] if time < 1000 else f'{time_s:.3f}'} {exchange.upstream or '-'} {exchange.backend or '-'} "
        f"{'-' if upstream_s < 0 else _UNDER_A_SECOND[upstream_time] if upstream_time < 1000 else f'{upstream_s:.3f}'} "
        f"{exchange.reason or '-'}\n"
    ).encode("ascii", "backslashreplace")


def json_line(exchange: Exchange) -> bytes:
    """Return the line as a JSON object with the keys of JSON_KEYS; what is absent is null.

    Only a line that tells of retries has `retry_reasons`, a list: why each try failed that another one followed.
    """
    request, texts = exchange.request, _texts
    if request is None:
        client, host, request_id = exchange.client.ip, "", ""
        method, target, protocol = _split(exchange.first_line.decode("latin-1"))
    else:
        client, host, request_id = request.client.ip, request.host, request.request_id
        method, target, protocol = request.method, request.target, "HTTP/" + request.version
    said = _said_json.of(request) if request is None or request.raw is None else _said_json[request.raw.seen]
    ended_s = exchange.ended_s or monotonic()
    time_s, upstream_s = ended_s - exchange.started_s, exchange.upstream_time_s
    time, upstream_time = int(time_s * 1000 + 0.5), int(upstream_s * 1000 + 0.5)
    reasons = exchange.retry_reasons
    retries = f'{len(reasons)}, "retry_reasons": [{", ".join(map(quoted, reasons))}]' if reasons else "0"
    return (
        f'{{"time": "{iso_time(ended_s)}", "client": {texts[client]}, "method": {texts[method]}, '
        f'"target": {quoted(target) if target else "null"}, "protocol": {texts[protocol]}, "host": {texts[host]}, '
        f'"status": {exchange.status}, "bytes_in": {exchange.bytes_in}, "bytes_out": {exchange.bytes_out}, '
        f'{said}, "request_time": {_UNDER_A_SECOND[time] if time < 1000 else f"{time_s:.3f}"}, '
        f'"upstream": {texts[exchange.upstream]}, "backend": {texts[exchange.backend]}, "upstream_time": '
        f"{'null' if upstream_s < 0 else _UNDER_A_SECOND[upstream_time] if upstream_time < 1000 else f'{upstream_s:.3f}'}, "
        f'"retries": {retries}, "request_id": {quoted(request_id) if request_id else "null"}, '
        f'"reason": {texts[exchange.reason]}, "worker": {_worker}}}\n'
    ).encode("ascii")


def _split(first_line: str) -> tuple[str, str, str]:
    """Return method, target and protocol of a line that became no request; all of it is the target if it has no such parts."""
    method, _, rest = first_line.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    return (method, target, protocol) if target and protocol.startswith("HTTP/") else ("", first_line, "")
