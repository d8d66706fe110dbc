"""What is said of earlier hops: dropped when nobody vouches for it, passed on and extended when a trusted peer says it."""

from __future__ import annotations

from tests.wire.cases import SERVED, Case, head

_CHAIN = "forged addresses"
_FORWARDED = "RFC 7239 section 4"
_VIA = "RFC 9110 section 7.6.3"
_MAX = "RFC 9110 section 7.6.2"
_OWN = (
    b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: a", b"X-Real-IP: 127.0.0.1",
    b"Forwarded: for=127.0.0.1;host=a;proto=http",
)  # fmt: skip


def _trusted(name: str, lines: list[bytes], *has: bytes, lacks: tuple[bytes, ...] = (), rule: str = _CHAIN) -> Case:
    return Case(f"trusted: {name}", head(*lines), SERVED, rule, has=has, lacks=lacks, listener="trusting")


CASES = [
    Case("nothing said", head(), SERVED, _CHAIN, has=(*_OWN, b"Via: 1.1 greenproxy")),
    *[
        Case(f"forged {line.decode()}", head(line), SERVED, _CHAIN, has=_OWN)
        for line in (
            b"X-Forwarded-For: 6.6.6.6",
            b"x-forwarded-for: 6.6.6.6",
            b"X-FORWARDED-FOR: 127.0.0.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: bank.example",
            b"X-Real-IP: 6.6.6.6",
            b"Forwarded: for=6.6.6.6;proto=https;host=bank.example",
        )
    ],
    *[
        Case(f"forged {name.decode()}", head(name + b": x"), SERVED, _CHAIN, lacks=(name,))
        for name in (b"X-Forwarded-Port", b"X-Forwarded-Server", b"X-Forwarded-Ssl", b"X-Forwarded-Prefix", b"X-Forwarded-")
    ],
    Case("forged twice", head(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 7.7.7.7"), SERVED, _CHAIN, has=_OWN),
    Case(
        "forged in HTTP/1.0 without a Host",
        head(b"X-Forwarded-Host: b", start=b"GET / HTTP/1.0", has_host=False),
        SERVED,
        _CHAIN,
        lacks=(b"X-Forwarded-Host",),
        closes=True,
    ),
    # ---- from a trusted peer
    _trusted("X-Forwarded-For", [b"X-Forwarded-For: 1.2.3.4"], b"X-Forwarded-For: 1.2.3.4, 127.0.0.1", b"X-Real-IP: 1.2.3.4"),
    _trusted(
        "a longer chain",
        [b"X-Forwarded-For: 6.6.6.6, 1.2.3.4"],
        b"X-Forwarded-For: 6.6.6.6, 1.2.3.4, 127.0.0.1",
        b"X-Real-IP: 1.2.3.4",
    ),
    _trusted("X-Forwarded-Proto", [b"X-Forwarded-Proto: https"], b"X-Forwarded-Proto: https"),
    _trusted("X-Forwarded-Proto of nonsense", [b"X-Forwarded-Proto: gopher"], b"X-Forwarded-Proto: http"),
    _trusted("X-Forwarded-Port", [b"X-Forwarded-Port: 443"], b"X-Forwarded-Port: 443"),
    _trusted(
        "Forwarded",
        [b"Forwarded: for=1.2.3.4;proto=https"],
        b"Forwarded: for=1.2.3.4;proto=https, for=127.0.0.1",
        b"X-Real-IP: 1.2.3.4",
        rule=_FORWARDED,
    ),
    _trusted(
        "a Forwarded that swallows ours",
        [b'Forwarded: for="1.2.3.4'],
        b"Forwarded: for=127.0.0.1;host=a;proto=http",
        rule=_FORWARDED,
    ),
    _trusted("nonsense in X-Forwarded-For", [b"X-Forwarded-For: nobody"], b"X-Real-IP: 127.0.0.1"),
    _trusted("nominated", [b"Connection: X-Forwarded-For", b"X-Forwarded-For: 1.2.3.4"], b"X-Forwarded-For: 1.2.3.4, 127.0.0.1"),
    # ---- Via and Max-Forwards
    Case(
        "a Via of others",
        head(b"Via: 1.0 fred, 1.1 p.example (x)"),
        SERVED,
        _VIA,
        has=(b"Via: 1.0 fred, 1.1 p.example (x), 1.1 greenproxy",),
    ),
    Case(
        "a Via in two lines", head(b"Via: 1.0 fred", b"Via: 1.1 b"), SERVED, _VIA, has=(b"Via: 1.0 fred, 1.1 b, 1.1 greenproxy",)
    ),
    Case("Max-Forwards of 2", head(b"Max-Forwards: 2", start=b"TRACE / HTTP/1.1"), SERVED, _MAX, has=(b"Max-Forwards: 1",)),
    Case("Max-Forwards of 1", head(b"Max-Forwards: 1", start=b"OPTIONS * HTTP/1.1"), SERVED, _MAX, has=(b"Max-Forwards: 0",)),
    Case("Max-Forwards of 0 and OPTIONS", head(b"Max-Forwards: 0", start=b"OPTIONS / HTTP/1.1"), 200, _MAX),
    Case("Max-Forwards of 0 and TRACE", head(b"Max-Forwards: 0", start=b"TRACE / HTTP/1.1"), 200, _MAX),
    Case("Max-Forwards of 0 and GET", head(b"Max-Forwards: 0"), SERVED, _MAX),
    Case("Max-Forwards that is no number", head(b"Max-Forwards: -1", start=b"TRACE / HTTP/1.1"), SERVED, _MAX),
    Case("Max-Forwards twice", head(b"Max-Forwards: 0", b"Max-Forwards: 0", start=b"TRACE / HTTP/1.1"), SERVED, _MAX),
    Case(
        "Max-Forwards with a twin",
        head(b"Max_Forwards: 0", start=b"TRACE / HTTP/1.1"),
        SERVED,
        "underscore twins",
        lacks=(b"Max_Forwards",),
    ),
]
