"""The two forms of an access log line, made from a finished exchange.

Nothing that a client sends can end a line, a quoted field or a JSON string: quotes, backslashes, control characters
and everything beyond ASCII are escaped. Head fields are cut out of the bytes the request came with, as the client sent
them, so a line costs no list of header pairs.
"""

from __future__ import annotations

import os
import re
from json.encoder import encode_basestring_ascii as quoted  # the C function behind json.dumps
from time import monotonic

from greenproxy.exchange import Exchange
from greenproxy.messages import Request, Trace
from greenproxy.observability.clock import clf_time, iso_time

#: The keys of a JSON line, in their order. Behind `retries` there is one more where it is not 0: `retry_reasons`.
JSON_KEYS = (
    "time", "client", "method", "target", "protocol", "host", "status", "bytes_in", "bytes_out", "referer", "user_agent",
    "request_time", "upstream", "backend", "upstream_time", "retries", "request_id", "reason", "worker",
)  # fmt: skip

_unsafe = re.compile(r'["\\\x00-\x1f\x7f-\uffff]')
_is_unsafe = _unsafe.search


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in '"\\':
        return "\\" + character
    return f"\\x{ord(character):02x}" if character < "\u0100" else f"\\u{ord(character):04x}"


def _cut_field(block: bytes, lowered: bytes, name: bytes) -> str:
    """`lowered` is CRLF and the block in lower case, so that the first field begins like every other."""
    at = lowered.find(b"\r\n" + name + b":")
    if at < 0:
        return ""
    at += len(name) + 1
    return block[at : block.find(b"\r\n", at)].strip(b" \t").decode("latin-1")


def _referer_and_agent(request: Request | None) -> tuple[str, str]:
    if request is None:
        return "", ""
    raw = request.raw
    if raw is None:
        return request.headers.get("referer", "") or "", request.headers.get("user-agent", "") or ""
    block = raw.seen
    lowered = b"\r\n" + block.lower()
    return _cut_field(block, lowered, b"referer"), _cut_field(block, lowered, b"user-agent")


def combined_line(exchange: Exchange) -> bytes:
    """Return the line in the combined format, with ` request_time upstream backend upstream_time reason` behind it."""
    request = exchange.request
    if request is None:
        client, line = exchange.client.ip, exchange.first_line.decode("latin-1")
    else:
        client, line = request.client.ip, f"{request.method} {request.target} HTTP/{request.version}"
    referer, agent = _referer_and_agent(request)
    if _is_unsafe(line + referer + agent):
        line, referer, agent = (_unsafe.sub(_escape, text) for text in (line, referer, agent))
    trace: Trace = exchange
    upstream_time = f"{trace.upstream_time_s:.3f}" if trace.upstream_time_s >= 0 else "-"
    return (
        f'{client or "-"} - - [{clf_time()}] "{line or "-"}" {exchange.status or "000"} {exchange.bytes_out} '
        f'"{referer or "-"}" "{agent or "-"}" {_elapsed_s(exchange):.3f} '
        f"{trace.upstream or '-'} {trace.backend or '-'} {upstream_time} {exchange.reason or '-'}\n"
    ).encode("ascii", "backslashreplace")


def json_line(exchange: Exchange) -> bytes:
    """Return the line as a JSON object with the keys of JSON_KEYS; what is absent is null.

    Only a line that tells of retries has `retry_reasons`, a list: why each try failed that another one followed.
    """
    request = exchange.request
    referer, agent = _referer_and_agent(request)
    if request is None:
        client, host, request_id = exchange.client.ip, "", ""
        method, target, protocol = _split(exchange.first_line.decode("latin-1"))
    else:
        client, host, request_id = request.client.ip, request.host, request.request_id
        method, target, protocol = request.method, request.target, "HTTP/" + request.version
    trace: Trace = exchange
    upstream_time = f"{trace.upstream_time_s:.3f}" if trace.upstream_time_s >= 0 else "null"
    reasons = trace.retry_reasons
    retries = f'{len(reasons)}, "retry_reasons": [{", ".join(map(quoted, reasons))}]' if reasons else "0"
    return (
        f'{{"time": "{iso_time()}", "client": {_text(client)}, "method": {_text(method)}, "target": {_text(target)}, '
        f'"protocol": {_text(protocol)}, "host": {_text(host)}, "status": {exchange.status}, '
        f'"bytes_in": {exchange.bytes_in}, "bytes_out": {exchange.bytes_out}, '
        f'"referer": {_text(referer)}, "user_agent": {_text(agent)}, "request_time": {_elapsed_s(exchange):.3f}, '
        f'"upstream": {_text(trace.upstream)}, "backend": {_text(trace.backend)}, "upstream_time": {upstream_time}, '
        f'"retries": {retries}, "request_id": {_text(request_id)}, "reason": {_text(exchange.reason)}, '
        f'"worker": {os.getpid()}}}\n'
    ).encode("ascii")


def _split(first_line: str) -> tuple[str, str, str]:
    """Return method, target and protocol of a line that became no request; all of it is the target if it has no such parts."""
    method, _, rest = first_line.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    return (method, target, protocol) if target and protocol.startswith("HTTP/") else ("", first_line, "")


def _text(text: str) -> str:
    return quoted(text) if text else "null"


def _elapsed_s(exchange: Exchange) -> float:
    return (exchange.ended_s or monotonic()) - exchange.started_s
