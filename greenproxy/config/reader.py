"""Reads the lines of an INI file: sections, keys, continuation lines, each with its line number.

The rules are configparser's where it has one (the tests hold this reader against it), without its guesses:
`=` alone separates, keys keep their case, a section or key that comes twice is a mistake, `#` begins a comment
at the start of a line or after white space and `\\#` is a hash, `;` begins one only at the start of a line,
`%` is an ordinary character, and `${NAME}` is an environment variable (`\\${` stays as it is). Comments go
first: a `#` inside a variable begins none. No meaning here: which keys exist is the business of `schema`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from greenproxy.config.errors import ConfigError, closest

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_HEADER = re.compile(r"\[\s*([^\[\]]*?)\s*\]")
_KEY = re.compile(r"([A-Za-z0-9_.-]+)\s*=\s*(.*)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"(\\?)\$\{([^}]*)(\}?)")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: The sections of a file; all but the first carry a name, `[kind:name]`.
KINDS = ("greenproxy", "listener", "upstream", "route", "middleware", "app", "demo")


@dataclass(frozen=True)
class Line:
    """One line of a value, with comments and outer white space removed and variables put in."""

    number: int
    text: str


@dataclass
class Entry:
    """One key. `lines` are the lines of its value that are not empty."""

    key: str
    line: int
    lines: list[Line] = field(default_factory=list)
    is_broken: bool = False  # a mistake in it is reported already


@dataclass
class Section:
    """One `[kind:name]` and its keys."""

    kind: str
    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)
    is_broken: bool = False  # a line in it could not be read

    @property
    def title(self) -> str:
        """What stands between the brackets."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


class Reader:
    """Reads one text into `sections` and `errors`. Never raises for what stands in the text."""

    def __init__(self, text: str, file: str, environ: Mapping[str, str]) -> None:
        self.sections: list[Section] = []
        self.errors: list[ConfigError] = []
        self.variables: set[str] = set()  # the names of all environment variables that the text uses
        self._lines: dict[str, int] = {}  # of the sections, by title
        self._file = file
        self._environ = environ
        self._section: Section | None = None
        self._entry: Entry | None = None
        self._indent = 0  # of the key that `_entry` is
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            self._read(number, line.removesuffix("\r"))

    def _fail(self, line: int, message: str, *, key: str = "", suggestion: str = "") -> None:
        section = self._section.title if self._section else ""
        if self._section:
            self._section.is_broken = True
        self.errors.append(
            ConfigError(file=self._file, line=line, section=section, key=key, message=message, suggestion=suggestion)
        )

    def _read(self, number: int, line: str) -> None:
        line = _COMMENT.sub("", line)
        text = line.strip()
        if not text or text.startswith(";"):
            return
        text = text.replace("\\#", "#")
        indent = len(line.expandtabs()) - len(line.expandtabs().lstrip())
        if self._entry is not None and indent > self._indent:
            self._add(self._entry, number, text)
        elif text.startswith("["):
            self._open_section(number, text)
        else:
            self._indent = indent
            self._open_entry(number, text)

    # ------------------------------------------------------------------ sections

    def _open_section(self, number: int, text: str) -> None:
        self._entry = None
        header = _HEADER.fullmatch(text)
        kind, colon, name = (part.strip() for part in (header[1] if header else "").partition(":"))
        self._section = Section(kind, name, number)
        if header is None or not kind:
            self._section = Section("", "", number, is_broken=True)
            self.errors.append(ConfigError(file=self._file, line=number, message="a section is written [kind:name]"))
        elif kind not in KINDS:
            guess = closest(kind, KINDS)
            suggestion = f"{guess}:{name or 'NAME'}" if guess and guess != KINDS[0] else guess
            self._fail(number, "unknown section", suggestion=suggestion)
        elif kind == KINDS[0]:
            self._check_first_section(number, is_named=bool(colon))
        elif not _NAME.fullmatch(name):
            self._fail(number, f"needs a name of letters, digits, '-', '_' and '.': [{kind}:NAME]")
        else:
            self._keep_section(number)

    def _check_first_section(self, number: int, *, is_named: bool) -> None:
        if is_named:
            self._fail(number, "has no name", suggestion=KINDS[0])
        else:
            self._keep_section(number)

    def _keep_section(self, number: int) -> None:
        assert self._section is not None
        first = self._lines.setdefault(self._section.title, number)
        if first != number:
            self._fail(number, f"section stands here twice, first in line {first}")
        else:
            self.sections.append(self._section)

    # ------------------------------------------------------------------ keys and values

    def _open_entry(self, number: int, text: str) -> None:
        match = _KEY.fullmatch(text)
        # The lines below belong to it, whatever is wrong with it: one mistake is one message.
        self._entry = Entry(match[1] if match else "", number)
        if _CONTROL.search(text):
            self._fail(number, "a control character, or bytes that are not UTF-8")
        elif match is None:
            name, colon, value = (part.strip() for part in text.partition(":"))
            is_colon = bool(colon) and _KEY.fullmatch(f"{name}=") is not None and not value.startswith("//")
            self._fail(number, "expected key = value", suggestion=f"{name} = {value}" if is_colon and value else "")
        elif self._section is None:
            self._fail(number, "stands before the first [section]", key=match[1])
        elif (twin := self._section.entries.get(match[1])) is not None:
            self._fail(number, f"key stands here twice, first in line {twin.line}", key=match[1])
        else:
            self._section.entries[match[1]] = self._entry
            self._add(self._entry, number, match[2])

    def _add(self, entry: Entry, number: int, text: str) -> None:
        for backslash, name, brace in _VARIABLE.findall(text):
            if not backslash:
                self.variables.add(name)
                self._check_variable(entry, number, name, has_brace=bool(brace))
        text = _VARIABLE.sub(self._expand, text).strip()
        if _CONTROL.search(text):
            entry.is_broken = True
            self._fail(number, "a control character, or bytes that are not UTF-8", key=entry.key)
        if text:
            entry.lines.append(Line(number, text))

    def _check_variable(self, entry: Entry, number: int, name: str, *, has_brace: bool) -> None:
        message = ""
        if not has_brace or not _VARIABLE_NAME.fullmatch(name):
            message = "an environment variable is written ${NAME}; \\${ is just that"
        elif name not in self._environ:
            message = f"environment variable {name} is not set"
        if message:
            entry.is_broken = True
            self._fail(number, message, key=entry.key)

    def _expand(self, match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        return self._environ.get(match[2], "")
