"""Values that speak of HTTP: paths, hosts, methods, fields, statuses, redirects.

Pure functions that raise BadValue.
"""

from __future__ import annotations

import re
import warnings

from greenproxy.config.addresses import parse_host, parse_port
from greenproxy.config.errors import BadValue, closest
from greenproxy.config.settings import PathMatch
from greenproxy.config.values import parse_count, refuse_quotes

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RANGE = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")
_FIELD_VALUE = re.compile("[\t\x20-\x7e\x80-\xff]*")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH")
REDIRECT_STATUSES = ("301", "302", "303", "307", "308")


def parse_method(text: str) -> str:
    """Return a request method, as it is spelt on the wire (RFC 9110 section 9.1)."""
    if text == "CONNECT":
        raise BadValue("CONNECT is never forwarded by an http listener")
    if not _TOKEN.fullmatch(text) or text.upper() != text:
        raise BadValue(f"{text!r} is not a method", closest(text, METHODS))
    return text


def parse_host_pattern(text: str) -> str:
    """Return a host, or `*.` and a domain, in lower case."""
    domain = text.removeprefix("*.")
    if "*" in domain:
        raise BadValue(f"{text!r} is not a host or *.domain")
    if ":" in domain and not domain.startswith("["):
        raise BadValue("the port of Host plays no part here", domain.partition(":")[0])
    host = parse_host(domain)
    return f"[{host}]" if ":" in host else text[: len(text) - len(domain)] + host.removesuffix(".")


def parse_path_match(text: str) -> PathMatch:
    """Return the condition of one `path` line: a prefix, `= /exact`, or `~ regex`."""
    if text.startswith("~"):
        return PathMatch(kind="regex", text=_checked_regex(text[1:].strip()))
    if text.startswith("="):
        return PathMatch(kind="exact", text=parse_plain_path(text[1:].strip()))
    return PathMatch(kind="prefix", text=parse_plain_path(text))


def parse_plain_path(text: str) -> str:
    """Return a decoded path as routes see it: it begins with a slash and has no query and no dot segments."""
    if not text.startswith("/"):
        refuse_quotes(text)
        may_lack_it = bool(text) and text[0] not in "\"'" and not text.startswith("http")
        raise BadValue(f"{text!r} does not begin with a slash", f"/{text}" if may_lack_it else "")
    if "?" in text:
        raise BadValue("a path has no query")
    if "//" in text or {".", ".."} & set(text.split("/")):
        raise BadValue(f"{text!r} never matches: dots and double slashes are resolved first")
    return text


def _checked_regex(text: str) -> str:
    if not text:
        raise BadValue("an empty regular expression")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadValue(f"not a regular expression: {error}") from None
    return text


def parse_field_name(text: str) -> str:
    """Return the name of a header field (RFC 9110 section 5.1)."""
    if not _TOKEN.fullmatch(text):
        raise BadValue(f"{text!r} is not the name of a header field")
    return text


def parse_field(text: str) -> tuple[str, str]:
    """Return name and value of `Name: value`."""
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not value:
        raise BadValue(f"{text!r} is not Name: value", f"{name}: {value or 'value'}" if _TOKEN.fullmatch(name) else "")
    if not _FIELD_VALUE.fullmatch(value):
        raise BadValue(f"{value!r} has signs that a header field may not have")
    return parse_field_name(name), value


def parse_statuses(text: str) -> tuple[int, int]:
    """Return the first and last status of `200-399` or `401`."""
    match = _RANGE.fullmatch(text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 100 <= low <= high <= 599:
        raise BadValue(f"{text!r} is not a status or a range of them, such as 200-399")
    return low, high


def parse_status(text: str) -> int:
    """Return the status of an answer, 200 to 599."""
    return parse_count(text, 200, 599)


def parse_probe_path(text: str) -> str:
    """Return the target of a health check: a path, with or without a query, as it is sent."""
    if not text.startswith("/") or text.startswith("//"):
        raise BadValue(f"{text!r} is not a path", f"/{text.lstrip('/')}" if _VISIBLE.fullmatch(text) and ":" not in text else "")
    if not _VISIBLE.fullmatch(text) or "#" in text:
        raise BadValue(f"{text!r} has signs that a request target may not have")
    return text


def parse_redirect(text: str) -> str:
    """Return where to redirect to: `http(s)://host`, with or without a path, or a path of this host.

    `$host` in the place of the host is that of the request.
    """
    if not _VISIBLE.fullmatch(text):
        raise BadValue(f"{text!r} has signs that an address may not have")
    if text.startswith("/") and not text.startswith("//"):
        return text
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise BadValue(f"{text!r} is not https://host, http://host or a path")
    if "$request_uri" in rest:
        raise BadValue(
            "path and query of the request are appended to a host without being named", text.replace("$request_uri", "")
        )
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, colon, port = authority.rpartition(":")
    if colon and not port.endswith("]"):
        parse_port(port, 1)
        authority = host
    if authority != "$host":
        parse_host(authority)
    return text


def parse_server_header(text: str) -> str:
    """Return the Server field of our own answers; `off` is an empty one."""
    if text == "off":
        return ""
    if not re.fullmatch(r"[\x20-\x7e]+", text):
        raise BadValue(f"{text!r} has signs that a header field may not have")
    return text


def parse_token(text: str) -> str:
    """Return a bearer token (RFC 6750 section 2.1)."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise BadValue("a token has letters, digits and -._~+/=, and nothing else")
    return text
