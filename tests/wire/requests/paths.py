"""Paths that may bypass a route: the listener `routed` answers 403 for everything below /admin/, the rest goes to a backend.

Each trick comes to one of three ends. It names /admin/ for every reader: 403. Readers differ: 400. Or it names something
else, and `_OTHERS` says why no reader that follows the rules finds /admin/ in it. The backend gets the target as it came.
"""

from __future__ import annotations

from tests.wire.cases import SERVED, Case, get, head

_DECODED = "decoded once, as a backend does (RFC 3986 section 6.2.2.2)"
_DOTS = "dot segments are resolved (RFC 3986 section 5.2.4)"
_MERGED = "doubled slashes are one, as file systems and most servers have it"
_QUERY = "a query is no part of the path (RFC 3986 section 3.4)"

_ADMIN = {
    b"/admin/": "itself",
    b"/admin": "a prefix with a slash takes the folder too",
    b"/admin/x": "below it",
    b"/admin?x": _QUERY,
    b"/admin/?x": _QUERY,
    b"/admin?/../public": _QUERY,
    b"/admin/x?/../../public": _QUERY,
    b"/%61dmin/": _DECODED,
    b"/%61%64%6D%69%6e/": _DECODED,
    b"/admi%6e": _DECODED,
    b"/admin/%3f": _DECODED,
    b"/admin/%23": _DECODED,
    b"/admin/%20": _DECODED,
    b"/admin/;": "a parameter below it",
    b"/admin/x;y=z": "a parameter below it",
    b"/./admin/": _DOTS,
    b"/././admin/": _DOTS,
    b"/admin/.": _DOTS,
    b"/admin/./x": _DOTS,
    b"/admin/x/..": _DOTS,
    b"/public/../admin/": _DOTS,
    b"/public/../admin": _DOTS,
    b"/public/./../admin/x": _DOTS,
    b"/public/x/../../admin/": _DOTS,
    b"/admin/../admin/": _DOTS,
    b"//admin/": _MERGED,
    b"///admin": _MERGED,
    b"//admin//": _MERGED,
    b"/.//admin/": _MERGED,
    b"/admin//x": _MERGED,
    b"//%61dmin/": _MERGED,
    b"http://a/admin/": "an absolute form has a path like any other",
    b"http://a//admin": _MERGED,
    b"http://a/public/../admin/": _DOTS,
    b"http://a/%61dmin/": _DECODED,
    b"http://b/admin/": "a route without a host takes every host",
}

_SLASH = "some take an encoded slash for a slash, some do not (RFC 3986 section 2.2)"
_NUL = "some end the path at a NUL"
_HIDDEN = "some resolve dots before they decode, some behind"
_ABOVE = "some stop at the root, some leave it"
_PARAMETER = "some cut a parameter off before they resolve dots, some resolve before they cut"
_EMPTY = "some merge slashes before they resolve dots, some behind"
_BACKSLASH = "no sign of a URI (RFC 3986 section 3.3); some take it for a slash"
_OVERLONG = "no UTF-8 (RFC 3629 section 3); some read a dot, a slash or a NUL"
_ESCAPE = "no escape (RFC 3986 section 2.1)"
_FRAGMENT = "a fragment is never sent (RFC 9110 section 7.1)"

