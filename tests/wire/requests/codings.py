"""Transfer-Encoding: `chunked`, alone and in HTTP/1.1, or nothing.

Every obfuscation stands here twice, as the lists of attackers have it: beside a length of 5, with a body of five bytes that
is also the end of a chunked one, so that both readings find a whole message; and alone.
"""

from __future__ import annotations

from tests.wire.cases import END, SERVED, Case, chunked, coded, post

_CODING = "RFC 9112 section 6.1"
_LIST = "RFC 9112 section 6.3"
_TE_TE = "TE.TE"
_HELLO = b"5\r\nhello\r\n" + END
_TE = b"Transfer-Encoding: "

# A line that some reader somewhere takes for `Transfer-Encoding: chunked`: never valid, whatever stands beside it.
_MALFORMED = {
    "space before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "tabs around the colon": b"Transfer-Encoding\t:\tchunked",
    "vertical tab before the colon": b"Transfer-Encoding\x0b: chunked",
    "form feed before the colon": b"Transfer-Encoding\x0c: chunked",
    "NUL before the colon": b"Transfer-Encoding\x00: chunked",
    "vertical tab before the coding": b"Transfer-Encoding: \x0bchunked",
    "form feed before the coding": b"Transfer-Encoding: \x0cchunked",
    "NUL before the coding": b"Transfer-Encoding: \x00chunked",
    "backspace before the coding": b"Transfer-Encoding: \x08chunked",
    "vertical tab after the coding": b"Transfer-Encoding: chunked\x0b",
    "form feed after the coding": b"Transfer-Encoding: chunked\x0c",
    "NUL after the coding": b"Transfer-Encoding: chunked\x00",
    "DEL after the coding": b"Transfer-Encoding: chunked\x7f",
    "CR after the coding": b"Transfer-Encoding: chunked\r",
    "CR before the coding": b"Transfer-Encoding: \rchunked",
    "LF before the coding": b"Transfer-Encoding:\nchunked",
    "LF and a space before the coding": b"Transfer-Encoding:\n chunked",
    "LF and a vertical tab before the coding": b"Transfer-Encoding: \n\x0bchunked",
    "fold before the coding": b"Transfer-Encoding:\r\n chunked",
    "fold with a tab before the coding": b"Transfer-Encoding:\r\n\tchunked",
    "fold before the colon": b"Transfer-Encoding\r\n : chunked",
    "LF and a space before the colon": b"Transfer-Encoding\n : chunked",
    "behind a bare LF": b"X: X\nTransfer-Encoding: chunked",
    "behind a bare CR": b"X: X\rTransfer-Encoding: chunked",
    "behind LF CR": b"X: X\n\rTransfer-Encoding: chunked",
    "behind CR LF CR": b"X: X\r\n\rTransfer-Encoding: chunked",
    "behind a space": b"X: X\r\n Transfer-Encoding: chunked",
    "behind a tab": b"X: X\r\n\tTransfer-Encoding: chunked",
    "behind a NUL": b"\x00Transfer-Encoding: chunked",
    "a word behind the name": b"Transfer-Encoding x: chunked",
    "backslash in the name": b"Transfer\\-Encoding: chunked",
    "space in the name": b"Transfer Encoding: chunked",
    "semicolon behind the name": b"Transfer-Encoding;: chunked",
    "equals sign for the colon": b"Transfer-Encoding= chunked",
    "no colon": b"Transfer-Encoding chunked",
    "obs-text in the name": b"Transf\x82r-Encoding: chunked",
    "a dotless i in the name": "Transfer-Encod\u0131ng: chunked".encode(),
    "no-break space before the coding": b"Transfer-Encoding:\xa0chunked",
    "next line before the coding": b"Transfer-Encoding:\x85chunked",
    "obs-text before the coding": b"Transfer-Encoding: \xffchunked",
    "obs-text in the coding": b"Transfer-Encoding: ch\x96nked",
    "a Kelvin sign in the coding": "Transfer-Encoding: chun\u212aed".encode(),
    "two colons": b"Transfer-Encoding:: chunked",
    "quoted": b'Transfer-Encoding: "chunked"',
    "half quoted": b'Transfer-Encoding: "chunked',
    "in brackets": b"Transfer-Encoding: [chunked]",
    "a comment": b"Transfer-Encoding: chunked (x)",
    "words around it": b"Transfer-Encoding: cow chunked bar",
    "twice in a word's distance": b"Transfer-Encoding: chunked chunked",
    "a slash": b"Transfer-Encoding: chunked/1",
    "a parameter": b"Transfer-Encoding: chunked;q=1",
    "a parameter behind a space": b"Transfer-Encoding: chunked ; q=1",
    "an empty parameter": b"Transfer-Encoding: chunked;",
    "a comma behind it": b"Transfer-Encoding: chunked,",
    "a comma before it": b"Transfer-Encoding: ,chunked",
    "only a comma": b"Transfer-Encoding: ,",
    "a comma and a space before it": b"Transfer-Encoding: , chunked",
    "not last": b"Transfer-Encoding: chunked, cow",
    "before identity": b"Transfer-Encoding: chunked, identity",
    "before gzip": b"Transfer-Encoding: chunked, gzip",
    "twice in a list": b"Transfer-Encoding: chunked, chunked",
    "around another": b"Transfer-Encoding: chunked, gzip, chunked",
    "with a parameter behind another": b"Transfer-Encoding: gzip, chunked;a=b",
    "empty": b"Transfer-Encoding:",
    "only white space": b"Transfer-Encoding: \t ",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "twice in other cases": b"Transfer-Encoding: chunked\r\ntransfer-encoding: CHUNKED",
    "and then another": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "and then identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "and then an empty one": b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    "behind an empty one": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
}

