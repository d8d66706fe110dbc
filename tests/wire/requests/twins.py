"""Twins: underscores for dashes. CGI and WSGI read both spellings as one variable, so the twin of a field that says how a
message is read, or who sent it, is believed from nobody and travels no further.
"""

from __future__ import annotations

from tests.wire.cases import END, HELLO, SERVED, Case, head, post, sized

_RULE = "underscore twins"  # RFC 3875 section 4.1.18: a dash becomes an underscore

_TWINS = [
    b"X_Forwarded_For", b"X-Forwarded_For", b"X_Forwarded-For", b"x_forwarded_for", b"X_Forwarded_Proto", b"X_Forwarded_Host",
    b"X_Forwarded_Port", b"X_Forwarded_Anything", b"X_Real_IP", b"X-Real_IP", b"Content_Length", b"CONTENT_LENGTH",
    b"Transfer_Encoding", b"Max_Forwards", b"Proxy_Connection", b"Keep_Alive", b"HTTP2_Settings",
]  # fmt: skip

CASES = [
    *[Case(f"twin {name.decode()}", head(name + b": 6.6.6.6"), SERVED, _RULE, lacks=(name,)) for name in _TWINS],
    *[
        Case(
            f"twin {name.decode()} from a trusted peer",
            head(name + b": 6.6.6.6"),
            SERVED,
            _RULE,
            lacks=(name,),
            listener="trusting",
        )
        for name in (b"X_Forwarded_For", b"X-Forwarded_Proto", b"X_Real_IP")
    ],
    Case(
        "a twin beside the real one",
        head(b"X-Forwarded-For: 6.6.6.6", b"X_Forwarded_For: 7.7.7.7"),
        SERVED,
        _RULE,
        lacks=(b"X_Forwarded_For",),
    ),
    Case("a length and its twin", sized(b"5", b"Content_Length: 0"), SERVED, _RULE, HELLO, lacks=(b"Content_Length",)),
    Case(
        "a length and the coding's twin",
        sized(b"5", b"Transfer_Encoding: chunked", body=END),
        SERVED,
        _RULE,
        END,
        lacks=(b"Transfer_Encoding",),
    ),
    Case(
        "a coding and the length's twin",
        post(b"Transfer-Encoding: chunked", b"Content_Length: 5", body=END),
        SERVED,
        _RULE,
        lacks=(b"Content_Length",),
    ),
    Case(
        "a twin that Connection names",
        head(b"Connection: X_Forwarded_For", b"X_Forwarded_For: 6.6.6.6"),
        SERVED,
        _RULE,
        lacks=(b"X_Forwarded_For",),
    ),
    Case("a twin of no such field", head(b"X_Own: a"), SERVED, _RULE, has=(b"X_Own: a",)),
    Case("a twin with two underscores is another name", head(b"Content__Length: 5"), SERVED, _RULE, has=(b"Content__Length: 5",)),
    Case("a dot for a dash is another name", head(b"Content.Length: 5"), SERVED, _RULE, has=(b"Content.Length: 5",)),
]