_REFUSED = {
    b"/admin%2f": _SLASH,
    b"/admin%2Fx": _SLASH,
    b"/%2fadmin/": _SLASH,
    b"/%2f/admin/": _SLASH,
    b"/public%2f..%2fadmin/": _SLASH,
    b"/public/..%2fadmin/": _SLASH,
    b"/..%2fadmin/": _SLASH,
    b"/..%2Fadmin": _SLASH,
    b"/public/%2e%2e%2fadmin/": _SLASH,
    b"/admin/..%2fpublic": _SLASH,
    b"/admin%00/": _NUL,
    b"/admin%00": _NUL,
    b"/admin/%00": _NUL,
    b"/%00/admin/": _NUL,
    b"/public%00/../admin/": _NUL,
    b"/public/%2e%2e/admin/": _HIDDEN,
    b"/public/%2E%2E/admin/": _HIDDEN,
    b"/public/.%2e/admin/": _HIDDEN,
    b"/public/%2e./admin/": _HIDDEN,
    b"/%2e/admin/": _HIDDEN,
    b"/admin/%2e%2e/public": _HIDDEN,
    b"/admin/%2e": _HIDDEN,
    b"/%2e%2e/admin/": _HIDDEN,
    b"/../admin/": _ABOVE,
    b"/..": _ABOVE,
    b"/./../admin/": _ABOVE,
    b"/public/../../admin/": _ABOVE,
    b"/../../../../etc/passwd": _ABOVE,
    b"/..;/admin/": _PARAMETER,
    b"/public/..;/admin/": _PARAMETER,
    b"/public/..;x=y/admin/": _PARAMETER,
    b"/admin/..;/public": _PARAMETER,
    b"/.;/admin/": _PARAMETER,
    b"/public/.;x/admin": _PARAMETER,
    b"/public/..%3b/admin/": _PARAMETER,
    b"/public/%2e%2e;/admin/": _PARAMETER,
    b"/public/%2e%2e%3B/admin/": _PARAMETER,
    b"/;/admin/": _PARAMETER,
    b"/;x=y/admin/": _PARAMETER,
    b"/%3b/admin/": _PARAMETER,
    b"/admin/;/x": _PARAMETER,
    b"/public/;/../admin/": _PARAMETER,
    b"/public//../admin/": _EMPTY,
    b"//../admin/": _EMPTY,
    b"/public//./../admin/": _EMPTY,
    b"/admin//../public": _EMPTY,
    b"/\\admin/": _BACKSLASH,
    b"\\admin\\": _BACKSLASH,
    b"/admin\\": _BACKSLASH,
    b"/admin\\x": _BACKSLASH,
    b"/public\\..\\admin/": _BACKSLASH,
    b"/public/..\\admin/": _BACKSLASH,
    b"/..\\admin": _BACKSLASH,
    b"/%5cadmin/": _BACKSLASH,
    b"/admin%5c": _BACKSLASH,
    b"/admin%5Cx": _BACKSLASH,
    b"/public/..%5cadmin/": _BACKSLASH,
    b"/..%5C..%5cadmin": _BACKSLASH,
    b"/public/%c0%ae%c0%ae/admin/": _OVERLONG,
    b"/public/%C0%AE./admin/": _OVERLONG,
    b"/public%c0%afadmin/": _OVERLONG,
    b"/..%c0%afadmin/": _OVERLONG,
    b"/public%c1%9cadmin/": _OVERLONG,
    b"/admin%c0%80": _OVERLONG,
    b"/public/%e0%80%ae%e0%80%ae/admin/": _OVERLONG,
    b"/public/..%e0%80%afadmin": _OVERLONG,
    b"/public/..%f0%80%80%afadmin": _OVERLONG,
    b"/%c1%a1dmin/": _OVERLONG,
    b"/admin%": _ESCAPE,
    b"/%6/admin/": _ESCAPE,
    b"/%u0061dmin/": _ESCAPE,
    b"/public/..%u2215admin/": _ESCAPE,
    b"/%%61dmin/": _ESCAPE,
    b"/admin/#x": _FRAGMENT,
    b"/public#/../admin/": _FRAGMENT,
    b"admin/": "no form of a target (RFC 9112 section 3.2)",
    b"./admin/": "no form of a target (RFC 9112 section 3.2)",
    b"http:/admin/": "no form of a target (RFC 9112 section 3.2)",
    b"http:///admin/": "a URI of http has a host (RFC 9110 section 4.2.1)",
    b"http://a/../admin/": _ABOVE,
    b"http://a/public/%2e%2e/admin/": _HIDDEN,
    b"http://a\\/admin/": "no host (RFC 3986 section 3.2.2)",
}