# A coding that we do not know, or that somebody may have applied: 501 alone, and a contradiction beside a length.
_UNKNOWN = {
    "xchunked": b"xchunked",
    "chunkedx": b"chunkedx",
    "chunk": b"chunk",
    "x": b"x",
    "identity": b"identity",
    "gzip": b"gzip",
    "gzip, chunked": b"gzip, chunked",
    "gzip, chunked in two lines": b"gzip\r\nTransfer-Encoding: chunked",
    "gzip with a parameter, chunked": b"gzip;q=1, chunked",
    "deflate, gzip, chunked": b"deflate, gzip, chunked",
    "identity, chunked": b"identity, chunked",
    "identity, then chunked": b"identity\r\nTransfer-Encoding: chunked",
    "cow, chunked": b"cow, chunked",
    "in apostrophes": b"'chunked'",
    "with a hyphen": b"-chunked",
    "with an escape": b"chunked%20",
    "with an underscore": b"chunked_",
}

# The same field, whatever it looks like: white space, and names and codings without case (RFC 9110 section 5.1).
_VALID = {
    "plain": b"Transfer-Encoding: chunked",
    "odd coding": b"Transfer-Encoding: ChunKED",
    "capitals": b"TRANSFER-ENCODING: CHUNKED",
    "odd name": b"TrAnSFer-EnCODinG: chunked",
    "no space": b"Transfer-Encoding:chunked",
    "two spaces": b"Transfer-Encoding:  chunked",
    "a tab": b"Transfer-Encoding:\tchunked",
    "a trailing space": b"Transfer-Encoding: chunked ",
    "a trailing tab": b"Transfer-Encoding: chunked\t",
}

# Other fields: they pass as they are, unless a gateway interface would take them for it (see `twins`).
_OTHERS = [
    b"X-Transfer-Encoding: chunked",
    b"TransferEncoding: chunked",
    b"Transfer.Encoding: chunked",
    b"Transfer-%45ncoding: chunked",
    b"Transfer-Encoding1: chunked",
    b"Content-Encoding: chunked",
    b"Content-Transfer-Encoding: chunked",
    b"Transfer-Codings: chunked",
]

CASES = [
    *[Case(f"chunked: {name}", post(line, body=_HELLO), SERVED, _CODING, b"hello") for name, line in _VALID.items()],
    *[
        Case(f"length and chunked: {name}", post(b"Content-Length: 5", line, body=END), 400, _TE_TE)
        for name, line in [*_VALID.items(), *_MALFORMED.items()]
    ],
    *[Case(f"chunked, obfuscated: {name}", post(line, body=END), 400, _TE_TE) for name, line in _MALFORMED.items()],
    *[Case(f"coding {name}", coded(value), 501, _CODING) for name, value in _UNKNOWN.items()],
    *[
        Case(f"length and coding {name}", post(b"Content-Length: 5", _TE + value, body=END), 400, _LIST)
        for name, value in _UNKNOWN.items()
    ],
    *[
        Case(f"no coding: {line.decode()}", post(b"Content-Length: 5", line, body=END), SERVED, _CODING, END, has=(line,))
        for line in _OTHERS
    ],
    Case("a GET that is chunked", coded(b"chunked", body=_HELLO, start=b"GET / HTTP/1.1"), SERVED, _CODING, b"hello"),
    Case("a HEAD that is chunked", coded(b"chunked", body=_HELLO, start=b"HEAD / HTTP/1.1"), SERVED, _CODING, b"hello"),
    Case("an empty chunked body", chunked(END), SERVED, _CODING),
    Case("chunked in HTTP/1.0", coded(b"chunked", start=b"POST / HTTP/1.0"), 400, _CODING),
    Case(
        "chunked in HTTP/1.0 that keeps alive",
        coded(b"chunked", b"Connection: keep-alive", start=b"POST / HTTP/1.0"),
        400,
        _CODING,
    ),
    Case("gzip in HTTP/1.0", coded(b"gzip", start=b"POST / HTTP/1.0"), 400, _CODING),
]
