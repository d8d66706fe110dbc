"""Chunked bodies: CRLF only, sizes of at most 15 hexadecimal digits, extensions by the grammar. Trailers are in `trailers`.

The attacks of 2025 live here (TERM.EXT and so on): somebody takes a bare CR or LF, or any two bytes, for the end of a chunk
line, of an extension or of a chunk's data.
"""

from __future__ import annotations

from tests.wire.cases import END, HELLO, SERVED, UNFINISHED, Case, chunked

_CHUNK = "RFC 9112 section 7.1"
_EXTENSION = "RFC 9112 section 7.1.1"
_LINE_BYTES = 4096  # the longest chunk line, its CRLF included

_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

_BAD_SIZES = [
    b"0x5", b"0X5", b"x5", b"+5", b"-5", b"-0", b"-1", b"5 ", b" 5", b"5\t", b"\t5", b"5\x0b", b"5\x00", b"\x005", b"5_",
    b"5_0", b"_5",
    b"5h", b"g", b"5.", b"5.0", b"5,", b"5,5", b'"5"', b"5=", b"5:", b"5#", b"5 5", b"", b" ", b"\xb2", b"\xff", b"5\xa0",
    b"five",
    "\u0665".encode(), b"5e0g", b"5\r", b"5\n",
]  # fmt: skip
_HUGE = {
    "of 16 digits": b"0000000000000005", "2^60": b"%x" % 2**60, "2^63 - 1": b"%x" % (2**63 - 1), "2^64 - 1": b"%x" % (2**64 - 1),
    "2^64": b"%x" % 2**64, "2^64 + 5": b"%x" % (2**64 + 5), "of 17 digits": b"f" * 17, "of 100 digits": b"0" * 99 + b"5",
    "of 5,000 digits": b"0" * 4999 + b"5",
}  # fmt: skip

