"""The tls-* keys of a listener against each other, and against what stands in the files they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from greenproxy.certificates import BadPair, check_authorities, examine, now_utc
from greenproxy.config.reader import Entry, Section

CERTIFICATE, KEY, CLIENT_CA, CLIENT = "tls-certificate", "tls-key", "tls-client-ca", "tls-client"


class TlsMistake(NamedTuple):
    """What is wrong, and in which line. A `is_warning` keeps nobody from serving: clients will refuse, or not."""

    key: str
    line: int
    message: str
    is_warning: bool = False


def tls_mistakes(section: Section, found: Mapping[str, Any]) -> Iterator[TlsMistake]:
    """Yield what is wrong with the tls-* keys of a listener's section; `found` are its values. Reads the files."""
    entries = section.entries
    certificates: Sequence[str] = found.get("tls_certificate", ())
    keys: Sequence[str] = found.get("tls_key", ())
    for key in (KEY, CLIENT_CA):
        if key in entries and entries[key].lines and not _has_value(entries.get(CERTIFICATE)):
            yield TlsMistake(key, entries[key].line, "goes with tls-certificate only")
    if CLIENT in entries and not _has_value(entries.get(CLIENT_CA)):
        yield TlsMistake(CLIENT, entries[CLIENT].line, "goes with tls-client-ca only")
    if certificates and keys and len(certificates) != len(keys):
        message = (
            f"{_counted(len(certificates), 'certificate')} and {_counted(len(keys), 'key')}: one line each, in the same order"
        )
        yield TlsMistake(KEY, entries[KEY].line, message)
    elif certificates and (keys or not _has_value(entries.get(KEY))):
        yield from _examined(entries, certificates, keys)
    if found.get("tls_client_ca"):
        try:
            check_authorities(found["tls_client_ca"])
        except BadPair as error:
            yield TlsMistake(CLIENT_CA, entries[CLIENT_CA].lines[0].number, str(error))


def _examined(entries: Mapping[str, Entry], certificates: Sequence[str], keys: Sequence[str]) -> Iterator[TlsMistake]:
    now = now_utc()
    for place, certificate in enumerate(certificates):
        line = entries[CERTIFICATE].lines[place].number
        try:
            facts = examine(certificate, keys[place] if keys else "")
        except BadPair as error:
            if error.is_key:
                yield TlsMistake(KEY, entries[KEY].lines[place].number, str(error))
            else:
                yield TlsMistake(CERTIFICATE, line, str(error))
            continue
        if complaint := facts.complaint(now):
            yield TlsMistake(CERTIFICATE, line, f"{certificate} {complaint}", is_warning=True)


def _has_value(entry: Entry | None) -> bool:
    return entry is not None and (bool(entry.lines) or entry.is_broken)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
