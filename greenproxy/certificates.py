"""Certificates: what a file of them says (names, dates) and whether a key belongs to it. Nothing but the standard library.

The configuration checks pairs before anything listens, and the master makes contexts of them. The standard library loads a
pair and verifies those of others, but has no documented way to ask a certificate of our own for its names and dates
(`ssl._ssl._test_decode_cert` is its tests'), so these few fields are read here from its DER (RFC 5280 section 4.1).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_certificate_blocks = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S).findall
_has_key = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----").search
_is_encrypted = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4,ENCRYPTED", re.M).search
_UTC_TIME, _VERSION, _EXTENSIONS, _DNS_NAME = 0x17, 0xA0, 0xA3, 0x82
_COMMON_NAME, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x1d\x11"  # 2.5.4.3 and 2.5.29.17
_NEEDS_PASSWORD = "needs a password, and nobody is there to type it: store the key without one"


class BadPair(ValueError):
    """A certificate and key that cannot be used. `str()` says why; `is_key` when it is the file of the key that is wrong."""

    def __init__(self, message: str, *, is_key: bool = False) -> None:
        super().__init__(message)
        self.is_key = is_key


class _PasswordAskedError(Exception):
    """OpenSSL wants to know the password of a key."""


@dataclass(frozen=True)
class Facts:
    """What the first certificate of a file says: names in lower case, and when it is valid."""

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    def complaint(self, now: datetime) -> str:
        """Return what is wrong with its dates, "" if nothing is."""
        if now > self.not_after:
            return f"has expired on {self.not_after:%Y-%m-%d %H:%M} UTC"
        if now < self.not_before:
            return f"is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC"
        return ""


def now_utc() -> datetime:
    """Return the time that `Facts.complaint` wants."""
    return datetime.now(UTC)


def examine(certificate: str, key: str = "") -> Facts:
    """Return what a certificate says, after it was loaded together with its key; without `key` that is in the same file.

    Raises BadPair.
    """
    blocks = _certificate_blocks(_read(certificate))
    if not blocks:
        raise BadPair(f"{certificate} has no certificate in PEM")
    text = _read(key, is_key=True) if key else _read(certificate)
    if not _has_key(text):
        wanted = "has no private key in PEM" if key else "has no private key, and tls-key names none"
        raise BadPair(f"{key or certificate} {wanted}", is_key=bool(key))
    if _is_encrypted(text):
        raise BadPair(f"{key or certificate} {_NEEDS_PASSWORD}", is_key=bool(key))
    _try(certificate, key)
    try:
        return _facts(ssl.PEM_cert_to_DER_cert(blocks[0].decode("ascii")))
    except (ValueError, IndexError):
        raise BadPair(f"{certificate} cannot be read: its first certificate is broken") from None


def _read(path: str, *, is_key: bool = False) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadPair(f"cannot read {path}: {(error.strerror or str(error)).lower()}", is_key=is_key) from None


def _ask_nobody() -> str:
    raise _PasswordAskedError


def _try(certificate: str, key: str) -> None:
    """Load a pair, and forget it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None, password=_ask_nobody)
    except _PasswordAskedError:
        raise BadPair(f"{key or certificate} {_NEEDS_PASSWORD}", is_key=bool(key)) from None
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        if "mismatch" in reason:
            wrong = f"the key in {key or certificate} does not belong to the certificate in {certificate}"
            raise BadPair(wrong, is_key=bool(key)) from None
        raise BadPair(f"{certificate} and its key cannot be used: {reason or 'they are broken'}") from None
    except OSError as error:
        raise BadPair(f"cannot read {certificate}: {(error.strerror or str(error)).lower()}") from None


def check_authorities(path: str) -> None:
    """Raise BadPair unless clients can be verified against the certificates in a file."""
    if not _certificate_blocks(_read(path)):
        raise BadPair(f"{path} has no certificate in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError as error:  # SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or "it is broken"
        raise BadPair(f"{path} cannot be used: {reason.replace('_', ' ').lower()}") from None


# ------------------------------------------------------------------ the fields of a certificate


def _facts(der: bytes) -> Facts:
    """Return what a certificate says. Raises ValueError or IndexError for one that is broken."""
    whole, *_ = _parts(der)
    fields = [(tag, value) for tag, value in _parts(next(_parts(whole[1]))[1]) if tag != _VERSION]
    _serial, _algorithm, _issuer, validity, subject, *_ = (value for _, value in fields)
    before, after = (_time(tag, value) for tag, value in _parts(validity))
    names = [name for tag, value in fields if tag == _EXTENSIONS for name in _alternative_names(value)]
    return Facts(tuple(dict.fromkeys(name.lower() for name in names or _common_names(subject))), before, after)


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, content) of what stands one behind the other (X.690 section 8.1)."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("it ends too early")
        yield tag, data[at : at + length]
        at += length


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # years from 1950 to 2049 (RFC 5280 section 4.1.2.5.1)
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _alternative_names(wrapped: bytes) -> Iterator[str]:
    for _, extension in _parts(next(_parts(wrapped))[1]):
        (_, oid), *_critical, (_, value) = _parts(extension)
        if oid == _ALTERNATIVE_NAMES:
            for tag, name in _parts(next(_parts(value))[1]):
                if tag == _DNS_NAME:
                    yield name.decode("ascii")


def _common_names(subject: bytes) -> Iterator[str]:
    for _, relative in _parts(subject):
        for _, pair in _parts(relative):
            (_, oid), (_, value) = _parts(pair)
            if oid == _COMMON_NAME:
                yield value.decode("utf-8", "replace")