_GOOD = {
    "two chunks": (b"2\r\nhe\r\n3\r\nllo\r\n" + END, HELLO),
    "a chunk for each byte": (b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n" + END, HELLO),
    "data that looks like chunks": (b"5\r\n" + END + b"\r\n" + END, END),
    "data of line ends": (b"6\r\n\r\n\r\r\n\n\r\n" + END, b"\r\n\r\r\n\n"),
    "size 00005": (b"00005\r\nhello\r\n" + END, HELLO),
    "size of 15 digits": (b"000000000000005\r\nhello\r\n" + END, HELLO),
    "sizes in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END, b"0123456789" * 2),
    "a last chunk of many zeros": (b"5\r\nhello\r\n000\r\n\r\n", HELLO),
}
_GOOD_EXTENSIONS = {
    "a name": b";a",
    "a name and a value": b";a=b",
    "two of them": b";a=b;c=d",
    "two of the same name": b";a=b;a=c",
    "digits": b";1=2",
    "a quoted value": b';a="b"',
    "a quoted value with signs": b';a="b;c=d, e\\"f"',
    "a quoted empty value": b';a=""',
    "space behind the semicolon": b"; a=b",
    "white space around the equals sign": b";a \t=\t b",
    "white space before another": b";a=b\t ;\tc",
    "a quoted tab": b';a="\t"',
    "a line as long as may be": b";a=" + b"b" * (_LINE_BYTES - 6),
}
_BAD_EXTENSIONS = {
    "LF": b";a\nb",
    "CR": b";a\rb",
    "LF in the value": b";a=b\nc",
    "LF in quotes": b';a="b\nc"',
    "CR LF in quotes": b';a="b\r\nc"',
    "CR in quotes": b';a="b\rc"',
    "NUL": b";a\x00b",
    "NUL in quotes": b';a="\x00"',
    "a control": b";a=\x01",
    "DEL": b";a=\x7f",
    "no name": b";",
    "no name before a value": b";=b",
    "no value": b";a=",
    "two semicolons": b";;a",
    "an open quote": b';a="b',
    "an open quote behind a backslash": b';a="b\\"',
    "two values": b";a=b=c",
    "something behind the quote": b';a="b"c',
    "space before it": b" ;a=b",  # by the grammar it may stand there, but h11 and llhttp refuse it
    "white space and nothing": b"; ",
    "white space for a value": b";a= ",
    "white space in the name": b";a b",
    "space behind it": b";a=b ",
    "tab before it": b"\t;a=b",
    "a comma": b",a=b",
    "a colon": b";a:b",
    "obs-text": b";a=\xff",
    "CR CR": b";a\r",
    "a line that is too long by one": b";a=" + b"b" * (_LINE_BYTES - 5),
    "far too long": b";a=" + b"b" * 20_000,
}
# Where a chunk ends, and what else somebody takes for it.
_BAD_ENDS = {
    "LF after the size": b"5\nhello\r\n" + END,
    "CR after the size": b"5\rhello\r\n" + END,
    "LF CR after the size": b"5\n\rhello\r\n" + END,
    "LF LF after the size": b"5\n\nhello\r\n" + END,
    "LF after the data": b"5\r\nhello\n" + END,
    "CR after the data": b"5\r\nhello\r" + END,
    "CR CR after the data": b"5\r\nhello\r\r" + END,
    "LF LF after the data": b"5\r\nhello\n\n" + END,
    "CR CR LF after the data": b"5\r\nhello\r\r\n" + END,
    "LF CR after the data": b"5\r\nhello\n\r" + END,
    "nothing after the data": b"5\r\nhello" + END,
    "two bytes after the data": b"5\r\nhelloXX" + END,
    "a NUL and LF after the data": b"5\r\nhello\x00\n" + END,
    "two empty lines after the data": b"5\r\nhello\r\n\r\n" + END,
    "more data than stated": b"5\r\nhello!\r\n" + END,
    "less data than stated": b"6\r\nhello\r\n" + END,
    "LF after the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "LF after the trailer section": b"5\r\nhello\r\n0\r\n\n",
    "only LF at the end": b"5\r\nhello\r\n0\n\n",
    "CR CR for the last line": b"5\r\nhello\r\n0\r\n\r\r",
    "CR CR after the last size": b"5\r\nhello\r\n0\r\r",
    "CR CR after a size": b"5\r\r",
    "CR after the last chunk": b"5\r\nhello\r\n0\r\r\n\r\n",
    "an empty line before the first chunk": b"\r\n5\r\nhello\r\n" + END,
    "LF before the first chunk": b"\n5\r\nhello\r\n" + END,
    "a space before the last chunk": b"5\r\nhello\r\n 0\r\n\r\n",
    "a minus before the last chunk": b"5\r\nhello\r\n-0\r\n\r\n",
}
_ATTACKS = {
    "TERM.EXT": b"2;\nxx\r\n45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "EXT.TERM": b"2;a\nxx;b\r\n45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "TERM.EXT with a CR": b"2;\rxx\r\n45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "TERM.EXT behind the last size": b"0;\nx\r\n\r\n" + _SMUGGLED,
    "TERM.SPILL": b"5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "SPILL.TERM": b"5\r\nAAAAA\r\r\n2\r\n45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "ONE.TWO": b"2\r\nxx\n45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "TWO.ONE": b"2\r\nxx\r45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "ZERO.TWO": b"2\r\nxx45\r\n0\r\n\r\n" + _SMUGGLED + END,
    "a quoted extension over two lines": b'1;a="\r\nx"\r\n' + END,
}

CASES = [
    *[Case(f"chunks: {name}", chunked(body), SERVED, _CHUNK, payload) for name, (body, payload) in _GOOD.items()],
    *[Case(f"chunk size {size!r}", chunked(size + b"\r\nhello\r\n" + END), 400, _CHUNK) for size in _BAD_SIZES],
    *[Case(f"chunk size {name}", chunked(size + b"\r\nhello\r\n" + END), 400, "length overflow") for name, size in _HUGE.items()],
    *[
        Case(f"extension: {name}", chunked(b"5%b\r\nhello\r\n%b" % (text, END)), SERVED, _EXTENSION, HELLO)
        for name, text in _GOOD_EXTENSIONS.items()
    ],
    Case("extension of the last chunk", chunked(b"5\r\nhello\r\n0;a=b\r\n\r\n"), SERVED, _EXTENSION, HELLO),
    *[
        Case(f"no extension: {name}", chunked(b"5%b\r\nhello\r\n%b" % (text, END)), 400, _EXTENSION)
        for name, text in _BAD_EXTENSIONS.items()
    ],
    *[Case(f"chunk end: {name}", chunked(body), 400, _CHUNK) for name, body in _BAD_ENDS.items()],
    *[Case(f"chunk attack {name}", chunked(body), 400, name.split()[0]) for name, body in _ATTACKS.items()],
    Case("no last chunk", chunked(b"5\r\nhello\r\n"), UNFINISHED, _CHUNK),
    Case("no CRLF behind the last chunk", chunked(b"5\r\nhello\r\n0\r\n"), UNFINISHED, _CHUNK),
    Case("half a CRLF behind the last chunk", chunked(b"5\r\nhello\r\n0\r\n\r"), UNFINISHED, _CHUNK),
    Case("the end in the middle of a chunk", chunked(b"5\r\nhel"), UNFINISHED, _CHUNK),
    Case("the end in the middle of a size", chunked(b"5"), UNFINISHED, _CHUNK),
    Case("a chunk size of 15 digits and five bytes", chunked(b"f" * 15 + b"\r\nhello\r\n"), UNFINISHED, "length overflow"),
]