_CASE = "paths have case (RFC 3986 section 6.2.2.1); a backend that has none needs a route of its own"
_TWICE = "decoded once it is no /admin/; nobody may decode twice (RFC 3986 section 2.4)"
_NAME = "another name: the sign is a part of the segment (RFC 3986 section 3.3)"
_MATRIX = (
    "another name: a parameter is a part of its segment (RFC 3986 section 3.3); a backend that cuts it needs a route of its own"
)
_LEFT = "dots are resolved, and then it is not below /admin/ (RFC 3986 section 5.2.4)"

_OTHERS = {
    b"/public": "itself",
    b"/administrator/": "a prefix with a slash ends at a slash",
    b"/x/admin/": "elsewhere",
    b"/public?/admin/": _QUERY,
    b"/?/../admin/": _QUERY,
    b"/?path=%2fadmin%00": _QUERY,
    b"/ADMIN/": _CASE,
    b"/Admin/x": _CASE,
    b"/%41dmin/": _CASE,
    b"/%2561dmin/": _TWICE,
    b"/public/%252e%252e/admin/": _TWICE,
    b"/public/..%252fadmin/": _NAME,
    b"/admin%252f": _TWICE,
    b"/admin%2500/": _TWICE,
    b"/admin%20/": _NAME,
    b"/admin%09/": _NAME,
    b"/admin%0a/": _NAME,
    b"/admin%0d%0aX:%20y": _NAME,
    b"/admin./": _NAME,
    b"/admin../": _NAME,
    b"/admin%2e/": _NAME,
    b"/.../admin/": _NAME,
    b"/..admin/": _NAME,
    b"/.admin/": _NAME,
    b"/admin%3f/": _NAME,
    b"/admin%3f/../public": _NAME,
    b"/admin%23/": _NAME,
    b"/admin~/": _NAME,
    b"/admin,/": _NAME,
    b"/admin:80/": _NAME,
    b"/admin@x/": _NAME,
    b"/admin%ef%bc%8f": _NAME,
    b"/%ef%bd%81dmin/": _NAME,
    b"/admin%e2%80%8b/": _NAME,
    b"/;x": "a session's id at the root",
    b"/admin;x/": _MATRIX,
    b"/admin;/x": _MATRIX,
    b"/admin%3b/": _NAME,
    b"//a/admin/": "doubled slashes are one: an origin-form is no reference with a host (RFC 9112 section 3.2.1)",
    b"/admin/../public": _LEFT,
    b"/admin/x/../../public": _LEFT,
    b"/a/../b": _LEFT,
    b"/caf%C3%A9/%E9": "bytes that are no UTF-8 name what they name",
}


def _asked(target: bytes, status: int, why: str) -> Case:
    return Case(f"path {target.decode()}", get(target), status, why, listener="routed")


CASES = [
    *[_asked(target, 403, why) for target, why in _ADMIN.items()],
    *[_asked(target, 400, why) for target, why in _REFUSED.items()],
    *[_asked(target, SERVED, why) for target, why in _OTHERS.items()],
    Case("a closed path as a query", get(b"http://a?/admin/"), SERVED, _QUERY, target=b"/?/admin/", listener="routed"),
    Case("a closed path as a host", get(b"http://admin/"), SERVED, "a host is no path", target=b"/", listener="routed"),
    *[
        Case(
            f"{method.decode()} of a closed path",
            head(start=method + b" /admin/ HTTP/1.1"),
            403,
            "a route without methods takes all",
            listener="routed",
        )
        for method in (b"POST", b"get", b"FOOBAR", b"OPTIONS", b"TRACE")
    ],
    *[
        Case(f"a closed path and {line.decode()}", get(b"/admin/", line), 403, "no field says what a path is", listener="routed")
        for line in (
            b"X-Original-URL: /public",
            b"X-Rewrite-URL: /public",
            b"X-HTTP-Method-Override: PUT",
            b"X-Forwarded-Prefix: /public",
            b"X-Forwarded-For: 127.0.0.1",
            b"Forwarded: for=127.0.0.1",
            b"Referer: /public",
        )
    ],
]
